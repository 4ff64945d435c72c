#!/usr/bin/env python3
"""Write what a run was and gave: run.json, an index of the results, an RO-Crate.

run.json has the parameters, the hashes of the inputs, the seeds and the versions.
"""

import csv
import json
from pathlib import Path

import click

HASHES = ("input_sha256", "reference_sha256", "checkpoint_sha256", "model_sha256")
FILES = ("input", "reference", "checkpoint", "model")
KNOWN = ("technology", "panel", "organism")  # of a slice, in the index


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--input", required=True, multiple=True, help="JSON of a stage; repeatable.")
@click.option("--parameters", required=True, help="JSON with the parameters of the pipeline.")
@click.option("--about", multiple=True, help="NAME=VALUE about the pipeline; repeatable.")
@click.option("--result", multiple=True, help="A file among the results; repeatable.")
@click.option("--index", help="JSON of the published files: a list of slice, stage and file; "
              "index.csv and index.json are made of it, beside the record.")  # fmt: skip
@click.option("--output", required=True, help="The record to write: run.json; "
              "ro-crate-metadata.json comes beside it.")  # fmt: skip
def main(
    input: tuple[str, ...],
    parameters: str,
    about: tuple[str, ...],
    result: tuple[str, ...],
    index: str | None,
    output: str,
) -> None:
    from lloki.report import crate

    records = [json.loads(Path(path).read_text()) for path in sorted(input)]
    seeds = {r["stage"]: r["parameters"]["seed"] for r in records if "seed" in r["parameters"]}
    versions = {name: version for r in records for name, version in r["versions"].items()}
    run = {
        "pipeline": dict(entry.split("=", 1) for entry in about),
        "parameters": json.loads(Path(parameters).read_text()),
        "inputs": [_inputs(r) for r in records if any(key in r for key in HASHES)],
        "seeds": seeds,
        "versions": dict(sorted(versions.items())),
    }
    Path(output).write_text(json.dumps(run, indent=2, default=str) + "\n")
    indices = _write_index(json.loads(Path(index).read_text()), records, output) if index else []
    whole = crate.describe(run, [output, *indices, *result])
    path = Path(output).with_name("ro-crate-metadata.json")
    path.write_text(json.dumps(whole, indent=2) + "\n")


def _inputs(record: dict) -> dict:
    """What a stage read from outside, by name and hash."""
    given = record["parameters"]
    names = {k: Path(given[k]).name for k in FILES if k in given and f"{k}_sha256" in record}
    if len(record.get("files", ())) > 1:  # of one slice, hashed together
        names["input"] = ", ".join(record["files"])
    hashes = {key: record[key] for key in HASHES if key in record}
    return {"stage": record["stage"], "sample": record.get("sample"), **names, **hashes}


def _write_index(entries: list[dict], records: list[dict], output: str) -> list[Path]:
    """The published files with what is known of their slices, as a table and as JSON."""
    slices = {r["sample"]: r for r in records if r["stage"] in ("prepare_slice", "former_slice")}
    rows = [
        {**entry, **{key: slices.get(entry["slice"], {}).get(key) for key in KNOWN}}
        for entry in sorted(entries, key=lambda entry: entry["file"])
    ]
    table, whole = (Path(output).with_name(f"index.{ending}") for ending in ("csv", "json"))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["slice", "stage", "file", *KNOWN], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    whole.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [table, whole]


if __name__ == "__main__":
    main()
