"""MERSCOPE folders of both generations, written as the instrument and vpt write them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written.merscope import (
    BLANKS,
    CELLS,
    COUNTS,
    GENES,
    NEW,
    OLD,
    PLACES,
    VOLUMES,
    csv,
    new,
    old,
    write,
)

from lloki.slices import merscope
from lloki.slices.files import write_h5ad
from lloki.support.errors import InputError

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "vendor"  # beside a checkout, or not


def refused(folder, *words, fov=None):
    with pytest.raises(InputError) as error:
        merscope.read(folder, fov)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("prefix", ["", "Liver1Slice1_", "cellpose_"])
@pytest.mark.parametrize(("tables", "ids"), [(old, OLD), (new, NEW)], ids=["old", "new"])
def test_a_region(tables, ids, prefix, packed, tmp_path):
    source = merscope.read(write(tmp_path / "region_0", *tables(), prefix, packed))
    data = source.data
    assert list(data.obs_names) == list(data.obs["cell_id"]) == ids
    assert list(data.var_names) == GENES
    np.testing.assert_array_equal(data.X.toarray(), COUNTS[:, :4])
    assert (data.X.format, data.X.dtype) == ("csr", np.float32)
    np.testing.assert_array_equal(data.obs["control_counts"], COUNTS[:, 4:].sum(axis=1))
    np.testing.assert_array_equal(data.obsm["spatial"], PLACES)
    np.testing.assert_array_equal(data.obs["volume_um3"], VOLUMES)
    assert ("fov" in data.obs) == (tables is old) and "transcript_counts" not in data.obs
    assert (source.format, source.unit_um, source.warnings) == ("merscope", 1, [])
    assert source.controls == {"Blank": {"features": 2, "counts": COUNTS[:, 4:].sum()}}
    assert [path.parent for path in source.files] == [tmp_path / "region_0"] * 2
    write_h5ad(data, tmp_path / "slice.h5ad")


def test_controls_stay_where_they_are_wanted(tmp_path):
    source = merscope.read(write(tmp_path, *old()), keep_controls=True)
    assert list(source.data.var_names) == [*GENES, *BLANKS]
    np.testing.assert_array_equal(source.data.X.toarray(), COUNTS)
    np.testing.assert_array_equal(source.data.obs["control_counts"], COUNTS[:, 4:].sum(axis=1))
    assert source.controls["Blank"]["features"] == 2


def test_columns_count_by_name(tmp_path):
    metadata = csv(
        ["center_y", "transcript_count", "EntityID", "center_x"],
        [[y, 3, i, x] for i, (x, y) in zip(NEW, PLACES, strict=True)],
    )
    counts = csv(
        ["", *GENES, "cell"], [[9, *row[:4], i] for i, row in zip(NEW, COUNTS, strict=True)]
    )
    data = merscope.read(write(tmp_path, counts, metadata)).data
    np.testing.assert_array_equal(data.obsm["spatial"], PLACES)
    np.testing.assert_array_equal(data.X.toarray(), COUNTS[:, :4])
    assert list(data.obs_names) == NEW and list(data.obs["transcript_counts"]) == [3] * CELLS


def test_ids_go_by_any_name_that_they_have_elsewhere(tmp_path):
    table = [[y, i, x] for i, (x, y) in zip(NEW, PLACES, strict=True)]
    metadata = csv(["center_y", "Cell_ID", "center_x"], table)
    assert list(merscope.read(write(tmp_path, new()[0], metadata)).data.obs_names) == NEW


def test_cells_without_metadata_are_left_out(tmp_path):
    source = merscope.read(write(tmp_path, *new(slice(4, None, -2))))
    assert list(source.data.obs_names) == [NEW[0], NEW[2], NEW[4]]
    np.testing.assert_array_equal(source.data.X.toarray(), COUNTS[[0, 2, 4], :4])
    np.testing.assert_array_equal(source.data.obsm["spatial"], PLACES[[0, 2, 4]])
    assert source.facts["cells_without_metadata"] == 4 and "4 cells of" in source.warnings[0]


@pytest.mark.parametrize("fov", ["1-2", {1, 2}, "1;2 1"])
def test_fields_of_view(fov, tmp_path):
    source = merscope.read(write(tmp_path, *old()), fov)
    assert list(source.data.obs_names) == OLD[2:] and set(source.data.obs["fov"]) == {1, 2}
    np.testing.assert_array_equal(source.data.obs["control_counts"], COUNTS[2:, 4:].sum(axis=1))
    refused(tmp_path, "cell_metadata.csv", "field of view 7", "it has 0-2", fov="7")


def test_fields_of_view_of_a_region_that_has_none(tmp_path):
    refused(write(tmp_path, *new()), "column fov is not filled", "leave fov empty", fov="1")


def test_missing_files(tmp_path):
    counts, metadata = old()
    refused(tmp_path, str(tmp_path), "no *cell_by_gene.csv")
    (tmp_path / "cell_by_gene.csv").write_text(counts)
    refused(tmp_path, "no *cell_metadata.csv")
    write(tmp_path, counts, metadata, "cellpose_")
    refused(tmp_path, "2 files *cell_by_gene.csv", "cellpose_cell_by_gene.csv")


@pytest.mark.parametrize(
    ("which", "change", "words"),
    [
        (0, lambda t: t.replace(f"{OLD[0]},", f"{OLD[1]},"), ["cell_by_gene", OLD[1], "2 times"]),
        (1, lambda t: t.replace(f"{OLD[0]},", f"{OLD[1]},"), ["cell_metadata", "2 times", "ids"]),
        (1, lambda t: t.replace("1033272916943892840", "9"), ["none of its cells", "two tables"]),
        (1, lambda t: t.replace("center_x", "x"), ["no column 'center_x'", "center_y"]),
        (1, lambda t: t.replace(str(PLACES[2, 1]), ""), [OLD[2], "no coordinates (1 have none)"]),
        (1, lambda t: t.replace(str(PLACES[2, 1]), "east"), ["column 'center_y' is not numeric"]),
        (0, lambda t: t.replace("Comt", "Ldha"), ["gene 'Ldha' occurs more than once"]),
        (0, lambda t: t.replace("Comt,Ldha,Blank,Pck1", "0,1,2,3"), ["called 0, 1, 2", "lost"]),
        (0, lambda t: t.replace("Comt,Ldha,Blank,Pck1", "Blank-2,Blank-3,Blank-4,Blank-5"),
         ["cell_by_gene", "no gene"]),
        (0, lambda t: t.replace(f"{OLD[0]},", f"{OLD[0]},x"), ["'Comt' is not numeric"]),
        (0, lambda t: t.replace(f"{OLD[0]},", f"{OLD[0]},0.5"), ["values such as"]),
        (0, lambda t: t.replace(f"{OLD[0]},", f"{OLD[0]},-1"), ["negative"]),
        (0, lambda t: t.replace(f"{OLD[0]},{COUNTS[0, 0]}", f"{OLD[0]},"), ["missing"]),
        (0, lambda t: t[:-12], ["row 7 has", "copy it again"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_region(which, change, words, tmp_path):
    tables = list(old())
    tables[which] = change(tables[which])
    refused(write(tmp_path, *tables), *words)


def known():
    path = REAL / "expected.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return {k: v for k, v in found.items() if k.startswith("merscope") and "cells" in v}


@pytest.mark.skipif(not known(), reason="the folders of other people's data are not here")
@pytest.mark.parametrize("folder", known())
def test_folders_of_others(folder):
    source, expected = merscope.read(REAL / folder), known()[folder]
    data = source.data
    assert data.shape == (expected["cells"], expected["genes"])
    assert data.X.sum(dtype=np.float64) == expected["gene_counts"]
    blanks = source.controls.get("Blank", {"features": 0})
    assert blanks["features"] == expected["others"]["Blank"]
    assert data.obs_names[0] == expected["first"]
    np.testing.assert_allclose(data.obsm["spatial"][0], expected["first_um"], rtol=1e-12)
    totals = np.asarray(data.X.sum(axis=1)).ravel()
    assert (totals == 0).sum() == expected["cells_zero"]
    assert (totals < 10).sum() == expected["cells_below_10"]
    assert data.obs["volume_um3"].median() == pytest.approx(expected["volume_median"])
    assert source.facts["cells_without_metadata"] == expected["cells_without_row"]


def test_tables_that_were_written_again_with_row_numbers_are_refused(tmp_path):
    counts, metadata = old()
    folder = write(tmp_path, counts, metadata)
    for name in ("cell_by_gene.csv", "cell_metadata.csv"):
        table = pd.read_csv(folder / name, dtype={0: str})
        table.columns = ["Unnamed: 0", *table.columns[1:]]
        table.to_csv(folder / name)
        refused(folder, "its first column counts the rows, and 'Unnamed: 0' names the cells")


def test_columns_that_programs_put_beside_the_genes_are_passed_over(tmp_path):
    counts, metadata = old()
    head, *rows = counts.splitlines()
    wider = "\n".join([f"{head},total_counts", *(f"{row},99" for row in rows)]) + "\n"
    folder = write(tmp_path, wider, metadata)
    source = merscope.read(folder)
    assert source.data.var_names.tolist() == GENES
    assert "no genes are passed over (total_counts)" in source.warnings[0]
