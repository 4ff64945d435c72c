"""prepare_slice.py on real slices in every accepted form, and on everything it has to refuse."""

import gzip
import json
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

BIN, DEMO = Path(__file__).parents[2] / "bin", Path(__file__).parents[2] / "assets" / "demo"
sys.path.insert(0, str(BIN))

import prepare_slice  # noqa: E402


def call(path, out, *arguments, sample="one"):
    arguments = ["--input", path, "--output", out, "--sample", sample, *arguments]
    if "--technology" not in arguments:
        arguments += ["--technology", "osmFISH"]
    return CliRunner().invoke(prepare_slice.main, [str(a) for a in arguments])


def prepared(path, out, *arguments) -> ad.AnnData:
    result = call(path, out, *arguments)
    assert result.exit_code == 0, result.output
    return ad.read_h5ad(out)


def refused(result, *words, code=2):
    """Exit code 2, or this one, and one line on standard error that says these words."""
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("prepare_slice: "), result.stderr
    assert all(word in lines[0] for word in words), lines[0]


@pytest.fixture
def out(tmp_path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "one.slice.h5ad"


@pytest.fixture(scope="module")
def demo() -> ad.AnnData:
    return ad.read_h5ad(DEMO / "osmfish.h5ad")


@pytest.fixture
def small(demo) -> ad.AnnData:
    return demo[:40].copy()


def saved(data: ad.AnnData, path: Path) -> Path:
    data.write_h5ad(path)
    return path


def tables(data: ad.AnnData, folder: Path, kind: str) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    separator = "\t" if "tsv" in kind or "txt" in kind else ","
    counts = pd.DataFrame(data.X.toarray().astype(int), data.obs_names, data.var_names)
    places = pd.DataFrame(data.obsm["spatial"], data.obs_names, ["x", "y"])[::-1]
    paths = folder / f"counts.{kind}", folder / f"coordinates.{kind}"
    for table, path in zip((counts, places), paths, strict=True):
        table.to_csv(path, sep=separator)
    return paths


def test_a_real_slice_keeps_its_cells_counts_and_labels(demo, out):
    data = prepared(DEMO / "osmfish.h5ad", out, "--organism", "mouse", "--label-key", "cell_type")
    assert list(data.obs_names) == [f"one:{name}" for name in demo.obs_names]
    assert list(data.var_names) == list(demo.var_names)
    np.testing.assert_array_equal(data.layers["counts"].toarray(), demo.X.toarray())
    np.testing.assert_array_equal(data.obsm["spatial"], demo.obsm["spatial"].astype(float))
    totals = demo.X.toarray().sum(axis=1, keepdims=True)
    expected = np.log1p(demo.X.toarray() / totals * np.median(totals))
    np.testing.assert_allclose(data.X.toarray(), expected, rtol=1e-5)
    assert sp.isspmatrix_csr(data.X) and data.X.dtype == np.float32
    assert data.obsm["spatial"].dtype == np.float64
    assert list(data.obs["cell_type"]) == list(demo.obs["cell_type"])
    assert set(data.obs["sample"]) == {"one"} and set(data.obs["technology"]) == {"osmFISH"}
    notes = data.uns["lloki"]["prepare_slice"]
    assert notes["source"] == "osmfish.h5ad" and notes["organism"] == "mouse"


def test_the_json_says_what_was_done(demo, out):
    prepared(DEMO / "osmfish.h5ad", out)
    record = json.loads((out.parent / "one.slice.json").read_text())
    assert record["stage"] == "prepare_slice" and record["sample"] == "one"
    assert (record["cells"], record["genes"]) == demo.shape and record["cells_dropped"] == 0
    assert record["nonzero_fraction"] == pytest.approx(demo.X.nnz / np.prod(demo.shape))
    assert record["parameters"]["technology"] == "osmFISH" and record["warnings"] == []
    assert len(record["input_sha256"]) == 64 and record["versions"]["anndata"]
    assert {p.name for p in out.parent.iterdir()} == {"one.slice.h5ad", "one.slice.json"}


def test_the_same_input_gives_the_same_file(out):
    prepared(DEMO / "osmfish.h5ad", out)
    first = out.read_bytes()
    prepared(DEMO / "osmfish.h5ad", out)
    assert out.read_bytes() == first


def test_units_and_panels(demo, out):
    data = prepared(DEMO / "osmfish.h5ad", out, "--spatial-unit-um", "0.5", "--panel", "small")
    expected = demo.obsm["spatial"].astype(float) / 2
    np.testing.assert_allclose(data.obsm["spatial"], expected)
    assert set(data.obs["panel"]) == {"small"}
    assert prepared(DEMO / "osmfish.h5ad", out).obs["panel"].iloc[0].startswith("osmFISH-")


def test_counts_of_a_layer_come_before_x(small, tmp_path, out):
    small.layers["counts"] = small.X.copy()
    small.X = small.X * 0.37
    data = prepared(saved(small, tmp_path / "in.h5ad"), out)
    np.testing.assert_array_equal(data.layers["counts"].toarray(), small.layers["counts"].toarray())


def test_normalised_values_are_taken_as_they_are(small, tmp_path, out):
    small.X = small.X.log1p()
    path = saved(small, tmp_path / "in.h5ad")
    refused(call(path, out), "in.h5ad", "not whole counts", "--normalized")
    data = prepared(path, out, "--normalized")
    np.testing.assert_array_equal(data.X.toarray(), small.X.toarray())
    assert "counts" not in data.layers


def test_cells_without_counts_are_dropped_and_counted(small, tmp_path, out):
    small.X[[3, 7]] = 0
    result = call(saved(small, tmp_path / "in.h5ad"), out)
    assert result.exit_code == 0
    assert "warning: one: 2 of 40 cells have no counts" in result.stderr
    data = ad.read_h5ad(out)
    kept = np.delete(np.arange(40), [3, 7])
    assert list(data.obs_names) == [f"one:{name}" for name in small.obs_names[kept]]
    np.testing.assert_allclose(data.obsm["spatial"], small.obsm["spatial"][kept])
    record = json.loads((out.parent / "one.slice.json").read_text())
    assert record["cells_dropped"] == 2 and len(record["warnings"]) == 1


@pytest.mark.parametrize("kind", ["csv", "tsv", "csv.gz", "tsv.gz", "txt"])
def test_tables_give_what_the_h5ad_gives(kind, small, tmp_path, out):
    want = prepared(saved(small, tmp_path / "in.h5ad"), out)
    counts, places = tables(small, tmp_path / "tables", kind)
    for arguments in ([counts, out, "--coordinates", places], [counts.parent, out]):
        got = prepared(*arguments)
        assert list(got.obs_names) == list(want.obs_names)
        assert list(got.var_names) == list(want.var_names)
        np.testing.assert_array_equal(got.X.toarray(), want.X.toarray())
        np.testing.assert_allclose(got.obsm["spatial"], want.obsm["spatial"], rtol=1e-6)


@pytest.mark.parametrize("corner", ["cell,", ",", ""], ids=["named", "empty", "none, as R does"])
def test_names_that_look_like_numbers_stay_names(corner, tmp_path, out):
    (tmp_path / "counts.csv").write_text(f"{corner}A,B\n007,1,2\n7,3,4\n")
    (tmp_path / "coordinates.csv").write_text(f"{corner}x,y\n7,3,3\n007,1,2\n")
    data = prepared(tmp_path / "counts.csv", out, "--coordinates", tmp_path / "coordinates.csv")
    assert list(data.obs_names) == ["one:007", "one:7"] and list(data.var_names) == ["A", "B"]
    np.testing.assert_array_equal(data.obsm["spatial"], [[1, 2], [3, 3]])


COUNTS, PLACES = "cell,A,B\na,1,2\nb,3,4\n", "cell,x,y\na,1,1\nb,2,2\n"


@pytest.mark.parametrize(
    ("counts", "places", "words"),
    [
        (COUNTS, "cell,x,y\na,1,1\n", ["coordinates.csv", "'b'", "no coordinates"]),
        (COUNTS, "cell,x,y\na,1,1\nb,,2\n", ["coordinates.csv", "NaN"]),
        (COUNTS, "cell,x\na,1\nb,2\n", ["coordinates.csv", "1 columns of numbers", "2 or 3"]),
        (COUNTS, "cell,x,y\na,1,left\nb,2,2\n", ["coordinates.csv", "'y'", "not numeric"]),
        (COUNTS, "cell,x,y\na,1,1\na,2,2\n", ["coordinates.csv", "cell name 'a'"]),
        (COUNTS, "", ["coordinates.csv", "not a readable table"]),
        ("cell,A,B\na,1,2\na,3,4\n", PLACES, ["counts.csv", "cell name 'a'", "more than once"]),
        ("cell,A,A\na,1,2\nb,3,4\n", PLACES, ["counts.csv", "gene name 'A'", "more than once"]),
        ("cell,A,B\na,1,much\nb,3,4\n", PLACES, ["counts.csv", "'B'", "not numeric"]),
        ("cell,A,B\na,1,\nb,3,4\n", PLACES, ["counts.csv", "NaN"]),
        ("cell,A,B\na,1,-2\nb,3,4\n", PLACES, ["counts.csv", "negative"]),
        ("cell,A,B\na,1,.5\nb,3,4\n", PLACES, ["counts.csv", "not whole counts"]),
        ("cell,A\na,1,2,3\nb,3,4,5\n", PLACES, ["counts.csv", "not a readable table"]),
        ("cell,A,B\na,1,2\nb,3,4,5\n", PLACES, ["counts.csv", "not a readable table"]),
        ("cell|A|B\na|1|2\nb|3|4\n", PLACES, ["counts.csv", "no cells or no columns"]),
        ("cell,A,B\n", PLACES, ["counts.csv", "not a readable table"]),
        ("cell,A,B\na,0,0\nb,0,0\n", PLACES, ["counts.csv", "no cell has any count"]),
    ],
)
def test_bad_tables(counts, places, words, tmp_path, out):
    (tmp_path / "counts.csv").write_text(counts)
    (tmp_path / "coordinates.csv").write_text(places)
    result = call(tmp_path / "counts.csv", out, "--coordinates", tmp_path / "coordinates.csv")
    refused(result, *words)
    assert not list(out.parent.iterdir())


def test_tables_that_are_not_there(tmp_path, out):
    (tmp_path / "counts.csv").write_text(COUNTS)
    refused(call(tmp_path / "counts.csv", out), "counts.csv", "--coordinates")
    result = call(tmp_path / "counts.csv", out, "--coordinates", tmp_path / "no.csv")
    refused(result, "no.csv", "no such file")
    refused(call(tmp_path, out), "0 tables named coordinates.csv")
    (tmp_path / "coordinates.csv").write_text(PLACES)
    (tmp_path / "coordinates.tsv").write_text(PLACES)
    refused(call(tmp_path, out), "2 tables named coordinates.csv")
    packed = gzip.compress(COUNTS.encode())
    (tmp_path / "half.csv.gz").write_bytes(packed[: len(packed) // 2])
    result = call(tmp_path / "half.csv.gz", out, "--coordinates", tmp_path / "coordinates.csv")
    refused(result, "half.csv.gz", "not a readable table")


def write_merscope(folder, data, ids):
    """The demo's cells as MERSCOPE writes a region, a Blank among the genes, rows out of order."""
    folder.mkdir()
    counts = pd.DataFrame(data.X.toarray().astype(int), index=ids, columns=data.var_names)
    counts["Blank-1"] = 1
    counts.rename_axis("cell").iloc[::-1].to_csv(folder / "cell_by_gene.csv")
    x, y = data.obsm["spatial"].T
    cells = pd.DataFrame({"EntityID": ids, "fov": 3, "volume": 9.5, "center_x": x, "center_y": y})
    cells.to_csv(folder / "cell_metadata.csv", index=False)


def test_an_instruments_folder_is_read_as_it_is(demo, tmp_path, out):
    ids = [str(2317032900022100080 + i) for i in range(demo.n_obs)]
    for region in ("region_0", "region_1"):
        (tmp_path / "run").mkdir(exist_ok=True)
        write_merscope(tmp_path / "run" / region, demo, ids)
    refused(call(tmp_path / "run", out), "2 regions (region_0, region_1)", "--region")
    refused(call(tmp_path / "run", out, "--region", "region_7"), "'region_7'", "region_1")
    data = prepared(tmp_path / "run", out, "--region", "region_1", "--technology", "Xenium")
    record = json.loads(out.with_name("one.slice.json").read_text())
    totals = np.asarray(demo.X.sum(axis=1)).ravel()
    assert data.n_obs == (totals >= 10).sum() and record["min_counts"] == 10
    assert "fewer than 10 counts" in " ".join(record["warnings"])
    assert "technology is Xenium, but the files are MERSCOPE's" in " ".join(record["warnings"])
    assert record["format"] == "merscope" and record["cells_read"] == demo.n_obs
    assert record["controls"]["Blank"]["counts"] == demo.n_obs
    rate = demo.n_obs / (totals.sum() / demo.n_vars)
    assert record["controls"]["Blank"]["rate"] == pytest.approx(rate)
    assert record["control_rate"] == pytest.approx(rate)
    assert set(record["files"]) == {"cell_by_gene.csv", "cell_metadata.csv"}
    assert "Blank-1" not in data.var_names and data.obs["control_counts"].eq(1).all()
    places = dict(zip(ids, demo.obsm["spatial"], strict=True))
    ours = [places[cell] for cell in data.obs["cell_id"]]
    np.testing.assert_allclose(data.obsm["spatial"], ours)
    assert data.obs_names[0] == f"one:{data.obs['cell_id'].iloc[0]}"
    assert prepared(tmp_path / "run/region_0", out, "--min-counts", "1").n_obs == (totals > 0).sum()


def test_a_folder_with_one_bundle_or_region_in_it_is_read(demo, tmp_path, out):
    ids = [f"c{i}" for i in range(demo.n_obs)]
    (tmp_path / "run" / "logs").mkdir(parents=True)
    write_merscope(tmp_path / "run" / "region_0", demo, ids)
    assert prepared(tmp_path / "run", out).n_vars == demo.n_vars
    for name in ("one", "two"):
        (tmp_path / "slide" / name).mkdir(parents=True)
        (tmp_path / "slide" / name / "experiment.xenium").write_text("{}")
    refused(call(tmp_path / "slide", out), "2 regions (one, two)")
    (tmp_path / "slide/two/experiment.xenium").unlink()
    refused(call(tmp_path / "slide", out), "one", "experiment.xenium without")


def test_controls_of_an_instrument_stay_where_they_are_wanted(demo, tmp_path, out):
    write_merscope(tmp_path / "run", demo, [f"c{i}" for i in range(demo.n_obs)])
    data = prepared(tmp_path / "run", out, "--keep-controls")
    record = json.loads(out.with_name("one.slice.json").read_text())
    assert "Blank-1" in data.var_names and record["controls"]["Blank"]["features"] == 1
    prepared(tmp_path / "run", out)
    without = json.loads(out.with_name("one.slice.json").read_text())
    assert record["control_rate"] == pytest.approx(without["control_rate"])
    assert "control features stay among the genes" in " ".join(record["warnings"])


def test_options_of_counts_under_normalized_are_said_to_do_nothing(small, tmp_path, out):
    small.X = small.X.log1p()
    path = saved(small, tmp_path / "a.h5ad")
    prepared(path, out, "--normalized", "--min-counts", "5", "--fractional-counts")
    (said,) = json.loads(out.with_name("one.slice.json").read_text())["warnings"]
    assert "--min-counts and --fractional-counts say nothing about log-normalised values" in said
    prepared(path, out, "--normalized")
    assert json.loads(out.with_name("one.slice.json").read_text())["warnings"] == []


def test_words_that_are_no_labels_count_as_none_and_are_said_once(small, tmp_path, out):
    words = ["unknown", "Unassigned", "NA", "None", "N/A", "nan", "", "Neuron"]
    small.obs["kind"] = (words * 5)[:40]
    result = call(saved(small, tmp_path / "a.h5ad"), out, "--label-key", "kind")
    assert result.exit_code == 0
    record = json.loads(out.with_name("one.slice.json").read_text())
    assert record["labelled"] == {"kind": 5}
    (said,) = record["warnings"]
    assert "'kind' count as not labelled" in said and "5 'Unassigned'" in said and "Neu" not in said


def test_genes_are_called_by_their_symbols_and_that_is_said(small, tmp_path, out):
    small.var_names = ["HLA.A", "GRCh38_CD3E", *small.var_names[2:]]
    result = call(saved(small, tmp_path / "a.h5ad"), out)
    assert list(ad.read_h5ad(out).var_names[:2]) == ["HLA-A", "CD3E"]
    (said,) = json.loads(out.with_name("one.slice.json").read_text())["warnings"]
    assert "GRCh38_CD3E is CD3E" in said and "HLA.A is HLA-A" in said and said in result.stderr


def test_a_slice_without_the_labels_goes_through_and_that_is_said(out):
    keys = ["--label-key", "cell_type", "--label-key", "kind"]
    prepared(DEMO / "osmfish.h5ad", out, *keys)
    record = json.loads(out.with_name("one.slice.json").read_text())
    assert record["labelled"]["cell_type"] > 0 == record["labelled"]["kind"]
    (said,) = record["warnings"]
    assert "no column 'kind'" in said and "cell_type_coarse" in said and "not labelled" in said


def test_columns_of_the_user_stay_under_another_name(small, tmp_path, out):
    small.obs["sample"], small.obs["technology"] = [f"donor{i % 2}" for i in range(40)], "osmFISH"
    data = prepared(saved(small, tmp_path / "a.h5ad"), out)
    assert (data.obs["sample"] == "one").all()
    assert set(data.obs["sample_given"].astype(str)) == {"donor0", "donor1"}
    assert "technology_given" not in data.obs


def test_columns_of_the_pipeline_are_no_labels_and_pixels_are_said(small, tmp_path, out):
    small.obs["panel"] = "mine"
    path = saved(small, tmp_path / "a.h5ad")
    refused(call(path, out, "--label-key", "panel"), "a column of the pipeline", "panel_given")
    refused(call(path, out, "--z", "nan"), "--z", "no number")
    (tmp_path / "counts.csv").write_text("cell,A\na,1\nb,2\n")
    (tmp_path / "places.csv").write_text("cell,x_px,y_px\na,1,1\nb,9,9\n")
    tables = [tmp_path / "counts.csv", out, "--coordinates", tmp_path / "places.csv"]
    assert "x_px, y_px are pixels, taken for micrometres" in call(*tables).stderr
    assert "pixels" not in call(*tables, "--spatial-unit-um", "0.5").stderr


def test_the_place_of_the_counts_can_be_said(small, tmp_path, out):
    small.layers["mine"] = small.X.copy()
    small.X = small.X.log1p()
    path = saved(small, tmp_path / "a.h5ad")
    refused(call(path, out), "no raw counts", "log-normalised")
    refused(call(path, out, "--counts-layer", "other"), "no layer 'other'", "mine")
    data = prepared(path, out, "--counts-layer", "mine")
    np.testing.assert_array_equal(data.layers["counts"].toarray(), small.layers["mine"].toarray())
    assert json.loads(out.with_name("one.slice.json").read_text())["values"] == "layers['mine']"
    small.layers["mine"].data *= 0.7
    path = saved(small, tmp_path / "a.h5ad")
    refused(call(path, out, "--counts-layer", "mine"), "not whole", "--fractional-counts")
    data = prepared(path, out, "--counts-layer", "mine", "--fractional-counts")
    assert not files_are_whole(data)


def files_are_whole(data):
    return (data.layers["counts"].data == np.rint(data.layers["counts"].data)).all()


def test_a_lasso_of_the_viewer_chooses_cells(demo, tmp_path, out):
    ids = [f"c{i}" for i in range(demo.n_obs)]
    write_merscope(tmp_path / "run", demo, ids)
    lasso = tmp_path / "lasso.csv"
    lasso.write_text("#Selection name: a\n#Area: 5\nCell ID,Cluster\nc3,1\nc7,1\nnobody,1\n")
    data = prepared(tmp_path / "run", out, "--cells", lasso, "--min-counts", "1")
    assert sorted(data.obs["cell_id"]) == ["c3", "c7"]
    said = json.loads(out.with_name("one.slice.json").read_text())["warnings"]
    assert any("1 of the cells" in line and "not there" in line for line in said)
    lasso.write_text("Cell ID\nx\n")
    refused(call(tmp_path / "run", out, "--cells", lasso), "lasso.csv", "none of its 1 cells")
    lasso.write_text("#\n")
    refused(call(tmp_path / "run", out, "--cells", lasso), "names no cells")
    lasso.write_text("c3\tx\nc7\tx\n")  # no header
    data = prepared(tmp_path / "run", out, "--cells", lasso, "--min-counts", "1")
    assert sorted(data.obs["cell_id"]) == ["c3", "c7"]


def test_labels_of_a_table_of_cells_are_the_slices_labels(demo, tmp_path, out):
    ids = [str(2317032900022100080 + i) for i in range(demo.n_obs)]
    write_merscope(tmp_path / "run", demo, ids)
    table = pd.DataFrame({"cell_id": ids, "group": demo.obs["cell_type"].astype(object).to_numpy()})
    table.loc[::3, "group"] = None
    table["cluster"], table["sample"] = range(demo.n_obs), "donor1"
    table[::-1].to_csv(tmp_path / "groups.csv", index=False)
    data = prepared(
        tmp_path / "run", out, "--cells", tmp_path / "groups.csv", "--label-key", "group",
        "--label-key", "cluster", "--min-counts", "1",
    )  # fmt: skip
    expected = table.set_index("cell_id").loc[data.obs["cell_id"]]
    pd.testing.assert_series_equal(
        data.obs["group"].astype(object), expected["group"].astype(object),
        check_index=False, check_names=False,
    )  # fmt: skip
    assert data.obs["cluster"].tolist() == expected["cluster"].astype(str).tolist()
    assert set(data.obs["sample"]) == {"one"} and set(data.obs["sample_given"]) == {"donor1"}
    record = json.loads(out.with_name("one.slice.json").read_text())
    assert record["labelled"]["group"] == data.obs["group"].notna().sum() < data.n_obs
    assert "cells/groups.csv" in record["files"] and "group" in record["columns"]
    (tmp_path / "groups.csv").write_text(f"cell_id,group\n{ids[0]},a\n{ids[0]},b\n")
    result = call(tmp_path / "run", out, "--cells", tmp_path / "groups.csv")
    refused(result, "groups.csv", "says two things", ids[0])


def test_a_format_that_does_not_fit_is_said(demo, tmp_path, out):
    write_merscope(tmp_path / "run", demo, [f"c{i}" for i in range(demo.n_obs)])
    refused(call(tmp_path / "run", out, "--format", "cosmx"), "it is merscope, not cosmx")
    (tmp_path / "run" / "experiment.xenium").write_text("{}")
    refused(call(tmp_path / "run", out), "xenium and of merscope", "set the format")
    assert prepared(tmp_path / "run", out, "--format", "merscope").n_vars == demo.n_vars
    (tmp_path / "nothing").mkdir()
    refused(call(tmp_path / "nothing", out), "of no form that is known", "cell_by_gene.csv")
    refused(call(tmp_path / "absent", out), "no such file or folder")
    saved_to = saved(demo, tmp_path / "a.h5ad")
    refused(call(saved_to, out, "--fov", "1-3"), "h5ad has no fields of view")
    refused(call(saved_to, out, "--region", "a"), "h5ad has no regions")
    refused(call(saved_to, out, "--coordinates", "x.csv"), "brings its coordinates")


@pytest.mark.parametrize("form", ["anndata", "spatialdata", "spatialdata without its root"])
def test_a_zarr_store_is_read(demo, tmp_path, out, form):
    """A SpatialData is a store whose tables are AnnData groups; images beside them do not count."""
    store = tmp_path / "slice.zarr"
    if form == "anndata":
        demo.write_zarr(store)
    else:
        (store / "images").mkdir(parents=True)
        if form == "spatialdata":
            (store / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
        demo.write_zarr(store / "tables" / "table")
    form = form.split()[0]
    data = prepared(store, out)
    expected = prepared(saved(demo, tmp_path / "a.h5ad"), out.with_name("two.slice.h5ad"))
    np.testing.assert_array_equal(data.X.toarray(), expected.X.toarray())
    assert json.loads(out.with_name("one.slice.json").read_text())["format"] == form
    refused(call(store, out, "--region", "other"), "no regions" if form == "anndata" else "table")


def test_a_store_that_lost_its_genes_or_is_damaged_is_refused(demo, tmp_path, out):
    bare = demo.copy()
    bare.var_names = [str(i) for i in range(bare.n_vars)]
    bare.write_zarr(tmp_path / "bare.zarr")
    refused(call(tmp_path / "bare.zarr", out), "bare.zarr", "genes are numbers")
    demo.write_zarr(tmp_path / "cut.zarr")
    for chunk in (tmp_path / "cut.zarr/X").rglob("c/*"):
        if chunk.is_file():
            chunk.write_bytes(b"cut")
    refused(call(tmp_path / "cut.zarr", out), "cut.zarr", "not a readable store")


def damaged(small: ad.AnnData) -> dict:
    """What can be wrong with an AnnData, and the words that have to be said about it."""
    nan, negative, place, names, genes, bare, wide, text, none, line = (
        small.copy() for _ in range(10)
    )
    nan.X[2, 3] = np.nan
    negative.X[2, 3] = -1
    place.obsm["spatial"][5, 1] = np.inf
    names.obs_names = ["a", "a", *names.obs_names[2:]]
    genes.var_names = ["G", "G", *genes.var_names[2:]]
    del bare.obsm["spatial"]
    wide.obsm["spatial"] = np.ones((40, 4))
    text.obsm["spatial"] = pd.DataFrame({"x": list("ab") * 20, "y": "c"}, index=text.obs_names)
    none.X = None
    line.X[:] = 0
    return {
        "nan": (nan, "NaN or infinite values"),
        "negative": (negative, "negative values"),
        "place": (place, "obsm['spatial'] has NaN"),
        "names": (names, "cell name 'a' occurs more than once"),
        "genes": (genes, "gene name 'G' occurs more than once"),
        "bare": (bare, "obsm['spatial'] is missing"),
        "wide": (wide, "obsm['spatial'] has shape (40, 4)"),
        "text": (text, "obsm['spatial'] holds no numbers"),
        "none": (none, "no expression matrix X"),
        "no-genes": (small[:, :0].copy(), "no expression matrix X"),
        "no-cells": (small[:0].copy(), "holds no cells"),
        "empty": (line, "no cell has any count"),
    }


def test_damaged_files_are_refused_and_leave_nothing(small, tmp_path, out):
    for name, (data, words) in damaged(small).items():
        path = tmp_path / f"{name}.h5ad"
        with pytest.warns() if not data.obs_names.is_unique else _nothing():
            data.write_h5ad(path)
        refused(call(path, out), f"{name}.h5ad", words)
        assert not list(out.parent.iterdir()), name


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_files_that_are_no_anndata(small, tmp_path, out):
    refused(call(tmp_path / "no.h5ad", out), "no.h5ad", "no such file")
    (tmp_path / "text.h5ad").write_text("not HDF5")
    (tmp_path / "none.h5ad").touch()
    whole = saved(small, tmp_path / "whole.h5ad").read_bytes()
    (tmp_path / "half.h5ad").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "none", "half"):
        refused(call(tmp_path / f"{name}.h5ad", out), f"{name}.h5ad", "not a readable AnnData")
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["matrix"] = np.eye(3)
    refused(call(tmp_path / "other.h5ad", out), "other.h5ad")
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sample", "a:b"], ["--sample a:b", "':' or '/'"]),
        (["--sample", "a/b"], ["--sample a/b", "':' or '/'"]),
        (["--sample", " "], ["--sample", "empty"]),
        (["--technology", ""], ["--technology", "empty"]),
        (["--spatial-unit-um", "0"], ["--spatial-unit-um", "no positive number"]),
        (["--spatial-unit-um", "nan"], ["--spatial-unit-um", "no positive number"]),
        (["--spatial-unit-um", "inf"], ["--spatial-unit-um", "no positive number"]),
    ],
)
def test_bad_options(arguments, words, out):
    refused(call(DEMO / "osmfish.h5ad", out, *arguments), *words)
    assert not list(out.parent.iterdir())


def test_an_existing_good_output_survives_a_failed_run(small, tmp_path, out):
    prepared(DEMO / "osmfish.h5ad", out)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    small.X[0, 0] = np.nan
    refused(call(saved(small, tmp_path / "in.h5ad"), out), "NaN")
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


def test_a_failure_while_writing_leaves_nothing(monkeypatch, out):
    from lloki.slices import files

    def full(data, path):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_h5ad", full)
    refused(call(DEMO / "osmfish.h5ad", out), "one.slice.h5ad", "no space is left", code=74)
    assert not list(out.parent.iterdir())


def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path):
    nowhere = tmp_path / "no" / "one.slice.h5ad"
    refused(call(tmp_path / "absent.h5ad", nowhere), "no", "folder does not exist")
    (tmp_path / "folder").mkdir()
    refused(call(DEMO / "osmfish.h5ad", tmp_path / "folder"), "there is a folder of this name")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
