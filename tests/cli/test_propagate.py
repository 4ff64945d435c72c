"""propagate.py as a command: the chain on a slice of the demo, and files that do not agree."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

import build_graph
import ot_sparsity
import propagate
from lloki.propagation import propagation
from lloki.propagation.graph import averaging
from lloki.slices import files

DEMO = Path(__file__).parents[2] / "assets/demo"


def call(command, *arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


def impute(folder, output, *options):
    return call(
        propagate.main, "impute", "--input", folder / "star.slice.h5ad",
        "--graph", folder / "star.graph.npz", "--targets", folder / "star.targets.csv",
        "--output", output, *options,
    )  # fmt: skip


def denoise(folder, output, *options):
    return call(
        propagate.main, "denoise", "--input", folder / "star.slice.h5ad",
        "--imputed", folder / "star.imputed.h5ad", "--graph", folder / "star.imputed.graph.npz",
        "--output", output, *options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All files up to the graph of the imputed slice, each made by its own command.

    300 genes of STARmap stand for the panel: unlike osmFISH's, its targets leave room to impute.
    """
    folder = tmp_path_factory.mktemp("made")
    data = files.read_h5ad(DEMO / "starmap.h5ad")[:, :300].copy()
    prepared = files.prepare(data, "demo", sample="star", technology="STARmap")
    files.write_h5ad(prepared, folder / "star.slice.h5ad")
    raw, imputed = folder / "star.slice.h5ad", folder / "star.imputed.h5ad"
    for result in (
        call(build_graph.main, "--input", raw, "--output", folder / "star.graph.npz"),
        call(
            ot_sparsity.main, "--input", raw, "--reference", DEMO / "reference.h5ad",
            "--output", folder / "star.targets.csv",
        ),
        impute(folder, imputed),
        call(build_graph.main, "--input", imputed, "--output", folder / "star.imputed.graph.npz"),
    ):  # fmt: skip
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """A copy of those files to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture
def output(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out/x.h5ad"


def refused(result, output, *words):
    """One line on standard error that names what is wrong, exit code 2, nothing written."""
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    for word in words:
        assert str(word) in result.stderr
    assert list(output.parent.iterdir()) == []


def inputs(folder):
    data = files.read_h5ad(folder / "star.slice.h5ad")
    limits = pd.read_csv(folder / "star.targets.csv").max_nonzero.to_numpy()
    return data, sp.load_npz(folder / "star.graph.npz"), limits


def like_the_slice(result, data):
    """Cells, genes, places and annotations are those of the slice; X is CSR, counts are gone."""
    pd.testing.assert_frame_equal(result.obs, data.obs)
    assert list(result.var_names) == list(data.var_names)
    np.testing.assert_array_equal(result.obsm["spatial"], data.obsm["spatial"])
    assert "counts" not in result.layers
    assert (result.X.format, result.X.dtype) == ("csr", np.float32)


def test_impute_a_real_slice(made):
    data, graph, limits = inputs(made)
    result = files.read_h5ad(made / "star.imputed.h5ad")
    like_the_slice(result, data)
    expected = propagation.impute(data.X, averaging(graph), limits)
    assert (expected.matrix != result.X).nnz == 0
    before, after = np.diff(data.X.indptr), np.diff(result.X.indptr)
    assert after.sum() > before.sum()
    size = data.n_obs * data.n_vars
    record = json.loads((made / "star.imputed.json").read_text())
    assert (record["stage"], record["sample"]) == ("impute", "star")
    assert (record["iterations"], record["stopped_by"]) == (expected.iterations, "targets")
    assert record["cells_at_target"] == (after >= limits).sum()
    assert record["cells_above_target"] == (before > limits).sum() > 0
    assert record["cells_thinned"] == 0
    assert record["values_imputed"] == after.sum() - before.sum()
    assert record["warnings"] == []
    assert record["nonzero_fraction_before"] == pytest.approx(before.sum() / size)
    assert record["nonzero_fraction_target"] == pytest.approx(limits.sum() / size)
    assert record["nonzero_fraction_after"] == pytest.approx(after.sum() / size)
    assert result.uns["lloki"]["impute"]["stopped_by"] == "targets"
    assert "prepare_slice" in result.uns["lloki"]


def test_symmetric_weights_are_those_of_the_graph(made, output):
    data, graph, limits = inputs(made)
    assert impute(made, output, "--weights", "symmetric").exit_code == 0
    expected = propagation.impute(data.X, graph, limits)
    assert (expected.matrix != files.read_h5ad(output).X).nnz == 0
    mean = files.read_h5ad(made / "star.imputed.h5ad").X
    assert (expected.matrix != mean).nnz > 0


def test_thin_cuts_every_cell_to_its_target_or_one_value(made, output):
    data, _, limits = inputs(made)
    assert impute(made, output, "--thin").exit_code == 0
    result = files.read_h5ad(output)
    np.testing.assert_array_equal(np.diff(result.X.indptr), np.maximum(limits, 1))
    record = json.loads(output.with_suffix(".json").read_text())
    assert record["cells_thinned"] == (np.diff(data.X.indptr) > np.maximum(limits, 1)).sum()


def test_steps_that_do_not_suffice_are_said(made, copied, output):
    table = pd.read_csv(copied / "star.targets.csv")
    table["max_nonzero"] = 300  # the whole panel, for every cell
    table.to_csv(copied / "star.targets.csv", index=False)
    result = impute(copied, output, "--max-iter", "1", "--tolerance", "0")
    assert result.exit_code == 0
    record = json.loads(output.with_suffix(".json").read_text())
    assert (record["iterations"], record["stopped_by"]) == (1, "max_iter")
    assert "before it settled" in record["warnings"][0]
    assert impute(copied, output, "--tolerance", "10").exit_code == 0
    record = json.loads(output.with_suffix(".json").read_text())
    assert (record["iterations"], record["stopped_by"]) == (1, "tolerance")


def test_a_slice_that_needs_no_imputation_is_said(copied, output):
    table = pd.read_csv(copied / "star.targets.csv")
    table.assign(max_nonzero=table.n_genes).to_csv(copied / "star.targets.csv", index=False)
    assert impute(copied, output).exit_code == 0
    record = json.loads(output.with_suffix(".json").read_text())
    assert "nothing was imputed" in record["warnings"][0]
    assert (files.read_h5ad(output).X != inputs(copied)[0].X).nnz == 0


@pytest.mark.parametrize("support", ["imputed", "all"])
@pytest.mark.parametrize("diffuse", ["imputed", "original"])
def test_denoise_a_real_slice(made, output, diffuse, support):
    options = ["--alpha", "0.2", "--diffuse", diffuse, "--support", support]
    assert denoise(made, output, *options).exit_code == 0
    data, _, _ = inputs(made)
    result = files.read_h5ad(output)
    like_the_slice(result, data)
    expected = propagation.denoise(
        data.X,
        files.read_h5ad(made / "star.imputed.h5ad").X,
        averaging(sp.load_npz(made / "star.imputed.graph.npz")),
        0.2,
        diffuse,
        support,
    )
    assert (expected != result.X).nnz == 0
    record = json.loads(output.with_suffix(".json").read_text())
    assert (record["stage"], record["sample"]) == ("denoise", "star")
    assert record["nonzero_fraction_after"] == pytest.approx(result.X.nnz / data.X.shape[0] / 300)
    assert result.uns["lloki"]["denoise"] == {
        "alpha": 0.2, "weights": "mean", "diffuse": diffuse, "support": support
    }  # fmt: skip


def test_denoise_smooths_the_imputed_values_by_default(made, output):
    assert denoise(made, output).exit_code == 0
    parameters = json.loads(output.with_suffix(".json").read_text())["parameters"]
    assert {k: parameters[k] for k in ("alpha", "diffuse", "support")} == {
        "alpha": 0.05, "diffuse": "imputed", "support": "imputed"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["star.slice.h5ad", "star.graph.npz", "star.targets.csv"])
def test_impute_refuses_missing_and_broken_files(copied, output, name):
    (copied / name).write_text("garbage\n")
    refused(impute(copied, output), output, name, "not a")
    (copied / name).unlink()
    refused(impute(copied, output), output, name, "no such file")


@pytest.mark.parametrize("name", ["star.slice.h5ad", "star.imputed.h5ad", "star.imputed.graph.npz"])
def test_denoise_refuses_missing_and_broken_files(copied, output, name):
    (copied / name).write_text("garbage\n")
    refused(denoise(copied, output), output, name, "not a")
    (copied / name).unlink()
    refused(denoise(copied, output), output, name, "no such file")


def test_a_graph_of_other_cells_is_refused(copied, output):
    for name, command in (("star.graph.npz", impute), ("star.imputed.graph.npz", denoise)):
        sp.save_npz(copied / name, sp.eye_array(7, format="csr"))
        refused(command(copied, output), output, name, "(7, 7)", "1207 cells")


def test_a_graph_with_bad_weights_is_refused(copied, output):
    for weight, word in ((-0.5, "negative"), (np.nan, "not finite")):
        matrix = sp.load_npz(copied / "star.graph.npz")
        matrix.data[0] = weight
        sp.save_npz(copied / "star.graph.npz", matrix)
        refused(impute(copied, output), output, "star.graph.npz", word)


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (lambda t: t[1:], "not those of"),
        (lambda t: t[::-1], "not those of"),
        (lambda t: t.assign(cell_id=["x", *t.cell_id[1:]]), "not those of"),
        (lambda t: t.drop(columns="max_nonzero"), "max_nonzero"),
        (lambda t: t.drop(columns="cell_id"), "cell_id"),
        (lambda t: t.assign(max_nonzero=-1), "max_nonzero"),
        (lambda t: t.assign(max_nonzero=301), "0 to 300"),
        (lambda t: t.assign(max_nonzero=1.5), "whole number"),
    ],
)
def test_targets_that_do_not_fit_are_refused(copied, output, fault, word):
    path = copied / "star.targets.csv"
    fault(pd.read_csv(path)).to_csv(path, index=False)
    refused(impute(copied, output), output, path, word)


def test_an_imputed_file_of_another_slice_is_refused(copied, output):
    path = copied / "star.imputed.h5ad"
    whole = files.read_h5ad(path)
    files.write_h5ad(whole[::-1].copy(), path)
    refused(denoise(copied, output), output, path, "its cells", "star.slice.h5ad")
    files.write_h5ad(whole[:, 1:].copy(), path)
    refused(denoise(copied, output), output, path, "its genes", "star.slice.h5ad")


@pytest.mark.parametrize("fault", [np.nan, -1])
def test_bad_expression_is_refused(copied, output, fault):
    path = copied / "star.slice.h5ad"
    data = files.read_h5ad(path)
    data.X.data[0] = fault
    files.write_h5ad(data, path)
    refused(impute(copied, output), output, path)
    refused(denoise(copied, output), output, path)


@pytest.mark.parametrize(
    ("command", "option"),
    [(impute, "--max-iter=0"), (impute, "--tolerance=-1"), (denoise, "--alpha=1.5"),
     (denoise, "--diffuse=both"), (denoise, "--support=none")],
)  # fmt: skip
def test_options_out_of_range_are_refused(made, output, command, option):
    result = command(made, output, option)
    assert result.exit_code == 2
    assert option.split("=")[0] in result.stderr
    assert list(output.parent.iterdir()) == []


def test_the_group_tells_its_commands_and_version():
    assert {"impute", "denoise"} <= set(call(propagate.main, "--help").output.split())
    assert "0." in call(propagate.main, "--version").output
