"""The reader and writer of slices on made-up matrices and on the demo's files."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lloki.slices import files, parts
from lloki.support.errors import InputError

DEMO = Path(__file__).parents[3] / "assets" / "demo"
COUNTS = arrays.arrays(np.int64, (6, 4), elements=st.integers(0, 50))


def slice_(counts, **more) -> ad.AnnData:
    counts = np.asarray(counts)
    n, genes = counts.shape
    return ad.AnnData(
        sp.csr_matrix(counts, dtype=np.float32),
        obs=pd.DataFrame({"kind": [f"k{i % 2}" for i in range(n)]}, [f"c{i}" for i in range(n)]),
        var=pd.DataFrame(index=[f"Gene{i}" for i in range(genes)]),
        obsm={"spatial": np.arange(2.0 * n).reshape(n, 2)},
        **more,
    )


def prepare(data, **more) -> ad.AnnData:
    return files.prepare(data, "in.h5ad", sample="s", technology="T", **more)


@settings(deadline=None)
@given(COUNTS)
def test_normalisation_gives_every_cell_the_median_total(counts):
    counts[:, 0] += 1
    totals = counts.sum(axis=1)
    normalised = files.log_normalise(sp.csr_matrix(counts, dtype=np.float32))
    np.testing.assert_allclose(
        normalised.toarray(), np.log1p(counts / totals[:, None] * np.median(totals)), rtol=1e-5
    )
    np.testing.assert_allclose(np.expm1(normalised.toarray()).sum(1), np.median(totals), rtol=1e-4)
    assert normalised.dtype == np.float32 and sp.isspmatrix_csr(normalised)


@settings(deadline=None)
@given(COUNTS)
def test_preparation_drops_empty_cells_and_nothing_else(counts):
    data = slice_(counts)
    filled = counts.sum(axis=1) > 0
    if not filled.any():
        with pytest.raises(InputError, match="no cell has any count"):
            prepare(data)
        return
    made = prepare(data, spatial_unit_um=0.5)
    assert list(made.obs_names) == [f"s:c{i}" for i in np.flatnonzero(filled)]
    assert list(made.obs["kind"]) == list(data.obs["kind"][filled])
    np.testing.assert_array_equal(made.layers["counts"].toarray(), counts[filled])
    np.testing.assert_array_equal(made.obsm["spatial"], data.obsm["spatial"][filled] / 2)
    notes = made.uns["lloki"]["prepare_slice"]
    assert (notes["cells_read"], notes["cells_dropped"]) == (6, int((~filled).sum()))


@settings(deadline=None)
@given(COUNTS)
def test_form_of_the_matrix_makes_no_difference(counts):
    counts[:, 0] += 1
    want = prepare(slice_(counts)).X.toarray()
    for form in (sp.csc_matrix, sp.csr_array, np.asarray):
        data = slice_(counts)
        data.X = form(counts.astype(float))
        np.testing.assert_array_equal(prepare(data).X.toarray(), want)


def test_preparation_does_not_change_its_input():
    data = slice_([[1, 2], [0, 0], [3, 0]])
    before = data.copy()
    prepare(data)
    np.testing.assert_array_equal(data.X.toarray(), before.X.toarray())
    assert data.obs.equals(before.obs) and list(data.layers) == list(before.layers)


def test_stored_zeros_are_no_counts():
    matrix = sp.csr_matrix(np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32))
    matrix.data[2:] = 0
    data = slice_([[1, 1], [1, 1]])
    data.X = matrix
    assert list(prepare(data).obs_names) == ["s:c0"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "NaN or infinite"),
        (np.inf, "NaN or infinite"),
        (1e30, "values of 1e"),
        (-1, "negative values"),
    ],
)
@pytest.mark.parametrize("normalized", [False, True])
def test_impossible_values_are_refused(value, words, normalized):
    data = slice_([[1, 2], [3, 4]])
    data.X[1, 1] = value
    with pytest.raises(InputError, match=words):
        prepare(data, normalized=normalized)


def test_normalised_values_stay_as_they_are():
    data = slice_([[1, 2], [3, 4]])
    data.X = data.X * np.float32(0.3)
    made = prepare(data, normalized=True)
    np.testing.assert_array_equal(made.X.toarray(), data.X.toarray())
    assert not made.layers


def test_panels_are_named_by_their_genes_whatever_the_order_or_case():
    name = files.panel_name("Xenium", ["Gad1", "Slc17a7"])
    assert name == files.panel_name("Xenium", ["SLC17A7", "GAD1"])
    assert name.startswith("Xenium-") and len(name) == len("Xenium-") + 8
    assert name != files.panel_name("Xenium", ["Gad1", "Slc17a6"])
    assert files.panel_name("CosMx", ["Gad1", "Slc17a7"])[-8:] == name[-8:]


def test_a_slice_survives_writing_and_reading(tmp_path):
    made = prepare(slice_([[1, 2], [3, 4]]), organism="mouse", panel="p")
    files.write_h5ad(made, tmp_path / "s.slice.h5ad")
    read = files.read_expression(tmp_path / "s.slice.h5ad", spatial=True)
    np.testing.assert_array_equal(read.X.toarray(), made.X.toarray())
    np.testing.assert_array_equal(read.obsm["spatial"], made.obsm["spatial"])
    assert files.sample_name(read, "s") == "s" and set(read.obs["panel"]) == {"p"}
    assert read.uns["lloki"]["prepare_slice"]["organism"] == "mouse"


def test_names_are_written_as_plain_strings(tmp_path):
    data = ad.AnnData(sp.csr_matrix(np.ones((2, 1), dtype=np.float32)))
    data.obs_names, data.var_names = ["a", "b"], ["Gad1"]
    data.obs["label"], data.obs["note"] = pd.Categorical(["x", None]), ["y", None]
    files.write_h5ad(data, tmp_path / "a.h5ad")
    kinds = []
    with h5py.File(tmp_path / "a.h5ad") as file:
        file.visititems(lambda name, item: kinds.append(item.attrs.get("encoding-type")))
    assert "string-array" in kinds and not any("nullable" in (kind or "") for kind in kinds)
    assert ad.read_h5ad(tmp_path / "a.h5ad").obs["note"].isna().tolist() == [False, True]


def test_reading_says_what_is_wrong_and_where(tmp_path):
    path = tmp_path / "a.h5ad"
    with pytest.raises(InputError, match=r"a\.h5ad: no such file"):
        files.read_h5ad(path)
    path.write_text("text")
    with pytest.raises(InputError, match=r"a\.h5ad: not a readable AnnData file \(\w+\); write"):
        files.read_h5ad(path)
    path.unlink()
    good = slice_([[1, 2], [3, 4]])
    del good.obsm["spatial"]
    good.write_h5ad(path)
    assert files.read_expression(path).shape == (2, 2)
    with pytest.raises(InputError, match=r"obsm\['spatial'\] is missing"):
        files.read_expression(path, spatial=True)
    with pytest.raises(InputError, match=r"obs\['sample'\] is missing; prepare"):
        files.sample_name(good, path)
    files.without_expression(good).write_h5ad(path)
    with pytest.raises(InputError, match="no expression matrix X"):
        files.read_expression(path)


def test_other_forms_of_a_reference_are_told_with_what_makes_an_h5ad_of_them(tmp_path):
    ad.AnnData(np.ones((3, 2), np.float32)).write_zarr(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"it is a folder, no AnnData file; .*write_h5ad"):
        files.read_reference(tmp_path / "a.zarr")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["matrix/barcodes"] = [b"AAAC-1"]
        file["matrix/data"] = [1]
    with pytest.raises(InputError, match=r"it is a matrix of 10x, no AnnData file; .*read_10x_h5"):
        files.read_reference(tmp_path / "a.h5")


def test_embeddings_are_checked_key_by_key(tmp_path):
    data = ad.AnnData(obs=pd.DataFrame(index=["a", "b"]), obsm={"X_one": np.ones((2, 3))})
    data.write_h5ad(tmp_path / "a.h5ad")
    assert files.read_embedding(tmp_path / "a.h5ad", "X_one").shape == (2, 0)
    with pytest.raises(InputError, match=r"obsm\['X_two'\] is missing"):
        files.read_embedding(tmp_path / "a.h5ad", "X_one", "X_two")
    data.obsm["X_one"][1, 1] = np.nan
    data.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match=r"obsm\['X_one'\] has NaN"):
        files.read_embedding(tmp_path / "a.h5ad", "X_one")
    for value in (sp.csr_matrix(np.eye(2)), np.array([["a"], ["b"]])):
        data.obsm["X_one"] = value
        data.write_h5ad(tmp_path / "a.h5ad")
        with pytest.raises(InputError, match=r"obsm\['X_one'\] is no array of numbers"):
            files.read_embedding(tmp_path / "a.h5ad", "X_one")


def test_a_reference_is_normalised_once(tmp_path):
    counts = ad.read_h5ad(DEMO / "reference.h5ad")
    first = files.read_reference(DEMO / "reference.h5ad")
    totals = counts.X.toarray().sum(axis=1, keepdims=True)
    want = np.log1p(counts.X.toarray() / totals * np.median(totals))
    np.testing.assert_allclose(first.X.toarray(), want, rtol=1e-5)
    files.write_h5ad(first, tmp_path / "again.h5ad")
    again = files.read_reference(tmp_path / "again.h5ad")
    np.testing.assert_array_equal(again.X.toarray(), first.X.toarray())


def test_a_reference_loses_its_empty_cells(tmp_path):
    slice_([[1, 2], [0, 0], [3, 4]]).write_h5ad(tmp_path / "r.h5ad")
    assert list(files.read_reference(tmp_path / "r.h5ad").obs_names) == ["c0", "c2"]
    slice_([[0, 0], [0, 0]]).write_h5ad(tmp_path / "r.h5ad")
    with pytest.raises(InputError, match="no cell has any count"):
        files.read_reference(tmp_path / "r.h5ad")


def test_cells_alone_keep_place_labels_and_provenance():
    made = prepare(slice_([[1, 2], [3, 4]]))
    cells = files.without_expression(made)
    assert cells.shape == (2, 0) and list(cells.obsm) == ["spatial"] and not cells.layers
    assert cells.obs.equals(made.obs) and "prepare_slice" in cells.uns["lloki"]


def test_records_of_stages_add_up_and_leave_out_none():
    data = slice_([[1]])
    files.record(data, "one", value=1, nothing=None)
    kept = data.uns["lloki"]
    files.record(data, "two", names=["a", "b"])
    assert data.uns["lloki"] == {"one": {"value": 1}, "two": {"names": ["a", "b"]}}
    assert kept == {"one": {"value": 1}}


@pytest.mark.parametrize("value", [10**6, -1])
def test_a_sparse_matrix_that_points_outside_itself_is_refused(tmp_path, value):
    data = ad.AnnData(sp.csr_matrix(np.eye(4, dtype=np.float32)))
    data.X.indices[2] = value
    data.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match="a sparse matrix in it is damaged"):
        files.read_h5ad(tmp_path / "a.h5ad")


@pytest.mark.parametrize("notes", [np.eye(2), {"embedding": "mosaic"}])
def test_notes_of_another_kind_are_refused(notes, tmp_path):
    data = ad.AnnData(np.eye(2, dtype=np.float32), uns={"lloki": notes})
    data.obsm["X_lloki_fp"] = np.eye(2, dtype=np.float32)
    data.write_h5ad(tmp_path / "a.h5ad")
    for read in (files.read_h5ad, lambda path: parts.read_cells(path, "X_lloki_fp")):
        with pytest.raises(InputError, match="not what a stage wrote"):
            read(tmp_path / "a.h5ad")


@pytest.mark.parametrize(("numbers", "raised"), [(1 << 10, MemoryError), (1 << 60, InputError)])
def test_too_little_memory_is_told_from_a_damaged_shape(numbers, raised, tmp_path, monkeypatch):
    path = tmp_path / "a.h5ad"
    path.write_bytes(bytes(4096))

    def read(_):
        error = MemoryError()
        error.shape, error.dtype = (numbers,), np.dtype(np.float32)
        raise error

    monkeypatch.setattr(files.hdf5, "check", read)
    with pytest.raises(raised):
        files.read_h5ad(path)


def test_ids_become_text_digit_by_digit():
    """As numbers, joined with slices that have none, they would lose digits."""
    big = 2**62 + 1
    for values, text in (
        ([big, 7], [str(big), "7"]),
        ([1.0, np.nan], ["1", None]),
        ([1.5, 2.0], ["1.5", "2"]),
        (pd.Categorical(["a-1", None]), ["a-1", None]),
        (["103327291694389284070574461648020091166", "x"], None),
        (np.array([3, 4], np.float32), ["3", "4"]),
    ):
        found = files.as_text(pd.Series(values, index=["u", "v"]))
        expected = values if text is None else text
        assert [None if v is np.nan or v is None else v for v in found] == expected
    data = ad.AnnData(
        np.ones((2, 1), np.float32), obs=pd.DataFrame({"cell_id": [big, 7]}, ["u", "v"])
    )
    data.obsm["spatial"] = np.zeros((2, 2))
    prepared = files.prepare(data, "x", sample="s", technology="t")
    assert prepared.obs["cell_id"].tolist() == [str(big), "7"]


def test_what_holds_for_the_whole_slice_is_a_column(tmp_path):
    data = ad.AnnData(
        sp.csr_matrix(np.ones((3, 2), np.float32)),
        obs=pd.DataFrame({"z": [1.0, 2.0, 3.0], "subject": "m1"}, index=list("abc")),
        var=pd.DataFrame(index=["A", "B"]), obsm={"spatial": np.zeros((3, 2))},
    )  # fmt: skip
    about = {"subject": "m1", "align_group": "block 2", "z": 0.5, "other": None}
    obs = files.prepare(data, "x", sample="s", technology="t", about=about).obs
    assert set(obs["align_group"]) == {"block 2"} and set(obs["z"]) == {0.5}
    assert obs["z_given"].tolist() == [1, 2, 3] and "subject_given" not in obs
    assert "other" not in obs


def test_features_of_a_reference_that_are_no_genes_are_left_out(tmp_path):
    counts = np.random.default_rng(0).poisson(2, (30, 5)).astype(np.float32)
    var = pd.DataFrame({"feature_types": ["Gene Expression"] * 3 + ["Antibody Capture"] * 2},
                       index=["A", "B", "C", "CD3", "CD4"])  # fmt: skip
    ad.AnnData(sp.csr_matrix(counts), var=var).write_h5ad(tmp_path / "r.h5ad")
    atlas = files.read_reference(tmp_path / "r.h5ad")
    assert atlas.var_names.tolist() == ["A", "B", "C"]
    assert "2 Antibody Capture, which are no genes" in atlas.uns["lloki_reference"]["genes"]
    total = np.expm1(atlas.X.toarray()).sum(axis=1)
    np.testing.assert_allclose(total, total[0], rtol=1e-5)  # of genes alone
    (ad.AnnData(sp.csr_matrix(counts[:, 3:]), var=var[3:].assign(feature_types="Gene Expression"))
     .write_h5ad(tmp_path / "g.h5ad"))  # fmt: skip
    assert files.read_reference(tmp_path / "g.h5ad").n_vars == 2
