"""metagenes.py as a command, on slices of the demo and on what users get wrong."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from demo_slices import NAMES, integrated
from scipy.stats import pearsonr

import metagenes
from lloki.slices import files

SMALL = "--k 5 --iterations 10 --starts 2 --repeats 2".split()


@pytest.fixture(scope="module")
def run_before(tmp_path_factory):
    """Prepared slices of 400 real cells, integrated with an embedding of their types."""
    folder = tmp_path_factory.mktemp("slices")
    integrated(folder)
    return folder


def call(folder, output, *options, names=NAMES, integrated=None):
    arguments = ["--input", integrated or folder / "integrated.h5ad", "--output", output]
    for name in names:
        arguments += ["--slice", folder / f"{name}.slice.h5ad"]
    return CliRunner().invoke(metagenes.main, [str(a) for a in [*arguments, *options]])


def tables(folder):
    return {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}


@pytest.fixture(scope="module")
def done(run_before, tmp_path_factory):
    """A run with everything on: its folder."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "sets.gmt").write_text(
        "glia\tof the brain\tPlp1\tMbp\tMobp\tSox10\tGfap\tAqp4\tOpalin\n"
        "neurons\t\tGad1\tGad2\tSlc17a7\tSst\tPvalb\tVip\tSlc32a1\n"
    )
    made = call(
        run_before, folder / "metagenes", *SMALL, "--label-key", "cell_type_coarse", "--cells",
        folder / "found.h5ad", "--gene-sets", folder / "sets.gmt", "--routes", "--markers",
        "Plp1,Cldn5",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    return folder


def test_every_table_is_there_and_fits_the_mixtures(done, run_before):
    found = tables(done / "metagenes")
    assert set(found) == set(
        "programs metagenes affinity objective enrichment moran markers genes gene_sets routes "
        "routes_moran mapping".split()
    )
    whole = ad.read_h5ad(done / "found.h5ad")
    before = ad.read_h5ad(run_before / "integrated.h5ad")
    z = whole.obsm["X_metagenes"]
    assert z.shape == (1200, 5) and z.dtype == np.float32
    np.testing.assert_allclose(z.sum(axis=1), 1, atol=1e-5)
    assert set(whole.obsm) == {"X_metagenes"} and whole.X is None
    assert whole.obs_names.equals(before.obs_names)
    programs = found["programs"]
    np.testing.assert_allclose(programs["share"], z.mean(axis=0), atol=1e-5)
    affinity = found["affinity"].drop(columns="metagene").to_numpy()
    np.testing.assert_allclose(affinity, affinity.T)
    own = (before.obs["sample"] == "xenium") & (before.obs["cell_type_coarse"] == "Astrocyte")
    rows = found["enrichment"].query("sample == 'xenium' and type == 'Astrocyte'")
    assert (rows["cells"] == own.sum()).all()
    np.testing.assert_allclose(rows["share"], (z[own] > 1e-3).mean(axis=0), atol=1e-5)
    assert {"Plp1", "Cldn5"} <= set(found["markers"]["gene"])
    assert found["genes"].groupby("metagene")["gene"].nunique().min() > 1000
    assert found["genes"]["slices"].max() == 3


def test_a_metagene_of_a_type_has_its_genes_in_every_panel(done):
    found = tables(done / "metagenes")
    own = found["programs"].query("type == 'Oligodendrocyte'")["metagene"]
    assert len(own) >= 1
    genes = found["genes"][found["genes"]["metagene"].isin(own)]
    best = set(genes.groupby("metagene").head(25)["gene"])
    assert {"Plp1", "Mbp", "Opalin"} & best
    sets = found["gene_sets"]
    assert sets[sets["metagene"].isin(own)].iloc[0]["set"] == "glia"


def test_the_record_says_what_was_done(done):
    record = json.loads((done / "metagenes.json").read_text())
    assert record["samples"] == sorted(NAMES) and record["fitted"] and record["metagenes"] == 5
    assert [start["seed"] for start in record["starts"]] == [0, 1]
    assert 0.3 < record["explained_variance"] < 1
    assert set(record["lamps"].values()) <= {"green", "amber", "red"}


def test_slices_in_any_order_and_one_seed_twice_give_the_same_bytes(done, run_before, tmp_path):
    for i, order in enumerate((NAMES, NAMES[::-1])):
        integrated = run_before / "integrated.h5ad"
        if i:
            whole = ad.read_h5ad(integrated)
            whole = ad.concat([whole[whole.obs["sample"] == name] for name in order])
            integrated = tmp_path / "turned.h5ad"
            files.write_h5ad(whole, integrated)
        made = call(run_before, tmp_path / f"m{i}", *SMALL, "--label-key", "cell_type_coarse",
                    names=order, integrated=integrated)  # fmt: skip
        assert made.exit_code == 0, made.output
    for path in (tmp_path / "m0").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "m1" / path.name).read_bytes(), path.name
        assert path.read_bytes() == (done / "metagenes" / path.name).read_bytes() or (
            path.stem == "markers"  # --markers
        )


def test_a_model_is_laid_on_other_slices(done, run_before, tmp_path):
    made = call(run_before, tmp_path / "laid", "--model", done / "metagenes/model.npz", "--cells",
                tmp_path / "found.h5ad", "--label-key", "cell_type_coarse")  # fmt: skip
    assert made.exit_code == 0, made.output
    first, again = (
        ad.read_h5ad(folder / "found.h5ad").obsm["X_metagenes"] for folder in (done, tmp_path)
    )
    for k in range(5):
        assert pearsonr(first[:, k], again[:, k]).statistic > 0.98
    models = [folder / "model.npz" for folder in (done / "metagenes", tmp_path / "laid")]
    assert models[0].read_bytes() == models[1].read_bytes()
    found = tables(tmp_path / "laid")
    assert "objective" not in found and found["programs"]["lamp"].isna().all()
    before = tables(done / "metagenes")["programs"]
    assert found["programs"]["type"].equals(before["type"])


def test_without_labels_everything_but_types_is_there(run_before, tmp_path):
    made = call(run_before, tmp_path / "m", *SMALL, "--repeats", 0)
    assert made.exit_code == 0, made.output
    found = tables(tmp_path / "m")
    assert found["enrichment"].empty and found["programs"]["type"].isna().all()
    assert found["programs"]["share"].is_monotonic_decreasing and len(found["markers"])


def refused(result, folder, *words):
    """One line on standard error that names what is wrong, exit code 2, nothing written."""
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for word in words:
        assert str(word) in result.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.obsm.pop("X_lloki"), ["X_lloki", "missing"]),
        (lambda d: d.obsm["X_lloki"].__setitem__((3, 0), -1), ["negative values"]),
        (lambda d: d.obsm["X_lloki"].__setitem__((3, 0), np.nan), ["NaN"]),
        (lambda d: d.obs.pop("sample"), ["no column 'sample'"]),
        (lambda d: d.obsm.pop("spatial"), ["spatial", "missing"]),
    ],
)
def test_a_faulty_integrated_file_is_refused(run_before, tmp_path, change, words):
    data = ad.read_h5ad(run_before / "integrated.h5ad")
    change(data)
    files.write_h5ad(data, tmp_path / "faulty.h5ad")
    (tmp_path / "out").mkdir()
    made = call(run_before, tmp_path / "out/m", *SMALL, integrated=tmp_path / "faulty.h5ad")
    refused(made, tmp_path / "out", "faulty.h5ad", *words)


def test_a_cell_without_a_sample_is_refused(run_before, tmp_path):
    data = ad.read_h5ad(run_before / "integrated.h5ad")
    more = data[:1].copy()
    more.obs_names, more.obs["sample"] = ["stray"], pd.Categorical([None], categories=["osmfish"])
    (tmp_path / "out").mkdir()
    files.write_h5ad(ad.concat([data, more]), tmp_path / "stray.h5ad")
    made = call(run_before, tmp_path / "out/m", *SMALL, integrated=tmp_path / "stray.h5ad")
    refused(made, tmp_path / "out", "cells are without a sample")


def test_faulty_options_are_refused(done, run_before, tmp_path):
    refused(call(run_before, tmp_path / "m", "--k", 700 // 5, "--label-key", "kind"), tmp_path,
            "no column 'kind'")  # fmt: skip
    refused(
        call(run_before, tmp_path / "m", *SMALL, names=NAMES[:2]), tmp_path, "xenium", "missing"
    )
    (done / "bad.gmt").write_text("a set\tonly\n")
    refused(call(run_before, tmp_path / "m", "--gene-sets", done / "bad.gmt"), tmp_path, "bad.gmt")
    refused(call(run_before, tmp_path / "m", "--model", done / "bad.gmt"), tmp_path, "bad.gmt",
            "no model")  # fmt: skip
    refused(call(run_before, tmp_path / "m", "--gene-sets", done / "none"), tmp_path, "none")


def test_too_few_cells_and_a_model_of_another_embedding_are_refused(done, run_before, tmp_path):
    data = ad.read_h5ad(run_before / "integrated.h5ad")
    data.obsm["X_lloki"] = data.obsm["X_lloki"][:, :7]
    files.write_h5ad(data, done / "narrow.h5ad")
    made = call(run_before, tmp_path / "m", "--model", done / "metagenes/model.npz",
                integrated=done / "narrow.h5ad")  # fmt: skip
    refused(made, tmp_path, "12 dimensions")
    few = data[data.obs["sample"] == "osmfish"][:20].copy()
    files.write_h5ad(few, done / "few.h5ad")
    cut = files.read_h5ad(run_before / "osmfish.slice.h5ad")[:20].copy()
    files.write_h5ad(cut, done / "osmfish.slice.h5ad")
    made = call(done, tmp_path / "m", "--k", 11, names=["osmfish"], integrated=done / "few.h5ad")
    refused(made, tmp_path, "20 cells are too few")


def test_cells_on_a_line_are_told_and_borne(run_before, tmp_path):
    data = ad.read_h5ad(run_before / "integrated.h5ad")
    data.obsm["spatial"][:400, 1] = 0
    files.write_h5ad(data, tmp_path / "line.h5ad")
    made = call(run_before, tmp_path / "m", *SMALL, integrated=tmp_path / "line.h5ad")
    assert made.exit_code == 0 and "osmfish: its 400 cells have no neighbours" in made.stderr
