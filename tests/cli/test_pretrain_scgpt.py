"""pretrain_scgpt.py as a command: on cells of the demo, stopped half-way, and on bad input."""

import csv
import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from demo_slices import demo_slice

BIN, DEMO = Path(__file__).parents[2] / "bin", Path(__file__).parents[2] / "assets" / "demo"
sys.path.insert(0, str(BIN))

import fit_mosaic  # noqa: E402
import pretrain_scgpt  # noqa: E402
import scgpt_embed  # noqa: E402
from lloki.embedding.scgpt import pretrain  # noqa: E402
from lloki.embedding.scgpt.checkpoint import read_checkpoint  # noqa: E402
from lloki.slices import files  # noqa: E402

TINY = """
--dim 16 --layers 1 --heads 2 --hidden 16 --steps 8 --batch-size 12 --warmup 2 --device cpu
--weight-masked 0.3 --weight-mvc 0.3 --dropout 0.1
""".split()


def call(script, *arguments):
    return CliRunner().invoke(script.main, [str(a) for a in arguments])


def refused(result, *words):
    """Exit code 2 and one line that says these words."""
    assert result.exit_code == 2, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert all(word in line for word in words), line


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two slices, one with raw counts and one prepared, and a reference: few cells of the demo."""
    folder = tmp_path_factory.mktemp("cells")
    for name in ("osmfish", "xenium", "reference"):
        data = demo_slice(name)[:90].copy()
        if name == "xenium":
            data = files.prepare(data, name, sample="x", technology="Xenium", organism="mouse")
        data.write_h5ad(folder / f"{name}.h5ad")
    return folder


def train(inputs, output, *options, names=("osmfish", "xenium", "reference")):
    given = [part for name in names for part in ("--input", inputs / f"{name}.h5ad")]
    return call(pretrain_scgpt, *given, "--output", output, *TINY, *options)


@pytest.fixture(scope="module")
def trained(inputs, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "mini"
    result = train(inputs, output, "--smoothing", 5)
    assert result.exit_code == 0, result.output
    return output


def same(one, two):
    """Whether two checkpoints are equal bit by bit, with their histories."""
    first, second = (torch.load(f / "best_model.pt", weights_only=True) for f in (one, two))
    equal = all(torch.equal(first[name], second[name]) for name in first | second)
    texts = [[(f / n).read_text() for n in ("vocab.json", "history.csv")] for f in (one, two)]
    return equal and texts[0] == texts[1]


def test_the_checkpoint_is_official_and_embeds_a_slice(inputs, trained, tmp_path):
    assert sorted(path.name for path in trained.parent.iterdir()) == ["mini", "mini.json"]
    model = read_checkpoint(trained)
    assert (model.dim, model.layers, model.heads, model.pad_value) == (16, 1, 2, -2)
    assert {"GAD1", "SLC17A7", "<cls>"} <= set(model.vocabulary)
    record = json.loads((trained.parent / "mini.json").read_text())
    assert (record["datasets"], record["cells"]) == (3, 270) and record["samples"] == ["x"]
    assert record["genes"] == len(model.vocabulary) - 3 and record["device"] == "cpu"
    (row,) = csv.DictReader((trained / "history.csv").open())
    assert row["step"] == "8" and float(row["total"]) > 0
    result = call(
        scgpt_embed, "--input", inputs / "xenium.h5ad", "--checkpoint", trained,
        "--output", tmp_path / "x.fp.h5ad",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "x.fp.json").read_text())
    assert record["genes_found"] == record["genes"] == 248
    vectors = ad.read_h5ad(tmp_path / "x.fp.h5ad").obsm["X_lloki_fp"]
    assert vectors.shape == (90, 16) and np.isfinite(vectors).all()


def test_order_of_inputs_changes_no_bit(inputs, trained, tmp_path):
    names = ("reference", "xenium", "osmfish")
    assert train(inputs, tmp_path / "mini", "--smoothing", 5, names=names).exit_code == 0
    assert same(trained, tmp_path / "mini")


def test_a_killed_training_goes_on_to_the_same_result(inputs, trained, tmp_path, monkeypatch):
    step = pretrain.Trainer.step

    def killed(trainer):
        if trainer.done == 5:
            raise KeyboardInterrupt
        return step(trainer)

    output = tmp_path / "mini"
    options = ["--smoothing", 5, "--checkpoint-every", 3]
    monkeypatch.setattr(pretrain.Trainer, "step", killed)
    assert train(inputs, output, *options).exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["mini.checkpoint"]
    # Other options: the state is no use, and that is said.
    monkeypatch.setattr(pretrain.Trainer, "step", step)
    other = train(inputs, output, *options, "--seed", 1, "--steps", 3, "--checkpoint-every", 9)
    assert other.exit_code == 0 and "other options" in other.stderr
    assert not (tmp_path / "mini.checkpoint").exists()

    monkeypatch.setattr(pretrain.Trainer, "step", killed)
    assert train(inputs, output, *options).exit_code != 0
    monkeypatch.setattr(pretrain.Trainer, "step", step)
    result = train(inputs, output, *options)
    assert result.exit_code == 0 and "goes on after step 3" in result.stderr
    assert same(trained, output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mini", "mini.json"]


def test_a_damaged_state_is_left_aside(inputs, trained, tmp_path):
    (tmp_path / "mini.checkpoint").write_text("no tensors")
    result = train(inputs, tmp_path / "mini", "--smoothing", 5)
    assert result.exit_code == 0 and "damaged" in result.stderr
    assert same(trained, tmp_path / "mini")


def test_a_mosaic_model_can_be_given(inputs, trained, tmp_path):
    names = ("osmfish", "xenium", "reference")
    given = [part for name in names for part in ("--input", inputs / f"{name}.h5ad")]
    assert call(fit_mosaic, *given, "--output", tmp_path / "mosaic").exit_code == 0
    options = ["--smoothing", 5, "--mosaic", tmp_path / "mosaic"]
    assert train(inputs, tmp_path / "mini", *options).exit_code == 0
    assert same(trained, tmp_path / "mini")  # it is the one that is fitted otherwise
    refused(train(inputs, tmp_path / "mini", "--mosaic", tmp_path), "not a mosaic model")


def test_bad_input_is_named(inputs, tmp_path):
    out = tmp_path / "mini"
    refused(train(inputs, out, "--dim", 15), "--dim", "--heads 2")
    refused(train(inputs, out, "--genes-kept", "1-0.5"), "rising")
    refused(train(inputs, out, "--genes-kept", "half"), "0.3-1")
    refused(train(inputs, out, "--lr", "1e30"), "diverged")
    refused(train(inputs, out, names=("osmfish", "osmfish")), "more than once")
    refused(train(inputs, out, names=("nothing",)), "nothing.h5ad", "no such file")
    refused(train(inputs, out, "--orthologs", inputs / "none.csv"), "none.csv")
    refused(train(inputs, tmp_path / "nowhere" / "mini"), "folder does not exist")
    if not torch.cuda.is_available():
        refused(train(inputs, out, "--device", "cuda"), "--device cuda")
    data = ad.read_h5ad(inputs / "osmfish.h5ad")
    data.var_names = [f"ENSMUSG{i:011d}" for i in range(data.n_vars)]
    data.write_h5ad(tmp_path / "ids.h5ad")
    refused(train(tmp_path, out, names=("ids",)), "Ensembl")
    data.var_names = [f"foreign{i}" for i in range(data.n_vars)]
    data.write_h5ad(tmp_path / "foreign.h5ad")
    mixed = ["--input", tmp_path / "foreign.h5ad"]
    refused(train(inputs, out, *mixed), "foreign.h5ad", "shares no gene")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign.h5ad", "ids.h5ad"]
