#!/usr/bin/env python3
"""Alignment of slices by LLOKI and by others: where the truth is known, and where it is not.

Known (`--slice`): a slice is split at random into halves that share no cell, each half with a panel
of its own that shares so many genes with the other's; the second half is thinned and noised to
half of its nonzero values and moved at random (see support/halves.py). Errors are the rotation
left over in degrees, and the mean distance of a cell from its true place in micrometres.

Unknown (`--pair`): Pearson over the shared genes and share of equal labels between every cell and
the nearest of the other slice, after alignment; random motions are the floor.

Every case goes through LLOKI-FP, the mosaic embedding (fitted on the two slices and the reference)
and the autoencoder. moscot and GPSA run as programs of environments of their own, made from
support/requirements-NAME.txt; without `--env NAME FOLDER` they are reported as missing.
"""

import pickle
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support import demo, halves  # noqa: E402
from support.alignment_methods import RUNNERS, methods_of  # noqa: E402
from support.alignment_tables import draw, summaries  # noqa: E402


@click.command()
@click.option(
    "--slice",
    "slices",
    nargs=3,
    type=(str, str, float),
    multiple=True,
    metavar="FILE REFERENCE UM",
    help="Truth known; micrometres a unit. Repeatable.",
)
@click.option(
    "--pair",
    "pairs",
    nargs=5,
    type=(str, str, str, float, float),
    multiple=True,
    metavar="MOVING FIXED REFERENCE UM UM",
    help="Truth unknown. Repeatable.",
)
@click.option(
    "--share",
    "shares",
    type=int,
    multiple=True,
    help="Per cent of the genes that are shared; repeatable.  [default: 100 50 30 20 10]",
)
@click.option("--repeats", default=2, show_default=True)
@click.option("--first", default=0, show_default=True, help="Number of the first repeat, to go on.")
@click.option("--crop", default=1.0, show_default=True, help="Share of the second half that stays.")
@click.option("--mirror", is_flag=True, help="Turn the second half over, and allow for it.")
@click.option("--most", default=1200, show_default=True, help="Cells of a half at most.")
@click.option("--epochs", default="auto", show_default=True, help="Of the autoencoder.")
@click.option("--paste-cells", default=500, show_default=True, help="Of a slice, for PASTE.")
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--layer-key", default="region", show_default=True)
@click.option(
    "--env",
    "envs",
    nargs=2,
    multiple=True,
    metavar="NAME FOLDER",
    help="Environment of moscot or gpsa.",
)
@click.option("--method", "asked", multiple=True, help="Only these; repeatable.")
@click.option("--cache", help="Folder that keeps the embeddings for a rerun.")
@click.option("--table", help="CSV to write, a row a run.")
@click.option("--add", multiple=True, help="CSV of an earlier run, for the tables; repeatable.")
@click.option("--picture", help="PNG to write: errors by share of genes.")
def main(slices, pairs, shares, repeats, first, crop, mirror, most, epochs, paste_cells, label_key,
         layer_key, envs, asked, cache, table, add, picture) -> None:  # fmt: skip
    """Print a line for each run, then a table of each kind."""
    if not slices and not pairs and not add:
        atlas = demo.path("reference")
        slices = [(demo.path(name), atlas, um)
                  for name, um in (("starmap", 0.09), ("xenium", 1.0))]  # fmt: skip
    envs = dict(envs)
    methods = methods_of(envs, paste_cells, mirror)
    methods = {name: run for name, run in methods.items() if not asked or name in asked}
    for name in RUNNERS:
        if name not in envs:
            print(f"{name}: missing (--env {name} FOLDER)")
    rows = []
    for path, reference, um in slices:
        for share in shares or (100, 50, 30, 20, 10):
            for seed in range(first, first + repeats):
                name = f"{Path(path).stem}_{share / 100}_{seed}_{crop}_{epochs}"
                case = embedded(
                    lambda p=path, u=um, s=share, n=seed: split(p, u, s / 100, n, crop, most),
                    reference, epochs, cache, name,
                )  # fmt: skip
                case["true"] = case["moving"][1]
                rng = np.random.default_rng(seed + share)
                case["moving"] = case["moving"][0], halves.moved(case["true"], rng, mirror)
                facts = {"slice": Path(path).stem, "share": share, "repeat": seed, "crop": crop,
                         "mirror": mirror}  # fmt: skip
                rows += [facts | row for row in run_all(methods, case, known_score)]
    for one, other, reference, *um in pairs:
        name = f"{Path(one).stem}_{Path(other).stem}_{epochs}"
        case = embedded(
            lambda a=one, b=other, u=um: whole(a, b, *u), reference, epochs, cache, name
        )
        case["moving"] = (
            case["moving"][0],
            halves.moved(case["moving"][1], np.random.default_rng(0)),
        )
        case["keys"] = label_key, layer_key
        floor = floor_of(case)
        facts = {"pair": f"{Path(one).stem} on {Path(other).stem}"}
        rows += [facts | row for row in (floor, *run_all(methods, case, unknown_score))]
    found = pd.DataFrame(rows)
    if table:
        found.to_csv(table, index=False)
    found = pd.concat([*(pd.read_csv(path) for path in add), found], ignore_index=True)
    summaries(found)
    if picture:
        draw(found, picture)


def split(path, um, share, seed, crop, most):
    first, second = halves.halves(halves.read(path, um), share, seed, crop, most)
    return second, first


def whole(first, second, um, um_second):
    return halves.read(first, um), halves.read(second, um_second)


def embedded(make, reference, epochs, cache, name) -> dict:
    """A case: both slices with LLOKI embeddings, and the expression of their shared genes."""
    import integration

    from lloki.slices import files, genes

    kept = Path(cache) / f"{name}.pkl" if cache else None
    if kept and kept.exists():
        cells, latent = pickle.loads(kept.read_bytes())
    else:
        with tempfile.TemporaryDirectory() as folder:
            paths = [f"{folder}/{side}.h5ad" for side in ("moving", "fixed")]
            for path, part in zip(paths, make(), strict=True):
                part.write_h5ad(path)
            cells = [integration.prepare(path) for path in paths]
        atlases = [files.read_reference(reference)]
        propagated = [integration.propagate(part, atlases) for part in cells]
        space = integration.embed(cells, propagated, atlases)
        options = {} if epochs == "auto" else {"epochs": epochs}
        joint = integration.integrate(space, cells, 0, options)
        latent = [joint[: cells[0].n_obs], joint[cells[0].n_obs :]]
        if kept:
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(pickle.dumps((cells, latent)))
    columns = genes.shared(cells[0].var_names, cells[1].var_names)
    moving, fixed = (
        (values, part.obsm["spatial"]) for values, part in zip(latent, cells, strict=True)
    )
    return {
        "moving": moving, "fixed": fixed, "cells": cells,
        "expression": [c.X[:, g].toarray() for c, g in zip(cells, columns, strict=True)],
    }  # fmt: skip


def run_all(methods, case, score) -> list[dict]:
    """A row for each method; the best of a list is the one of the best score."""
    rows = []
    for name, method in methods.items():
        start = time.perf_counter()
        try:
            found = method(case)
        except Exception as error:
            rows.append({"method": name, "failed": str(error) or type(error).__name__})
        else:
            seconds = time.perf_counter() - start
            scored = [score(case, one) for one in (found if isinstance(found, list) else [found])]
            best = max(scored, key=lambda s: s.get("pearson", -s.get("um", 0)))
            rows.append({"method": name, **best, "seconds": round(seconds, 2)})
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()},
              flush=True)  # fmt: skip
    return rows


def known_score(case, found) -> dict:
    degrees, um = halves.error(found, case["true"])
    return {"degrees": degrees, "um": um}


def unknown_score(case, found) -> dict:
    from lloki.alignment import baselines
    from lloki.slices.labels import known_labels

    fixed, scored = case["fixed"][1], {}
    for key, name in zip(case["keys"], ("label_match", "layer_match"), strict=True):
        there = all(key in part.obs for part in case["cells"])
        labels = [known_labels(part.obs[key]) for part in case["cells"]] if there else None
        one = baselines.scores(found, fixed, case["expression"], labels)
        scored |= {"pearson": one["pearson"], "pearson_raw": one["pearson_raw"]}
        if there:
            scored[name] = one["label_match"]
    return scored


def floor_of(case) -> dict:
    """The mean score over random motions."""
    from lloki.alignment import baselines

    rng = np.random.default_rng(0)
    places = case["moving"][1], case["fixed"][1]
    runs = [unknown_score(case, baselines.random_motion(*places, rng)(places[0]))
            for _ in range(baselines.FLOOR)]  # fmt: skip
    return {"method": "random motions", **pd.DataFrame(runs).mean().to_dict()}


if __name__ == "__main__":
    main()
