"""Silhouette widths of many cells at once: distances in blocks, never all of them in memory."""

from __future__ import annotations

from itertools import batched

import numpy as np
from threadpoolctl import threadpool_limits

from lloki.support.threads import parallel, thread_count

BLOCK = 768  # rows and columns of a block of distances: 5 MB


def widths(
    space: np.ndarray, groups: np.ndarray, metric: str = "euclidean", between: str = "nearest"
) -> np.ndarray:
    """Silhouette width (b − a) / max(a, b) of every cell: n float64, -1 to 1.

    space: n × d; groups: n, one value a cell. a: mean distance to the other cells of its group; b:
    to those of the nearest other group (`nearest`, Rousseeuw 1987) or to all other cells
    (`mean_other`, BRAS of Rautenstrauch and Ohler 2025). metric: euclidean or cosine (a cell at the
    origin has distance 1 to all). 0 for the only cell of a group. ValueError for other choices, and
    for a single group.
    """
    if between not in ("nearest", "mean_other"):
        raise ValueError(f"between {between!r} is neither nearest nor mean_other")
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError("silhouettes need two groups")
    sums = group_distances(space, codes, len(sizes), metric)
    cells = np.arange(len(codes))
    own = sums[cells, codes]
    if between == "nearest":
        sums /= sizes
        sums[cells, codes] = np.inf
        other = sums.min(axis=1)
    else:
        other = (sums.sum(axis=1) - own) / (len(codes) - sizes[codes])
    own /= np.maximum(sizes[codes] - 1, 1)
    largest = np.maximum(own, other)
    found = np.divide(other - own, largest, out=np.zeros(len(codes)), where=largest > 0)
    return np.where(sizes[codes] > 1, found, 0.0)


def group_distances(space: np.ndarray, codes: np.ndarray, groups: int, metric: str) -> np.ndarray:
    """Sum of the distances of each cell to the cells of each group (n × groups, float64).

    Each pair of blocks is computed once and counts for both. Distances come from products, in
    double precision and about the mean, so that close cells far from the origin keep their digits.
    """
    space = np.asarray(space, dtype=np.float64)
    if metric == "cosine":
        length = np.linalg.norm(space, axis=1, keepdims=True)
        space = np.divide(space, length, out=np.zeros_like(space), where=length > 0)
    elif metric == "euclidean":
        space = space - space.mean(axis=0)
    else:
        raise ValueError(f"metric {metric!r} is neither euclidean nor cosine")
    left, right = _factors(space, metric)
    members = np.eye(groups)[codes]
    sums = np.zeros((len(space), groups))

    def row_of_blocks(first: int) -> tuple[np.ndarray, np.ndarray]:
        """The distances of a block's cells to those after it: sums by row, and by column."""
        rows = slice(first, first + BLOCK)
        across = np.zeros((len(left[rows]), groups))
        down = np.zeros((len(space) - first, groups))
        for second in range(first, len(space), BLOCK):
            columns = slice(second, second + BLOCK)
            gaps = left[rows] @ right[columns].T
            np.maximum(gaps, 0, out=gaps)
            if metric == "euclidean":
                np.sqrt(gaps, out=gaps)
            if first == second:
                np.fill_diagonal(gaps, 0)
            else:
                down[second - first : second - first + BLOCK] = gaps.T @ members[rows]
            across += gaps @ members[columns]
        return across, down

    starts = range(0, len(space), BLOCK)
    with threadpool_limits(1, "blas"):
        for some in batched(starts, thread_count()):
            for first, (across, down) in zip(some, parallel(row_of_blocks, some), strict=True):
                sums[first : first + BLOCK] += across
                sums[first:] += down
    return sums


def _factors(space: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices whose rows' products are squared Euclidean distances, or 1 less the cosine."""
    ones = np.ones((len(space), 1))
    if metric == "cosine":
        return np.hstack([space, ones]), np.hstack([-space, ones])
    squares = np.einsum("ij,ij->i", space, space)[:, None]
    return np.hstack([space, squares, ones]), np.hstack([-2 * space, ones, squares])
