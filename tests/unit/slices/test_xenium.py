"""Xenium bundles of every version, written in the vendor's form, and what is refused."""

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from written.xenium import KINDS, NAMES, counts, table, text_ids, write_h5, write_text

from lloki.slices import xenium
from lloki.support.errors import InputError

VENDOR = Path(__file__).parents[3].parent / "shared/data/vendor"


@pytest.fixture
def bundle(tmp_path):
    """A bundle of XOA 1 with text ids; the cells' table in another order than the matrix."""
    values, ids = counts(), text_ids()
    write_h5(tmp_path / "cell_feature_matrix.h5", values, ids)
    table(values, ids).iloc[::-1].to_csv(tmp_path / "cells.csv.gz", index=False)
    told = {"analysis_sw_version": "xenium-3.0.0.15", "panel_name": "mBrain", "num_cells": 40}
    (tmp_path / "experiment.xenium").write_text(json.dumps(told))
    return tmp_path, values, ids


def check(source, values, ids):
    assert source.data.obs_names.tolist() == ids == source.data.obs["cell_id"].tolist()
    assert source.data.var_names.tolist() == NAMES[:6]
    np.testing.assert_array_equal(source.data.X.toarray(), values[:, :6])
    assert source.data.X.dtype == np.float32
    np.testing.assert_array_equal(source.data.obs["control_counts"], values[:, 6:].sum(axis=1))
    np.testing.assert_allclose(source.data.obsm["spatial"][:, 0], np.arange(40) * 10.5)
    probes = {"features": 2, "counts": float(values[:, 6:8].sum())}
    assert source.controls["Negative Control Probe"] == probes
    assert (source.unit_um, source.format) == (1.0, "xenium")


def test_a_bundle_holds_its_genes_in_the_order_of_the_matrix(bundle):
    folder, values, ids = bundle
    source = xenium.read(folder)
    check(source, values, ids)
    assert source.facts["software"] == "xenium-3.0.0.15" and source.warnings == []
    assert source.data.obs["cell_area_um2"].tolist() == [55.5] * 40
    names = {path.name for path in source.files}
    assert names == {"cell_feature_matrix.h5", "cells.csv.gz", "experiment.xenium"}


def test_controls_stay_where_they_are_wanted_and_proteins_do_not(bundle):
    folder, values, ids = bundle
    source = xenium.read(folder, keep_controls=True)
    assert source.data.var_names.tolist() == NAMES and source.warnings == []
    np.testing.assert_array_equal(source.data.X.toarray(), values)
    np.testing.assert_array_equal(source.data.obs["control_counts"], values[:, 6:].sum(axis=1))
    assert source.controls == xenium.read(folder).controls
    kinds = [*KINDS[:6], "Protein Expression", *KINDS[7:]]
    write_h5(folder / "cell_feature_matrix.h5", values, ids, kinds)
    source = xenium.read(folder, keep_controls=True)
    assert source.data.var_names.tolist() == [*NAMES[:6], *NAMES[7:]] and source.warnings == []


@pytest.mark.parametrize("number", [np.int64, np.float64])
def test_numbers_of_any_type_and_blocks_of_any_size_give_the_same(bundle, number, monkeypatch):
    folder, values, ids = bundle
    write_h5(folder / "cell_feature_matrix.h5", values, ids, number=number)
    monkeypatch.setattr(xenium, "NONZEROS", 7)
    check(xenium.read(folder), values, ids)


def test_the_folder_of_text_says_the_same_as_the_h5(bundle):
    folder, values, ids = bundle
    (folder / "cell_feature_matrix.h5").unlink()
    write_text(folder / "cell_feature_matrix", values, ids)
    check(xenium.read(folder), values, ids)


def test_whole_numbers_as_ids_stay_what_they_are(bundle):
    folder, values, _ = bundle
    ids = [str(i + 1) for i in range(40)]
    write_h5(folder / "cell_feature_matrix.h5", values, ids)
    table(values, ids).to_csv(folder / "cells.csv.gz")  # a nameless first column of row numbers
    check(xenium.read(folder), values, ids)


def test_a_matrix_without_types_is_told_by_names_and_that_is_said(bundle):
    folder, values, ids = bundle
    write_h5(folder / "cell_feature_matrix.h5", values, ids, kinds=None)
    source = xenium.read(folder)
    assert source.data.var_names.tolist() == NAMES[:6]
    assert "told by their names" in source.warnings[0]


def test_no_class_of_controls_is_needed_and_proteins_are_no_genes(bundle):
    folder, values, ids = bundle
    kinds = ["Gene Expression"] * 7 + ["Protein Expression"] * 2
    write_h5(folder / "cell_feature_matrix.h5", values, ids, kinds=kinds)
    source = xenium.read(folder)
    assert source.data.n_vars == 7 and set(source.controls) == {"Protein Expression"}


def test_a_repeated_gene_goes_by_its_id(bundle):
    folder, values, ids = bundle
    names = ["Gad1", "Gad1", *NAMES[2:]]
    write_h5(folder / "cell_feature_matrix.h5", values, ids, names=names)
    source = xenium.read(folder)
    assert source.data.var_names[:2].tolist() == ["Gad1", "ENSMUSG00000000001"]
    assert "Gad1" in source.warnings[0]


def test_totals_that_disagree_and_surplus_rows_are_warned_of(bundle):
    folder, values, ids = bundle
    more = table(values, ids)
    more["transcript_counts"] += 3
    extra = more.iloc[:1].assign(cell_id="zzzz-1")
    pd.concat([more, extra]).to_csv(folder / "cells.csv.gz", index=False)
    said = " ".join(xenium.read(folder).warnings)
    assert "100% of the cells" in said and "1 rows of cells.csv.gz" in said


def refuse(folder, *words):
    with pytest.raises(InputError) as error:
        xenium.read(folder)
    assert all(word in str(error.value) for word in words), error.value


def test_what_is_missing_or_damaged_is_named(bundle):
    folder, values, ids = bundle
    (folder / "experiment.xenium").write_text("{")
    refuse(folder, "experiment.xenium", "JSON")
    (folder / "experiment.xenium").unlink()
    assert "software" not in xenium.read(folder).facts
    write_h5(folder / "cell_feature_matrix.h5", values, ids, kinds=["Protein Expression"] * 9)
    refuse(folder, "no gene")
    write_h5(folder / "cell_feature_matrix.h5", values, ids)
    for change, words in (
        (lambda t: t.iloc[1:], "has no row"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "there twice"),
        (lambda t: t.drop(columns="x_centroid"), "'x_centroid'"),
    ):
        change(table(values, ids)).to_csv(folder / "cells.csv.gz", index=False)
        refuse(folder, "cells.csv.gz", words)
    (folder / "cells.csv.gz").unlink()
    refuse(folder, "no cells.csv.gz")
    (folder / "cell_feature_matrix.h5").unlink()
    (folder / "experiment.xenium").write_text("{}")
    refuse(folder, "without cell_feature_matrix.h5")


@pytest.mark.parametrize("part", ["indptr", "indices", "data", "shape", "barcodes"])
def test_a_matrix_that_points_outside_itself_is_refused(bundle, part):
    folder, _, _ = bundle
    with h5py.File(folder / "cell_feature_matrix.h5", "r+") as file:
        if part == "barcodes":
            del file["matrix/barcodes"]
        else:
            values = file[f"matrix/{part}"][:]
            del file[f"matrix/{part}"]
            changed = {"indptr": values[::-1], "indices": values + 100, "data": values[:-1],
                       "shape": values + 1}[part]  # fmt: skip
            file[f"matrix/{part}"] = changed
    refuse(folder, "cell_feature_matrix.h5")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("coordinate integer general\n9 1000000000000 5", "(9, 1000000000000), not 9 features"),
        ("coordinate integer general\n9 40 1000000000000", "1000000000000 values"),
        ("coordinate complex general\n9 40 1", "complex"),
        ("coordinate pattern general\n9 40 1", "pattern"),
        ("array integer general\n9 40", "array"),
        ("coordinate integer general\n9 40 2\n1 2147483648 1", "not a readable matrix"),
        ("vector integer\n9 40 1", "not a readable matrix"),
    ],
)
def test_a_matrix_as_text_whose_header_lies_is_refused(bundle, header, words):
    folder, values, ids = bundle
    (folder / "cell_feature_matrix.h5").unlink()
    write_text(folder / "cell_feature_matrix", values, ids)
    with gzip.open(folder / "cell_feature_matrix/matrix.mtx.gz", "wt") as file:
        file.write(f"%%MatrixMarket matrix {header}\n1 1 1 0\n")
    refuse(folder, words)


def test_a_parquet_table_of_bytes_is_text(bundle, tmp_path):
    pytest.importorskip("pyarrow")
    folder, values, ids = bundle
    cells = table(values, [name.encode() for name in ids]).assign(segmentation_method=b"nucleus")
    (folder / "cells.csv.gz").unlink()
    cells.to_parquet(folder / "cells.parquet")
    source = xenium.read(folder)
    check(source, values, ids)
    assert set(source.data.obs["segmentation_method"]) == {"nucleus"}
    source.data.write_h5ad(tmp_path / "a.h5ad")


def test_another_h5_is_no_matrix(bundle):
    folder, _, _ = bundle
    (folder / "cell_feature_matrix.h5").write_text("no HDF5")
    refuse(folder, "not a readable matrix")


@pytest.mark.skipif(not VENDOR.is_dir(), reason="no vendor folders here")
@pytest.mark.parametrize("matrix", ["cell_feature_matrix.h5", "cell_feature_matrix"])
def test_real_folders_hold_what_is_expected(matrix):
    expected = json.loads((VENDOR / "expected.json").read_text())
    found = {k: e for k, e in expected.items() if e.get("format") == "xenium"}
    assert len(found) >= 5
    for name, known in found.items():
        folder = VENDOR / name
        if not (folder / matrix).exists():
            continue
        source = xenium.read_files(folder / matrix, folder / "cells.csv.gz")
        assert source.data.shape == (known["cells"], known["genes"]), name
        assert {k: c["features"] for k, c in source.controls.items()} == known["others"], name
        assert source.data.X.sum() == known["gene_counts"], name
        assert source.data.obs_names[0] == known["first"], name
        np.testing.assert_allclose(source.data.obsm["spatial"][0], known["first_um"])


def test_a_cell_twice_or_without_a_place_is_a_fault(bundle):
    folder, values, ids = bundle
    cells = pd.read_csv(folder / "cells.csv.gz", dtype={"cell_id": str})
    cells.assign(x_centroid=cells["x_centroid"].where(cells["cell_id"] != ids[3])).to_csv(
        folder / "cells.csv.gz", index=False
    )
    with pytest.raises(InputError, match=rf"{ids[3]}' has no x_centroid .* \(1 have none\)"):
        xenium.read(folder)
    write_h5(folder / "cell_feature_matrix.h5", values, [ids[0], *ids[:-1]])
    with pytest.raises(InputError, match=f"cell '{ids[0]}' is there twice"):
        xenium.read(folder)
