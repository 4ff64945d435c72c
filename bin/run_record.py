#!/usr/bin/env python3
"""Write run.json (parameters, hashes of the inputs, seeds, versions) and an RO-Crate of a run."""

import json
from pathlib import Path

import click

HASHES = ("input_sha256", "reference_sha256", "checkpoint_sha256", "model_sha256")
FILES = ("input", "reference", "checkpoint", "model")


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--input", required=True, multiple=True, help="JSON of a stage; repeatable.")
@click.option("--parameters", required=True, help="JSON with the parameters of the pipeline.")
@click.option("--about", multiple=True, help="NAME=VALUE about the pipeline; repeatable.")
@click.option("--result", multiple=True, help="A file among the results; repeatable.")
@click.option("--output", required=True, help="The record to write: run.json; "
              "ro-crate-metadata.json comes beside it.")  # fmt: skip
def main(
    input: tuple[str, ...],
    parameters: str,
    about: tuple[str, ...],
    result: tuple[str, ...],
    output: str,
) -> None:
    from lloki.report import crate

    stages = [json.loads(Path(path).read_text()) for path in sorted(input)]
    record = {
        "pipeline": dict(entry.split("=", 1) for entry in about),
        "parameters": json.loads(Path(parameters).read_text()),
        "inputs": [_inputs(stage) for stage in stages if any(key in stage for key in HASHES)],
        "seeds": {s["stage"]: s["parameters"]["seed"] for s in stages if "seed" in s["parameters"]},
        "versions": dict(sorted({k: v for s in stages for k, v in s["versions"].items()}.items())),
    }
    Path(output).write_text(json.dumps(record, indent=2, default=str) + "\n")
    whole = crate.describe(record, [output, *result])
    path = Path(output).with_name("ro-crate-metadata.json")
    path.write_text(json.dumps(whole, indent=2) + "\n")


def _inputs(stage: dict) -> dict:
    """What a stage read from outside, by name and hash."""
    names = {key: Path(stage["parameters"][key]).name for key in FILES if key in stage["parameters"]
             and f"{key}_sha256" in stage}  # fmt: skip
    hashes = {key: stage[key] for key in HASHES if key in stage}
    return {"stage": stage["stage"], "sample": stage.get("sample"), **names, **hashes}


if __name__ == "__main__":
    main()
