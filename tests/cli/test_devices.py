"""Every script that takes --device, on a GPU: what it writes is what it writes on the CPU."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from commands import good
from demo_slices import demo_slice
from devices import on_a_gpu

import build_graph
import fit_mosaic
import infer_cae
import mosaic_embed
import ot_sparsity
import pretrain_scgpt
import propagate
import scgpt_embed
import train_cae
from lloki.slices import files

ASSETS = Path(__file__).parents[2] / "assets"
SAMPLES = "starmap", "xenium"
pytestmark = on_a_gpu


def both(folder, name, script, *arguments):
    """What a script writes on the CPU and on the GPU."""
    outputs = [folder / device / name for device in ("cpu", "cuda")]
    for output in outputs:
        device = output.parent.name
        output.parent.mkdir(exist_ok=True)
        good(script, *arguments, "--device", device, "--output", output)
        record = json.loads(output.with_suffix(".json").read_text())
        assert record["device"].startswith(device)
    return outputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two slices of the demo up to their embeddings, by the CPU."""
    folder = tmp_path_factory.mktemp("devices")
    for name in SAMPLES:
        s = folder / f"{name}.slice.h5ad"
        data = demo_slice(name)[:600].copy()
        organism = "mouse" if name == "xenium" else None
        files.write_h5ad(
            files.prepare(data, name, sample=name, technology=name, organism=organism), s
        )
    inputs = [f"--input={folder / s}.slice.h5ad" for s in SAMPLES]
    good(fit_mosaic, *inputs, "--output", folder / "mosaic")
    for name in SAMPLES:
        good(mosaic_embed, "--input", folder / f"{name}.slice.h5ad", "--model", folder / "mosaic",
             "--output", folder / f"{name}.fp.h5ad")  # fmt: skip
    return folder


def test_both_graphs_imputation_and_denoising(folder):
    s = folder / "starmap.slice.h5ad"
    graph, other = both(folder, "graph.npz", build_graph, "--input", s)
    here, there = sp.load_npz(graph), sp.load_npz(other)
    assert (here != there).nnz <= 1e-3 * here.nnz
    targets = folder / "targets.csv"
    good(ot_sparsity, "--input", s, "--reference", ASSETS / "demo/reference.h5ad",
         "--output", targets)  # fmt: skip
    given = ["--input", s, "--graph", graph]
    imputed, other = both(folder, "imputed.h5ad", propagate, "impute", *given, "--targets", targets)
    near(imputed, other)
    good(build_graph, "--input", imputed, "--output", folder / "again.npz")
    given = ["--input", s, "--imputed", imputed, "--graph", folder / "again.npz"]
    near(*both(folder, "denoised.h5ad", propagate, "denoise", *given))


def near(*paths):
    """Two files whose values agree but for rounding, and for what rounding lets in or out."""
    here, there = (files.read_h5ad(path).X for path in paths)
    assert ((here != 0) != (there != 0)).nnz <= 1e-3 * here.nnz
    differences = np.abs((here - there).data)
    assert (differences > 1e-5).sum() <= 1e-3 * here.nnz


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_scgpt(folder, precision, most):
    paths = both(
        folder, f"scgpt_{precision}.h5ad", scgpt_embed, "--input", folder / "xenium.slice.h5ad",
        "--checkpoint", ASSETS / "scgpt_mini", "--precision", precision,
    )  # fmt: skip
    here, there = (files.read_h5ad(path).obsm["X_lloki_fp"] for path in paths)
    np.testing.assert_allclose(there, here, atol=most)


def test_training_and_inference(folder):
    embeddings = [f"--input={folder / s}.fp.h5ad" for s in SAMPLES]
    slices = [f"--slice={folder / s}.slice.h5ad" for s in SAMPLES]
    here, there = both(folder, "cae", train_cae, *embeddings, *slices, "--epochs", 6)
    np.testing.assert_allclose(losses(there), losses(here), rtol=0.02)
    given = ["--input", folder / "xenium.fp.h5ad", "--model", here]
    paths = both(folder, "lloki.h5ad", infer_cae, *given)
    here, there = (files.read_h5ad(path).obsm["X_lloki"] for path in paths)
    np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("masked", "most"), [(0, 0.02), (0.3, 0.2)])  # they mask other values
def test_pretraining(folder, masked, most):
    inputs = [f"--input={folder / s}.slice.h5ad" for s in SAMPLES]
    options = "--dim 16 --layers 2 --heads 2 --hidden 16 --steps 100".split()
    given = ["--mosaic", folder / "mosaic", *inputs, *options, "--weight-mvc", masked]
    here, there = both(folder, f"small_{masked > 0}", pretrain_scgpt, *given)
    np.testing.assert_allclose(losses(there), losses(here), rtol=most)


def losses(model):
    """The losses of all epochs or steps of a training."""
    rows = csv.DictReader((model / "history.csv").open())
    return [[float(value) for value in row.values()] for row in rows]
