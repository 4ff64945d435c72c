"""viewer_files.py on what instruments wrote, from their folders to the files and back."""

import csv
import gzip
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from written import cosmx, merscope, xenium

import integrate
import prepare_slice
import viewer_files
from lloki.slices import files

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "vendor"  # beside a checkout, or not
LABELS = ["T cell, CD4+", 'so-called "B"', None]
TEXT_IDS, NUMBERS = xenium.text_ids(), [str(i + 1) for i in range(40)]


def call(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def write_xenium(folder, ids):
    folder.mkdir()
    values = xenium.counts()
    xenium.write_h5(folder / "cell_feature_matrix.h5", values, ids)
    xenium.table(values, ids)[::-1].to_csv(folder / "cells.csv.gz", index=False)
    return folder


def written(where):
    """A folder of each kind: sample to folder, technology."""
    data = ad.AnnData(
        merscope.COUNTS.astype(np.float32), obs=pd.DataFrame(index=[f"n{i}" for i in range(7)])
    )
    data.obsm["spatial"] = merscope.PLACES
    data.obs["cell_id"] = 2**62 + np.arange(7)  # numbers that no float64 tells apart
    data.write_h5ad(where / "plain.h5ad")
    return {
        "text": (write_xenium(where / "x1", TEXT_IDS), "Xenium"),
        "numbers": (write_xenium(where / "x2", NUMBERS), "Xenium"),
        "old": (merscope.write(where / "m1", *merscope.old()), "MERSCOPE"),
        "new": (merscope.write(where / "m2", *merscope.new()), "MERSCOPE"),
        "legacy": (cosmx.write(where / "c1", *cosmx.legacy()), "CosMx"),
        "atomx": (cosmx.write(where / "c2", *cosmx.atomx()), "CosMx"),
        "plain": (where / "plain.h5ad", "MERFISH"),
    }


def joined(where, slices):
    """integrated.h5ad of some slices, with embeddings and groupings made up."""
    rng = np.random.default_rng(0)
    arguments = ["--output", where / "integrated.h5ad", "--no-umap"]
    for sample, (folder, technology) in slices.items():
        path = where / f"{sample}.slice.h5ad"
        done = call(prepare_slice.main, "--input", folder, "--output", path, "--sample", sample,
                    "--technology", technology, "--min-counts", 1)  # fmt: skip
        assert done.exit_code == 0, done.output
        data = files.read_h5ad(path)
        cells = files.without_expression(data)
        for key in ("X_lloki_fp", "X_lloki"):
            cells.obsm[key] = rng.normal(size=(cells.n_obs, 3)).astype(np.float32)
        cells.obsm["spatial_aligned"] = cells.obsm["spatial"] + 1
        if sample != "numbers":
            cells.obs["cell type"] = pd.Categorical(np.resize(LABELS, cells.n_obs))
        cells.obs["lloki_cluster"] = pd.Categorical(np.resize(["1", "2"], cells.n_obs))
        cells.obs["lloki_label_probability"] = 0.5
        cells.obs["other"] = "not of the run"
        files.write_h5ad(cells, where / f"{sample}.lloki.h5ad")
        arguments += ["--slice", path, "--input", where / f"{sample}.lloki.h5ad"]
    done = call(integrate.main, *arguments)
    assert done.exit_code == 0, done.output
    data = files.read_h5ad(where / "integrated.h5ad")
    data.obsm["X_umap"] = rng.normal(size=(data.n_obs, 2)).astype(np.float32)
    files.write_h5ad(data, where / "integrated.h5ad")
    return where / "integrated.h5ad"


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """The folder that is written of all kinds of slices, and the integrated file."""
    where = tmp_path_factory.mktemp("run")
    path = joined(where, written(where))
    done = call(viewer_files.main, "--input", path, "--label-key", "cell type",
                "--output", where / "viewer")  # fmt: skip
    assert done.exit_code == 0, done.output
    return where / "viewer", ad.read_h5ad(path)


def rows(path):
    """A CSV as text, its header first."""
    packed = path.read_bytes()[:2] == b"\x1f\x8b"
    with gzip.open(path, "rt") if packed else path.open() as file:
        return list(csv.reader(file))


def ids(path):
    return [row[0] for row in rows(path)[1:]]


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("sample", ["text", "numbers"])
def test_xenium_explorer_has_a_table_of_each_grouping(viewer, sample):
    folder, data = viewer[0] / sample, viewer[1]
    cells = data.obs[data.obs["sample"] == sample]
    header, *found = rows(folder / "lloki_cluster.csv")
    assert header == ["cell_id", "group"]
    assert {row[0] for row in found} == set(ids(folder.parents[1] / f"x{1 + (sample != 'text')}"
                                                 / "cells.csv.gz"))  # fmt: skip
    assert dict(found) == dict(zip(cells["cell_id"], cells["lloki_cluster"], strict=True))
    if sample == "numbers":  # none is labelled: no table
        assert names(folder) == {"cells.csv", "lloki_cluster.csv"}
        return
    assert names(folder) == {"cells.csv", "lloki_cluster.csv", "cell_type.csv"}
    labelled = cells[cells["cell type"].notna()]
    assert dict(rows(folder / "cell_type.csv")[1:]) == dict(
        zip(labelled["cell_id"], labelled["cell type"], strict=True)
    )
    assert set(labelled["cell type"]) == set(LABELS[:2])


@pytest.mark.parametrize(("sample", "known"), [("old", merscope.OLD), ("new", merscope.NEW)])
def test_merscope_s_visualizer_has_an_anndata_and_the_vendor_s_two_tables(viewer, sample, known):
    folder, data = viewer[0] / sample, viewer[1]
    part = data[data.obs["sample"] == sample]
    kept = [known[int(i)] for i in np.flatnonzero(merscope.COUNTS[:, :4].sum(axis=1))]
    assert names(folder) == {"cells.csv", "cells.h5ad", "cell_categories.csv",
                             "cell_numeric_categories.csv"}  # fmt: skip
    header, *found = rows(folder / "cell_categories.csv")
    assert header == ["EntityID", "cell type", "lloki_cluster"]
    assert [row[0] for row in found] == kept
    assert {row[1] for row in found} == {*LABELS[:2], "unlabelled"}
    header, *found = rows(folder / "cell_numeric_categories.csv")
    assert header == ["EntityID", "umap_X", "umap_Y", "aligned_X", "aligned_Y",
                      "lloki_label_probability"]  # fmt: skip
    assert [row[0] for row in found] == kept
    np.testing.assert_allclose(np.array([row[1:3] for row in found], float), part.obsm["X_umap"],
                               atol=1e-6)  # fmt: skip
    cells = ad.read_h5ad(folder / "cells.h5ad")
    assert cells.obs_names.tolist() == kept
    groups = [row[1] for row in rows(folder / "cell_categories.csv")[1:]]
    assert cells.obs["cell type"].astype(str).tolist() == groups
    np.testing.assert_array_equal(cells.obsm["X_spatial"], part.obsm["spatial"])
    np.testing.assert_array_equal(cells.obsm["X_umap"], part.obsm["X_umap"])


@pytest.mark.parametrize(
    ("sample", "known"),
    [("legacy", [f"c_1_{short}" for short in cosmx.SHORT]), ("atomx", cosmx.LONG)],
)
def test_napari_has_one_table_by_slide_field_and_cell(viewer, sample, known):
    folder = viewer[0] / sample
    assert names(folder) == {"cells.csv", "_metadata.csv"}
    kept = [known[int(i)] for i in np.flatnonzero(cosmx.COUNTS[:, :4].sum(axis=1))]
    header, *found = rows(folder / "_metadata.csv")
    assert header[:3] == ["cell_ID", "cell type", "lloki_cluster"] and "umap_Y" in header
    assert [row[0] for row in found] == kept
    table = pd.read_csv(folder / "_metadata.csv")  # as the viewer does
    assert np.unique(table["cell type"]).tolist() == sorted({*LABELS[:2], "unlabelled"})


def test_other_slices_have_the_one_table_by_their_own_ids(viewer):
    folder, data = viewer[0] / "plain", viewer[1]
    assert names(folder) == {"cells.csv"}
    kept = np.flatnonzero(merscope.COUNTS.sum(axis=1))
    assert ids(folder / "cells.csv") == [str(2**62 + int(i)) for i in kept]
    header = rows(folder / "cells.csv")[0]
    assert header == ["cell_id", "cell type", "lloki_cluster", "umap_X", "umap_Y", "aligned_X",
                      "aligned_Y", "lloki_label_probability"]  # fmt: skip
    assert sum(len(ids(path)) for path in viewer[0].glob("*/cells.csv")) == data.n_obs
    record = json.loads(viewer[0].with_suffix(".json").read_text())
    assert "lloki_cluster_colors" in data.uns and "cell_id_colors" not in data.uns
    assert record["groupings"] == ["cell type", "lloki_cluster"] and not record["warnings"]
    assert record["formats"]["plain"] == "h5ad" and record["formats"]["old"] == "merscope"


def test_without_any_grouping_that_is_said(viewer, tmp_path):
    data = viewer[1].copy()
    del data.obs["lloki_cluster"]
    data.write_h5ad(tmp_path / "i.h5ad")
    done = call(viewer_files.main, "--input", tmp_path / "i.h5ad", "--output", tmp_path / "v")
    assert done.exit_code == 0 and "nothing that groups cells" in done.stderr
    assert names(tmp_path / "v/text") == {"cells.csv"}
    assert "cell_categories.csv" not in names(tmp_path / "v/old")


def test_what_is_no_integrated_file(viewer, tmp_path):
    def refused(*words):
        (tmp_path / "out").mkdir(exist_ok=True)
        done = call(viewer_files.main, "--input", tmp_path / "i.h5ad", "--label-key", "kind",
                    "--output", tmp_path / "out/viewer")  # fmt: skip
        assert done.exit_code == 2 and done.stderr.count("\n") == 1, done.output
        assert all(word in done.stderr for word in ("i.h5ad", *words)), done.stderr
        assert not list((tmp_path / "out").iterdir())

    refused("no such file")
    data = viewer[1].copy()
    data.write_h5ad(tmp_path / "i.h5ad")
    refused("no column 'kind'", "lloki_cluster")
    for change, *words in (
        (lambda data: data.obs.pop("sample"), "no column 'sample'"),
        (lambda data: data.obsm.pop("spatial"), "obsm['spatial']", "missing"),
        (lambda data: data.obsm["X_umap"].fill(np.nan), "obsm['X_umap']", "NaN"),
    ):
        data = viewer[1].copy()
        data.obs["kind"] = "a"
        change(data)
        data.write_h5ad(tmp_path / "i.h5ad")
        refused(*words)


FOLDERS = {  # of others' data: technology, file of cells, its column of ids
    "xenium_xoa1_sfe526": ("Xenium", "cells.csv.gz", "cell_id"),
    "xenium_xoa3_prime_prostate_SEMI": ("Xenium", "cells.csv.gz", "cell_id"),
    "merscope_v1_liver1slice1": ("MERSCOPE", "Liver1Slice1_cell_metadata.csv", ""),
    "merscope_vpt_smallset": ("MERSCOPE", "cell_metadata.csv", "EntityID"),
    "cosmx_atomx1.3.2_SEMI": ("CosMx", "SIM_S1_metadata_file.csv.gz", "cell"),
}


@pytest.mark.skipif(not REAL.is_dir(), reason="the folders of other people's data are not here")
def test_folders_of_others_get_their_own_ids_back(tmp_path):
    path = joined(tmp_path, {name.replace(".", "_"): (REAL / name, kind)
                             for name, (kind, *_) in FOLDERS.items()})  # fmt: skip
    done = call(viewer_files.main, "--input", path, "--output", tmp_path / "viewer")
    assert done.exit_code == 0, done.output
    for name, (_, file, column) in FOLDERS.items():
        folder = tmp_path / "viewer" / name.replace(".", "_")
        header, *cells = rows(REAL / name / file)
        own = {cell[header.index(column)] for cell in cells}
        tables = list(folder.glob("*.csv"))
        assert len(tables) >= 2
        for table in tables:
            found = ids(table)
            assert len(found) == len(set(found)) > 0.8 * len(own) and set(found) <= own, table
