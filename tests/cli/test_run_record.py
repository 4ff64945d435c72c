"""run_record.py: the index of the results, as a table and as JSON."""

import csv
import json

import pytest
from click.testing import CliRunner

import run_record

FILES = {"cells.csv.gz": "2" * 64, "cells/groups.csv": "3" * 64}
FOLDER = "/data/Größe 1, a/results"  # no path of a user may spoil the table


def record(stage, **figures):
    return {"stage": stage, "parameters": {"seed": 1, "input": "a.h5ad"}, "versions": {}, **figures}


@pytest.fixture
def written(tmp_path):
    """The folder of a run's record, made from those of a slice and of the integration."""
    known = {"technology": "Xenium", "panel": 'brain "v1", 5k', "organism": None}
    records = {
        "a.slice": record("prepare_slice", sample="a", input_sha256="0" * 64, **known),
        "b.slice": record("prepare_slice", sample="b", input_sha256="1" * 64, files=FILES),
        "integrated": record("integrate"),
    }
    index = [
        {"slice": None, "stage": "integrate", "file": f"{FOLDER}/integrated.h5ad"},
        {"slice": "a", "stage": "align", "file": f"{FOLDER}/slices/a/a.lloki.h5ad"},
        {"slice": None, "stage": "align", "file": f"{FOLDER}/pipeline_info/stages/aligned.json"},
    ]
    about = ["name=nf-lloki", "version=1", "nextflow=24"]
    files = {**records, "parameters": {"seed": 1}, "results": index}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    arguments = [text for name in records for text in ("--input", tmp_path / f"{name}.json")]
    arguments += [text for fact in about for text in ("--about", fact)]
    arguments += [
        "--parameters",
        tmp_path / "parameters.json",
        "--index",
        tmp_path / "results.json",
    ]
    run = CliRunner().invoke(
        run_record.main, [*map(str, arguments), "--output", str(tmp_path / "run.json")]
    )
    assert run.exit_code == 0, run.output
    return tmp_path


def test_the_index_says_of_a_slice_what_is_known_of_it(written):
    with (written / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["slice", "stage", "file", "technology", "panel", "organism"]
    assert [row["file"].removeprefix(f"{FOLDER}/") for row in rows] == [
        "integrated.h5ad", "pipeline_info/stages/aligned.json", "slices/a/a.lloki.h5ad"
    ]  # fmt: skip
    assert [row["slice"] for row in rows] == ["", "", "a"]
    assert [row["technology"] for row in rows] == ["", "", "Xenium"]
    assert rows[2]["panel"] == 'brain "v1", 5k' and rows[2]["organism"] == ""
    same = json.loads((written / "index.json").read_text(encoding="utf-8"))
    assert [{key: value or "" for key, value in row.items()} for row in same] == rows
    assert same[2]["organism"] is None


def test_the_crate_knows_the_index(written):
    crate = json.loads((written / "ro-crate-metadata.json").read_text())
    assert {"index.csv", "index.json", "run.json"} <= {entity["@id"] for entity in crate["@graph"]}
    run = json.loads((written / "run.json").read_text())
    assert run["seeds"] == {"prepare_slice": 1, "integrate": 1}
    assert [entry["sample"] for entry in run["inputs"]] == ["a", "b"]


def test_a_slice_of_several_files_is_recorded_by_their_names(written):
    record = json.loads((written / "run.json").read_text())
    names = {entry["sample"]: entry["input"] for entry in record["inputs"]}
    assert names == {"a": "a.h5ad", "b": "cells.csv.gz, cells/groups.csv"}
