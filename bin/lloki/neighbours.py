"""Nearest neighbours: exact search by blocked matrix products; mutual pairs of two sets."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

BLOCK_VALUES = 16_000_000  # similarities held at once: 64 MB of float32


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; rows of zeros stay zero."""
    values = np.asarray(values, dtype=np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)


def nearest(
    query: np.ndarray,
    base: np.ndarray,
    k: int,
    metric: str = "cosine",
    exclude: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of `base` for each row of `query`, nearest first.

    query is n × d, base is m × d; `exclude` names one row of `base` for each query that does not
    count (a cell is no neighbour of its own). Equal distances are ordered by row. Returns indices
    (n × k, int64) and distances (n × k, float32; 1 − cosine, or Euclidean). k is cut to what is
    there. ValueError for another metric.
    """
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric {metric!r} is neither cosine nor euclidean")
    if metric == "cosine":
        query, base = unit_rows(query), unit_rows(base)
        offset = None
    else:
        # Distances are shift-invariant; centring keeps float32 products accurate, and a whole
        # number as the centre keeps equal distances between whole numbers equal.
        centre = np.rint(np.mean(base, axis=0, dtype=np.float64))
        query = np.asarray(query - centre, dtype=np.float32)
        base = np.asarray(base - centre, dtype=np.float32)
        offset = np.einsum("ij,ij->i", base, base) / 2
    k = min(k, len(base) - (exclude is not None))
    indices = np.empty((len(query), k), dtype=np.int64)
    scores = np.empty((len(query), k), dtype=np.float32)
    step = max(1, BLOCK_VALUES // max(len(base), 1))
    for start in range(0, len(query), step):
        rows = slice(start, min(start + step, len(query)))
        similarity = query[rows] @ base.T
        if offset is not None:
            similarity -= offset
        if exclude is not None:
            similarity[np.arange(len(similarity)), exclude[rows]] = -np.inf
        indices[rows] = _largest(similarity, k)
        scores[rows] = np.take_along_axis(similarity, indices[rows], axis=1)
    if metric == "cosine":
        return indices, 1 - scores
    length = np.einsum("ij,ij->i", query, query)[:, None]
    return indices, np.sqrt(np.maximum(length - 2 * scores, 0))


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest values of each row, largest first, equal ones by column."""
    if k == 0:
        return np.empty((len(values), 0), dtype=np.int64)
    if k < values.shape[1]:
        chosen = np.argpartition(values, values.shape[1] - k, axis=1)[:, -k:]
        bound = np.take_along_axis(values, chosen, axis=1).min(axis=1)
        # argpartition picks any of the values equal to the bound: settle those rows by column.
        tied = np.flatnonzero((values >= bound[:, None]).sum(axis=1) > k)
        if len(tied):
            chosen[tied] = np.argsort(-values[tied], axis=1, kind="stable")[:, :k]
    else:
        chosen = np.broadcast_to(np.arange(k), (len(values), k))
    chosen = np.sort(chosen, axis=1)
    order = np.argsort(-np.take_along_axis(values, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def mutual(first: np.ndarray, second: np.ndarray, k: int, metric: str = "cosine") -> np.ndarray:
    """Pairs (row of `first`, row of `second`) where each is among the other's k nearest.

    first is n × d, second m × d. Returns pairs, p × 2 int64, sorted.
    """
    forward = _selection(nearest(first, second, k, metric)[0], len(second))
    backward = _selection(nearest(second, first, k, metric)[0], len(first))
    both = forward.multiply(backward.T).tocoo()
    pairs = np.column_stack([both.row, both.col]).astype(np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _selection(indices: np.ndarray, width: int) -> sp.csr_matrix:
    n, k = indices.shape
    ones = np.ones(n * k, dtype=bool)
    return sp.csr_matrix((ones, indices.ravel(), np.arange(0, n * k + 1, k)), shape=(n, width))
