"""benchmark_alignment.py on halves of a real slice, and on bad input."""

import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

BIN, DEMO = Path(__file__).parents[2] / "bin", Path(__file__).parents[2] / "assets" / "demo"
sys.path.insert(0, str(BIN))

from alignment_steps import align_slices  # noqa: E402

import benchmark_alignment  # noqa: E402

TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two halves of the osmFISH slice, aligned, and their expression."""
    out = tmp_path_factory.mktemp("halves")
    data = ad.read_h5ad(DEMO / "osmfish.h5ad")
    x = np.log1p(data.X.toarray())
    z = (x - x.mean(0)) / x.std(0)
    z = z @ np.linalg.svd(z, full_matrices=False)[2][:12].T
    first = np.random.default_rng(0).permutation(len(x)) < 600
    places = {"there": data.obsm["spatial"] @ TURN.T + 900, "here": data.obsm["spatial"]}
    for sample, cells in (("there", first), ("here", ~first)):
        part = data[cells].copy()
        part.obs["sample"] = sample
        part.obs_names = f"{sample}:" + part.obs_names
        part.X = np.log1p(part.X)
        part.obsm["spatial"] = places[sample][cells]
        part.write_h5ad(out / f"{sample}.slice.h5ad")
        embedding = ad.AnnData(obs=part.obs, obsm={"spatial": part.obsm["spatial"]})
        embedding.obsm["X_lloki"] = z[cells].astype(np.float32)
        embedding.write_h5ad(out / f"{sample}.lloki.h5ad")
    result = align_slices([out / f"{s}.lloki.h5ad" for s in places], out / "aligned")
    assert result.exit_code == 0, result.output
    return out


def call(folder, *more, samples=("there", "here"), slices=("there", "here"), source="aligned"):
    inputs = [f"--input={folder / source / s}.lloki.h5ad" for s in samples]
    expressed = [f"--slice={folder / s}.slice.h5ad" for s in slices]
    return CliRunner().invoke(benchmark_alignment.main, [*inputs, *expressed, *map(str, more)])


def test_every_method_is_scored_and_lloki_beats_chance(folder, tmp_path):
    tables = []
    for name in ("one", "two"):
        out = tmp_path / f"{name}.csv"
        result = call(folder, "--output", out, "--label-key", "cell_type_coarse",
                      "--paste-cells", "100")  # fmt: skip
        assert result.exit_code == 0, result.output
        tables.append(pd.read_csv(out))
    table = tables[0].set_index("method")
    assert list(table.index) == [
        "LLOKI", "Kabsch on LLOKI", "Kabsch on PCA", "PASTE's objective", "random motions",
    ]  # fmt: skip
    assert set(table["reference"]) == {"here"}
    floor = table.loc["random motions"]
    assert table.loc["LLOKI", "pearson"] > floor["pearson"] + 0.1
    assert table.loc["LLOKI", "label_match"] > floor["label_match"] + 0.1
    pd.testing.assert_frame_equal(
        tables[0].drop(columns="seconds"), tables[1].drop(columns="seconds")
    )
    assert (tmp_path / "one.json").is_file()


def refused(result, *words):
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("benchmark_alignment: ")
    assert all(word in lines[0] for word in words), lines[0]


def test_bad_input_is_refused_in_one_line(folder, tmp_path):
    out = ("--output", tmp_path / "scores.csv")
    refused(call(folder, *out, slices=("here",)), "'there'", "it is missing")
    refused(call(folder, *out, samples=("here", "here")), "'here' is given twice")
    refused(call(folder, *out, source="."), "obsm['spatial_aligned'] is missing")
    refused(call(folder, *out, samples=("there",), slices=("there",)), "do not say on which")
    part = ad.read_h5ad(folder / "there.slice.h5ad")[:-1].copy()
    part.write_h5ad(tmp_path / "there.slice.h5ad")
    arguments = [f"--input={folder}/aligned/{s}.lloki.h5ad" for s in ("there", "here")]
    arguments += [f"--slice={tmp_path}/there.slice.h5ad", f"--slice={folder}/here.slice.h5ad"]
    refused(
        CliRunner().invoke(benchmark_alignment.main, [*arguments, *map(str, out)]),
        "its cells are not those of the embedding",
    )
    assert not (tmp_path / "scores.csv").exists()


def test_a_missing_label_column_is_a_warning(folder, tmp_path):
    result = call(folder, "--output", tmp_path / "s.csv", "--label-key", "nothing",
                  "--paste-cells", "50")  # fmt: skip
    assert result.exit_code == 0 and "no column 'nothing'" in result.stderr
    assert pd.read_csv(tmp_path / "s.csv")["label_match"].isna().all()
