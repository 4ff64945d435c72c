"""fit_mosaic, mosaic_embed, train_cae and infer_cae on the demo's slices, and on bad input."""

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

BIN, DEMO = Path(__file__).parents[2] / "bin", Path(__file__).parents[2] / "assets" / "demo"
sys.path.insert(0, str(BIN))

import fit_mosaic  # noqa: E402
import infer_cae  # noqa: E402
import mosaic_embed  # noqa: E402
import prepare_slice  # noqa: E402
import train_cae  # noqa: E402

SLICES = {"osmfish": "osmFISH", "starmap": "STARmap", "xenium": "Xenium"}


def call(script, *arguments):
    return CliRunner().invoke(script.main, [str(a) for a in arguments])


def good(script, *arguments):
    result = call(script, *arguments)
    assert result.exit_code == 0, result.output


def refused(result, *words):
    """Exit code 2 and one line that says these words."""
    assert result.exit_code == 2
    line = result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert all(word in line for word in words), line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The demo's slices from raw counts to embeddings, without the propagation between."""
    out = tmp_path_factory.mktemp("stages")
    for sample, technology in SLICES.items():
        good(
            prepare_slice, "--input", DEMO / f"{sample}.h5ad", "--sample", sample,
            "--technology", technology, "--output", out / f"{sample}.slice.h5ad",
        )  # fmt: skip
    inputs = [f"--input={out / s}.slice.h5ad" for s in SLICES]
    good(fit_mosaic, *inputs, "--input", DEMO / "reference.h5ad", "--output", out / "mosaic")
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
    good(fit_mosaic, "--input", DEMO / "reference.h5ad", *turned, "--output", tmp_path / "mosaic")
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
    refused(call(train_cae, *base, *expression(folder, ["xenium", "starmap"])), "osmfish", "none")
    cut = ad.read_h5ad(folder / "osmfish.slice.h5ad")[:-1]
    cut.write_h5ad(tmp_path / "osmfish.slice.h5ad")
    others = expression(folder, ["xenium", "starmap"])
    wrong = [*others, f"--slice={tmp_path}/osmfish.slice.h5ad"]
    refused(call(train_cae, *base, *wrong), "osmfish", "not those of the embedding")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["osmfish.slice.h5ad"]


def test_inference_adds_the_latent_positions(folder, tmp_path):
    out = tmp_path / "osmfish.lloki.h5ad"
    good(
        infer_cae, "--input", folder / "osmfish.fp.h5ad", "--model", folder / "cae",
        "--output", out,
    )  # fmt: skip
    data = ad.read_h5ad(out)
    assert data.obsm["X_lloki"].shape == (data.n_obs, 128)
    assert np.isfinite(data.obsm["X_lloki"]).all() and (data.obsm["X_lloki"] >= 0).all()
    assert {"spatial", "X_lloki_fp"} <= set(data.obsm)


def test_labels_can_guide_the_pairs(folder, tmp_path):
    base = ["--epochs", 1, "--output", tmp_path / "cae"]
    guide = ["--cell-type-key", "cell_type_coarse", *expression(folder)]
    good(train_cae, *embeddings(folder), *base, *guide)
    guided = json.loads((tmp_path / "cae.json").read_text())["pairs"]
    assert 0 < guided < json.loads((folder / "cae.json").read_text())["pairs"]
    refused(call(train_cae, *embeddings(folder), *base, "--cell-type-key", "nope"), "nope")


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_adapting_leaves_what_is_known_as_it_is(folder, tmp_path):
    two, train = ["osmfish", "starmap"], ["--epochs", 3, "--no-pair-genes"]
    good(train_cae, *embeddings(folder, two), *train, "--output", tmp_path / "two")
    infer = ["--input", folder / "xenium.fp.h5ad", "--output", tmp_path / "xenium.lloki.h5ad"]
    refused(call(infer_cae, *infer, "--model", tmp_path / "two"), "Xenium", "--adapt-from")
    adapt = [*train, "--output", tmp_path / "three", "--adapt-from"]
    good(train_cae, *embeddings(folder, ["osmfish", "xenium"]), *adapt, tmp_path / "two")
    one, more = weights(tmp_path / "two"), weights(tmp_path / "three")
    assert len(more["batch.weight"]) == len(one["batch.weight"]) + 1
    more["batch.weight"] = more["batch.weight"][:2]
    assert all((one[name] == more[name]).all() for name in one)
    good(infer_cae, *infer, "--model", tmp_path / "three")
    latent = []
    for model in ("two", "three"):
        out = tmp_path / f"{model}.h5ad"
        good(infer_cae, "--input", folder / "starmap.fp.h5ad", "--model", tmp_path / model,
             "--output", out)  # fmt: skip
        latent.append(ad.read_h5ad(out).obsm["X_lloki"])
    assert (latent[0] == latent[1]).all()
    config = json.loads((tmp_path / "three" / "config.json").read_text())
    assert config["training"]["lr"] == 0.01 and len(config["adapted_from"]) == 64
    known = call(train_cae, *embeddings(folder, two), *adapt, tmp_path / "two")
    refused(known, "knows all batches")
    alone = call(train_cae, *embeddings(folder, ["xenium"]), *adapt, tmp_path / "two")
    refused(alone, "anchor", "osmFISH")
    refused(call(train_cae, *embeddings(folder), *adapt, tmp_path), "not a trained model")


def start(*arguments):
    """A Python program as a process of its own."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_killed_training_goes_on_to_the_same_result(folder, tmp_path):
    given = [*embeddings(folder), "--no-pair-genes", "--epochs", 30, "--checkpoint-seconds", 0]
    out, checkpoint = tmp_path / "cae", tmp_path / "cae.checkpoint"
    process = start(BIN / "train_cae.py", *given, "--output", out)
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert checkpoint.exists() and not out.exists()
    resumed = call(train_cae, *given, "--output", out)
    assert resumed.exit_code == 0 and "going on after epoch" in resumed.stderr
    assert json.loads((tmp_path / "cae.json").read_text())["resumed_after_epoch"] > 0
    assert not checkpoint.exists()
    good(train_cae, *given, "--output", tmp_path / "whole")
    one, two = weights(out), weights(tmp_path / "whole")
    assert all((one[name] == two[name]).all() for name in one)
    history = [(f / "history.csv").read_text() for f in (out, tmp_path / "whole")]
    assert history[0] == history[1] and len(history[0].splitlines()) == 31


def test_a_checkpoint_of_another_training_is_not_used(folder, tmp_path):
    (tmp_path / "cae.checkpoint").write_bytes(b"something")
    good(train_cae, *embeddings(folder), "--epochs", 1, "--output", tmp_path / "cae")
    warnings = json.loads((tmp_path / "cae.json").read_text())["warnings"]
    assert any("another training" in w for w in warnings)


def test_two_processes_train_as_one(folder, tmp_path):
    given = [*embeddings(folder), "--no-pair-genes", "--epochs", 3, "--device", "cpu"]
    good(train_cae, *given, "--output", tmp_path / "one")
    process = start(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", BIN / "train_cae.py",
        *given, "--output", tmp_path / "two",
    )  # fmt: skip
    told = process.communicate()[1]
    assert process.returncode == 0, told
    assert json.loads((tmp_path / "two.json").read_text())["processes"] == 2
    rows = [list(csv.reader((tmp_path / n / "history.csv").open())) for n in ("one", "two")]
    assert rows[0][0] == rows[1][0]
    one, two = (np.array(r[1:], dtype=float) for r in rows)
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_switches_of_the_losses(folder, tmp_path):
    base = [*embeddings(folder), "--epochs", 1, "--no-pair-genes", "--output", tmp_path / "cae"]
    refused(call(train_cae, *base, "--hard-negatives"), "--hard-negatives", "--cell-type-key")
    switches = {
        "plain": [], "hard": ["--hard-negatives"], "trip": ["--trip-distance", "squared"],
        "bc": ["--bc-distance", "squared"],
    }  # fmt: skip
    rows = {}
    for name, more in switches.items():
        good(train_cae, *base, "--cell-type-key", "cell_type_coarse", *more)
        rows[name] = next(csv.DictReader((tmp_path / "cae" / "history.csv").open()))
    assert float(rows["hard"]["triplet"]) > float(rows["plain"]["triplet"])
    assert len({rows[name]["triplet"] for name in ("plain", "hard", "trip")}) == 3
    assert rows["bc"]["conservation"] != rows["plain"]["conservation"]


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
    broken = ad.read_h5ad(folder / "osmfish.fp.h5ad")
    broken.obsm["X_lloki_fp"][3, 0] = np.nan
    broken.write_h5ad(tmp_path / "other.fp.h5ad")
    refused(call(train_cae, *mixed, *out), "other.fp.h5ad", "NaN")
    refused(call(train_cae, "--input", tmp_path / "none.h5ad", *out), "no such file")
    refused(call(train_cae, "--input", __file__, *out), "not a readable AnnData")
    refused(call(train_cae, *embeddings(folder), *out, "--lr", "1e30"), "diverged")
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
