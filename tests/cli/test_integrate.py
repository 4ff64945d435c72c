"""integrate.py as a command, on slices of the demo and on what users get wrong."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from demo_slices import demo_slice

import integrate
from lloki.slices import files
from lloki.slices.genes import match_keys

SLICES = {"osm": "osmFISH", "star": "STARmap", "xen": "Xenium"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepared slices of 150 real cells, with made-up embeddings."""
    folder = tmp_path_factory.mktemp("slices")
    rng = np.random.default_rng(0)
    for (sample, technology), name in zip(
        SLICES.items(), ("osmfish", "starmap", "xenium"), strict=True
    ):
        data = demo_slice(name)
        data = data[np.sort(rng.choice(data.n_obs, 150, False))].copy()
        data.obs["cell_id"] = data.obs_names.to_numpy(str)
        data = files.prepare(data, name, sample=sample, technology=technology)
        files.write_h5ad(data, folder / f"{sample}.slice.h5ad")
        cells = files.without_expression(data)
        cells.obsm["X_lloki_fp"] = rng.normal(size=(data.n_obs, 12)).astype(np.float32)
        cells.obsm["X_lloki"] = rng.normal(size=(data.n_obs, 8)).astype(np.float32)
        cells.obsm["spatial_aligned"] = cells.obsm["spatial"] + 1
        files.record(cells, "embedding", embedder="mosaic", model_sha256="0123456789abcdef")
        files.write_h5ad(cells, folder / f"{sample}.lloki.h5ad")
    return folder


def run(folder, output, *options, embedded=SLICES, expressed=SLICES):
    arguments = ["--output", output, *options]
    for sample in embedded:
        arguments += ["--input", folder / f"{sample}.lloki.h5ad"]
    for sample in expressed:
        arguments += ["--slice", folder / f"{sample}.slice.h5ad"]
    return CliRunner().invoke(integrate.main, [str(argument) for argument in arguments])


def refused(result, output, *words):
    """One line on standard error that names what is wrong, exit code 2, nothing written."""
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for word in words:
        assert str(word) in result.stderr
    assert list(output.parent.iterdir()) == []


def changed(prepared, folder, sample, change, kind="lloki"):
    """Copies of all files, one of them changed."""
    folder.mkdir()
    for path in prepared.iterdir():
        (folder / path.name).symlink_to(path)
    path = folder / f"{sample}.{kind}.h5ad"
    data = files.read_h5ad(path)
    data = change(data) or data
    path.unlink()
    files.write_h5ad(data, path)
    return folder


@pytest.fixture(scope="module")
def result(prepared, tmp_path_factory):
    output = tmp_path_factory.mktemp("result") / "integrated.h5ad"
    done = run(prepared, output)
    assert done.exit_code == 0, done.output
    return output


@pytest.mark.slow
def test_all_cells_and_embeddings_of_real_slices(prepared, result):
    data = ad.read_h5ad(result)
    parts = [ad.read_h5ad(prepared / f"{sample}.lloki.h5ad") for sample in SLICES]
    assert data.obs_names.tolist() == [name for part in parts for name in part.obs_names]
    for key in ("X_lloki_fp", "X_lloki", "spatial", "spatial_aligned"):
        np.testing.assert_array_equal(data.obsm[key], np.concatenate([p.obsm[key] for p in parts]))
    assert data.obs["technology"].cat.categories.tolist() == ["osmFISH", "STARmap", "Xenium"]
    labels = np.concatenate([p.obs["cell_type_coarse"].astype(str) for p in parts])
    assert data.obs["cell_type_coarse"].astype(str).tolist() == labels.tolist()
    assert data.obs["region"].isna().sum() == 150  # Xenium has none
    assert data.obs["cell_id"].nunique() == 450 and "cell_id_colors" not in data.uns
    assert len(data.uns["technology_colors"]) == 3
    for key, width in (("X_umap", 2), ("X_umap_fp", 2), ("X_umap_pca_shared", 2)):
        assert data.obsm[key].shape == (450, width)
        assert np.isfinite(data.obsm[key]).all()
    notes = data.uns["lloki"]
    assert (notes["embedder"], notes["embedder_model"]) == ("mosaic", "01234567")
    assert set(notes["samples"]) == set(SLICES)
    assert notes["samples"]["xen"]["prepare_slice"]["cells_read"] == 150


@pytest.mark.slow
def test_the_baseline_is_pca_of_the_genes_all_slices_share(prepared, result):
    data = ad.read_h5ad(result)
    parts = [files.read_h5ad(prepared / f"{sample}.slice.h5ad") for sample in SLICES]
    names = [{g.upper(): g for g in part.var_names} for part in parts]
    shared = sorted(set.intersection(*map(set, names)))
    assert sorted(g.upper() for g in data.uns["lloki"]["shared_genes"]) == shared
    dense = [p[:, [n[g] for g in shared]].X.toarray() for p, n in zip(parts, names, strict=True)]
    centred = np.concatenate(dense) - np.concatenate(dense).mean(axis=0)
    found = data.obsm["X_pca_shared"]
    assert found.shape == (450, len(shared))
    # all components: the distances between cells are those in the genes
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-2)
    spread = found.var(axis=0)
    assert (np.diff(spread) <= 1e-6).all()
    record = json.loads(result.with_suffix(".json").read_text())
    assert record["genes_shared"] == len(shared)
    assert record["embedder"] == "mosaic"


@pytest.mark.slow
def test_expression_is_that_of_every_slice_on_all_genes(prepared, result):
    data = ad.read_h5ad(result)
    keys = pd.Index(match_keys(data.var_names))
    panels = dict(zip(data.obs["sample"], data.obs["panel"], strict=True))
    genes = set()
    for sample in SLICES:
        part = ad.read_h5ad(prepared / f"{sample}.slice.h5ad")
        own = (data.obs["sample"] == sample).to_numpy()
        columns = keys.get_indexer(match_keys(part.var_names))
        assert (columns >= 0).all()
        for matrix, before in ((data.X, part.X), (data.layers["counts"], part.layers["counts"])):
            found = matrix[own]
            assert (found[:, columns] != before).nnz == 0 and found.nnz == before.nnz
        measured = data.varm["measured"][panels[sample]]
        assert set(np.flatnonzero(measured)) == set(columns)
        genes |= set(columns)
    assert len(genes) == data.n_vars and len(data.varm["measured"].columns) == 3


def test_shared_genes_alone_give_the_same_baseline(prepared, tmp_path):
    made = {}
    for which in ("union", "shared"):
        done = run(prepared, tmp_path / f"{which}.h5ad", "--no-umap", "--genes", which)
        assert done.exit_code == 0, done.output
        made[which] = ad.read_h5ad(tmp_path / f"{which}.h5ad")
    few, many = made["shared"], made["union"]
    assert few.var_names.tolist() == list(many.uns["lloki"]["shared_genes"])
    assert few.varm["measured"].to_numpy().all()
    assert (many[:, few.var_names].X != few.X).nnz == 0
    np.testing.assert_array_equal(few.obsm["X_pca_shared"], many.obsm["X_pca_shared"])


def test_counts_that_a_slice_lacks_are_left_out_and_panels_that_differ_told(prepared, tmp_path):
    def change(data):
        del data.layers["counts"]
        return data[:, :20].copy()

    folder = changed(prepared, tmp_path / "changed", "star", change, "slice")
    for sample in ("osm", "star"):
        path = folder / f"{sample}.lloki.h5ad"
        data = files.read_h5ad(path)
        data.obs["panel"] = "one/two"
        path.unlink()
        files.write_h5ad(data, path)
    done = run(folder, tmp_path / "integrated.h5ad", "--no-umap")
    assert done.exit_code == 0, done.output
    data = ad.read_h5ad(tmp_path / "integrated.h5ad")
    assert "counts" not in data.layers and "counts'] is left out: star has none" in done.stderr
    assert "slices of panel one_two differ" in done.stderr
    assert data.varm["measured"]["one_two"].sum() < 20


@pytest.mark.slow
def test_scanpy_and_a_second_run(prepared, result, tmp_path):
    scanpy = pytest.importorskip("scanpy")
    data = scanpy.read_h5ad(result)
    scanpy.pp.neighbors(data, use_rep="X_lloki")
    again = tmp_path / "again.h5ad"
    assert run(prepared, again, "--no-umap").exit_code == 0
    second = ad.read_h5ad(again)
    for key in second.obsm:
        np.testing.assert_array_equal(second.obsm[key], data.obsm[key])
    assert not [key for key in second.obsm if "umap" in key]


@pytest.mark.slow
def test_umaps_of_some_cells_have_places_for_all(prepared, result, tmp_path):
    done = run(prepared, tmp_path / "i.h5ad", "--umap-cells", "200")
    assert done.exit_code == 0, done.output
    data = ad.read_h5ad(tmp_path / "i.h5ad")
    for key in ("X_umap", "X_umap_fp", "X_umap_pca_shared"):
        assert data.obsm[key].shape == (450, 2) and np.isfinite(data.obsm[key]).all()
    assert data.uns["lloki"]["integrate"]["umap_cells"] == 200
    assert json.loads((tmp_path / "i.json").read_text())["umap_fitted"] == 200
    assert json.loads(result.with_suffix(".json").read_text())["umap_fitted"] == 450
    assert "umap_cells" not in ad.read_h5ad(result).uns["lloki"]["integrate"]


def test_slices_that_share_no_gene_have_no_baseline(prepared, tmp_path):
    def rename(data):
        data.var_names = [f"other{i}" for i in range(data.n_vars)]

    folder = changed(prepared, tmp_path / "in", "osm", rename, "slice")
    done = run(folder, tmp_path / "i.h5ad", "--no-umap")
    assert done.exit_code == 0, done.output
    assert "no gene is in every slice" in done.stderr
    data = ad.read_h5ad(tmp_path / "i.h5ad")
    assert "X_pca_shared" not in data.obsm
    assert data.n_obs == 450


def test_flat_and_deep_slices_together(prepared, tmp_path):
    def deepen(data):
        data.obsm["spatial"] = np.column_stack([data.obsm["spatial"], np.full(data.n_obs, 7.0)])

    folder = changed(prepared, tmp_path / "in", "star", deepen)
    done = run(folder, tmp_path / "i.h5ad", "--no-umap")
    assert done.exit_code == 0, done.output
    assert "z = 0" in done.stderr
    assert ad.read_h5ad(tmp_path / "i.h5ad").obsm["spatial"][:, 2].tolist() == (
        [0.0] * 150 + [7.0] * 150 + [0.0] * 150
    )


def test_partly_aligned_slices_are_joined_as_they_came(prepared, tmp_path):
    def forget(data):
        del data.obsm["spatial_aligned"]

    folder = changed(prepared, tmp_path / "in", "star", forget)
    done = run(folder, tmp_path / "i.h5ad", "--no-umap")
    assert "spatial_aligned is left out: star has none" in done.stderr
    assert "spatial_aligned" not in ad.read_h5ad(tmp_path / "i.h5ad").obsm


def drop(key):
    def change(data):
        del data.obsm[key]

    return change


def narrow(data):
    data.obsm["X_lloki"] = data.obsm["X_lloki"][:, :5]


def blank(data):
    data.obsm["X_lloki"][3, 1] = np.nan


def other(data):
    data.uns["lloki"]["embedding"]["embedder"] = "scgpt"


def unnamed(data):
    del data.obs["sample"]


def renamed(data):
    data.obs["sample"] = "osm"


def reordered(data):
    return data[::-1].copy()


def fewer(data):
    return data[:100].copy()


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (drop("X_lloki"), "lloki", ("star.lloki.h5ad", "X_lloki", "missing")),
        (drop("X_lloki_fp"), "lloki", ("star.lloki.h5ad", "X_lloki_fp", "missing")),
        (drop("spatial"), "lloki", ("star.lloki.h5ad", "spatial")),
        (narrow, "lloki", ("star.lloki.h5ad", "obsm['X_lloki'] has 5 columns", "8")),
        (blank, "lloki", ("star.lloki.h5ad", "NaN")),
        (other, "lloki", ("star", "scgpt", "mosaic")),
        (unnamed, "lloki", ("star.lloki.h5ad", "obs['sample']")),
        (renamed, "lloki", ("star.lloki.h5ad", "'osm'", "twice")),
        (reordered, "lloki", ("star.slice.h5ad", "order")),
        (fewer, "slice", ("star.slice.h5ad", "cells")),
    ],
)
def test_files_that_do_not_belong_together(prepared, tmp_path, change, kind, words):
    folder = changed(prepared, tmp_path / "in", "star", change, kind)
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "i.h5ad"
    refused(run(folder, output, "--no-umap"), output, *words)


def test_cells_of_one_name_in_two_samples(prepared, tmp_path):
    def twin(data):
        data.obs_names = [f"osm:{i}" for i in range(data.n_obs)]

    folder = changed(prepared, tmp_path / "one", "osm", twin)
    folder = changed(folder, tmp_path / "two", "osm", twin, "slice")
    folder = changed(folder, tmp_path / "three", "star", twin)
    folder = changed(folder, tmp_path / "four", "star", twin, "slice")
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "i.h5ad"
    refused(run(folder, output, "--no-umap"), output, "'osm:0'", "two samples")


def test_missing_and_surplus_files(prepared, tmp_path):
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "i.h5ad"
    refused(run(prepared, output, expressed=["osm", "star"]), output, "xen", "missing")
    refused(run(prepared, output, embedded=["osm", "star"]), output, "xen.slice.h5ad", "no --input")
    refused(run(prepared, output, expressed=["osm", "osm"]), output, "osm.slice.h5ad", "twice")
    refused(run(prepared, output, embedded=["no"]), output, "no.lloki.h5ad", "no such file")
