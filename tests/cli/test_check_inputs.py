"""check_reference.py and check_inputs.py as commands, behind prepare_slice.py, on demo files."""

import csv
import json
from pathlib import Path

import anndata as ad
import pytest
from click.testing import CliRunner

import check_inputs
import check_reference
import prepare_slice

DEMO = Path(__file__).parents[2] / "assets/demo"


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def records(tmp_path):
    """Records of two slices, one of which cannot be read, and of their reference."""
    data = ad.read_h5ad(DEMO / "osmfish.h5ad")
    del data.obsm["spatial"]
    data.write_h5ad(tmp_path / "nowhere.h5ad")
    for name, path in (("good", DEMO / "osmfish.h5ad"), ("bad", tmp_path / "nowhere.h5ad")):
        result = run(
            prepare_slice.main, "--input", path, "--sample", name, "--technology", "osmFISH",
            "--label-key", "cell_type_coarse", "--record-fault",
            "--output", tmp_path / f"{name}.slice.h5ad",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    result = run(
        check_reference.main, "--input", DEMO / "reference.h5ad", "--sample", "good", "--sample",
        "bad", "--output", tmp_path / "good.reference.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return tmp_path


def check(folder, names, *options):
    inputs = [part for name in names for part in ("--input", folder / f"{name}.slice.json")]
    return run(
        check_inputs.main, *inputs, "--reference", folder / "good.reference.json",
        "--label-key", "cell_type_coarse", "--output", folder / "inputs.csv", *options,
    )  # fmt: skip


def test_a_fault_is_recorded_and_nothing_of_the_slice_is_written(records):
    record = json.loads((records / "bad.slice.json").read_text())
    assert record["sample"] == "bad" and "obsm['spatial'] is missing" in record["fault"]
    assert not (records / "bad.slice.h5ad").exists() and (records / "good.slice.h5ad").exists()


def test_good_inputs_are_told_with_their_cost(records):
    result = check(records, ["good"])
    assert result.exit_code == 0, result.output
    (row,) = csv.DictReader((records / "inputs.csv").open())
    assert (row["cells"], row["genes"], row["genes_in_reference"]) == ("1299", "33", "16")
    assert row["labels_cell_type_coarse"] == "9" and row["fault"] == ""
    text = (records / "inputs.txt").read_text()
    assert "1 slice, 1,299 cells: about" in text and "fault" not in text
    record = json.loads((records / "inputs.json").read_text())
    assert record["faults"] == [] and 0 < record["expected"]["cpu_hours"] < 1
    assert record["expected"]["cpu_seconds"]["niches"] == 0


def test_what_the_model_knows_is_held_against_the_slices(records):
    model = records / "model.json"
    model.write_text(json.dumps({"batches": [{"technology": "osmFISH", "panel": "osmFISH-2"}]}))
    result = check(records, ["good"], "--model", model)
    assert result.exit_code == 0, result.output
    assert "good: the model knows osmFISH by osmFISH-2" in result.stderr
    model.write_text("{}")
    refused = check(records, ["good"], "--model", model)
    assert refused.exit_code == 2 and "no model of a run" in refused.stderr


def test_faults_end_with_2_after_all_are_told(records):
    result = check(records, ["bad", "good"])
    assert result.exit_code == 2
    assert "bad: " in result.stderr and "obsm['spatial'] is missing" in result.stderr
    rows = list(csv.DictReader((records / "inputs.csv").open()))
    assert [bool(row["fault"]) for row in rows] == [True, False]
    assert "1 fault\n  bad: " in (records / "inputs.txt").read_text()
    assert check(records, ["bad", "good"], "--record-fault").exit_code == 0
    assert len(json.loads((records / "inputs.json").read_text())["faults"]) == 1
    assert "1 fault\n" not in (records / "inputs.txt").read_text()  # the pipeline lists them itself


def test_a_reference_that_cannot_be_used_is_a_fault(records):
    result = run(
        check_reference.main, "--input", DEMO / "samplesheet.csv", "--sample", "good",
        "--output", records / "good.reference.json", "--record-fault",
    )  # fmt: skip
    assert result.exit_code == 0
    result = check(records, ["good"])
    assert result.exit_code == 2 and "reference: " in result.stderr


@pytest.mark.parametrize(("column", "said"), [
    ("cell_type_coarse", None), ("nope", "obs has no column 'nope'"),
])  # fmt: skip
def test_labels_that_a_reference_has_to_have(records, column, said):
    result = run(
        check_reference.main, "--input", DEMO / "reference.h5ad", "--sample", "good", "--labels",
        column, "--output", records / "good.reference.json", "--record-fault",
    )  # fmt: skip
    assert result.exit_code == 0
    record = json.loads((records / "good.reference.json").read_text())
    assert ("fault" in record) == (said is not None)
    result = check(records, ["good"])
    assert said in result.stderr if said else record["labels"]["Astrocyte"] > 10


@pytest.mark.parametrize("content", ["", "[]", '{"stage": "align"}'])
def test_what_is_no_record_is_refused(records, content):
    (records / "other.slice.json").write_text(content)
    result = check(records, ["other"])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "no record of prepare_slice" in result.stderr
