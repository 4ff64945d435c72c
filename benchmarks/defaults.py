#!/usr/bin/env python3
"""How far the defaults of train_cae.py hold on data that they were not chosen on.

Every setting (an option moved, or several) is tried on every set of slices; the score is scib's,
0.6 bio conservation + 0.4 batch correction. Then, for each set, the best setting on the others is
looked up on it: what a choice made elsewhere gains or loses there against the defaults. A set is
given as NAME=REFERENCE,SLICE,SLICE,...; each of its slices is a batch. Labels are never shown to
training.
"""

import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support import demo  # noqa: E402

SETTINGS = (
    "", "lambda_trip=3", "lambda_trip=30", "lambda_bc=30", "lambda_bc=300", "margin=0.5",
    "pair_smoothing=0", "pair_smoothing=15", "pair_neighbors=20", "neighbors=15", "lr=0.002",
)  # fmt: skip


@click.command()
@click.option("--set", "sets", multiple=True, metavar="NAME=REFERENCE,SLICE,...", help="Repeatable."
              "  [default: two pairs of the demo's slices]")  # fmt: skip
@click.option(
    "--setting", "settings", multiple=True, metavar="OPTION=VALUE,...", help="Repeatable."
)
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--ignore-label", default="Other", show_default=True, help="A label of no type.")
@click.option("--seed", default=0, show_default=True)
def main(sets, settings, label_key, ignore_label, seed) -> None:
    """Print a row for each setting, and one for each set left out."""
    sets = sets or [
        f"{name}=" + ",".join(demo.path(s) for s in ("reference", *parts))
        for name, parts in (("one", ("osmfish", "starmap")), ("two", ("starmap", "xenium")))
    ]
    names = [s.split("=", 1)[0] for s in sets]
    settings = list(dict.fromkeys(["", *(settings or SETTINGS)]))
    scores = np.empty((len(settings), len(sets)))
    for column, (name, paths) in enumerate(s.split("=", 1) for s in sets):
        for line, found in enumerate(scored(paths, settings, label_key, ignore_label, seed)):
            bio, batch, transfer = found
            scores[line, column] = 0.6 * bio + 0.4 * batch
            print(f"{name:12} {settings[line] or 'defaults':20} bio {bio:.3f} batch {batch:.3f} "
                  f"transfer {transfer:.3f}", flush=True)  # fmt: skip
    print(f"\n{'0.6 bio + 0.4 batch':20}" + "".join(f"{n:>10}" for n in [*names, "mean"]))
    for setting, values in zip(settings, scores, strict=True):
        cells = "".join(f"{v:>10.3f}" for v in [*values, values.mean()])
        print(f"{setting or 'defaults':20}{cells}")
    for column, name in enumerate(names):
        best = np.delete(scores, column, axis=1).mean(axis=1).argmax()
        print(f"{name} left out: the others choose {settings[best] or 'the defaults'}, "
              f"{scores[best, column] - scores[0, column]:+.3f} on it")  # fmt: skip


def scored(paths, settings, label_key, ignored, seed):
    """Bio conservation, batch correction and label transfer under each setting, one by one."""
    import integration as benchmark

    from lloki.scores import metrics
    from lloki.slices import files

    reference, *paths = paths.split(",")
    atlas = files.read_reference(reference)
    cells = [benchmark.prepare(path) for path in paths]
    for c in cells:
        c.obs["panel"] = c.obs["sample"]
    batches = np.concatenate([c.obs["sample"].astype(str).to_numpy() for c in cells])
    labels = np.concatenate([benchmark.labels_of(c, label_key, ignored) for c in cells])
    base = benchmark.before(cells)
    spaces = benchmark.embed(cells, [benchmark.propagate(c, [atlas]) for c in cells], [atlas])
    for setting in settings:
        options = dict(option.split("=") for option in setting.split(",") if option)
        latent = benchmark.integrate(spaces, cells, seed, options)
        found = metrics.evaluate(latent, labels, batches, base)
        yield tuple(found[n] for n in (*metrics.AGGREGATES, "Label transfer F1"))


if __name__ == "__main__":
    main()
