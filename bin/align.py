#!/usr/bin/env python3
"""Lay all slices in the frame of one of them."""

import click

from lloki.support.cli import Run, command, seed_option
from lloki.support.errors import InputError

PICTURED = 200  # landmarks of a pair that are kept for the report
LANDMARKS = ["sample", "reference", "cell", "reference_cell", "inlier"]


@command("align")
@click.option("--input", required=True, multiple=True, help="SAMPLE.lloki.h5ad; repeatable.")
@click.option("--output", required=True, help="The folder to write.")
@click.option(
    "--reference", help="Sample that the others are laid on.  [default: the one with most cells]"
)
@click.option(
    "--plain", is_flag=True, help="The paper's way: single cells as landmarks, one fit over all."
)
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
    run: Run, input, output, reference, plain, allow_scale, allow_mirror, neighbors, neighborhood,
    tolerance, chance_runs, seed,
) -> None:  # fmt: skip
    """Lay every slice on the reference by a rigid motion, where more than chance speaks for one."""
    from itertools import combinations

    import pandas as pd

    from lloki.alignment import joint, pairwise
    from lloki.slices import files, samples

    if tolerance is not None and not tolerance > 0:
        raise InputError("--tolerance", f"{tolerance} is not positive", "give micrometres")
    parts = samples.by_sample(input, _read, same_width=("X_lloki", "spatial"))
    reference = _reference(parts, reference)
    order = [reference, *(sample for sample in parts if sample != reference)]
    # The paper's way has no pairs but those with the reference.
    asked = [(reference, s) for s in order[1:]] if plain else list(combinations(order, 2))
    pairs = []
    with run.progress(len(asked), "pairs of slices") as progress:
        for fixed, moving in asked:
            fit = pairwise.align(
                _sides(parts[moving]), _sides(parts[fixed]), neighbors=neighbors,
                neighborhood=neighborhood, tolerance=tolerance, chance_runs=chance_runs,
                plain=plain, scale=allow_scale, mirror=allow_mirror, seed=seed,
            )  # fmt: skip
            source = parts[moving].obsm["spatial"][fit.pairs[fit.inliers, 0]]
            pairs.append(joint.Pair(moving, fixed, fit, source))
            progress.update()
    dimensions = parts[reference].obsm["spatial"].shape[1]
    motions, steps = joint.place(order, pairs, reference, dimensions)
    rows = []
    for sample, part in parts.items():
        row = _row(sample, reference, pairs, motions, steps, dimensions)
        if sample not in motions:
            run.warn(f"{sample} is not aligned to {reference}: {row['reason']}")
        motion = motions.get(sample)
        part.obsm["spatial_aligned"] = (
            motion(part.obsm["spatial"]) if motion else part.obsm["spatial"].copy()
        )
        files.record(part, "align", reference=reference, method=row["method"], seed=seed)
        rows.append(row)
    run.report(
        reference=reference,
        samples=list(parts),
        aligned=[sample for sample in parts if sample in steps],
        pairs=[pair.fit.figures(pair.moving, pair.fixed) for pair in pairs],
    )
    with run.output(output) as folder:
        folder.mkdir()
        for sample, part in parts.items():
            files.write_h5ad(part, folder / f"{sample}.lloki.h5ad")
        pd.DataFrame(rows).to_csv(folder / "transforms.csv", index=False)
        drawn = [_pictured(parts[p.moving], parts[p.fixed], p.fit, seed) for p in pairs]
        drawn = pd.concat(drawn) if drawn else pd.DataFrame(columns=LANDMARKS)
        drawn.to_csv(folder / "landmarks.csv", index=False)


def _read(path: str):
    """A slice that was integrated, with its coordinates."""
    from lloki.slices import checks, files

    part = files.read_embedding(path, "X_lloki")
    part.obsm["spatial"] = checks.check_coordinates(part.obsm.get("spatial"), path)
    return part


def _reference(parts: dict, reference: str | None) -> str:
    if reference is None:
        return max(parts, key=lambda sample: parts[sample].n_obs)
    if reference not in parts:
        raise InputError(
            f"--reference {reference}", "there is no such sample", f"choose of {', '.join(parts)}"
        )
    return reference


def _sides(part) -> tuple:
    return part.obsm["X_lloki"], part.obsm["spatial"]


def _row(sample: str, reference: str, pairs, motions, steps, dimensions: int) -> dict:
    """A row of transforms.csv: the motion, and the pair by which the slice was placed.

    Without such a pair, what the pair with the reference has to say.
    """
    from dataclasses import replace

    from lloki.alignment import pairwise

    if sample == reference:
        return pairwise.itself(dimensions).row(sample, reference, "")
    pair = steps.get(sample)
    if pair is None:
        (direct,) = (p for p in pairs if {p.moving, p.fixed} == {sample, reference})
        return direct.fit.row(sample, reference, "")
    via = pair.fixed if pair.moving == sample else pair.moving
    return replace(pair.fit, motion=motions[sample]).row(sample, reference, via)


def _pictured(part, fixed, fit, seed: int):
    """Some landmarks of a pair, drawn evenly, for the report's picture."""
    import numpy as np
    import pandas as pd

    drawn = np.sort(np.random.default_rng(seed).permutation(len(fit.pairs))[:PICTURED])
    return pd.DataFrame({
        "sample": str(part.obs["sample"].iloc[0]),
        "reference": str(fixed.obs["sample"].iloc[0]),
        "cell": part.obs_names[fit.pairs[drawn, 0]],
        "reference_cell": fixed.obs_names[fit.pairs[drawn, 1]],
        "inlier": fit.inliers[drawn],
    })  # fmt: skip


if __name__ == "__main__":
    main()
