"""--benchmark and --ablation: their tasks, and what becomes of methods that cannot run."""

import csv
import json

import pytest
from nextflow_run import ROOT, nextflow

from lloki.scores import baselines

pytestmark = pytest.mark.pipeline

# An engine that has no image of Harmony; it runs the command of any other container on the spot.
ENGINE = """\
#!/bin/bash
[[ $1 == run ]] || exit 0
[[ "$*" != *nf-lloki-harmony:* ]] || { echo "no such image" >&2; exit 125; }
while [[ $1 != /bin/bash ]]; do shift; done
exec "$@"
"""


def tasks(folder):
    """Name and exit code of every task."""
    with (folder / "results/pipeline_info/execution_trace.txt").open() as file:
        return {row["name"].removeprefix("LLOKI:"): row["exit"]
                for row in csv.DictReader(file, delimiter="\t")}  # fmt: skip


def test_every_method_and_every_ablation_has_its_task(tmp_path, monkeypatch):
    engine = tmp_path / "bin/docker"
    engine.parent.mkdir()
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(engine.parent), prepend=":")
    run = nextflow(
        "-profile", "test,docker", "-stub-run", "--outdir", "results", "--benchmark", "--ablation",
        cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    found = tasks(tmp_path)
    table = baselines.methods()
    for method, row in table.iterrows():
        if row["program"]:
            exit_code = found[f"COMPARE:BASELINE ({method})"]
            assert exit_code == ("125" if method == "harmony" else "0"), method
        if row["environment"] == "ablation":
            assert f"COMPARE:CAE_VARIANT ({method})" in found
    assert "COMPARE:EXPORT_EMBEDDING (mosaic)" in found
    (script,) = (
        text for path in tmp_path.glob("work/*/*/.command.run")
        if ":BENCHMARK'" in (text := path.read_text())
    )  # fmt: skip
    assert "harmony.embedding.csv" not in script and "scvi.embedding.csv" in script
    # what COMPARE runs once more is no result of a slice: one file of a kind each
    names = [path.name for path in (tmp_path / "results/slices").rglob("*.targets.csv")]
    assert sorted(names) == sorted(set(names))


def test_a_method_that_cannot_run_is_in_the_result_and_stops_nothing(demo):
    """harmonypy is not among the packages of the tests."""
    run = nextflow(
        "-profile", "test", "-resume", "--outdir", "compared", "--benchmark",
        "--baselines", "pca,harmony,mosaic,scgpt", "--umap", "false", "--max_cells", 900,
        "--baseline_environments", demo / "none", cwd=demo,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    results = demo / "compared"
    record = json.loads((results / "pipeline_info/stages/benchmark.json").read_text())
    assert "harmonypy: the package is not installed" in record["not_run"]["harmony"]
    assert record["not_run"]["scgpt"] == "the embedder of this run is mosaic"
    assert (results / "benchmark/harmony.not_run.txt").read_text().startswith("harmonypy")
    with (results / "metrics.csv").open() as file:
        embeddings = {row["embedding"] for row in csv.DictReader(file)}
    assert embeddings == {"X_pca_shared", "X_lloki_fp", "X_lloki", "X_mosaic"}
    page = (results / "report.html").read_text()
    assert "not run: harmonypy" in page and "Mosaic without FP" in page


def test_an_unknown_method_is_named_with_the_right_one(tmp_path):
    run = nextflow("-profile", "test", "--benchmark", "--baselines", "pca,harmonie", cwd=tmp_path)
    assert run.returncode != 0
    assert "--baselines harmonie: no such method" in run.stdout
    assert "did you mean harmony?" in run.stdout
    assert not list(tmp_path.glob("work/*/*/.command.sh"))


def test_the_methods_that_the_schema_names_are_those_of_the_table():
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    groups = schema["$defs"].values()
    (text,) = (g["properties"]["baselines"]["help_text"] for g in groups
               if "baselines" in g["properties"])  # fmt: skip
    table = baselines.methods()
    assert all(name in text for name in table.index[table["environment"] != "ablation"])
