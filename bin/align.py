#!/usr/bin/env python3
"""Lay all slices of a group in one frame, by the pairs that were aligned."""

import click

from lloki.support.cli import Run, command, seed_option
from lloki.support.errors import InputError


@command("align")
@click.option("--input", required=True, multiple=True, help="SAMPLE.lloki.h5ad; repeatable.")
@click.option("--pairs", multiple=True, help="NAME.pairs.npz of align_pairs.py; repeatable.")
@click.option("--output", required=True, help="The folder to write.")
@click.option(
    "--reference", help="Sample that its group is laid on.  [default: the one with most cells]"
)
@seed_option
def main(run: Run, input, pairs, output, reference, seed) -> None:
    """Lay the slices of each group in one frame, or in as few as its pairs connect."""
    import pandas as pd

    from lloki.alignment import groups, joint, stored
    from lloki.slices import files, samples

    parts = samples.by_sample(input, stored.read_slice, same_width=("X_lloki", "spatial"))
    members = groups.members(parts, reference)
    known = _known([pair for path in sorted(pairs) for pair in stored.read_pairs(path)], parts)
    rows, frames = {}, []
    for inside in members.values():
        own = [pair for pair in known if {pair.moving, pair.fixed} <= set(inside)]
        dimensions = parts[inside[0]].obsm["spatial"].shape[1]
        sizes = {sample: parts[sample].n_obs for sample in inside}
        found = joint.frames(inside, own, sizes, dimensions)
        frames += found
        for frame in found:
            for sample in frame.motions:
                rows[sample] = _row(sample, inside[0], frame, own, dimensions)
                _place(parts[sample], frame, rows[sample], seed)
        for frame in found[1:]:
            on_it = ", ".join(sample for sample in frame.motions if sample != frame.reference)
            too = f" (nor is what lies in its frame, {on_it})" if on_it else ""
            reason = rows[frame.reference]["reason"]
            run.warn(f"{frame.reference} is not aligned to {inside[0]}{too}: {reason}")
    run.report(
        samples=list(parts), groups=members,
        reference=next(iter(members.values()))[0],
        frames={frame.reference: list(frame.motions) for frame in frames},
        aligned=[sample for sample in parts if any(sample in f.steps for f in frames)],
        pairs=[pair.fit.figures(pair.moving, pair.fixed) for pair in known],
    )  # fmt: skip
    with run.output(output) as folder:
        folder.mkdir()
        for sample, part in parts.items():
            files.write_h5ad(part, folder / f"{sample}.lloki.h5ad")
        pd.DataFrame([rows[sample] for sample in parts]).to_csv(
            folder / "transforms.csv", index=False
        )


def _known(pairs: list, parts: dict) -> list:
    """The pairs, each once and of slices that are there."""
    seen = set()
    for pair in pairs:
        names = frozenset((pair.moving, pair.fixed))
        if not names <= set(parts):
            raise InputError(
                "--pairs", f"no --input is of {pair.moving} or {pair.fixed}", "give both"
            )
        if names in seen:
            fact = f"{pair.moving} and {pair.fixed} are there twice"
            raise InputError("--pairs", fact, "give each pair once")
        seen.add(names)
    return pairs


def _place(part, frame, row: dict, seed: int) -> None:
    """Give a slice its coordinates in the frame, and say so."""
    import pandas as pd

    from lloki.slices import files

    motion = frame.motions[row["sample"]]
    moved = row["method"] != "identity"
    part.obsm["spatial_aligned"] = (
        motion(part.obsm["spatial"]) if moved else part.obsm["spatial"].copy()
    )
    part.obs["frame"] = pd.Categorical([frame.reference] * part.n_obs)
    files.record(
        part, "align", reference=row["reference"], frame=frame.reference, method=row["method"],
        seed=seed,
    )  # fmt: skip


def _row(sample: str, reference: str, frame, pairs: list, dimensions: int) -> dict:
    """A row of transforms.csv: the motion, and the pair by which the slice was placed.

    Of a frame's own reference that could not be laid on its group's: what the pair of the two, or
    else the best of its pairs, has to say.
    """
    from dataclasses import replace

    from lloki.alignment import pairwise

    if sample in frame.steps:
        pair = frame.steps[sample]
        via = pair.fixed if pair.moving == sample else pair.moving
        row = replace(pair.fit, motion=frame.motions[sample]).row(sample, frame.reference, via)
    elif sample == reference:
        row = pairwise.itself(dimensions).row(sample, reference, "")
    else:
        row = _unplaced(sample, reference, pairs, dimensions)
    head = {key: row.pop(key) for key in ("sample", "reference")}
    return head | {"frame": frame.reference} | row


def _unplaced(sample: str, reference: str, pairs: list, dimensions: int) -> dict:
    """Why a slice does not lie on its group's reference."""
    from dataclasses import replace

    from lloki.alignment import pairwise

    own = [pair for pair in pairs if sample in (pair.moving, pair.fixed)]
    direct = [pair for pair in own if reference in (pair.moving, pair.fixed)]
    failed = [pair for pair in direct or own if pair.fit.method == "identity"]
    itself = pairwise.itself(dimensions)
    if not failed:
        reason = "no pair with it was aligned" if own else "no pair of it was asked for"
        return replace(itself, reason=reason).row(sample, reference, "")
    fit = failed[0].fit
    return replace(fit, motion=itself.motion).row(sample, reference, "")


if __name__ == "__main__":
    main()
