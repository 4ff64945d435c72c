"""Silhouette widths of many cells at once: distances in blocks, never all of them in memory."""

from __future__ import annotations

import numpy as np

BLOCK = 1024  # rows and columns of a block of distances: 8 MB


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
    squares = np.einsum("ij,ij->i", space, space)
    members = np.eye(groups)[codes]
    sums = np.zeros((len(space), groups))
    starts = range(0, len(space), BLOCK)
    for first in starts:
        rows = slice(first, first + BLOCK)
        for second in range(first, len(space), BLOCK):
            columns = slice(second, second + BLOCK)
            gaps = space[rows] @ space[columns].T
            if metric == "cosine":
                np.subtract(1, gaps, out=gaps)
            else:
                gaps *= -2
                gaps += squares[rows, None]
                gaps += squares[columns]
            np.maximum(gaps, 0, out=gaps)
            if metric == "euclidean":
                np.sqrt(gaps, out=gaps)
            if first == second:
                np.fill_diagonal(gaps, 0)
            else:
                sums[columns] += gaps.T @ members[rows]
            sums[rows] += gaps @ members[columns]
    return sums
