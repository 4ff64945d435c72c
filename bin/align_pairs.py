#!/usr/bin/env python3
"""Lay slices on each other, pair by pair, each by itself."""

import click

from lloki.support.cli import Run, command, seed_option
from lloki.support.errors import InputError


@command("align_pairs")
@click.option("--input", required=True, multiple=True, help="SAMPLE.lloki.h5ad; repeatable.")
@click.option("--plan", required=True, help="Table of pairs, as align_plan.py writes it.")
@click.option("--task", type=int, help="The rows of this task alone.  [default: all]")
@click.option("--output", required=True, help="The file to write: NAME.pairs.npz.")
@click.option("--plain", is_flag=True, help="The paper's way: single cells as landmarks, one fit "
              "over all.")  # fmt: skip
@click.option("--allow-scale", is_flag=True, help="Let slices grow or shrink (by 2 at most).")
@click.option("--allow-mirror", is_flag=True, help="Let slices be turned over.")
@click.option(
    "--neighbors", type=click.IntRange(1), default=5, help="Mutual neighbours that make a landmark."
)
@click.option(
    "--neighborhood",
    type=click.IntRange(0),
    default=15,
    help="Cells whose mean embedding stands for a cell, beside that of a fifth of them "
    "(0: the cell alone).",
)
@click.option(
    "--tolerance",
    type=float,
    help="How far apart, in µm, landmarks that agree may lie.  [default: 0.3 × the extent]",
)
@click.option(
    "--chance-runs",
    type=click.IntRange(2),
    default=30,
    help="Runs that tell what agreement is chance.",
)
@seed_option
def main(
    run: Run, input, plan, task, output, plain, allow_scale, allow_mirror, neighbors, neighborhood,
    tolerance, chance_runs, seed,
) -> None:  # fmt: skip
    """Find the rigid motion of each pair, where more than chance speaks for one."""
    from lloki.alignment import joint, pairwise, stored
    from lloki.slices import samples

    if tolerance is not None and not tolerance > 0:
        raise InputError("--tolerance", f"{tolerance} is not positive", "give micrometres")
    asked = _asked(plan, task)
    named = {sample for pair in asked for sample in pair}
    parts = samples.by_sample(input, stored.read_slice, same_width=("X_lloki", "spatial"))
    if lacking := sorted(named - set(parts)):
        raise InputError(
            plan, f"no --input is of {', '.join(lacking)}", "give the slices of the plan"
        )
    pairs = []
    with run.progress(len(asked), "pairs of slices") as progress:
        for fixed, moving in asked:
            sides = [(parts[s].obsm["X_lloki"], parts[s].obsm["spatial"]) for s in (moving, fixed)]
            fit = pairwise.align(
                *sides, neighbors=neighbors, neighborhood=neighborhood, tolerance=tolerance,
                chance_runs=chance_runs, plain=plain, scale=allow_scale, mirror=allow_mirror,
                seed=seed,
            )  # fmt: skip
            source = parts[moving].obsm["spatial"][fit.pairs[fit.inliers, 0]]
            pairs.append(joint.Pair(moving, fixed, fit, source))
            progress.update()
    run.report(pairs=[pair.fit.figures(pair.moving, pair.fixed) for pair in pairs])
    with run.output(output) as temporary:
        stored.write_pairs(pairs, temporary)


def _asked(path: str, task: int | None) -> list[tuple[str, str]]:
    """The pairs of a plan (fixed, moving), or those of one task."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype={"fixed": str, "moving": str}, keep_default_na=False)
        rows = table if task is None else table[table["task"] == task]
        return list(zip(rows["fixed"], rows["moving"], strict=True))
    except (OSError, ValueError, KeyError):
        raise InputError(path, "no plan of pairs", "make it with align_plan.py") from None


if __name__ == "__main__":
    main()
