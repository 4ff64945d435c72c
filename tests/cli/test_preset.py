"""`--preset release`: the choices of the authors' program, from counts to imputed values."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from click.testing import CliRunner

import build_graph
import ot_sparsity
import prepare_slice
import propagate
from lloki.slices import files

DEMO = Path(__file__).parents[2] / "assets/demo"


def good(command, *options):
    options = [*map(str, options), "--preset", "release"]
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 0, result.output


def test_the_release_is_reproduced_where_it_differs(tmp_path):
    names = ("s.slice.h5ad", "s.graph.npz", "s.targets.csv", "s.imputed.h5ad")
    cells, graph, targets, imputed = (tmp_path / name for name in names)
    raw, reference = (files.read_h5ad(DEMO / f"{s}.h5ad") for s in ("starmap", "reference"))
    raw = raw[:400].copy()
    files.write_h5ad(raw, tmp_path / "raw.h5ad")
    good(
        prepare_slice.main, "--input", tmp_path / "raw.h5ad", "--output", cells,
        "--sample", "s", "--technology", "STARmap",
    )  # fmt: skip
    counts = raw.X.toarray()
    values = files.read_h5ad(cells).X.toarray()
    np.testing.assert_allclose(values, counts / counts.max(), rtol=1e-6)

    good(build_graph.main, "--input", cells, "--output", graph)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -1)
    near = np.argsort(-cosine, axis=1)[:, :40]
    joined = np.zeros(cosine.shape, dtype=bool)
    np.put_along_axis(joined, near, True, axis=1)
    weights = sp.load_npz(graph)
    assert (weights.toarray() > 0).sum() == (joined | joined.T | np.eye(400, dtype=bool)).sum()

    good(
        ot_sparsity.main, "--input", cells, "--output", targets,
        "--reference", DEMO / "reference.h5ad",
    )  # fmt: skip
    of_reference = 1 - np.diff(sp.csr_matrix(reference.X).indptr) / reference.n_vars
    before = pd.Series((counts == 0).mean(axis=1))
    level = (before.rank() - 0.5) / len(before)
    expected = np.quantile(of_reference, level, method="hazen")
    limits = pd.read_csv(targets)["max_nonzero"].to_numpy()
    np.testing.assert_array_equal(limits, np.ceil((1 - expected) * raw.n_vars - 1e-6))

    sparse = limits + 100  # so that there is something to impute
    table = pd.read_csv(targets).assign(max_nonzero=sparse)
    table.to_csv(targets, index=False)
    good(
        propagate.impute, "--input", cells, "--graph", graph, "--targets", targets,
        "--output", imputed, "--max-iter", "1",
    )  # fmt: skip
    result = files.read_h5ad(imputed).X.toarray()
    np.testing.assert_array_equal(result[values > 0], values[values > 0])
    hop = weights @ values
    np.testing.assert_allclose(result, np.where(result > 0, np.where(values > 0, values, hop), 0),
                               rtol=1e-5)  # fmt: skip
    reach = (hop > 0).sum(axis=1)
    full = np.minimum(np.maximum(sparse, (values > 0).sum(axis=1)), reach)
    np.testing.assert_array_equal((result > 0).sum(axis=1), full)
    # by chance, so not the largest: a cell's mean is about that of all that is in its reach
    new, reachable = (result > 0) & (values == 0), (hop > 0) & (values == 0)
    expected = new.sum(axis=1) * (hop * reachable).sum(axis=1) / reachable.sum(axis=1)
    assert abs((hop * new).sum() / expected.sum() - 1) < 0.03
    record = json.loads((tmp_path / "s.imputed.json").read_text())["parameters"]
    assert (record["preset"], record["keep"]) == ("release", "random")
    assert record["weights"] == "symmetric"
