"""fit_mosaic, mosaic_embed, train_cae and infer_cae on the demo's slices, and on bad input."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch
from commands import call, good, refused
from safetensors.numpy import load_file

BIN, DEMO = Path(__file__).parents[2] / "bin", Path(__file__).parents[2] / "assets" / "demo"
sys.path.insert(0, str(BIN))

import fit_mosaic  # noqa: E402
import infer_cae  # noqa: E402
import mosaic_embed  # noqa: E402
import prepare_slice  # noqa: E402
import train_cae  # noqa: E402
from lloki.embedding import reference  # noqa: E402
from lloki.support.checksum import sha256  # noqa: E402
from lloki.support.progress import Progress  # noqa: E402

SLICES = {"osmfish": "osmFISH", "starmap": "STARmap", "xenium": "Xenium"}


def input_of(sample):
    """The options by which the demo's samplesheet names a slice."""
    if sample == "xenium":
        return ["--input", DEMO / "xenium", "--cells", DEMO / "xenium_cells.csv"]
    return ["--input", DEMO / f"{sample}.h5ad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The demo's slices from raw counts to embeddings, without the propagation between."""
    out = tmp_path_factory.mktemp("stages")
    for sample, technology in SLICES.items():
        good(
            prepare_slice, *input_of(sample), "--sample", sample,
            "--technology", technology, "--output", out / f"{sample}.slice.h5ad",
        )  # fmt: skip
    inputs = [f"--input={out / s}.slice.h5ad" for s in SLICES]
    good(fit_mosaic, *inputs, "--reference", DEMO / "reference.h5ad", "--output", out / "mosaic")
    for sample in SLICES:
        good(
            mosaic_embed, "--input", out / f"{sample}.slice.h5ad", "--model", out / "mosaic",
            "--output", out / f"{sample}.fp.h5ad",
        )  # fmt: skip
    good(train_cae, *embeddings(out), *expression(out), "--output", out / "cae", "--epochs", 12)
    return out


def expression(out, samples=tuple(SLICES)):
    return [f"--slice={out / s}.slice.h5ad" for s in samples]


def embeddings(out, samples=tuple(SLICES)):
    return [f"--input={out / s}.fp.h5ad" for s in samples]


def test_embeddings_keep_cells_and_say_what_made_them(folder):
    for sample in SLICES:
        cells = ad.read_h5ad(folder / f"{sample}.slice.h5ad")
        data = ad.read_h5ad(folder / f"{sample}.fp.h5ad")
        assert (data.obs_names == cells.obs_names).all() and data.n_vars == 0
        assert data.obsm["X_lloki_fp"].dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(data.obsm["X_lloki_fp"], axis=1), 1, atol=1e-5)
        assert data.uns["lloki"]["embedding"]["embedder"] == "mosaic"
        figures = json.loads((folder / f"{sample}.fp.json").read_text())
        assert figures["embedder"] == "mosaic" and figures["genes_found"] == cells.n_vars


def test_order_of_inputs_changes_no_bit_of_either_model(folder, tmp_path):
    turned = [f"--input={folder / s}.slice.h5ad" for s in reversed(SLICES)]
    known = "--reference", DEMO / "reference.h5ad"
    good(fit_mosaic, *known, *turned, "--output", tmp_path / "mosaic")
    one, two = (load_file(f / "mosaic" / "loadings.safetensors") for f in (folder, tmp_path))
    assert (one["loadings"] == two["loadings"]).all()
    inputs = [*reversed(embeddings(folder)), *reversed(expression(folder))]
    good(train_cae, *inputs, "--output", tmp_path / "cae", "--epochs", 12)
    one, two = (load_file(f / "cae" / "model.safetensors") for f in (folder, tmp_path))
    assert all((one[name] == two[name]).all() for name in one)


def test_training_writes_every_loss_and_its_configuration(folder):
    rows = list(csv.DictReader((folder / "cae" / "history.csv").open()))
    assert [int(r["epoch"]) for r in rows] == list(range(1, 13))
    assert set(rows[0]) == {"epoch", "reconstruction", "conservation", "triplet", "total"}
    assert float(rows[-1]["total"]) < float(rows[0]["total"])
    config = json.loads((folder / "cae" / "config.json").read_text())
    assert {b["technology"] for b in config["batches"]} == set(SLICES.values())
    assert config["training"]["epochs"] == 12 and config["embedder"].startswith("mosaic")


def test_the_progress_line_has_every_loss(folder, tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(
        Progress, "update", lambda _, steps=1, note="": notes.append(note) if note else None
    )
    good(train_cae, *embeddings(folder), "--output", tmp_path / "cae", "--epochs", 2)
    rows = list(csv.DictReader((tmp_path / "cae" / "history.csv").open()))
    for note, row in zip(notes, rows, strict=True):
        shown = dict(zip(note.split()[::2], map(float, note.split()[1::2]), strict=True))
        assert shown == pytest.approx({k: float(row[k]) for k in row if k != "epoch"}, abs=1e-4)


def test_presets_are_the_published_settings(folder, tmp_path):
    good(train_cae, *embeddings(folder), "--output", tmp_path / "cae",
         "--preset", "release-brain", "--epochs", 1)  # fmt: skip
    training = json.loads((tmp_path / "cae" / "config.json").read_text())["training"]
    published = {
        "lambda_trip": 2, "lambda_bc": 500, "lr": 5e-3, "epochs": 1, "chunk_size": 16000,
    }  # fmt: skip
    assert {name: training[name] for name in published} == published


def test_shared_genes_count_for_pairs_where_slices_are_given(folder, tmp_path):
    base = [*embeddings(folder), "--epochs", 1, "--output", tmp_path / "cae"]
    pairs = {"given": json.loads((folder / "cae.json").read_text())["pairs"]}
    for name, more in (("none", []), ("off", [*expression(folder), "--no-pair-genes"])):
        good(train_cae, *base, *more)
        record = json.loads((tmp_path / "cae.json").read_text())
        pairs[name] = record["pairs"]
        assert any("no --slice" in w for w in record["warnings"]) == (name == "none")
    assert pairs["none"] == pairs["off"] != pairs["given"] > 0


def test_slices_that_do_not_fit_the_embeddings_are_refused(folder, tmp_path):
    base = [*embeddings(folder), "--epochs", 1, "--output", tmp_path / "cae"]
    others = expression(folder, ["xenium", "starmap"])
    refused(call(train_cae, *base, *others), "osmfish", "missing")
    cut = ad.read_h5ad(folder / "osmfish.slice.h5ad")[:-1]
    cut.write_h5ad(tmp_path / "osmfish.slice.h5ad")
    wrong = [*others, f"--slice={tmp_path}/osmfish.slice.h5ad"]
    refused(call(train_cae, *base, *wrong), "osmfish", "not those of the embedding")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["osmfish.slice.h5ad"]


def test_of_many_cells_some_slices_train_and_all_are_embedded(folder, tmp_path):
    """osmFISH in two halves, of which the larger holds all kinds: the smaller one is left out."""
    shutil.copy(folder / "starmap.fp.h5ad", tmp_path)
    shutil.copy(folder / "starmap.slice.h5ad", tmp_path)
    for kind in ("fp", "slice"):
        whole = ad.read_h5ad(folder / f"osmfish.{kind}.h5ad")
        small = np.arange(whole.n_obs) % 4 == 0
        for sample, cells in (("large", ~small), ("small", small)):
            part = whole[cells].copy()
            part.obs["sample"] = sample
            part.write_h5ad(tmp_path / f"{sample}.{kind}.h5ad")
    samples = ("small", "large", "starmap")
    inputs = [*embeddings(tmp_path, samples), *expression(tmp_path, samples)]
    result = call(train_cae, *inputs, "--output", tmp_path / "cae", "--epochs", 1,
                  "--train-cells", 1800)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "trained on 2 of 3 slices (large, starmap)" in result.stderr
    assert "trained on 1,800 of their cells" in result.stderr
    record = json.loads((tmp_path / "cae.json").read_text())
    assert record["samples"] == ["large", "starmap"] and record["samples_left_out"] == ["small"]
    assert record["cells"] == 1800 and record["cells_in_pairs"] > 100
    good(infer_cae, "--input", tmp_path / "small.fp.h5ad", "--model", tmp_path / "cae",
         "--output", tmp_path / "small.lloki.h5ad")  # fmt: skip
    assert ad.read_h5ad(tmp_path / "small.lloki.h5ad").obsm["X_lloki"].shape[1] == 64
    good(train_cae, *inputs, "--output", tmp_path / "all", "--epochs", 1, "--train-slices", "all",
         "--train-cells", 2400)  # fmt: skip
    record = json.loads((tmp_path / "all.json").read_text())
    assert record["samples"] == ["large", "small", "starmap"] and record["cells"] == 2400


def test_a_killed_training_resumes_to_the_same_model(folder, tmp_path):
    """All in processes of their own: PyTorch keeps for good what a test set of its threads."""
    options = [*embeddings(folder), *expression(folder), "--epochs", "12"]
    target, checkpoint = tmp_path / "cae", tmp_path / "cae.checkpoint"
    command = [sys.executable, BIN / "train_cae.py", *options, "--output"]
    sleeping = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait, as in a task
    subprocess.run([*command, tmp_path / "whole"], check=True, env=sleeping)
    running = subprocess.Popen(
        [*command, target, "--checkpoint-seconds", "0"], env=sleeping, stderr=subprocess.DEVNULL
    )
    while not checkpoint.exists():
        assert running.poll() is None, "ended before its first checkpoint"
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert not target.exists()
    subprocess.run([*command, target, "--checkpoint-seconds", "7"], check=True, env=sleeping)
    record = json.loads((tmp_path / "cae.json").read_text())
    assert 0 < record["epochs_resumed"] < 12 and record["warnings"] == []
    one, two = (load_file(tmp_path / f / "model.safetensors") for f in ("whole", "cae"))
    assert all((one[name] == two[name]).all() for name in one)
    histories = ((tmp_path / f / "history.csv").read_text() for f in ("whole", "cae"))
    assert len(set(histories)) == 1
    assert not checkpoint.exists()


def test_a_checkpoint_of_something_else_is_not_resumed(folder, tmp_path):
    base = [*embeddings(folder), "--no-pair-genes", "--output", tmp_path / "cae"]
    for content in (b"broken", None):
        if content:
            (tmp_path / "mine").write_bytes(content)
        else:
            torch.save({"told": "another"}, tmp_path / "mine")
        good(train_cae, *base, "--epochs", 1, "--checkpoint", tmp_path / "mine")
        record = json.loads((tmp_path / "cae.json").read_text())
        assert record["epochs_resumed"] == 0 and "not resumed" in record["warnings"][0]


@pytest.mark.parametrize("negatives", ["random", "many"])
def test_two_processes_have_the_losses_of_one(folder, tmp_path, negatives):
    options = [*embeddings(folder), *expression(folder), "--epochs", "3"]
    options += ["--negatives", negatives, "--output"]
    good(train_cae, *options, tmp_path / "one")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run = subprocess.run([*torchrun, BIN / "train_cae.py", *options, tmp_path / "two"],
                         env=environment, capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 0, run.stderr
    one, two = (
        [[float(v) for v in row.values()] for row in csv.DictReader((f / "history.csv").open())]
        for f in (tmp_path / "one", tmp_path / "two")
    )
    np.testing.assert_allclose(two, one, rtol=1e-4)


def test_a_model_is_adapted_to_a_new_technology(folder, tmp_path):
    two = ["osmfish", "starmap"]
    good(train_cae, *embeddings(folder, two), *expression(folder, two), "--epochs", 12,
         "--mosaic", folder / "mosaic", "--output", tmp_path / "two")  # fmt: skip
    infer = ["--output", tmp_path / "x.h5ad", "--input"]
    unknown = call(infer_cae, *infer, folder / "xenium.fp.h5ad", "--model", tmp_path / "two")
    refused(unknown, "Xenium", "--adapt-from")
    new = [*embeddings(folder, ["xenium"]), *expression(folder, ["xenium"])]
    good(train_cae, *new, "--adapt-from", tmp_path / "two", "--epochs", 12,
         "--output", tmp_path / "three")  # fmt: skip
    record = json.loads((tmp_path / "three.json").read_text())
    assert (record["batches_known"], len(record["batches"])) == (2, 3)
    assert record["samples"] == ["xenium"] and record["cells_in_pairs"] > 1000
    configs = [json.loads((tmp_path / m / "config.json").read_text()) for m in ("two", "three")]
    assert [config["training"]["lr"] for config in configs] == [5e-4, 5e-4]
    assert [config["adapted_from"] for config in configs] == [[], [sha256(tmp_path / "two")]]
    latent = {}
    for model in ("two", "three"):
        good(infer_cae, *infer, folder / "osmfish.fp.h5ad", "--model", tmp_path / model)
        latent[model] = ad.read_h5ad(tmp_path / "x.h5ad").obsm["X_lloki"]
    assert (latent["two"] == latent["three"]).all()
    good(infer_cae, *infer, folder / "xenium.fp.h5ad", "--model", tmp_path / "three")
    # Slices that the model knows change nothing, neither beside new ones nor alone.
    known = [*embeddings(folder), *expression(folder)]
    good(train_cae, *known, "--adapt-from", tmp_path / "two", "--epochs", 12,
         "--output", tmp_path / "beside")  # fmt: skip
    assert sha256(tmp_path / "beside") == sha256(tmp_path / "three")
    good(train_cae, *known, "--adapt-from", tmp_path / "three", "--output", tmp_path / "alone")
    assert sha256(tmp_path / "alone") == sha256(tmp_path / "three")
    assert json.loads((tmp_path / "alone.json").read_text())["epochs"] == 0


def test_what_cannot_be_adapted_is_refused(folder, tmp_path):
    new = [*embeddings(folder, ["xenium"]), *expression(folder, ["xenium"])]
    again = ["--output", tmp_path / "out", "--adapt-from"]
    refused(call(train_cae, *new, *again, folder / "mosaic"), "not a trained model")
    two = ["osmfish", "starmap"]
    good(train_cae, *embeddings(folder, two), "--epochs", 1, "--output", tmp_path / "two")
    guided = call(train_cae, *new, *again, tmp_path / "two", "--cell-type-key", "cell_type_coarse")
    refused(guided, "--cell-type-key", "without cell types")
    narrow = ad.read_h5ad(folder / "xenium.fp.h5ad")
    narrow.obsm["X_lloki_fp"] = narrow.obsm["X_lloki_fp"][:, :7]
    narrow.write_h5ad(tmp_path / "narrow.h5ad")
    other = call(train_cae, "--input", tmp_path / "narrow.h5ad", *again, tmp_path / "two")
    refused(other, "with 40", "with 7")
    (tmp_path / "seven").mkdir()
    reference.save(np.eye(7, dtype=np.float32), tmp_path / "seven")
    wrong = call(train_cae, *new, "--mosaic", tmp_path / "seven", "--output", tmp_path / "out")
    refused(wrong, "seven", "7 numbers", "slices 40")
    (tmp_path / "two" / "anchors.json").unlink()
    refused(call(train_cae, *new, *again, tmp_path / "two"), "train it again")
    refused(call(train_cae, *new, "--output", tmp_path / "out", "--negatives", "hard"),
            "--cell-type-key")  # fmt: skip


def test_inference_adds_the_latent_positions(folder, tmp_path):
    out = tmp_path / "osmfish.lloki.h5ad"
    good(
        infer_cae, "--input", folder / "osmfish.fp.h5ad", "--model", folder / "cae",
        "--output", out,
    )  # fmt: skip
    data = ad.read_h5ad(out)
    assert data.obsm["X_lloki"].shape == (data.n_obs, 64)
    assert np.isfinite(data.obsm["X_lloki"]).all() and (data.obsm["X_lloki"] >= 0).all()
    assert {"spatial", "X_lloki_fp"} <= set(data.obsm)


def test_labels_can_guide_the_pairs(folder, tmp_path):
    base = ["--epochs", 1, "--output", tmp_path / "cae"]
    guide = ["--cell-type-key", "cell_type_coarse", *expression(folder)]
    good(train_cae, *embeddings(folder), *base, *guide, "--negatives", "hard")
    guided = json.loads((tmp_path / "cae.json").read_text())["pairs"]
    assert 0 < guided < json.loads((folder / "cae.json").read_text())["pairs"]
    refused(call(train_cae, *embeddings(folder), *base, "--cell-type-key", "nope"), "nope")


def test_bad_input_of_the_mosaic(folder, tmp_path):
    out = ["--output", tmp_path / "out"]
    refused(call(fit_mosaic, "--input", tmp_path / "none.h5ad", *out), "no such file")
    foreign = ad.read_h5ad(folder / "osmfish.slice.h5ad")
    foreign.var_names = [f"foreign{i}" for i in range(foreign.n_vars)]
    foreign.write_h5ad(tmp_path / "foreign.h5ad")
    inputs = ["--input", tmp_path / "foreign.h5ad", "--input", DEMO / "reference.h5ad"]
    refused(call(fit_mosaic, *inputs, *out), "foreign.h5ad", "shares no gene")
    embed = ["--input", tmp_path / "foreign.h5ad", *out]
    refused(call(mosaic_embed, *embed, "--model", folder / "mosaic"), "none of its genes")
    refused(call(mosaic_embed, *embed, "--model", tmp_path), "not a mosaic model")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["foreign.h5ad"]


def test_bad_input_of_the_training(folder, tmp_path):
    out = ["--output", tmp_path / "out"]
    twice = embeddings(folder, ["osmfish", "osmfish"])
    refused(call(train_cae, *twice, *out), "osmfish", "once")
    refused(call(train_cae, *embeddings(folder), *out, "--epochs", "few"), "--epochs", "few")
    refused(call(train_cae, "--input", folder / "xenium.slice.h5ad", *out), "X_lloki_fp")
    other = ad.read_h5ad(folder / "osmfish.fp.h5ad")
    other.obsm["X_lloki_fp"] = other.obsm["X_lloki_fp"][:, :7]
    other.write_h5ad(tmp_path / "other.fp.h5ad")
    mixed = ["--input", tmp_path / "other.fp.h5ad", *embeddings(folder, ["xenium"])]
    refused(call(train_cae, *mixed, *out), "7 numbers")
    gap = ad.read_h5ad(folder / "osmfish.fp.h5ad")
    gap.obsm["X_lloki_fp"][3, 0] = np.nan
    gap.write_h5ad(tmp_path / "other.fp.h5ad")
    refused(call(train_cae, *mixed, *out), "other.fp.h5ad", "NaN")
    refused(call(train_cae, "--input", tmp_path / "none.h5ad", *out), "no such file")
    refused(call(train_cae, "--input", __file__, *out), "not a readable AnnData")
    refused(call(train_cae, *embeddings(folder), *out, "--lr", "1e30"), "diverged", "--lr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.fp.h5ad"]


def test_bad_input_of_the_inference(folder, tmp_path):
    out = ["--output", tmp_path / "out.h5ad"]
    stranger = ad.read_h5ad(folder / "osmfish.fp.h5ad")
    stranger.obs["technology"] = "CosMx"
    stranger.write_h5ad(tmp_path / "stranger.fp.h5ad")
    given = ["--input", tmp_path / "stranger.fp.h5ad", *out]
    refused(call(infer_cae, *given, "--model", folder / "cae"), "CosMx", "osmFISH")
    refused(call(infer_cae, *given, "--model", tmp_path / "none"), "not a trained model")
    broken = tmp_path / "broken"
    shutil.copytree(folder / "cae", broken)
    (broken / "model.safetensors").write_bytes(b"cut")
    refused(call(infer_cae, *given, "--model", broken), "damaged")
    narrow = ad.read_h5ad(folder / "osmfish.fp.h5ad")
    narrow.obsm["X_lloki_fp"] = narrow.obsm["X_lloki_fp"][:, :7]
    narrow.write_h5ad(tmp_path / "narrow.fp.h5ad")
    given = ["--input", tmp_path / "narrow.fp.h5ad", *out]
    refused(call(infer_cae, *given, "--model", folder / "cae"), "7 numbers")
    assert not (tmp_path / "out.h5ad").exists()


def test_a_gpu_that_is_not_there_is_refused(folder, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    given = [*embeddings(folder), "--output", tmp_path / "out", "--device", "cuda"]
    refused(call(train_cae, *given), "cuda", "no GPU")
