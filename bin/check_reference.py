#!/usr/bin/env python3
"""Read an scRNA-seq reference as the stages do, and say what it holds."""

from pathlib import Path

import click

from lloki.support.cli import Run, command, fault_option


@command("check_reference")
@click.option("--input", required=True, help="The reference, h5ad.")
@click.option("--sample", required=True, multiple=True, help="A slice that it is of; repeatable.")
@click.option("--labels", help="Column of obs with cell types, which has to be there.")
@click.option("--output", required=True, help="The record to write: NAME.reference.json.")
@fault_option
def main(run: Run, input, sample, labels, output, record_fault) -> None:
    """Read a reference, and write its genes and what was taken of it."""
    from collections import Counter

    from lloki.slices import files
    from lloki.slices.labels import reference_labels

    run.report(samples=list(sample), reference=Path(input).name)
    atlas = files.read_reference(input)
    if labels:
        known = reference_labels(atlas, input, labels)
        run.report(labels=Counter(label for label in known if label is not None))
    taken = atlas.uns.get("lloki_reference", {"values": "as a stage wrote it", "genes": ""})
    run.report(
        cells=atlas.n_obs, genes=atlas.n_vars, gene_names=list(atlas.var_names),
        values=taken["values"], names=taken["genes"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
