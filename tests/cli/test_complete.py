"""complete.py: what stages found of the cells, in a copy of the integrated file."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from commands import call as run
from commands import good, refused

import complete
from lloki.slices import files, findings, stores

CELLS = pd.Index([f"c{i}" for i in range(30)])


@pytest.fixture
def folder(tmp_path):
    """An integrated file, and what two stages found of its cells."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"sample": ["a"] * 12 + ["b"] * 18, "old": ["before"] * 30}, index=CELLS)
    obsm = {"X_lloki": rng.random((30, 4), np.float32), "spatial": rng.random((30, 2))}
    data = ad.AnnData(sp.random(30, 5, 0.5, "csr", np.float32, rng), obs=obs, obsm=obsm)
    data.var_names = list("abcde")
    data.uns["lloki"] = {"embedder": "mosaic"}
    files.write_h5ad(data, tmp_path / "integrated.h5ad")
    graph = sp.random(30, 30, 0.1, "csr", np.float32, rng)
    table = pd.DataFrame({
        "kind": pd.Categorical(rng.choice(["x", "y"], 30)), "old": pd.Categorical(["now"] * 30),
        "p": rng.random(30),
    })  # fmt: skip
    findings.write(tmp_path / "one.cells.h5ad", CELLS, table, obsp={"near": graph})
    findings.write(tmp_path / "two.cells.h5ad", CELLS, obsm={"X_more": rng.random((30, 3))},
                   uns={"neighbors": {"params": {"n_neighbors": 15}}})  # fmt: skip
    return tmp_path


def call(folder, *cells, more=()):
    given = [text for name in cells for text in ("--cells", folder / f"{name}.cells.h5ad")]
    output = folder / "out" / "integrated.h5ad"
    output.parent.mkdir(exist_ok=True)
    return ["--input", folder / "integrated.h5ad", *given, "--output", output, *more]


def test_what_was_found_is_added_and_the_rest_stays(folder):
    good(complete, *call(folder, "one", "two"))
    before, after = (ad.read_h5ad(folder / f / "integrated.h5ad") for f in ("", "out"))
    one, two = (ad.read_h5ad(folder / f"{name}.cells.h5ad") for name in ("one", "two"))
    assert list(after.obs) == ["sample", "old", "kind", "p"] and set(after.obs["old"]) == {"now"}
    assert after.obs["kind"].equals(one.obs["kind"])
    np.testing.assert_array_equal(after.obsm["X_more"], two.obsm["X_more"])
    np.testing.assert_array_equal(after.obsm["X_lloki"], before.obsm["X_lloki"])
    assert (after.X != before.X).nnz == 0 and (after.obsp["near"] != one.obsp["near"]).nnz == 0
    assert after.uns["lloki"]["embedder"] == "mosaic"
    assert len(after.uns["kind_colors"]) == 2
    assert after.uns["neighbors"]["params"]["n_neighbors"] == 15


def test_nothing_found_gives_the_same_file(folder):
    good(complete, *call(folder, more=["--zarr"]))
    with h5py.File(folder / "out/integrated.h5ad") as file:
        assert set(file["obsm"]) == {"X_lloki", "spatial"} and not len(file["obsp"])
    stored = stores.read(folder / "out/integrated.zarr").data
    assert stored.obs_names.equals(CELLS) and set(stored.obsm) == {"X_lloki", "spatial"}
    assert set(stored.obs["spatialdata_element"]) == {"a", "b"}


@pytest.mark.parametrize("wrong", ["order", "few"])
def test_findings_of_other_cells_are_refused(folder, wrong):
    cells = CELLS[::-1] if wrong == "order" else CELLS[:20]
    findings.write(folder / "three.cells.h5ad", cells, obsm={"X": np.ones((len(cells), 2))})
    refused(run(complete, *call(folder, "three")), "three.cells.h5ad", "not those of")
    assert not list((folder / "out").iterdir())


def test_two_findings_of_one_name_are_refused(folder):
    findings.write(folder / "three.cells.h5ad", CELLS, obsm={"X_more": np.ones((30, 2))})
    refused(run(complete, *call(folder, "two", "three")), "three.cells.h5ad", "'X_more'")
