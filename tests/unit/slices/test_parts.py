"""Files in parts: what anndata itself would have read and written."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lloki.slices import files, parts
from lloki.support.errors import InputError


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"sample": pd.Categorical(list("aab") * 7), "size": rng.random(21)},
        index=[f"c{i}" for i in range(21)],
    )
    return ad.AnnData(
        sp.csr_matrix(rng.poisson(0.5, (21, 4)).astype(np.float32)), obs=obs,
        var=pd.DataFrame(index=list("wxyz")),
        obsm={"X_lloki": rng.random((21, 3)).astype(np.float32), "spatial": rng.random((21, 2))},
        uns={"lloki": {"seed": 0, "genes": ["w", "x"]}, "other": 1},
        varm={"measured": pd.DataFrame({"P": [True, False, True, True]}, index=list("wxyz"))},
        layers={"counts": sp.csr_matrix(rng.poisson(0.9, (21, 4)).astype(np.float32))},
    )  # fmt: skip


def layout(path):
    """Every node of a file: kind, attributes, shape, values."""
    found = {}

    def visit(name, node):
        values = node[()].tolist() if isinstance(node, h5py.Dataset) else None
        attributes = {key: str(value) for key, value in node.attrs.items()}
        found[name] = attributes, str(getattr(node, "dtype", None)), values

    with h5py.File(path) as file:
        file.visititems(visit)
        return found, dict(file.attrs)


def test_a_file_written_by_rows_is_the_one_that_anndata_writes(data, tmp_path):
    files.write_h5ad(data, tmp_path / "whole.h5ad")
    with parts.JoinedFile(tmp_path / "rows.h5ad", data.n_obs) as file:
        for rows in (slice(0, 5), slice(5, 6), slice(6, 21)):
            file.add("X_lloki", rows.start, data.obsm["X_lloki"][rows])
            file.extend(data.X[rows])
            file.extend(data.layers["counts"][rows], "layers/counts")
        file.fill("spatial", np.split(data.obsm["spatial"], [4, 9]))
        assert "spatial" in file and "X_pca" not in file
        again = sp.vstack(list(file.expression(4)))
        assert (again != data.X).nnz == 0
        np.testing.assert_array_equal(file.rows("X_lloki")[3:8], data.obsm["X_lloki"][3:8])
        file.finish(data.obs, data.var_names, data.uns, data.varm)
    assert layout(tmp_path / "rows.h5ad") == layout(tmp_path / "whole.h5ad")


def test_notes_that_no_file_holds_are_refused(data, tmp_path):
    with parts.JoinedFile(tmp_path / "rows.h5ad", data.n_obs) as file:
        file.extend(data.X)
        with pytest.raises(InputError, match=r"rows.h5ad: it has values that cannot be written"):
            file.finish(data.obs, data.var_names, {"lloki": {"a": object()}})


def test_parts_are_what_the_whole_file_has(data, tmp_path):
    path = tmp_path / "a.h5ad"
    files.write_h5ad(data, path)
    head, shapes = parts.read_head(path)
    pd.testing.assert_frame_equal(head.obs, data.obs)
    assert head.var_names.tolist() == list("wxyz") and head.uns["lloki"]["seed"] == 0
    assert shapes == {"X_lloki": (21, 3), "spatial": (21, 2)} and not head.obsm
    arrays = parts.read_arrays(path, 21, ["spatial", "X_none"])
    np.testing.assert_array_equal(arrays.pop("spatial"), data.obsm["spatial"])
    assert not arrays
    assert (parts.read_matrix(path, (21, 4)) != data.X).nnz == 0 and parts.has_counts(path)
    cells = parts.read_without_expression(path)
    assert cells.n_vars == 0 and cells.uns["other"] == 1 and set(cells.obsm) == set(shapes)
    few = parts.read_without_expression(path, lambda key: key == "spatial")
    assert list(few.obsm) == ["spatial"] and few.obs.equals(cells.obs)


def test_parts_that_do_not_fit_one_another_are_refused(data, tmp_path):
    path = tmp_path / "a.h5ad"
    files.write_h5ad(data, path)
    with pytest.raises(InputError, match=r"X has shape \(21, 4\), not \(20, 4\)"):
        parts.read_matrix(path, (20, 4))
    with pytest.raises(InputError, match="not a readable AnnData file"):
        parts.read_arrays(path, 20, ["spatial"])
    with h5py.File(path, "r+") as file:
        del file["X"]
    with pytest.raises(InputError, match="no expression matrix"):
        parts.read_matrix(path, (21, 4))
    (tmp_path / "b.h5ad").write_text("no file")
    for read in (parts.read_head, parts.read_without_expression):
        with pytest.raises(InputError, match="not a readable AnnData file"):
            read(tmp_path / "b.h5ad")
