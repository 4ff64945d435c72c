#!/usr/bin/env python3
"""Metagenes: time and agreement against SpiceMix, time and memory by size, what they are worth.

    benchmarks/metagenes.py peer --input integrated.h5ad --env ENVIRONMENT --package FOLDER
    benchmarks/metagenes.py scale --input integrated.h5ad --cells 200000
    benchmarks/metagenes.py worth --slice FILE ... --reference FILE ... --seeds 3

`peer` gives the embedding of a run, its graphs and the same first clusters to both; SpiceMix (the
package of the paper, its sources cloned) runs in an environment of its own, made from
support/requirements-spicemix.txt with Python 3.10. Processor seconds, one thread each.
`scale` draws cells from the same embedding with a tenth of noise, in four slices. `worth` embeds
labelled slices as benchmarks/integration.py does and prints, over seeds, the AUC of the best
metagene of each type in its worst slice: of several settings, and of the paper's three routes.
"""

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pandas as pd
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

K, PLAIN, BOUND = 15, 10, 10


@click.group()
def main():
    """One of three tables."""


def cells_of(values, places, k, floor, weights="equal"):
    """Cells of a fit, of each slice's embedding and coordinates; floors taken off."""
    from lloki.programs import metagenes
    from lloki.programs.neighbourhood import neighbour_graph

    graphs = [neighbour_graph(where) for where in places]
    starts = np.cumsum([0, *map(len, values)])
    whole = np.concatenate(values).astype(np.float32)
    metagenes.take_floor(whole, metagenes.floors_of(whole, floor))
    share = np.diff(starts) / len(whole) if weights == "cells" else None
    return metagenes.assemble(whole, graphs, starts, k, share), graphs


def embedding_of(path):
    """X_lloki and coordinates of each slice of an integrated file."""
    import anndata as ad

    data = ad.read_h5ad(path)
    rows = [np.flatnonzero(data.obs["sample"] == s) for s in sorted(data.obs["sample"].unique())]
    return [data.obsm["X_lloki"][r] for r in rows], [data.obsm["spatial"][r] for r in rows]


@main.command()
@click.option("--input", "path", required=True, help="integrated.h5ad of a run.")
@click.option("--env", required=True, help="SpiceMix's environment.")
@click.option("--package", required=True, help="SpiceMix's folder of sources.")
@click.option("--floor", default=0.0, show_default=True)
@click.option("--seeds", default=2, show_default=True)
def peer(path, env, package, floor, seeds):
    """Both on the same input, from the same clusters."""
    from lloki.programs import fitting

    values, places = embedding_of(path)
    cells, graphs = cells_of(values, places, K, floor)
    print(f"{len(cells.values)} cells, {K} metagenes, {PLAIN} + {BOUND} iterations")
    for seed in range(seeds):
        labels = fitting.start_labels(cells, K, seed)
        start = time.process_time()
        plain = fitting.fit_plain(cells, labels, K, PLAIN)
        middle = time.process_time()
        fit = fitting.fit_bound(cells, plain, BOUND)
        own = [middle - start, time.process_time() - middle]
        with tempfile.TemporaryDirectory() as folder:
            given = {"k": K, "plain": PLAIN, "bound": BOUND, "slices": len(values)}
            for r, (a, b) in enumerate(zip(cells.starts[:-1], cells.starts[1:], strict=True)):
                given[f"values{r}"], given[f"labels{r}"] = cells.values[a:b], labels[a:b]
                given[f"edges{r}"] = np.argwhere(sp.triu(graphs[r]).toarray())
            np.savez(f"{folder}/given.npz", **given)
            subprocess.run(
                [f"{env}/bin/python", ROOT / "benchmarks/support/run_spicemix.py",
                 f"{folder}/given.npz", f"{folder}/got.npz", package],
                check=True, capture_output=True, env={"OMP_NUM_THREADS": "1", "HOME": folder},
            )  # fmt: skip
            got = dict(np.load(f"{folder}/got.npz"))
        agree = [fitting.matched(got["plain_metagenes"], plain.metagenes)[1],
                 fitting.matched(got["metagenes"], fit.metagenes)[1]]  # fmt: skip
        for i, phase in enumerate(("without field", "with field")):
            noises = ((plain.noise, got["plain_noise"]), (fit.noise, got["noise"]))[i]
            theirs, r = got["seconds"][i], agree[i]
            print(f"seed {seed} {phase:14} own {own[i]:6.2f} s, SpiceMix {theirs:6.1f} s, "
                  f"{theirs / own[i]:5.0f} x; noise {noises[0]:.5f} / {noises[1]:.5f}; "
                  f"matched M: least {r.min():.3f}, median {np.median(r):.3f}")  # fmt: skip
        print(f"seed {seed} in all        {sum(got['seconds']) / sum(own):5.0f} x", flush=True)


@main.command()
@click.option("--input", "path", required=True, help="integrated.h5ad of a run, to draw from.")
@click.option("--cells", "n", default=200_000, show_default=True)
@click.option("--iterations", default=20, show_default=True, help="With field; told for 200.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def scale(path, n, iterations, device):
    """Seconds and gigabytes of a fit by size."""
    from lloki.programs import fitting

    values, _ = embedding_of(path)
    rng, whole = np.random.default_rng(0), np.concatenate(values)
    part = n // 4
    places, drawn = [], []
    for _ in range(4):
        side = int(np.ceil(np.sqrt(part)))
        grid = np.stack(np.divmod(np.arange(part), side), axis=1)
        places.append(10 * (grid + rng.uniform(-0.4, 0.4, grid.shape)))
        rows = np.sort(rng.integers(0, len(whole), part))  # neighbours are alike
        noise = 1 + 0.1 * rng.standard_normal((part, whole.shape[1]), dtype=np.float32)
        drawn.append((whole[rows] * noise).astype(np.float32))
        del noise
    cells, _ = cells_of(drawn, places, K, 0.001)
    if device == "cuda":
        import torch

        cells = replace(cells, gpu=torch.device(device))
        torch.zeros(1, device=device)  # starts it
    del drawn
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    marks = [(time.process_time(), time.perf_counter())]
    labels = fitting.start_labels(cells, K, 0)
    marks.append((time.process_time(), time.perf_counter()))
    fit = fitting.fit_plain(cells, labels, K, PLAIN)
    marks.append((time.process_time(), time.perf_counter()))
    fitting.fit_bound(cells, fit, iterations)
    marks.append((time.process_time(), time.perf_counter()))
    (start, plain, bound), (_, _, wall) = np.diff(marks, axis=0).T
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    each, whole = bound / iterations, start + plain + 200 * bound / iterations
    print(f"{n} cells: start {start:.1f} s, plain {plain:.1f} s, with field {each:.3f} s an "
          f"iteration ({wall / iterations:.3f} by the clock); with 200 {whole:.0f} s; "
          f"peak {peak:.2f} GB ({before:.2f} before)")  # fmt: skip


@main.command()
@click.option("--slice", "paths", multiple=True, required=True, help="Labelled h5ad; repeatable.")
@click.option("--reference", "references", multiple=True, required=True)
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--iterations", default=60, show_default=True)
@click.option("--routes/--no-routes", "with_routes", default=True)
@click.option("--only", multiple=True, help="These settings alone; repeatable.")
@click.option("--keep", help="npz that keeps the embeddings for a rerun.")
def worth(paths, references, label_key, seeds, iterations, with_routes, only, keep):
    """AUC by type, of several settings."""
    import integration

    from lloki.slices import files

    parts = [integration.prepare(path) for path in paths]
    if keep and Path(keep).exists():
        spaces, fp = (list(np.load(keep)[name]) for name in ("spaces", "fp"))
    else:
        atlases = [files.read_reference(path) for path in references]
        fp = integration.embed(parts, [integration.propagate(p, atlases) for p in parts], atlases)
        spaces = [integration.integrate(fp, parts, seed, {}) for seed in range(seeds)]
        fp = np.concatenate(fp)
        if keep:
            np.savez(keep, spaces=spaces, fp=fp)
    labels = [integration.labels_of(p, label_key, "Other") for p in parts]
    settings = {
        "floor .001": {}, "floor 0": {"floor": 0.0}, "floor .05": {"floor": 0.05},
        "K 25": {"k": 25}, "K 40": {"k": 40}, "no field": {"iterations": 0},
        "weights by cells": {"weights": "cells"}, "rare starts": {"rare": True},
        "mosaic factors": {"embedded": True},
    }  # fmt: skip
    for name in only or settings:
        tables, setting = [], settings[name]
        for seed, space in enumerate(spaces[:seeds]):
            space = np.array(fp) if setting.get("embedded") else space
            tables.append(
                _judged(parts, space, labels, seed, {"iterations": iterations, **setting})
            )
        _row(name, tables)
    if with_routes:
        _routes(parts, spaces[:seeds], labels, iterations)


def _judged(parts, space, labels, seed, setting):
    """Worst AUC by type, Moran's I and explained variance of one fit."""
    from lloki.programs import enrichment, fitting
    from lloki.programs.neighbourhood import moran

    k, starts = setting.get("k", K), np.cumsum([0, *(p.n_obs for p in parts)])
    values = [space[a:b] for a, b in pairwise(starts)]
    cells, graphs = cells_of(
        values, [p.obsm["spatial"] for p in parts], k, setting.get("floor", 0.001),
        setting.get("weights", "equal"),
    )  # fmt: skip
    if setting.get("rare"):
        first = fitting.fit_plain(cells, rare_labels(cells, k, seed), k, PLAIN)
        fit = fitting.fit_bound(cells, first, setting["iterations"], seed=seed)
    else:
        fit, _ = fitting.fit(cells, k, iterations=setting["iterations"], seed=seed)
    z = [fit.proportions[a:b] for a, b in pairwise(starts)]
    tables = [enrichment.type_auc(*pair) for pair in zip(z, labels, strict=True)]
    found = enrichment.worst_auc([t for t in tables if len(t)]).max(axis=1)
    found["Moran"] = np.nanmedian(
        np.concatenate([moran(*p)[0] for p in zip(z, graphs, strict=True)])
    )
    found["EV"] = fitting.explained(cells, fit)
    return found


def rare_labels(cells, k, seed):
    """Clusters that leave room for rare ones: three times as many, the most alike joined."""
    from scipy.cluster.hierarchy import fcluster, linkage

    from lloki.programs import fitting
    from lloki.support import clusters

    fine = fitting.start_labels(cells, 3 * k, seed)
    codes = fcluster(linkage(clusters.means(cells.values, fine, 3 * k), "average"), k, "maxclust")
    return codes[fine] - 1


def _row(name, tables):
    table = pd.concat(tables, axis=1)
    if not _row.heads:
        _row.heads = True
        print(f"{'':20}" + "".join(f"{kind[:9]:>11}" for kind in table.index))
    print(f"{name:20}" + "".join(f"{m:6.2f}±{s:.2f} " for m, s in zip(
        table.mean(axis=1), table.std(axis=1, ddof=0), strict=True)), flush=True)  # fmt: skip


_row.heads = False


def _routes(parts, spaces, labels, iterations):
    """The paper's three routes, the default settings."""
    from lloki.programs import fitting, routes

    names = [str(p.obs["sample"].iloc[0]) for p in parts]
    known = dict(zip(names, labels, strict=True))
    panels = {s: p.var_names for s, p in zip(names, parts, strict=True)}
    expression = {s: sp.csr_matrix(p.X) for s, p in zip(names, parts, strict=True)}
    starts = np.cumsum([0, *(p.n_obs for p in parts)])
    found = {}
    for seed, space in enumerate(spaces):
        values = [space[a:b] for a, b in pairwise(starts)]
        cells, graphs = cells_of(values, [p.obsm["spatial"] for p in parts], K, 0.001)
        how = {"iterations": iterations, "seed": seed}
        fit, _ = fitting.fit(cells, K, **how)
        z = {s: fit.proportions[a:b] for s, (a, b) in zip(names, pairwise(starts), strict=True)}
        graphs = dict(zip(names, graphs, strict=True))
        tables = routes.compared(z, expression, panels, graphs, known, K, **how)
        kept = tables["mapping"].groupby("metagene")["kept"].first()
        print(f"  {kept.sum()} of {len(kept)} metagenes of slices alone found in two others")
        for route, own in tables["routes"].groupby("route"):
            moran = tables["routes_moran"].query("route == @route")["moran"].median()
            own = own.set_index("type")["auc"]
            own["Moran"] = moran
            found.setdefault(route, []).append(own)
    for route, own in found.items():
        _row(route, own)


if __name__ == "__main__":
    main()
