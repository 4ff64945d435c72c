"""Clusters of the focus cells, and those of them that lie near the neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from lloki.support.leiden import leiden
from lloki.support.search import find_neighbours

NEAREST = 15
MANY = 50_000  # cells above which neighbours are found by an index
FEW = 10  # cells of a cluster in a slice, below which the slice has no say
SMALL = 20  # cells of a cluster, below which it is in no group


def focus_clusters(space: np.ndarray, resolution: float = 1.0, seed: int = 0) -> np.ndarray:
    """Clusters of cells (n int64, the largest is 0): Leiden on the 15 nearest by cosine.

    space: n × d. Modularity; an edge counts twice where each is among the other's nearest.
    """
    n = len(space)
    method = "approx" if n > MANY else "exact"
    near = find_neighbours(space, min(NEAREST, n - 1), method=method, seed=seed).indices
    rows = np.repeat(np.arange(n), near.shape[1])
    graph = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, near.ravel())), shape=(n, n))
    return leiden(sp.csr_matrix(graph + graph.T), resolution, seed)


def one_hot(labels: np.ndarray, count: int) -> sp.csr_matrix:
    """Which cells are of each cluster: count × n, of ones."""
    n = len(labels)
    return sp.csr_matrix((np.ones(n, np.float32), (labels, np.arange(n))), shape=(count, n))


def groups(
    clusters: Sequence[np.ndarray], ranks: Sequence[np.ndarray], train: Sequence[np.ndarray]
) -> np.ndarray:
    """Clusters that lie near the neighbours, by each field (C × N bool).

    Of each slice: clusters of its focus cells (n), ranks of N fields (n × N), and which cells
    count (n bool). In the group: the mean over slices with FEW or more of its cells is above that
    of the slice's cells; SMALL cells or more.
    """
    count = 1 + max((int(c.max()) for c in clusters if len(c)), default=0)
    score = np.zeros((count, ranks[0].shape[1]))
    size = np.zeros(count, dtype=int)
    for own, u, use in zip(clusters, ranks, train, strict=True):
        cells = np.bincount(own[use], minlength=count)
        size += cells
        if not use.any():
            continue
        sums = one_hot(own[use], count) @ (u[use] - u[use].mean(axis=0))
        score += np.where(cells[:, None] >= FEW, sums / np.maximum(cells, 1)[:, None], 0)
    return (score > 0) & (size >= SMALL)[:, None]
