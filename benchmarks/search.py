#!/usr/bin/env python3
"""The exact search for neighbours alone, beside scikit-learn's, and what would spare it products.

Cells are tiles of a real slice as in propagation.py, on 50 principal components, 40 neighbours by
cosine. Then, for some of the cells with their true neighbours known, the share of the other cells
that a bound leaves: the first components and the lengths of the rest (Cauchy and Schwarz), or
k-means cells and the triangle inequality; and the share that has to be looked at, k-means cell by
k-means cell from the nearest on, until 0.99 of the neighbours are found.
"""

import sys
import time
from pathlib import Path

import anndata as ad
import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support.tiled import tiled  # noqa: E402

K, ASKED, RECALL = 40, 400, 0.99


@click.command()
@click.option("--slice", "path", default=str(ROOT / "assets/demo/starmap.h5ad"), show_default=True)
@click.option("--cells", multiple=True, type=int, default=[20_000], show_default=True)
@click.option("--genes", default=500, show_default=True)
@click.option("--keep", default=0.3, show_default=True, help="Share of the counts that is kept.")
@click.option("--peer/--no-peer", default=True, show_default=True)
@click.option("--bounds/--no-bounds", default=True, show_default=True)
def main(path, cells, genes, keep, peer, bounds) -> None:
    """Print CPU and wall seconds, and shares."""
    from sklearn.neighbors import NearestNeighbors

    from lloki.slices import files
    from lloki.support.neighbours import nearest, unit_rows

    slice_ = ad.read_h5ad(path)
    if "cell_type" not in slice_.obs:
        slice_.obs["cell_type"] = "a cell"
    for n in cells:
        data = files.prepare(tiled(slice_, n, genes, keep), "tiled", sample="s", technology="t")
        space = unit_rows(components(data.X))
        own = np.arange(n)
        timed(f"{n} lloki", lambda space=space, own=own: nearest(space, space, K, exclude=own))
        if peer:
            other = NearestNeighbors(n_neighbors=K + 1, algorithm="brute").fit(space)
            timed(f"{n} scikit-learn", lambda other=other, space=space: other.kneighbors(space))
        if bounds:
            left(space)


def components(matrix):
    from lloki.propagation import graph

    return graph.principal_components(matrix, 50)


def timed(name, search) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    search()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{name:24} CPU s {cpu:8.1f}  wall s {wall:8.1f}", flush=True)


def left(space) -> None:
    """Shares of the cells that each bound leaves, and that an inverted file looks at."""
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng(0)
    own = rng.choice(len(space), ASKED, replace=False)
    asked = space[own]
    products = asked @ space.T
    products[np.arange(ASKED), own] = -np.inf
    nearest = np.argpartition(products, len(space) - K, axis=1)[:, -K:]
    least = np.take_along_axis(products, nearest, axis=1).min(axis=1)[:, None]
    for first in (16, 32):
        rest = np.linalg.norm(space[:, first:], axis=1)
        most = asked[:, :first] @ space[:, :first].T + rest[own, None] * rest
        print(f"  first {first} components leave {(most >= least).mean():.3f}", flush=True)
    for count in (64, 1000):
        centres, _ = kmeans2(space[:20_000], count, minit="points", iter=8, rng=rng, missing="warn")
        far = np.linalg.norm(asked[:, None] - centres, axis=2)
        cell = np.argmax(space @ centres.T - (centres**2).sum(axis=1) / 2, axis=1)
        gap = np.abs(far[:, cell] - np.linalg.norm(space - centres[cell], axis=1))
        share = (gap <= np.sqrt(2 - 2 * least)).mean()
        order = np.argsort(far, axis=1)
        rank = np.argsort(order, axis=1)
        seen = np.cumsum(np.bincount(cell, minlength=count)[order], axis=1) / len(space)
        needed = np.take_along_axis(seen, np.take_along_axis(rank, cell[nearest], axis=1), axis=1)
        print(f"  {count} k-means cells leave {share:.3f}; {RECALL} of the neighbours after "
              f"{np.quantile(needed, RECALL):.2f} of the cells", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
