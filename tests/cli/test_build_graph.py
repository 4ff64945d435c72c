"""build_graph.py as a command, on a slice of the demo and on what users get wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

import build_graph
from lloki.propagation import graph
from lloki.slices import files
from lloki.support import search

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def slice_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("slice") / "osm.slice.h5ad"
    data = files.read_h5ad(ROOT / "assets/demo/osmfish.h5ad")
    files.write_h5ad(files.prepare(data, path, sample="osm", technology="osmFISH"), path)
    return path


def run(slice_path, output, *options):
    return CliRunner().invoke(
        build_graph.main, ["--input", str(slice_path), "--output", str(output), *options]
    )


def refused(result, output, *words):
    """One line on standard error that names what is wrong, exit code 2, nothing written."""
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    for word in words:
        assert str(word) in result.stderr
    assert list(output.parent.iterdir()) == []


def test_graph_of_a_real_slice(slice_path, tmp_path):
    result = run(slice_path, tmp_path / "osm.graph.npz")
    assert result.exit_code == 0, result.output
    data = files.read_expression(slice_path, spatial=True)
    matrix = sp.load_npz(tmp_path / "osm.graph.npz")
    assert (matrix.format, matrix.dtype, matrix.indices.dtype) == ("csr", np.float32, np.int32)
    sigma = graph.mean_pair_distance(data.obsm["spatial"], 0)
    space = graph.principal_components(data.X, 50)
    expected = graph.spatial_graph(
        search.find_neighbours(space, 40).indices, data.obsm["spatial"], sigma
    )
    assert (matrix != expected).nnz == 0
    record = json.loads((tmp_path / "osm.graph.json").read_text())
    assert record["stage"] == "build_graph"
    assert record["sample"] == "osm"
    assert record["cells"] == data.n_obs
    assert record["edges"] == (matrix.nnz - data.n_obs) // 2
    assert record["sigma"] == pytest.approx(sigma)
    assert (record["neighbours"], record["method"], record["recall"]) == (40, "exact", 1)
    assert record["n_pcs"] <= data.n_vars  # 33 genes have no 50 components
    assert sorted(p.name for p in tmp_path.iterdir()) == ["osm.graph.json", "osm.graph.npz"]


def test_as_a_command_on_any_number_of_threads(slice_path, tmp_path):
    command = [sys.executable, ROOT / "bin/build_graph.py", "--input", slice_path, "--output"]
    for name, threads in (("a", "1"), ("b", "2")):
        subprocess.run(
            [*command, tmp_path / f"{name}.graph.npz", "--neighbors", "5"],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        )
    first, second = (sp.load_npz(tmp_path / f"{name}.graph.npz") for name in "ab")
    np.testing.assert_allclose(first.toarray(), second.toarray(), atol=1e-6)


def test_options_reach_the_graph(slice_path, tmp_path):
    options = ["--n-pcs", "0", "--metric", "euclidean", "--sigma", "25", "--neighbors", "7"]
    assert run(slice_path, tmp_path / "x.npz", *options).exit_code == 0
    data = files.read_expression(slice_path, spatial=True)
    found = search.find_neighbours(data.X.toarray(), 7, "euclidean")
    expected = graph.spatial_graph(found.indices, data.obsm["spatial"], 25.0)
    assert (sp.load_npz(tmp_path / "x.npz") != expected).nnz == 0
    assert json.loads((tmp_path / "x.json").read_text())["n_pcs"] == 0


def test_approximate_search_reports_its_recall(slice_path, tmp_path):
    assert run(slice_path, tmp_path / "x.npz", "--method", "approx").exit_code == 0
    record = json.loads((tmp_path / "x.json").read_text())
    assert record["method"] == "approx"
    assert 0.95 <= record["recall"] <= 1


def test_a_failed_approximate_search_is_said(slice_path, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "RECALL_WANTED", 1.1)
    result = run(slice_path, tmp_path / "x.npz", "--method", "approx")
    assert result.exit_code == 0
    record = json.loads((tmp_path / "x.json").read_text())
    assert (record["method"], record["recall"]) == ("exact", 1)
    assert "searched exactly" in record["warnings"][0]
    assert "searched exactly" in result.stderr


def test_any_file_with_expression_and_places_will_do(slice_path, tmp_path):
    data = files.read_h5ad(slice_path)[:3].copy()
    del data.obs["sample"]
    data.obsm["spatial"] = np.zeros((3, 3))
    (tmp_path / "in").mkdir()
    files.write_h5ad(data, tmp_path / "in/mine.v2.h5ad")
    assert run(tmp_path / "in/mine.v2.h5ad", tmp_path / "x.npz").exit_code == 0
    record = json.loads((tmp_path / "x.json").read_text())
    assert (record["sample"], record["neighbours"], record["sigma"]) == ("mine", 2, 0)
    np.testing.assert_allclose(sp.load_npz(tmp_path / "x.npz").toarray(), 1 / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (lambda d: d.obsm.pop("spatial"), "obsm['spatial'] is missing"),
        (lambda d: d.obsm["spatial"].__setitem__((0, 0), np.nan), "NaN"),
        (lambda d: d.X.data.__setitem__(0, np.nan), "NaN"),
        (lambda d: d.X.data.__setitem__(0, -1), "negative"),
        (lambda d: setattr(d, "obs_names", ["c"] * d.n_obs), "'c' occurs more than once"),
        (lambda d: setattr(d, "var_names", ["g"] * d.n_vars), "'g' occurs more than once"),
    ],
)
def test_bad_slices_are_refused(slice_path, tmp_path, fault, word):
    data = files.read_h5ad(slice_path)
    fault(data)
    bad = tmp_path / "in/bad.h5ad"
    (tmp_path / "in").mkdir()
    data.write_h5ad(bad)
    (tmp_path / "out").mkdir()
    output = tmp_path / "out/x.npz"
    refused(run(bad, output), output, bad, word)


def test_files_that_are_no_slices_are_refused(slice_path, tmp_path):
    output = tmp_path / "out/x.npz"
    output.parent.mkdir()
    refused(run(tmp_path / "none.h5ad", output), output, "none.h5ad", "no such file")
    (tmp_path / "text.h5ad").write_text("no AnnData")
    refused(run(tmp_path / "text.h5ad", output), output, "text.h5ad", "not a readable AnnData")
    ad.AnnData(np.zeros((0, 2), dtype=np.float32)).write_h5ad(tmp_path / "empty.h5ad")
    refused(run(tmp_path / "empty.h5ad", output), output, "empty.h5ad", "no cells")


@pytest.mark.parametrize("sigma", ["0", "-3", "nan", "inf", "wide"])
def test_a_width_that_is_none_is_refused(slice_path, tmp_path, sigma):
    output = tmp_path / "x.npz"
    refused(run(slice_path, output, f"--sigma={sigma}"), output, "--sigma", sigma)


@pytest.mark.parametrize("option", ["--neighbors=0", "--n-pcs=-1", "--metric=L7", "--method=fast"])
def test_options_out_of_range_are_refused(slice_path, tmp_path, option):
    result = run(slice_path, tmp_path / "x.npz", option)
    assert result.exit_code == 2
    assert option.split("=")[0] in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_loads_nothing_heavy():
    code = (
        "import sys, build_graph, ot_sparsity, propagate;"
        "print(sorted({'numpy', 'scipy', 'anndata', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "bin", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
