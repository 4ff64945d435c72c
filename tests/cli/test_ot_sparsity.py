"""ot_sparsity.py as a command, on a slice of the demo and on what users get wrong."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import ot_sparsity
from lloki.slices import files

DEMO = Path(__file__).parents[2] / "assets/demo"
REFERENCE = DEMO / "reference.h5ad"


@pytest.fixture(scope="module")
def slice_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("slice") / "osm.slice.h5ad"
    data = files.read_h5ad(DEMO / "osmfish.h5ad")
    files.write_h5ad(files.prepare(data, path, sample="osm", technology="osmFISH"), path)
    return path


def run(slice_path, reference, output, *options):
    arguments = ["--input", slice_path, "--reference", reference, "--output", output, *options]
    return CliRunner().invoke(ot_sparsity.main, list(map(str, arguments)))


def refused(result, output, *words):
    """One line on standard error that names what is wrong, exit code 2, nothing written."""
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    for word in words:
        assert str(word) in result.stderr
    assert list(output.parent.iterdir()) == []


def read(path):
    return pd.read_csv(path, index_col="cell_id")


def test_targets_of_a_real_slice(slice_path, tmp_path):
    result = run(slice_path, REFERENCE, tmp_path / "osm.targets.csv")
    assert result.exit_code == 0, result.output
    table = read(tmp_path / "osm.targets.csv")
    data = files.read_h5ad(slice_path)
    dense = data.X.toarray()
    assert list(table.index) == list(data.obs_names)
    assert list(table) == ["n_genes", "sparsity", "target_sparsity", "max_nonzero"]
    np.testing.assert_array_equal(table.n_genes, (dense > 0).sum(axis=1))
    np.testing.assert_allclose(table.sparsity, (dense == 0).mean(axis=1))
    # the reference's sparsity on the 16 genes it shares, counted from the file itself
    reference = files.read_h5ad(REFERENCE)
    both = [g for g in reference.var_names if g.upper() in {v.upper() for v in data.var_names}]
    of_reference = (reference[:, both].X.toarray() == 0).mean(axis=1)
    ranks = table.sparsity.rank(method="average")
    expected = np.quantile(of_reference, (ranks - 0.5) / len(table), method="hazen")
    np.testing.assert_allclose(table.target_sparsity, expected, atol=1e-12)
    limits = np.ceil(np.round((1 - expected) * data.n_vars, 6))
    np.testing.assert_array_equal(table.max_nonzero, limits)
    record = json.loads((tmp_path / "osm.targets.json").read_text())
    assert (record["stage"], record["sample"]) == ("ot_sparsity", "osm")
    assert record["genes_shared"] == len(both)
    assert record["reference"] == str(REFERENCE)
    assert record["reference_sha256"] == hashlib.sha256(REFERENCE.read_bytes()).hexdigest()
    assert record["reference_cells"] == reference.n_obs
    assert record["cells_above_target"] == (table.n_genes > table.max_nonzero).sum()
    assert record["sparsity_before"]["mean"] == pytest.approx(table.sparsity.mean())
    assert record["sparsity_target"]["mean"] == pytest.approx(expected.mean())
    assert record["sparsity_target"]["quantiles"] == pytest.approx(
        np.quantile(expected, record["quantiles"]).tolist()
    )
    assert record["sparsity_reference"]["mean"] == pytest.approx(of_reference.mean())


def test_the_whole_reference_can_be_counted(slice_path, tmp_path):
    result = run(slice_path, REFERENCE, tmp_path / "t.csv", "--reference-genes", "all")
    assert result.exit_code == 0
    of_reference = (files.read_h5ad(REFERENCE).X.toarray() == 0).mean(axis=1)
    record = json.loads((tmp_path / "t.json").read_text())
    assert record["sparsity_reference"]["mean"] == pytest.approx(of_reference.mean())
    assert read(tmp_path / "t.csv").target_sparsity.between(0, of_reference.max()).all()


def test_too_few_shared_genes_are_refused(slice_path, tmp_path):
    output = tmp_path / "t.csv"
    result = run(slice_path, REFERENCE, output, "--min-shared-genes", "17")
    refused(result, output, REFERENCE, slice_path, "shares 16 genes", "--min-shared-genes")
    assert run(slice_path, REFERENCE, output, "--min-shared-genes", "16").exit_code == 0


def test_ten_shared_genes_are_wanted_by_default(slice_path, tmp_path):
    reference = files.read_h5ad(REFERENCE)
    ours = {g.upper() for g in files.read_h5ad(slice_path).var_names}
    common = [g.upper() in ours for g in reference.var_names]
    kept = np.flatnonzero(~np.array(common) | (np.cumsum(common) <= 9))
    small = tmp_path / "in/small.h5ad"
    small.parent.mkdir()
    files.write_h5ad(reference[:200, kept].copy(), small)
    (tmp_path / "out").mkdir()
    output = tmp_path / "out/t.csv"
    refused(run(slice_path, small, output), output, small, "shares 9 genes", "fewer than 10")


def test_bad_files_are_refused(slice_path, tmp_path):
    output = tmp_path / "out/t.csv"
    output.parent.mkdir()
    none = tmp_path / "none.h5ad"
    refused(run(none, REFERENCE, output), output, none, "no such file")
    refused(run(slice_path, none, output), output, none, "no such file")
    text = tmp_path / "text.h5ad"
    text.write_text("no AnnData")
    refused(run(slice_path, text, output), output, text, "not a readable AnnData")
    raw = DEMO / "osmfish.h5ad"
    refused(run(raw, REFERENCE, output), output, raw, "obs['sample']", "prepare_slice.py")
    bad = files.read_h5ad(REFERENCE)
    bad.X.data[0] = np.nan
    bad.write_h5ad(tmp_path / "nan.h5ad")
    refused(run(slice_path, tmp_path / "nan.h5ad", output), output, "nan.h5ad", "NaN")
    refused(run(slice_path, REFERENCE, tmp_path / "out/none/t.csv"), output, "does not exist")
