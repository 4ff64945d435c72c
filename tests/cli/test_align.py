"""align.py on halves of a real slice, on slices of different tissues, and on bad input."""

import json
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from demo_slices import demo_slice

BIN, DEMO = Path(__file__).parents[2] / "bin", Path(__file__).parents[2] / "assets" / "demo"
sys.path.insert(0, str(BIN))

from alignment_steps import align_slices  # noqa: E402

import align  # noqa: E402
import align_pairs  # noqa: E402
import align_plan  # noqa: E402

RUNS = ["--chance-runs", "8"]
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def write(path: Path, sample: str, embedding, xy, names=None) -> Path:
    names = range(len(embedding)) if names is None else names
    obs = pd.DataFrame({"sample": sample}, index=[f"{sample}:{name}" for name in names])
    data = ad.AnnData(obs=obs, obsm={"X_lloki": np.asarray(embedding, np.float32)})
    if xy is not None:
        data.obsm["spatial"] = np.asarray(xy, float)
    data.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two halves of the osmFISH slice, one turned, and a slice whose embedding says nothing."""
    out = tmp_path_factory.mktemp("align")
    data = ad.read_h5ad(DEMO / "osmfish.h5ad")
    x = np.log1p(data.X.toarray())
    x = (x - x.mean(0)) / x.std(0)
    x = x @ np.linalg.svd(x, full_matrices=False)[2][:12].T
    first = np.random.default_rng(0).permutation(len(x)) < 600
    xy = data.obsm["spatial"]
    write(out / "here.lloki.h5ad", "here", x[~first], xy[~first], data.obs_names[~first])
    turned = xy[first] @ TURN.T + [9000, 100]
    write(out / "there.lloki.h5ad", "there", x[first], turned, data.obs_names[first])
    other = demo_slice("xenium")[:500]
    noise = np.random.default_rng(1).normal(size=(500, 12))
    write(out / "noise.lloki.h5ad", "noise", noise, other.obsm["spatial"])
    return out


def call(folder, output, *options, samples=("here", "there"), **how):
    return align_slices([folder / f"{s}.lloki.h5ad" for s in samples], output, *options, **how)


def refused(result, *words):
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("align")
    assert all(word in lines[0] for word in words), lines[0]


@pytest.fixture(scope="module")
def aligned(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "aligned"
    result = call(folder, out, *RUNS, samples=("there", "here", "noise"))
    assert result.exit_code == 0, result.output
    return out, result


def test_the_transforms_are_what_was_done_to_the_cells(folder, aligned):
    out, _ = aligned
    table = pd.read_csv(out / "transforms.csv").set_index("sample")
    assert list(table.index) == ["there", "here", "noise"]
    assert (
        list(table.columns)
        == (
            "reference frame via method r00 r01 r10 r11 tx ty scale landmarks inliers rmsd p reason"
        ).split()
    )
    assert set(table["reference"]) == {"here"}  # the slice with the most cells
    for sample, row in table.iterrows():
        before, after = (ad.read_h5ad(f / f"{sample}.lloki.h5ad") for f in (folder, out))
        rotation = row[["r00", "r01", "r10", "r11"]].to_numpy(float).reshape(2, 2)
        xy = row["scale"] * before.obsm["spatial"] @ rotation.T + [row["tx"], row["ty"]]
        np.testing.assert_allclose(after.obsm["spatial_aligned"], xy, atol=1e-6)
        for key in ("spatial", "X_lloki"):
            np.testing.assert_array_equal(after.obsm[key], before.obsm[key])
        assert list(after.obs_names) == list(before.obs_names)
        assert after.uns["lloki"]["align"]["reference"] == "here"
        assert set(after.obs["frame"]) == {row["frame"]}
        assert row["frame"] == ("noise" if sample == "noise" else "here")


def test_halves_meet_and_strangers_stay(folder, aligned):
    out, result = aligned
    table = pd.read_csv(out / "transforms.csv").set_index("sample")
    assert dict(table["method"]) == {"there": "robust", "here": "identity", "noise": "identity"}
    there = ad.read_h5ad(out / "there.lloki.h5ad")
    true = ad.read_h5ad(DEMO / "osmfish.h5ad").obs_names.get_indexer(
        there.obs_names.str.removeprefix("there:")
    )
    xy = ad.read_h5ad(DEMO / "osmfish.h5ad").obsm["spatial"][true]
    assert np.linalg.norm(there.obsm["spatial_aligned"] - xy, axis=1).mean() < 60
    noise = ad.read_h5ad(out / "noise.lloki.h5ad")
    np.testing.assert_array_equal(noise.obsm["spatial_aligned"], noise.obsm["spatial"])
    assert "no better than by chance" in table.loc["noise", "reason"]
    assert "warning: noise is not aligned to here: the landmarks" in result.stderr


def test_the_json_tells_pair_by_pair(aligned):
    record = json.loads(aligned[0].with_suffix(".json").read_text())
    assert record["reference"] == "here" and record["aligned"] == ["there"]
    pairs = {(pair["sample"], pair["reference"]): pair for pair in record["pairs"]}
    assert set(pairs) == {("there", "here"), ("noise", "here"), ("noise", "there")}
    there, noise = pairs["there", "here"], pairs["noise", "here"]
    assert there["angle_degrees"] == pytest.approx(-90, abs=3)
    assert there["inliers"] > 100 and there["p"] < 0.01 and not there["mirrored"]
    assert there["score"] > there["chance_max"]
    assert noise["rmsd_um"] is None and noise["p"] > 0.01
    assert any("noise is not aligned" in warning for warning in record["warnings"])


def test_a_second_run_gives_the_same(folder, aligned, tmp_path):
    call(folder, tmp_path / "again", *RUNS, samples=("there", "here", "noise"))
    name = "transforms.csv"
    assert (tmp_path / "again" / name).read_text() == (aligned[0] / name).read_text()


def test_plain_reference_and_one_slice(folder, tmp_path):
    out = tmp_path / "aligned"
    result = call(folder, out, "--plain", reference="there", pairs="star")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out / "transforms.csv").set_index("sample")
    assert dict(table["method"]) == {"here": "plain", "there": "identity"}
    assert table.loc["here", "inliers"] == table.loc["here", "landmarks"]
    assert call(folder, out, samples=("here",)).exit_code == 0
    assert list(pd.read_csv(out / "transforms.csv")["sample"]) == ["here"]


def test_groups_lie_in_frames_of_their_own_whatever_else_there_is(folder, tmp_path):
    """A larger slice of another block changes nothing for the two that meet."""
    for sample, group in (("here", "one"), ("there", "one"), ("noise", "two")):
        part = ad.read_h5ad(folder / f"{sample}.lloki.h5ad")
        part = ad.concat([part, part[:900].copy()]) if sample == "noise" else part
        part.obs_names = [f"{sample}:{i}" for i in range(part.n_obs)]
        part.obs["sample"], part.obs["align_group"] = sample, group
        part.write_h5ad(tmp_path / f"{sample}.lloki.h5ad")
    result = call(tmp_path, tmp_path / "out", *RUNS, samples=("noise", "here", "there"))
    assert result.exit_code == 0 and "not aligned" not in result.stderr, result.output
    table = pd.read_csv(tmp_path / "out/transforms.csv").set_index("sample")
    assert dict(table["frame"]) == {"noise": "noise", "here": "here", "there": "here"}
    assert dict(table["reference"]) == dict(table["frame"])
    assert table.loc["there", "method"] == "robust"


def test_no_pair_leaves_every_slice_in_its_own_frame(folder, tmp_path):
    assert call(folder, tmp_path / "out", pairs="none").exit_code == 0
    table = pd.read_csv(tmp_path / "out/transforms.csv")
    assert list(table["frame"]) == ["here", "there"] and set(table["method"]) == {"identity"}
    assert table["reason"][1] == "no pair of it was asked for"


def test_pairs_of_several_tasks_are_those_of_one(folder, aligned, tmp_path):
    samples = ("there", "here", "noise")
    inputs = [f"--input={folder / s}.lloki.h5ad" for s in samples]
    plan = tmp_path / "pairs.csv"
    arguments = [*inputs, f"--output={plan}", "--task-cells=1"]
    assert CliRunner().invoke(align_plan.main, arguments).exit_code == 0
    assert list(pd.read_csv(plan)["task"]) == [0, 1, 2]
    found = []
    for task in (2, 0, 1):
        found.append(tmp_path / f"{task}.pairs.npz")
        arguments = [*inputs, f"--plan={plan}", f"--task={task}", f"--output={found[-1]}", *RUNS]
        assert CliRunner().invoke(align_pairs.main, arguments).exit_code == 0
    pairs = [f"--pairs={path}" for path in found]
    result = CliRunner().invoke(align.main, [*inputs, *pairs, f"--output={tmp_path / 'out'}"])
    assert result.exit_code == 0, result.output
    name = "transforms.csv"
    assert (tmp_path / "out" / name).read_text() == (aligned[0] / name).read_text()
    twice = CliRunner().invoke(align.main, [*inputs, *pairs, pairs[0], f"--output={tmp_path}/2"])
    refused(twice, "are there twice")
    lacking = CliRunner().invoke(align.main, [inputs[0], *pairs, f"--output={tmp_path}/2"])
    refused(lacking, "no --input is of")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    arguments = [*inputs, f"--pairs={tmp_path}/bad.npz", f"--output={tmp_path}/2"]
    refused(CliRunner().invoke(align.main, arguments), "bad.npz", "aligned pairs")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    arguments = [*inputs, f"--plan={tmp_path}/bad.csv", f"--output={tmp_path}/2.npz"]
    refused(CliRunner().invoke(align_pairs.main, arguments), "no plan of pairs")


def test_coordinates_in_space(tmp_path):
    rng = np.random.default_rng(0)
    xyz = rng.uniform(0, 1000, size=(300, 3)) * [1, 1, 0.2]
    write(tmp_path / "here.lloki.h5ad", "here", xyz - xyz.mean(0), xyz)
    write(tmp_path / "there.lloki.h5ad", "there", xyz - xyz.mean(0), xyz + 500)
    result = call(tmp_path, tmp_path / "aligned", *RUNS)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "aligned" / "transforms.csv").set_index("sample")
    assert {"r22", "tz"} <= set(table.columns)
    moved = ad.read_h5ad(tmp_path / "aligned" / "there.lloki.h5ad").obsm["spatial_aligned"]
    np.testing.assert_allclose(moved, xyz, atol=25)
    assert json.loads((tmp_path / "aligned.json").read_text())["pairs"][0]["angle_degrees"] is None


def test_too_few_cells_stay_with_a_reason(tmp_path):
    rng = np.random.default_rng(0)
    for sample in ("here", "there"):
        xy, path = rng.uniform(size=(4, 2)), tmp_path / f"{sample}.lloki.h5ad"
        write(path, sample, rng.normal(size=(4, 3)), xy)
    result = call(tmp_path, tmp_path / "aligned")
    assert result.exit_code == 0
    assert "10 are needed" in result.stderr
    reasons = pd.read_csv(tmp_path / "aligned" / "transforms.csv")["reason"]
    assert list(reasons[0:1]) == ["the reference itself"] and "10 are needed" in reasons[1]


def test_bad_input_is_refused_in_one_line(folder, tmp_path):
    out = tmp_path / "aligned"
    refused(call(folder, out, samples=("here", "nowhere")), "nowhere", "no such file")
    refused(call(folder, out, samples=("here", "here")), "'here' is given twice")
    refused(call(folder, out, reference="x"), "--reference x", "here, there")
    refused(call(folder, out, "--tolerance", "0"), "--tolerance", "not positive")
    refused(call(folder, tmp_path / "no" / "aligned", *RUNS), "does not exist")
    rng = np.random.default_rng(0)
    good, xy = rng.normal(size=(30, 12)), rng.uniform(size=(30, 2))
    broken = {
        "wide": ((good[:, :5], xy), "obsm['X_lloki'] has 5 columns, in"),
        "deep": ((good, np.column_stack([xy, xy[:, 0]])), "obsm['spatial'] has 3 columns, in"),
        "lost": ((good, None), "obsm['spatial'] is missing"),
        "nan": ((good * np.nan, xy), "NaN"),
        "off": ((good, xy * np.inf), "NaN or infinite"),
    }
    for name, (parts, words) in broken.items():
        write(tmp_path / f"{name}.lloki.h5ad", name, *parts)
        inputs = f"{folder / 'here'}.lloki.h5ad", tmp_path / f"{name}.lloki.h5ad"
        arguments = ["--input", inputs[0], "--input", str(inputs[1]), "--output", str(out)]
        refused(CliRunner().invoke(align.main, arguments), f"{name}.lloki.h5ad", words)
    plain = ad.AnnData(obsm={"X_lloki": good, "spatial": xy})
    plain.write_h5ad(tmp_path / "nameless.lloki.h5ad")
    refused(call(tmp_path, out, samples=("nameless",)), "obs['sample'] is missing")
    del plain.obsm["X_lloki"]
    plain.write_h5ad(tmp_path / "raw.lloki.h5ad")
    refused(call(tmp_path, out, samples=("raw",)), "obsm['X_lloki'] is missing")
    assert not out.exists() and not list(tmp_path.glob(".*"))


def test_runs_as_a_program():
    command = [sys.executable, str(BIN / "align.py"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("align, version")
