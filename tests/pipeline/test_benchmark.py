"""--benchmark and --ablation: their tasks, and what becomes of methods that cannot run."""

import csv
import json

import pytest
from nextflow_run import ROOT, nextflow

from lloki.scores import baselines

pytestmark = pytest.mark.pipeline


@pytest.mark.long
def test_a_method_that_cannot_run_is_in_the_result_and_stops_nothing(demo):
    """harmonypy is not among the packages of the tests."""
    run = nextflow(
        "-profile", "test", "-resume", "--outdir", "compared", "--benchmark",
        "--baselines", "pca,harmony,mnn_fp,imputed,mosaic,scgpt", "--umap", "false",
        "--max_cells", 900,
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
    assert embeddings == {"X_pca_shared", "X_lloki_fp", "X_lloki", "X_mosaic", "X_mnn_fp",
                          "X_imputed"}  # fmt: skip
    page = (results / "report.html").read_text()
    assert "Harmony was not run: harmonypy" in page and "Mosaic without FP" in page


def test_the_methods_that_the_schema_names_are_those_of_the_table():
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    groups = schema["$defs"].values()
    (text,) = (g["properties"]["baselines"]["help_text"] for g in groups
               if "baselines" in g["properties"])  # fmt: skip
    table = baselines.methods()
    assert all(name in text for name in table.index[table["environment"] != "ablation"])
