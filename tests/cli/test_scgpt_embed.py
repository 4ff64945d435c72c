"""scgpt_embed.py as a command, on slices of the demo and on what users get wrong."""

import json
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scgpt_reference
import scipy.sparse as sp
import torch
from click.testing import CliRunner
from demo_slices import demo_slice
from scgpt_checkpoint import write_checkpoint

import scgpt_embed
from lloki.slices import files, genes

ROOT = Path(__file__).parents[2]
CELLS = 150


@pytest.fixture(scope="module")
def slice_path(tmp_path_factory):
    """Cells of the demo's Xenium slice, values without ties, as after denoising."""
    path = tmp_path_factory.mktemp("slice") / "xen.denoised.h5ad"
    data = demo_slice("xenium")[:CELLS].copy()
    data = files.prepare(data, path, sample="xen", technology="Xenium", organism="mouse")
    data.X.data *= 1 + np.random.default_rng(0).random(data.X.nnz, dtype=np.float32)
    files.write_h5ad(data, path)
    return path


@pytest.fixture(scope="module")
def vocabulary(slice_path):
    """Human symbols, as in the official vocabulary: orthologs, and the rest in upper case."""
    names = files.read_h5ad(slice_path).var_names
    table = genes.read_orthologs(str(scgpt_embed.ORTHOLOGS))
    human = [table.get(name, name.upper()) for name in names if name != "Lyz2"]
    return [*dict.fromkeys(human), "C9orf72", "OTHER"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, vocabulary):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "mini", vocabulary)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "xen.fp.h5ad"


def run(slice_path, checkpoint, output, *options):
    output.parent.mkdir(exist_ok=True)
    return CliRunner().invoke(
        scgpt_embed.main,
        ["--input", str(slice_path), "--checkpoint", str(checkpoint), "--output", str(output)]
        + [str(option) for option in options],
    )


def refused(result, output, *words):
    """One line on standard error that names what is wrong, exit code 2, nothing written."""
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for word in words:
        assert str(word) in result.stderr
    assert list(output.parent.iterdir()) == []


def changed(slice_path, path, change):
    """A copy of the slice after `change(data)`, which may return another AnnData."""
    data = files.read_h5ad(slice_path)
    result = change(data)
    files.write_h5ad(data if result is None else result, path)
    return path


def test_embeds_a_real_slice(slice_path, checkpoint, output):
    result = run(slice_path, checkpoint, output, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "xen on cpu, fp32" in result.stderr
    data, source = ad.read_h5ad(output), files.read_h5ad(slice_path)
    vectors = data.obsm["X_lloki_fp"]
    assert data.X is None
    assert (vectors.shape, vectors.dtype) == ((CELLS, 64), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert data.obs_names.equals(source.obs_names)
    assert data.obs.equals(source.obs)
    np.testing.assert_array_equal(data.obsm["spatial"], source.obsm["spatial"])

    notes = data.uns["lloki"]["embedding"]
    record = json.loads(output.with_name("xen.fp.json").read_text())
    assert "prepare_slice" in data.uns["lloki"]
    assert (notes["embedder"], notes["checkpoint"]) == ("scgpt", "mini")
    assert files.embedder(data) == f"scgpt {notes['checkpoint_sha256'][:8]}"
    assert list(notes["genes_missing"]) == ["Lyz2"]
    assert record["sample"] == "xen"
    assert (record["embedder"], record["device"], record["precision"]) == ("scgpt", "cpu", "fp32")
    assert (record["cells"], record["genes"], record["genes_found"]) == (CELLS, 248, 247)
    assert record["share"] == pytest.approx(247 / 248)
    assert record["genes_ortholog"] > 3
    known = source[:, source.var_names != "Lyz2"].X
    assert record["tokens_median"] == np.median(known.getnnz(axis=1)) + 1
    assert record["warnings"] == []


with_scgpt = pytest.mark.skipif(
    not (scgpt_reference.FOLDER / "scgpt").is_dir(),
    reason="the original scgpt is not there: run tests/install_scgpt.sh",
)


@with_scgpt
def test_equals_the_package_on_a_real_slice(slice_path, checkpoint, output, vocabulary):
    assert run(slice_path, checkpoint, output, "--precision", "fp32").exit_code == 0
    data = files.read_expression(slice_path)
    table = genes.read_orthologs(str(scgpt_embed.ORTHOLOGS))
    match = genes.match_vocabulary(data.var_names, vocabulary, table)
    human = ad.AnnData(genes.collect_columns(data.X, match), obs=data.obs[[]])
    human.var_names = match.found
    expected = scgpt_reference.embed(human, checkpoint)
    assert np.abs(ad.read_h5ad(output).obsm["X_lloki_fp"] - expected).max() <= 2e-6


@with_scgpt
def test_the_package_itself_as_backend(slice_path, checkpoint, tmp_path):
    scgpt_reference.load()
    ours, theirs = (tmp_path / f"{name}.fp.h5ad" for name in ("ours", "theirs"))
    assert run(slice_path, checkpoint, ours, "--precision", "fp32").exit_code == 0
    result = run(slice_path, checkpoint, theirs, "--backend", "reference", "--device", "cpu")
    assert result.exit_code == 0, result.output
    one, two = (ad.read_h5ad(path) for path in (ours, theirs))
    assert np.abs(one.obsm["X_lloki_fp"] - two.obsm["X_lloki_fp"]).max() <= 2e-6
    assert two.uns["lloki"]["embedding"]["backend"] == "reference"


def test_without_the_package_that_backend_is_refused(slice_path, checkpoint, output, monkeypatch):
    monkeypatch.setitem(sys.modules, "scgpt", None)
    result = run(slice_path, checkpoint, output, "--backend", "reference")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(
        "scgpt_embed: --backend reference: the package"
    )
    assert "--backend lloki" in result.stderr and list(output.parent.iterdir()) == []


def test_same_options_same_result_whatever_the_batch(slice_path, checkpoint, tmp_path):
    vectors = {}
    for name, options in {"a": [], "b": [], "c": ["--batch-size", 7]}.items():
        path = tmp_path / f"{name}.fp.h5ad"
        assert run(slice_path, checkpoint, path, *options).exit_code == 0
        vectors[name] = ad.read_h5ad(path).obsm["X_lloki_fp"]
    np.testing.assert_array_equal(vectors["a"], vectors["b"])
    assert np.abs(vectors["a"] - vectors["c"]).max() < 1e-6


def test_bf16_and_max_length(slice_path, checkpoint, output):
    result = run(slice_path, checkpoint, output, "--precision", "bf16", "--max-length", 30)
    assert result.exit_code == 0, result.output
    record = json.loads(output.with_name("xen.fp.json").read_text())
    assert (record["precision"], record["tokens_max"]) == ("bf16", 30)


def test_human_panels_use_no_orthologs(slice_path, checkpoint, output):
    assert run(slice_path, checkpoint, output, "--organism", "human").exit_code == 0
    record = json.loads(output.with_name("xen.fp.json").read_text())
    assert (record["organism"], record["genes_ortholog"]) == ("human", 0)
    assert record["genes_found"] < 247


def test_columns_of_one_gene_are_added_up_and_said(slice_path, checkpoint, output, tmp_path):
    def rename(data):
        data.var_names = ["ACTA2" if name == "Lyz2" else name for name in data.var_names]

    def add(data):
        dense = pd.DataFrame(data.X.toarray(), columns=data.var_names)
        dense["Acta2"] += dense.pop("Lyz2")
        data = data[:, dense.columns].copy()
        data.X = sp.csr_matrix(dense.to_numpy())
        return data

    vectors = []
    for change in (add, rename):
        result = run(changed(slice_path, tmp_path / "x.h5ad", change), checkpoint, output)
        assert result.exit_code == 0, result.output
        vectors.append(ad.read_h5ad(output).obsm["X_lloki_fp"])
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)
    assert "added up (ACTA2: Acta2, ACTA2)" in " ".join(result.stderr.split())
    assert len(json.loads(output.with_name("xen.fp.json").read_text())["warnings"]) == 1


def empty_cells(rows):
    def change(data):
        dense = data.X.toarray()
        dense[rows] = 0
        dense[rows, list(data.var_names).index("Lyz2")] = 1  # not in the vocabulary
        data.X = sp.csr_matrix(dense)

    return change


def test_cells_without_a_known_gene_are_named(slice_path, checkpoint, output, tmp_path):
    path = changed(slice_path, tmp_path / "empty.h5ad", empty_cells(range(3, 10)))
    names = files.read_h5ad(slice_path).obs_names
    result = run(path, checkpoint, output)
    refused(result, output, path, "7 cells", *names[3:8], "--empty-cells zero")
    assert names[8] not in result.stderr


def test_cells_without_a_known_gene_get_zeros_on_demand(slice_path, checkpoint, output, tmp_path):
    path = changed(slice_path, tmp_path / "empty.h5ad", empty_cells([0, 8]))
    result = run(path, checkpoint, output, "--empty-cells", "zero")
    assert result.exit_code == 0, result.output
    data = ad.read_h5ad(output)
    assert np.flatnonzero(data.obs["lloki_empty"]).tolist() == [0, 8]
    lengths = np.linalg.norm(data.obsm["X_lloki_fp"], axis=1)
    np.testing.assert_allclose(lengths, ~data.obs["lloki_empty"].to_numpy(), atol=1e-6)
    record = json.loads(output.with_name("xen.fp.json").read_text())
    assert record["cells_empty"] == 2
    assert "2 cells" in record["warnings"][0]


def test_a_slice_of_cells_without_a_known_gene(slice_path, checkpoint, output, tmp_path):
    path = changed(slice_path, tmp_path / "empty.h5ad", empty_cells(range(CELLS)))
    refused(run(path, checkpoint, output, "--empty-cells", "zero"), output, "150 cells")


def set_x(value):
    def change(data):
        data.X.data[5] = value

    return change


def names_of(template):
    def change(data):
        data.var_names = [template.format(i) for i in range(data.n_vars)]

    return change


def drop_sample(data):
    del data.obs["sample"]


BAD_INPUT = {
    "nan": (set_x(np.nan), "NaN"),
    "negative": (set_x(-1), "negative"),
    "ensembl": (names_of("ENSMUSG{:011d}"), "Ensembl ids such as ENSMUSG00000000000"),
    "other genes": (names_of("gene{}"), "knows 0 of its 248 genes"),
    "few genes": (lambda data: data[:, :9].copy(), "knows 9 of its 9 genes"),
    "no sample": (drop_sample, "obs['sample'] is missing"),
    "no matrix": (files.without_expression, "no expression matrix"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input(slice_path, checkpoint, output, tmp_path, name):
    change, words = BAD_INPUT[name]
    path = changed(slice_path, tmp_path / "bad.h5ad", change)
    refused(run(path, checkpoint, output), output, path, words)


def test_thresholds_of_genes(slice_path, checkpoint, output):
    result = run(slice_path, checkpoint, output, "--min-genes-share", 0.999)
    refused(result, output, "knows 247 of its 248 genes", "--min-genes-share")
    refused(run(slice_path, checkpoint, output, "--min-genes", 248), output, "--min-genes")


def test_files_that_are_not_there(slice_path, checkpoint, output, tmp_path):
    missing = tmp_path / "nothing"
    refused(run(missing, checkpoint, output), output, missing, "no such file")
    refused(run(slice_path, missing, output), output, missing, "no such checkpoint folder")
    result = run(slice_path, checkpoint, output, "--orthologs", missing)
    refused(result, output, missing, "no such table of orthologs")
    result = run(slice_path, checkpoint, output, "--orthologs", checkpoint / "args.json")
    refused(result, output, "args.json", "columns mouse and human")


def test_weights_that_do_not_fit(slice_path, vocabulary, output, tmp_path):
    folder = write_checkpoint(tmp_path / "model", vocabulary)
    state = torch.load(folder / "best_model.pt", weights_only=True)
    torch.save({f"module.{k}": v for k, v in state.items()}, folder / "best_model.pt")
    refused(run(slice_path, folder, output), output, "best_model.pt", "'module.encoder")


def test_gpu_that_is_not_there(slice_path, checkpoint, output, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(run(slice_path, checkpoint, output, "--device", "cuda"), output, "no GPU")


@pytest.mark.parametrize("option", ["--batch-size=0", "--batch-size=x", "--max-length=1"])
def test_options_out_of_range(slice_path, checkpoint, output, option):
    result = run(slice_path, checkpoint, output, option)
    assert result.exit_code == 2
    assert option.split("=")[0] in result.stderr
    assert list(output.parent.iterdir()) == []


def test_as_a_command_without_heavy_imports():
    script = ROOT / "bin" / "scgpt_embed.py"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", script, "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "scgpt_embed" in done.stdout
    assert not {"torch", "numpy", "anndata"} & {
        line.split("|")[-1].strip() for line in done.stderr.splitlines()
    }
