"""A few cells that stand for all, rare groups among them; and places for the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lloki.support import clusters
from lloki.support.neighbours import nearest
from lloki.support.storage import blocks

PILOT = 20_000  # cells on which the clusters are found
CLUSTERS, FAR_CLUSTERS = 200, 100  # of all cells; of those far from the middles of the former
FAR = 10_000  # cells farthest from the middle of their cluster, by its own measure
STEPS = 5
PLACED_BY = 3  # fitted cells that place another


def stratified_sample(strata: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Positions of n cells (sorted), each stratum in proportion and, if n allows, by one at least.

    strata: one value a cell, such as batch and label joined.
    """
    order = np.random.default_rng(seed).permutation(len(strata))
    place, size, _ = _places(np.asarray(strata)[order])
    # A cell's place within its stratum, as a share of it: the n smallest are an even draw.
    return np.sort(order[np.argsort(place / size, kind="stable")[:n]])


def _places(strata: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each cell: its place in its stratum, the size of that, its number."""
    codes = pd.factorize(strata)[0]
    groups = pd.Series(codes).groupby(codes)
    return groups.cumcount().to_numpy(), groups.transform("size").to_numpy(), codes


def representatives(
    values: np.ndarray, slices: np.ndarray, wanted: int, seed: int = 0
) -> np.ndarray:
    """Positions of `wanted` cells (sorted) that keep slices in proportion, and rare groups.

    values: n × d, an array or a stored one; slices: of each cell, n. Half of the draw gives every
    small cluster of the embedding (`groups`) the same number of cells, or all that it has; the rest
    is in proportion to clusters and slices.
    """
    codes = groups(values, slices, seed)
    quota = wanted // (2 * (codes.max() + 1))
    strata = codes * len(slices) + np.unique(slices, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(codes))
    # a cluster's cells under one another, its slices by turns
    order = order[np.lexsort([_turns(strata[order], rng), codes[order]])]
    few = _places(codes[order])[0] < quota
    kept, rest = order[few], order[~few]
    more = rest[np.argsort(_turns(strata[rest], rng), kind="stable")[: wanted - len(kept)]]
    return np.sort(np.concatenate([kept, more]))


def _turns(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """When a cell is drawn, so that strata keep their shares, small ones in the mean."""
    place, size, codes = _places(strata)
    return (place + rng.random(codes.max() + 1)[codes]) / size


def groups(values: np.ndarray, slices: np.ndarray, seed: int = 0) -> np.ndarray:
    """Small clusters of the embedding, by cell: n int64.

    K-means of a draw of the cells finds the large ones; that of the cells that lie farthest from
    the middles of those, by the median of each, finds rare groups that no draw would.
    """
    rng = np.random.default_rng(seed)
    pilot = take(values, stratified_sample(slices, PILOT, seed))
    centres = _middles(pilot, CLUSTERS, rng)
    found = [clusters.assign(block, centres) for _, block in blocks(values)]
    codes, gaps = (np.concatenate(parts) for parts in zip(*found, strict=True))
    typical = pd.Series(gaps).groupby(codes).transform("median").to_numpy()
    ratio = gaps / np.maximum(typical, np.finfo(np.float32).tiny)
    far = np.sort(np.argsort(-ratio, kind="stable")[: min(FAR, len(codes) // 20)])
    if len(far):
        rare = _middles(take(values, far), FAR_CLUSTERS, rng)
        for rows, block in blocks(values):
            other, nearer = clusters.assign(block, rare)
            codes[rows] = np.where(nearer < gaps[rows], len(centres) + other, codes[rows])
    return np.unique(codes, return_inverse=True)[1]


def _middles(space: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Middles of k clusters of a draw of the cells."""
    middles = clusters.start(space, k, rng)
    return clusters.means(space, clusters.k_means(space, middles, STEPS), len(middles))


def take(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows (sorted) of values (n × d), float32, read block by block."""
    parts = [
        block[rows[slice(*np.searchsorted(rows, [own.start, own.stop]))] - own.start]
        for own, block in blocks(values)
    ]
    return np.concatenate(parts)


def places(
    values: np.ndarray, fitted: np.ndarray, where: np.ndarray, k: int = PLACED_BY
) -> Iterator[np.ndarray]:
    """Places of all cells in blocks (b × 2 float32), of which only some were given any.

    values: n × d; fitted: positions of those (sorted); where: their places. Another cell lies at
    the mean of the places of the k nearest of them (Euclidean), the nearer the heavier.
    """
    base = take(values, fitted)
    for rows, block in blocks(values):
        near, gaps = nearest(block, base, k, "euclidean")
        weights = 1 / np.maximum(gaps, 1e-30)
        weights /= weights.sum(axis=1, keepdims=True)
        found = np.einsum("ij,ijk->ik", weights, where[near])
        own = slice(*np.searchsorted(fitted, [rows.start, rows.stop]))
        found[fitted[own] - rows.start] = where[own]
        yield found.astype(np.float32)
