"""The checkpoint in assets/scgpt_mini: official layout, and of use on the demo's slices."""

from pathlib import Path

import numpy as np
import pytest
import torch
from demo_slices import demo_slice

import scgpt_embed
from lloki.embedding.scgpt.checkpoint import read_checkpoint
from lloki.embedding.scgpt.encoder import Encoder, embed
from lloki.slices import files, genes
from lloki.support import neighbours

ASSETS = Path(__file__).parents[3] / "assets"
PURITY = {"osmfish": 0.5, "starmap": 0.65, "xenium": 0.8}
"""Less than what it reaches, more than PCA on the cells used here, and random weights' 0.15."""


@pytest.fixture(scope="module")
def mini():
    return read_checkpoint(ASSETS / "scgpt_mini")


def test_it_is_small_and_in_single_precision(mini):
    assert sum(p.stat().st_size for p in (ASSETS / "scgpt_mini").iterdir()) < 16 * 2**20
    stored = torch.load(ASSETS / "scgpt_mini" / "best_model.pt", weights_only=True)
    assert {t.dtype for t in stored.values()} == {torch.float32}


@pytest.mark.parametrize("name", PURITY)
def test_it_knows_the_genes_and_tells_the_cells_of_the_demo(mini, name):
    data = demo_slice(name)
    data.X = files.log_normalise(data.X)
    data = data[::3].copy()
    table = genes.read_orthologs(str(scgpt_embed.ORTHOLOGS))
    match = genes.match_vocabulary(data.var_names, mini.vocabulary, table)
    assert match.share == 1
    encoder = Encoder(mini, match.found, torch.device("cpu"), torch.float32)
    matrix = genes.collect_columns(data.X, match)
    vectors = np.empty((data.n_obs, mini.dim), dtype=np.float32)
    for rows, part in embed(encoder, matrix, data.obs_names):
        vectors[rows] = part
    near, _ = neighbours.nearest(vectors, vectors, 15, exclude=np.arange(len(vectors)))
    labels = data.obs["cell_type_coarse"].astype(str).to_numpy()
    assert (labels[near] == labels[:, None]).mean() > PURITY[name]
