#!/usr/bin/env python3
"""What training the autoencoder on some slices, or some cells, costs.

Slices go through LLOKI-FP and mosaic as in integration.py; then the autoencoder is trained on what
`--train` says and embeds all slices. Prints scores of all cells, and of every slice that some
setting leaves out: bio conservation of its cells alone, and label transfer to it from the other
batches. Without arguments it takes the slices of the demo.
"""

import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

import integration  # noqa: E402
from support import demo  # noqa: E402

SCORES = ("Bio conservation", "Batch correction", "Label transfer F1")


@click.command()
@click.option("--slice", "paths", multiple=True, help="As for integration.py; repeatable.")
@click.option("--reference", "references", multiple=True, help="scRNA-seq h5ad; repeatable.")
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--ignore-label", default="Other", show_default=True)
@click.option("--train", multiple=True, default=["all", "fewest"], show_default=True,
              help="all; fewest: those that --train-slices auto takes; a number: --train-cells; "
              "A,B: these slices (names of files) alone.  Repeatable.")  # fmt: skip
@click.option("--seed", "seeds", type=int, multiple=True, default=[0], show_default=True)
def main(paths, references, label_key, ignore_label, train, seeds) -> None:
    """Print a line for each seed and setting, then means and standard deviations."""
    from lloki.slices import files

    paths = paths or demo.slices()
    atlases = [files.read_reference(r) for r in references or [demo.path("reference")]]
    cells = [integration.prepare(path) for path in paths]
    labels = np.concatenate([integration.labels_of(c, label_key, ignore_label) for c in cells])
    embedded = integration.embed(cells, [integration.propagate(c, atlases) for c in cells], atlases)
    base = integration.before(cells)
    trained = {setting: slices_of(setting, cells, embedded) for setting in train}
    for setting, names in trained.items():
        print(f"{setting}: {len(names)} slices: {', '.join(names)}", flush=True)
    samples = np.concatenate([c.obs["sample"].astype(str) for c in cells])
    left = [s for s in dict.fromkeys(samples) if any(s not in t for t in trained.values())]
    table = {}
    for seed in seeds:
        for setting, names in trained.items():
            options = {"train_slices": "auto" if setting == "fewest" else "all"}
            if setting == "fewest":
                options["train_cells"] = len(samples) - 1
            elif setting.isdigit():
                options = {"train_cells": setting}
            only = None if setting in ("all", "fewest") or setting.isdigit() else names
            space = integration.integrate(embedded, cells, seed, options, only=only)
            found = scores(space, labels, cells, base) | left_out(space, labels, cells, left)
            table.setdefault(setting, []).append(found)
            line = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
            print(f"seed {seed}, {setting}: {line}", flush=True)
    for setting, found in table.items():
        values = {name: [f[name] for f in found] for name in found[0]}
        line = "  ".join(f"{n} {np.mean(v):.3f} ±{np.std(v):.3f}" for n, v in values.items())
        print(f"{setting}: {line}")


def slices_of(setting: str, cells, embedded) -> list[str]:
    """The slices that a setting trains on."""
    from lloki.integration import subset

    sizes = {c.obs["sample"].iloc[0]: c.n_obs for c in cells}
    if setting == "all":
        return list(sizes)
    if setting != "fewest" and not setting.isdigit():
        return [name for name in sizes if name in setting.split(",")]
    most = sum(sizes.values()) - 1 if setting == "fewest" else int(setting)
    batches = {c.obs["sample"].iloc[0]: c.obs["panel"].iloc[0] for c in cells}
    profiles = subset.profiles_of(dict(zip(sizes, embedded, strict=True)))
    return subset.choose_slices(batches, sizes, profiles, most)


def scores(space, labels, cells, base) -> dict[str, float]:
    from lloki.scores import metrics

    batches = np.concatenate([c.obs["panel"].astype(str) for c in cells])
    found = metrics.evaluate(space, labels, batches, base)
    return {name: found.get(name, np.nan) for name in SCORES}


def left_out(space, labels, cells, left) -> dict[str, float]:
    """Bio conservation of slices by themselves, and label transfer to each from other batches."""
    from lloki.scores import metrics

    batches = np.concatenate([c.obs["panel"].astype(str) for c in cells])
    samples = np.concatenate([c.obs["sample"].astype(str) for c in cells])
    known = np.array([label is not None for label in labels])
    found = {}
    for sample in left:
        own = known & (samples == sample)
        if not own.any():
            continue
        alone = metrics.evaluate(space[own], labels[own], np.zeros(own.sum()))
        near = own | known & (batches != batches[own][0])
        transfer = metrics.label_transfer_to(space[near], labels[near].astype(str), own[near])
        found |= {f"{sample} bio": alone.get(SCORES[0], np.nan), f"{sample} transfer": transfer}
    return found


if __name__ == "__main__":
    main()
