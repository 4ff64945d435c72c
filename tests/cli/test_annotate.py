"""annotate.py as a command, on slices of the demo and on what users get wrong."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from commands import call as run
from commands import good, refused
from demo_slices import demo_slice

import annotate
from lloki.embedding import mosaic
from lloki.integration import joined
from lloki.slices import files

NAMES = ("osmfish", "starmap", "xenium")
KEY = "cell_type_coarse"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prepared slices of 400 cells with the mosaic embedding, its model, a reference."""
    folder = tmp_path_factory.mktemp("slices")
    rng = np.random.default_rng(0)
    some = lambda data, n: data[np.sort(rng.choice(data.n_obs, n, False))].copy()  # noqa: E731
    some(demo_slice("reference"), 800).write_h5ad(folder / "atlas.h5ad")
    atlas = files.read_reference(folder / "atlas.h5ad")
    slices = {}
    for name in NAMES:
        data = files.prepare(some(demo_slice(name), 400), name, sample=name, technology=name)
        files.write_h5ad(data, folder / f"{name}.slice.h5ad")
        slices[name] = data
    sets = mosaic.Datasets()
    for name, data in {"atlas": atlas, **slices}.items():
        sets.add(name, data.X, data.var_names)
    model = sets.fit()
    (folder / "mosaic").mkdir()
    mosaic.save(model, folder / "mosaic")
    fp = np.concatenate([mosaic.embed(model, data.X, data.var_names) for data in slices.values()])
    obs = joined.join_obs([data.obs for data in slices.values()])
    obs["of_some"] = obs[KEY].where(obs["sample"].isin(["starmap", "xenium"]).to_numpy())
    obs["other_words"] = ("my " + obs[KEY].astype(str)).where(obs["sample"] == "starmap", None)
    obsm = {"X_lloki_fp": fp, "X_lloki": fp}
    files.write_h5ad(ad.AnnData(obs=obs, obsm=obsm), folder / "integrated.h5ad")
    return folder


def options(folder, output, *more, reference=KEY, labels="of_some", names=NAMES):
    given = ["--input", folder / "integrated.h5ad", "--output", output]
    if labels:
        given += ["--label-key", labels]
    if reference:
        given += ["--reference", folder / "atlas.h5ad", "--reference-labels", reference]
        given += ["--model", folder / "mosaic"]
        given += [text for name in names for text in ("--slice", folder / f"{name}.slice.h5ad")]
    return [*given, *more]


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    """Labels of the reference and of two slices carried over to all three."""
    out = tmp_path_factory.mktemp("done")
    coarse = "fine,coarse\nExcitatory,Neuron\nInhibitory,Neuron\n"
    (out / "hierarchy.csv").write_text(coarse)
    cells = ["--cells", out / "cells.h5ad", "--hierarchy", out / "hierarchy.csv"]
    good(annotate, *options(folder, out / "annotation", *cells))
    return out


def test_every_cell_has_a_label(folder, done):
    found = ad.read_h5ad(done / "cells.h5ad")
    before = ad.read_h5ad(folder / "integrated.h5ad").obs
    assert found.obs_names.equals(before.index) and found.X is None
    obs = found.obs
    assert obs["lloki_label"].notna().all()
    assert obs["lloki_label_probability"].between(0, 1).all()
    own = before["of_some"].notna() & (before["of_some"] != "Other")
    kept = obs["lloki_label"].astype(str)[own] == before["of_some"].astype(str)[own]
    assert kept.all() and set(obs["lloki_label_source"][own]) == {"given"}
    new = before["sample"] == "osmfish"
    assert set(obs["lloki_label_source"][new]) <= {"reference", "slices"}
    right = obs["lloki_label"].astype(str)[new] == before[KEY].astype(str)[new]
    assert right.mean() > 0.6
    neurons = obs["lloki_label"].isin(["Excitatory", "Inhibitory"])
    assert (obs["lloki_label_coarse"][neurons] == "Neuron").mean() > 0.95
    assert set(obs["lloki_label_coarse"][own & ~neurons]).isdisjoint({"Neuron"})


def test_the_tables_say_how_good_it_was(done):
    tables = {path.stem: pd.read_csv(path) for path in (done / "annotation").iterdir()}
    assert set(tables) == {"labels", "held_out", "reliability", "risk"}
    labels, held = tables["labels"], tables["held_out"].set_index("sample")
    assert list(held.index) == ["starmap", "xenium"] and (held["accuracy"] > 0.5).all()
    own = labels[(labels["sample"] == "starmap") & labels["given"].notna()]
    called = own["transferred"] != "unknown"
    assert (own["transferred"] == own["given"])[called].mean() > 0.7
    record = json.loads((done / "annotation.json").read_text())
    assert record["references"] == ["atlas"] and record["labelled_slices"] == ["starmap", "xenium"]
    assert record["unknown"].keys() == set(NAMES)


def test_a_seed_twice_and_slices_in_any_order_give_the_same_labels(folder, done, tmp_path):
    names = NAMES[::-1]
    coarse = ["--hierarchy", done / "hierarchy.csv"]
    good(annotate, *options(folder, tmp_path / "annotation", *coarse, names=names))
    for path in (done / "annotation").iterdir():
        assert path.read_bytes() == (tmp_path / "annotation" / path.name).read_bytes()


def test_a_reference_alone(folder, tmp_path):
    given = options(folder, tmp_path / "out", "--reference-of", "xenium=1", labels=None)
    good(annotate, *given)
    labels = pd.read_csv(tmp_path / "out/labels.csv")
    true = ad.read_h5ad(folder / "integrated.h5ad").obs[KEY].astype(str).to_numpy()
    covered = np.isin(true, labels["label"])
    called = (labels["label"] != "unknown").to_numpy()
    assert (labels["label"].to_numpy() == true)[covered & called].mean() > 0.7
    assert set(labels["source"]) == {"reference"} and labels["p"].between(0, 1).all()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"labels.csv"}


def test_slices_alone_and_no_cell_unknown(folder, tmp_path):
    good(annotate, *options(folder, tmp_path / "out", "--unknown", "0", reference=None))
    labels = pd.read_csv(tmp_path / "out/labels.csv")
    assert "unknown" not in set(labels["label"])
    assert set(labels["source"]) == {"given", "slices"}


def test_other_words_are_told_and_a_second_run_takes_the_proposal(folder, tmp_path):
    result = run(annotate, *options(folder, tmp_path / "one", labels="other_words"))
    assert result.exit_code == 0 and "2 vocabularies" in result.stderr
    table = pd.read_csv(tmp_path / "one/correspondence.csv")
    proposed = table[table["proposed"]]
    assert len(proposed) >= 3 and (proposed["label"].str.startswith("my ")).all()
    big = proposed[proposed["cells"] > 20]
    assert (big["label"] == "my " + big["to"]).all() and len(big)
    again = [*options(folder, tmp_path / "two", labels="other_words"), "--label-map",
             tmp_path / "one/correspondence.csv"]  # fmt: skip
    result = run(annotate, *again)
    assert result.exit_code == 0 and "vocabularies" not in result.stderr
    labels = pd.read_csv(tmp_path / "two/labels.csv")
    given = set(labels["given"].dropna())
    assert set(proposed["to"]) <= given and len(labels) == 1200


@pytest.mark.parametrize(("more", "words"), [
    (["--label-key", "nope"], ["obs has no column 'nope'", "it has"]),
    (["--reference-labels", "nope"], ["atlas.h5ad", "no column 'nope'"]),
    (["--reference-of", "xenium=2"], ["xenium=2", "SAMPLE=N"]),
    (["--reference-of", "nope=1"], ["nope=1", "SAMPLE=N"]),
    (["--label-map", "none.csv"], ["none.csv", "no such file"]),
    (["--hierarchy", "none.csv"], ["none.csv", "no such file"]),
])  # fmt: skip
def test_what_cannot_be_is_one_line(folder, tmp_path, more, words):
    refused(run(annotate, *options(folder, tmp_path / "out", *more)), *words)
    assert not list(tmp_path.iterdir())


def test_nothing_to_carry_over_is_one_line(folder, tmp_path):
    given = options(folder, tmp_path / "out", reference=None, labels=None)
    refused(run(annotate, *given), "no cell of a slice or of a reference has a label")


def test_a_reference_needs_what_it_is_seen_by(folder, tmp_path):
    one = ["--input", folder / "integrated.h5ad", "--output", tmp_path / "out"]
    one += ["--reference-labels", KEY]
    refused(run(annotate, *one), "--reference-labels", "no --reference")
    one += ["--reference", folder / "atlas.h5ad"]
    refused(run(annotate, *one), "--reference-labels", "no --model")
    given = options(folder, tmp_path / "out", names=NAMES[:2])
    refused(run(annotate, *given), "'xenium'", "missing")


def test_a_model_of_another_rank_is_refused(folder, tmp_path):
    model = mosaic.load(folder / "mosaic")
    (tmp_path / "m").mkdir()
    mosaic.save(mosaic.MosaicModel(model.genes, model.loadings[:, :7], 5.0), tmp_path / "m")
    given = [*options(folder, tmp_path / "out"), "--model", tmp_path / "m"]
    refused(run(annotate, *given), "7 dimensions", "X_lloki_fp has 40")


@pytest.mark.parametrize(("key", "drop"), [("X_lloki", "obsm"), ("panel", "obs")])
def test_a_file_of_another_stage_is_refused(folder, tmp_path, key, drop):
    data = ad.read_h5ad(folder / "integrated.h5ad")
    del getattr(data, drop)[key]
    data.write_h5ad(tmp_path / "other.h5ad")
    given = ["--input", tmp_path / "other.h5ad", "--output", tmp_path / "out", "--label-key", KEY]
    refused(run(annotate, *given), "other.h5ad", repr(key))
