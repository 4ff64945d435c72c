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
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]
DEMO = ROOT / "assets" / "demo"
RUNNERS = ("moscot", "gpsa")


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
        atlas = str(DEMO / "reference.h5ad")
        slices = [(str(DEMO / f"{name}.h5ad"), atlas, um)
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
                case["moving"] = case["moving"][0], moved(case["true"], rng, mirror)
                facts = {"slice": Path(path).stem, "share": share, "repeat": seed, "crop": crop,
                         "mirror": mirror}  # fmt: skip
                rows += [facts | row for row in run_all(methods, case, known_score)]
    for one, other, reference, *um in pairs:
        name = f"{Path(one).stem}_{Path(other).stem}_{epochs}"
        case = embedded(
            lambda a=one, b=other, u=um: whole(a, b, *u), reference, epochs, cache, name
        )
        case["moving"] = (case["moving"][0], moved(case["moving"][1], np.random.default_rng(0)))
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


def moved(places, rng, mirror=False):
    from support import halves

    return halves.moved(places, rng, mirror)


def split(path, um, share, seed, crop, most):
    from support import halves

    first, second = halves.halves(halves.read(path, um), share, seed, crop, most)
    return second, first


def whole(first, second, um, um_second):
    from support import halves

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


def methods_of(envs, paste_cells, mirror) -> dict:
    """Each method: a case to the moved places, a list of them where the best is to be kept."""
    from lloki.alignment import baselines, pairwise
    from lloki.scores.baselines import Shared, read_embedding, write

    def lloki(case, plain=False):
        fit = pairwise.align(case["moving"], case["fixed"], plain=plain, mirror=mirror)
        if fit.method == "identity":
            raise RuntimeError(fit.reason)
        return fit.motion(case["moving"][1])

    def pca(case):
        spaces = baselines.components(*case["expression"])
        places = case["moving"][1], case["fixed"][1]
        return baselines.kabsch_on(*zip(spaces, places, strict=True))(places[0])

    def paste(case):
        sides = [(x, case[side][1]) for x, side in
                 zip(case["expression"], ("moving", "fixed"), strict=True)]  # fmt: skip
        return [
            baselines.paste(*sides, alpha, paste_cells, np.random.default_rng(0))[0](sides[0][1])
            for alpha in baselines.ALPHAS
        ]

    def staligner(case):
        """Its embedding, Kabsch on mutual neighbours in it, then iterative closest points."""
        with tempfile.TemporaryDirectory() as folder:
            shared = Shared.of(case["cells"])
            write(shared, Path(folder))
            out = f"{folder}/staligner.csv"
            subprocess.run([sys.executable, ROOT / "bin/baseline_staligner.py", "--input", folder,
                            "--output", out], check=True, capture_output=True)  # fmt: skip
            space = read_embedding(out, shared.cells["cell"])
        cut = case["cells"][0].n_obs
        sides = [(part, case[side][1]) for part, side in
                 zip((space[:cut], space[cut:]), ("moving", "fixed"), strict=True)]  # fmt: skip
        return closest_points(baselines.kabsch_on(*sides)(sides[0][1]), sides[1][1])

    methods = {
        "LLOKI": lloki, "LLOKI --plain": lambda case: lloki(case, True), "PCA + Kabsch": pca,
        "PASTE": paste, "STAligner + ICP": staligner,
    }  # fmt: skip
    for name in RUNNERS:
        if name in envs:
            methods[name] = lambda case, name=name: elsewhere(case, name, Path(envs[name]))
    return methods


def closest_points(moving, fixed, rounds=100):
    """Places of `moving` after fits, again and again, of each to the nearest of `fixed`."""
    from scipy.spatial import cKDTree

    from lloki.alignment.rigid import kabsch

    ground = cKDTree(fixed)
    for _ in range(rounds):
        moved = kabsch(moving, fixed[ground.query(moving)[1]])(moving)
        step, moving = np.abs(moved - moving).max(), moved
        if step < 0.1:
            break
    return moving


def elsewhere(case, name, folder):
    """The moved places by a program in an environment of its own."""
    with tempfile.TemporaryDirectory() as work:
        given, got = f"{work}/given.npz", f"{work}/got.npz"
        moving, fixed = case["expression"]
        np.savez(given, moving=moving, fixed=fixed, moving_places=case["moving"][1],
                 fixed_places=case["fixed"][1])  # fmt: skip
        script = Path(__file__).parent / "support" / f"run_{name}.py"
        done = subprocess.run([folder / "bin" / "python", script, given, got], text=True,
                              capture_output=True)  # fmt: skip
        if done.returncode:
            raise RuntimeError((done.stderr.strip() or "no message").splitlines()[-1])
        return np.load(got)["moved"]


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
    from support import halves

    degrees, um = halves.error(found, case["true"])
    return {"degrees": degrees, "um": um}


def unknown_score(case, found) -> dict:
    from lloki.alignment import baselines
    from lloki.scores import metrics

    fixed, scored = case["fixed"][1], {}
    for key, name in zip(case["keys"], ("label_match", "layer_match"), strict=True):
        there = all(key in part.obs for part in case["cells"])
        labels = [metrics.known_labels(part.obs[key]) for part in case["cells"]] if there else None
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


def summaries(found: pd.DataFrame) -> None:
    """Print the tables."""
    if "slice" in found:
        known = found[found["slice"].notna()].copy()
        known["good"] = (known["degrees"] < 5) & (known["um"] < 50)
        print("\nruns below 5 degrees and 50 µm")
        print(known.pivot_table("good", ["slice", "method"], "share", sort=False).round(2))
        for value in ("degrees", "um"):
            print(f"\nmedian {value} (of the runs that gave a motion)")
            table = known.pivot_table(
                value, ["slice", "method"], "share", aggfunc="median", sort=False
            )
            print(table.round(1))
        print(known.groupby("method", sort=False)["good"].agg(["mean", "size"]).round(3))
        print(known.groupby("method", sort=False)["seconds"].median().round(1))
    if "pair" in found:
        unknown = found[found["pair"].notna()]
        print(unknown.drop(columns=[c for c in KNOWN if c in unknown]).round(3).to_string())


def draw(found: pd.DataFrame, path: str) -> None:
    """Mean distance of cells from their true places by share of shared genes, slice by slice."""
    import matplotlib
    import matplotlib.figure

    from lloki.report import figures

    known = found[found["um"].notna()]
    names = list(dict.fromkeys(known["slice"]))
    with matplotlib.rc_context(figures.STYLE):
        drawn = matplotlib.figure.Figure(figsize=(2.6 * len(names), 3.2), layout="constrained")
        grid = drawn.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(grid, names, strict=True):
            for k, (method, rows) in enumerate(known.groupby("method", sort=False)):
                rows = rows[rows["slice"] == name]
                middle = rows.groupby("share")["um"].median()
                axes.plot(middle.index, middle, color=figures.PALETTE[k], lw=1.8, label=method)
                axes.scatter(rows["share"], rows["um"], color=figures.PALETTE[k], s=9, alpha=0.6)
            axes.axhline(50, color=figures.GREY, lw=1, zorder=0)
            axes.set(title=name, yscale="log", xlabel="shared genes, %")
            axes.invert_xaxis()
            axes.spines[["top", "right"]].set_visible(False)
        grid[0].set_ylabel("distance from the true place, µm")
        handles, labels = grid[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
        drawn.savefig(path, dpi=130, facecolor="white")


KNOWN = ("slice", "share", "repeat", "crop", "mirror", "degrees", "um")

if __name__ == "__main__":
    main()
