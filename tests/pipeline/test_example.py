"""docs/example.md: its Python runs as it stands, on more cells than scanpy searches in full."""

import importlib.util
import re

import anndata as ad
import matplotlib
import numpy as np
import pytest
from commands import good
from demo_slices import NAMES, demo_slice
from nextflow_run import ROOT

import cluster
import complete
import integrate
from lloki.slices import files

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/example.md").read_text(), re.DOTALL)
TECHNOLOGIES = dict(zip(NAMES, ("osmFISH", "STARmap", "Xenium"), strict=True))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Files as a run leaves them, of 4,500 cells of the demo; the embedding is one of types."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    given, slices, kinds = [], [], {}
    for name, technology in TECHNOLOGIES.items():
        data = demo_slice(name)
        data = data[np.sort(rng.choice(data.n_obs, 1500))].copy()
        data.obs_names = [f"c{i}" for i in range(data.n_obs)]
        data = files.prepare(data, name, sample=name, technology=technology)
        files.write_h5ad(data, folder / f"{name}.slice.h5ad")
        cells = files.without_expression(data)
        of_type = [kinds.setdefault(t, rng.gamma(1, size=12)) for t in data.obs["cell_type_coarse"]]
        for key in ("X_lloki", "X_lloki_fp"):
            noise = rng.gamma(1, 0.3, (data.n_obs, 12))
            cells.obsm[key] = (np.array(of_type) + noise).astype(np.float32)
        files.write_h5ad(cells, folder / f"{name}.lloki.h5ad")
        given += ["--input", folder / f"{name}.lloki.h5ad"]
        slices += ["--slice", folder / f"{name}.slice.h5ad"]
    joined, found = folder / "joined.h5ad", folder / "results/demo"
    found.mkdir(parents=True)
    good(integrate, *given, *slices, "--no-umap", "--output", joined)
    good(cluster, "--input", joined, *slices, "--output", found / "annotation", "--cells",
         folder / "cluster.cells.h5ad", "--resolution", 0.3, "--resolution-fine", 1)  # fmt: skip
    data = ad.read_h5ad(joined)
    data.obs["lloki_label"] = data.obs["cell_type_coarse"]
    data.obsm["X_umap"] = data.obsm["X_lloki"][:, :2]
    data.obsm["spatial_aligned"] = data.obsm["spatial"]
    files.write_h5ad(data, joined)
    good(complete, "--input", joined, "--cells", folder / "cluster.cells.h5ad", "--output",
         found / "integrated.h5ad")  # fmt: skip
    return folder


@pytest.mark.slow
def test_the_page_runs(results, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.chdir(results)
    names: dict = {}
    has_squidpy = importlib.util.find_spec("squidpy") is not None
    ran = [block for block in BLOCKS if has_squidpy or "squidpy" not in block]
    assert len(ran) >= 7
    for block in ran:
        exec(compile(block, "docs/example.md", "exec"), names)
    cells = names["cells"]
    assert cells.n_obs == 4500 > 4096 and cells.uns["neighbors"]["params"]["metric"] == "cosine"
    assert names["has"].sum() == 1500  # Prox1 is of the Xenium panel alone
    assert cells.obs["leiden"].nunique() > 3
    assert {"cluster", "gene", "slices", "auc", "fdr"} <= set(names["markers"])
