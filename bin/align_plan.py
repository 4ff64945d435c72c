#!/usr/bin/env python3
"""Choose which pairs of slices are aligned with each other."""

import click

from lloki.support.cli import Run, command, seed_option


@command("align_plan")
@click.option("--input", required=True, multiple=True, help="SAMPLE.lloki.h5ad; repeatable.")
@click.option("--output", required=True, help="The table to write: pairs.csv, a row a pair.")
@click.option(
    "--pairs", type=click.Choice(["auto", "all", "star", "order", "alike", "none"]), default="auto",
    help="Of each group: all; star: each slice with the reference; order: neighbours in depth (z); "
    "alike: the reference and the slices most like it; auto: all of up to 8 slices, else order or "
    "alike.",
)  # fmt: skip
@click.option("--reference", help="Sample whose frame is its group's.  [default: the one with most "
              "cells of each group]")  # fmt: skip
@click.option("--task-cells", type=click.IntRange(1), default=50_000,
              help="Cells of the pairs that one task aligns.")  # fmt: skip
@seed_option
def main(run: Run, input, output, pairs, reference, task_cells, seed) -> None:
    """Choose the pairs: within groups of slices alone, and in large groups only some."""
    import pandas as pd

    from lloki.alignment import groups, plan
    from lloki.integration import subset
    from lloki.slices import parts, samples

    cells = samples.by_sample(input, lambda path: parts.read_cells(path, "X_lloki")[0])
    seen = {
        sample: samples.some_embeddings(path, "X_lloki", subset.SEEN, seed)
        for sample, path in zip(cells, input, strict=True)
    }
    members = groups.members(cells, reference)
    found = plan.plan(members, pairs, groups.depths(cells), subset.profiles_of(seen, seed))
    sizes = {sample: part.n_obs for sample, part in cells.items()}
    table = pd.DataFrame(found, columns=["fixed", "moving"])
    table.insert(0, "task", plan.batches(found, sizes, task_cells))
    of_all = sum(len(m) * (len(m) - 1) // 2 for m in members.values())
    run.report(samples=list(cells), groups=members, pairs=len(found), pairs_possible=of_all)
    with run.output(output) as temporary:
        table.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
