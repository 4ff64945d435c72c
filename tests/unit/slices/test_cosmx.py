"""CosMx folders of both generations, written as the public sets and AtoMx have them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written.cosmx import AREA, CELLS, COUNTS, GENES, LONG, PLACES, SHORT, atomx, legacy, write

from lloki.slices import cosmx
from lloki.slices.files import write_h5ad
from lloki.support.errors import InputError

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "vendor"  # beside a checkout, or not


def refused(folder, *words, **options):
    with pytest.raises(InputError) as error:
        cosmx.read(folder, **options)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("packed", [False, True])
def test_a_legacy_slide(packed, tmp_path):
    source = cosmx.read(write(tmp_path / "S1", *legacy(), packed))
    data = source.data
    assert list(data.obs_names) == list(data.obs["cell_id"]) == SHORT
    assert list(data.var_names) == GENES
    np.testing.assert_array_equal(data.X.toarray(), COUNTS[:, :4])
    assert (data.X.format, data.X.dtype) == ("csr", np.float32)
    np.testing.assert_array_equal(data.obsm["spatial"], PLACES)
    np.testing.assert_array_equal(data.obs["fov"], CELLS["fov"])
    np.testing.assert_array_equal(data.obs["control_counts"], COUNTS[:, 4:].sum(axis=1))
    np.testing.assert_allclose(data.obs["cell_area_um2"], AREA * 0.12028**2)
    assert not {"qc_flags", "slide_ID"} & set(data.obs)
    assert source.controls == {"negative probe": {"features": 4, "counts": COUNTS[:, 4:].sum()}}
    assert source.unit_um == 0.12028 and "size of a pixel" in source.warnings[0]
    assert source.facts["background_rows"] == 3 and source.facts["cells_in_table"] == 6
    assert source.format == "cosmx" and len(source.files) == 3


@pytest.mark.parametrize("packed", [False, True])
def test_a_slide_of_atomx(packed, tmp_path):
    source = cosmx.read(write(tmp_path / "S1", *atomx(), packed))
    data = source.data
    assert list(data.obs_names) == list(data.obs["cell_id"]) == LONG
    assert list(data.var_names) == GENES
    np.testing.assert_array_equal(data.X.toarray(), COUNTS[:, :4])
    np.testing.assert_array_equal(data.obsm["spatial"], PLACES)
    np.testing.assert_array_equal(data.obs["cell_area_um2"], AREA * 0.0144)
    assert list(data.obs["qc_flags"])[:3] == ["qcFlagsFOV", "", "qcFlagsRNACounts;qcFlagsFOV"]
    assert source.facts["qc_failed"] == {"qcFlagsFOV": 2, "qcFlagsRNACounts": 1}
    assert set(data.obs["Run_Tissue_name"]) == {"a, b"} and set(data.obs["slide_ID"]) == {"3"}
    assert source.controls == {
        "negative probe": {"features": 2, "counts": COUNTS[:, 4:6].sum()},
        "system control": {"features": 2, "counts": COUNTS[:, 6:].sum()},
    }
    assert source.unit_um == pytest.approx(0.12) and "fov_positions" in source.unit_from
    assert not source.warnings and source.facts["software"] == "v6"
    write_h5ad(data, tmp_path / "slice.h5ad")


def test_controls_stay_where_they_are_wanted(tmp_path):
    source = cosmx.read(write(tmp_path / "S1", *atomx()), keep_controls=True)
    assert source.data.n_vars == COUNTS.shape[1] and list(source.data.var_names)[:4] == GENES
    np.testing.assert_array_equal(source.data.X.toarray(), COUNTS)
    assert source.controls == cosmx.read(tmp_path / "S1").controls


@pytest.mark.parametrize("form", [legacy, atomx])
@pytest.mark.parametrize("fov", ["1 10", {1, 10}, "1;10"])
def test_fields_of_view(fov, form, tmp_path):
    source = cosmx.read(write(tmp_path, *form()), fov)
    chosen = CELLS["fov"].isin([1, 10]).to_numpy()
    assert list(source.data.obs["fov"]) == [1, 1, 1, 10] and source.facts["fovs"] == "1 10"
    np.testing.assert_array_equal(source.data.X.toarray(), COUNTS[chosen, :4])
    np.testing.assert_array_equal(source.data.obsm["spatial"], PLACES[chosen])
    np.testing.assert_array_equal(source.data.obs["control_counts"], COUNTS[chosen, 4:].sum(axis=1))
    refused(tmp_path, "S1_metadata", "field of view 7", "it has 1-2 10", fov="7")
    assert "field of view 7" in cosmx.read(tmp_path, "1 7").warnings[-1]


def test_rows_without_values_are_left_out_with_their_repeated_ids(tmp_path):
    counts, metadata, positions = atomx()
    empty = counts.astype(object).copy()
    empty.loc[:, GENES[0] :] = np.nan
    nobody = empty.iloc[:2].assign(fov=np.nan, cell_ID=np.nan, cell=np.nan)
    source = cosmx.read(write(tmp_path, pd.concat([empty, counts, nobody]), metadata, positions))
    assert list(source.data.obs_names) == LONG and source.facts["rows_without_values"] == 8
    np.testing.assert_array_equal(source.data.X.toarray(), COUNTS[:, :4])
    assert "8 rows of S1_exprMat_file.csv have no values" in source.warnings[0]


def test_cells_without_metadata_are_left_out(tmp_path):
    counts, metadata, positions = atomx()
    source = cosmx.read(write(tmp_path, counts, metadata[metadata["fov"] != 2], positions))
    chosen = (CELLS["fov"] != 2).to_numpy()
    np.testing.assert_array_equal(source.data.X.toarray(), COUNTS[chosen, :4])
    assert source.facts["cells_without_metadata"] == 2 and "2 cells of" in source.warnings[0]


def test_ids_that_are_no_ids_are_not_taken(tmp_path):
    counts, metadata, positions = atomx()
    metadata[["cell", "cell_id"]] = "c_1_1_1"
    assert list(cosmx.read(write(tmp_path, counts, metadata, positions)).data.obs_names) == SHORT


@pytest.mark.parametrize(
    ("positions", "local", "unit", "source", "warned"),
    [
        (None, 4256, 0.12028, "usual", True),
        (None, 4257, 0.18, "4256", False),
        ({"x_global_mm": 9}, 5000, 0.18, "4256", True),  # one field far off in mm alone
        ({"x_global_mm": 8, "x_global_px": 20_000}, 5000, 0.12, "fov_positions", False),
        ({"x_global_px": 900, "y_global_px": -900}, 4000, 0.12028, "usual", True),
        ({"x_global_mm": 60, "y_global_mm": 60}, 5000, 0.18, "4256", True),
        ({"x_global_mm": np.nan, "y_global_mm": np.nan}, 5000, 0.18, "4256", False),
    ],
)
def test_micrometres_in_a_pixel(positions, local, unit, source, warned, tmp_path):
    counts, metadata, told = atomx()
    metadata.loc[2, "CenterX_local_px"] = local
    if positions is None:
        told = told.drop(columns=["x_global_mm", "y_global_mm"])
    elif positions.get("x_global_mm") == 9:
        told = told.assign(x_global_mm=[0, 0.6, 9])
    elif positions.get("x_global_mm") == 8:  # mm and pixels that count from other places
        told = told.assign(**{name: told[name] + more for name, more in positions.items()})
    else:
        told = told.assign(**positions)
    found = cosmx.read(write(tmp_path, counts, metadata, told))
    assert found.unit_um == pytest.approx(unit) and source in found.unit_from
    assert bool(found.warnings) == warned
    given = cosmx.read(tmp_path, unit_um=0.2)
    assert (given.unit_um, given.unit_from, given.warnings) == (0.2, "as given", [])


def test_positions_may_be_missing_or_of_another_form(tmp_path):
    counts, metadata, _ = atomx()
    other = pd.DataFrame({"Slide": [1], "X_mm": [1.0], "Y_mm": [2.0], "FOV": [1]})
    assert len(cosmx.read(write(tmp_path, counts, metadata)).files) == 2
    assert cosmx.read(write(tmp_path, counts, metadata, other)).unit_um == 0.12028


def test_missing_files(tmp_path):
    counts, metadata, _ = atomx()
    refused(tmp_path, str(tmp_path), "no *exprMat_file.csv")
    write(tmp_path, counts, None)
    refused(tmp_path, "no *metadata_file.csv")
    write(tmp_path, counts, metadata, packed=True)
    refused(tmp_path, "2 files *exprMat_file.csv", "S1_exprMat_file.csv.gz")


@pytest.mark.parametrize(
    ("which", "change", "words"),
    [
        (0, lambda t: t.assign(fov=1), ["exprMat", "cell 1 of field of view 1", "more than once"]),
        (1, lambda t: t.assign(fov=1), ["metadata", "cell 1 of field of view 1", "more than once"]),
        (
            1,
            lambda t: t.assign(fov=t["fov"] + 50),
            ["metadata", "none of its cells", "segmentation"],
        ),
        (0, lambda t: t.assign(CD83=38.23), ["exprMat", "38.23", "protein", "leave this slide"]),
        (1, lambda t: t.assign(assay_type="Protein"), ["metadata", "Protein", "leave this slide"]),
        (0, lambda t: t.assign(CD83=-1), ["negative"]),
        (0, lambda t: t.assign(CD83=["", *[1] * 5]), ["missing"]),
        (0, lambda t: t.assign(CD83="many"), ["column 'CD83' is not numeric", "many"]),
        (0, lambda t: t.assign(fov="one"), ["column 'fov'", "'one'"]),
        (0, lambda t: t.assign(cell_ID=1.5), ["column 'cell_ID'", "'1.5'"]),
        (1, lambda t: t.assign(cell_ID=LONG), ["metadata", "column 'cell_ID'", "c_3_1_1"]),
        (0, lambda t: t.drop(columns="cell_ID"), ["no column 'cell_ID'", "fov, cell"]),
        (0, lambda t: t.drop(columns="fov"), ["no column 'fov'"]),
        (1, lambda t: t.drop(columns="CenterX_global_px"), ["no column 'CenterX_global_px'"]),
        (1, lambda t: t.assign(CenterX_global_px=np.nan), ["no coordinates (6 have none)"]),
        (0, lambda t: t.drop(columns=GENES), ["no gene"]),
        (0, lambda t: t.rename(columns={"CD83": "RAMP2"}), ["gene 'RAMP2'", "more than once"]),
        (0, lambda t: t.rename(columns=dict(zip(GENES, "0123", strict=True))), ["names are lost"]),
        (2, lambda t: t.assign(x_global_mm="far"), ["fov_positions", "'x_global_mm'"]),
    ],
)
def test_what_is_wrong_with_a_slide(which, change, words, tmp_path):
    tables = list(atomx())
    tables[which] = change(tables[which])
    refused(write(tmp_path, *tables), *words)


def test_protein_beside_rna_is_left_to_the_values(tmp_path):
    counts, metadata, positions = atomx()
    metadata = metadata.assign(assay_type=["RNA", *["RNA and protein"] * 5])
    assert cosmx.read(write(tmp_path, counts, metadata, positions)).data.n_obs == 6


def known():
    path = REAL / "expected.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return {k: v for k, v in found.items() if k.startswith("cosmx")}


@pytest.mark.skipif(not known(), reason="the folders of other people's data are not here")
@pytest.mark.parametrize("folder", known())
def test_folders_of_others(folder):
    source, expected = cosmx.read(REAL / folder), known()[folder]
    data = source.data
    assert data.shape == (expected["cells"], expected["genes"])
    assert data.X.sum(dtype=np.float64) == expected["gene_counts"]
    features = {kind: found["features"] for kind, found in source.controls.items()}
    assert features == {kind: n for kind, n in expected["others"].items() if n}
    fov, cell = expected["first"].split("_")
    assert data.obs_names[0] == (f"c_1_{fov}_{cell}" if expected["qc"] else f"{fov}_{cell}")
    assert source.unit_um == pytest.approx(expected["um_per_px"], rel=5e-4)  # there of x alone
    places = data.obsm["spatial"][0] * source.unit_um
    np.testing.assert_allclose(places, expected["first_um"], rtol=5e-4)
    assert source.facts["background_rows"] == expected["background_rows"]
    assert source.facts["cells_without_metadata"] == expected["cells_without_row"]
    assert sorted(set(data.obs["fov"])) == expected["fovs"]
    totals = np.asarray(data.X.sum(axis=1)).ravel()
    assert (totals < 20).sum() == expected["cells_below_20"]
    assert ("qc_flags" in data.obs) == bool(expected["qc"])
