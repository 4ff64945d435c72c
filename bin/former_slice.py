#!/usr/bin/env python3
"""Look whether a slice of a former run can stand beside slices mapped onto a model."""

import json
from pathlib import Path

import click

from lloki.support.checksum import sha256
from lloki.support.cli import Run, command
from lloki.support.errors import InputError


@command("former_slice")
@click.option("--input", required=True, help="SAMPLE.lloki.h5ad of the former run.")
@click.option("--slice", required=True, help="SAMPLE.slice.h5ad of the former run.")
@click.option("--model", required=True, help="The autoencoder that new slices are mapped onto.")
@click.option("--output", required=True, help="The record to write: SAMPLE.former.json.")
def main(run: Run, input, slice, model, output) -> None:
    """Check that a slice was embedded by this very model, or by one that it was adapted from."""
    from lloki.slices import parts, samples

    columns = ["technology", "panel"]
    embedded = samples.by_sample([input], lambda path: parts.read_head(path)[0], columns)
    samples.expression_of([slice], embedded, lambda path: parts.read_head(path)[0])
    ((sample, data),) = embedded.items()
    by = str(data.uns.get("lloki", {}).get("infer_cae", {}).get("model_sha256"))
    known = [*_adapted_from(model), sha256(model)]
    if by not in known:
        raise InputError(
            input, f"it was embedded by another model ({by[:8]}, not {known[-1][:8]})",
            "take model and slices of one run",
        )  # fmt: skip
    technology, panel = samples.token(data)
    notes = data.uns["lloki"].get("prepare_slice", {})
    run.report(
        sample=sample, cells=data.n_obs, technology=technology, panel=panel,
        organism=notes.get("organism"), input_sha256=sha256(input), model_sha256=by,
    )  # fmt: skip


def _adapted_from(model: str) -> list[str]:
    try:
        return list(json.loads(Path(model, "config.json").read_text()).get("adapted_from", []))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(model, f"not a trained model ({error})", "check the path") from None


if __name__ == "__main__":
    main()
