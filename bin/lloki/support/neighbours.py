"""Nearest neighbours: exact search by blocked matrix products; mutual pairs of two sets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from lloki.support.threads import parallel, thread_count

if TYPE_CHECKING:
    import torch

ROWS, COLUMNS = 512, 4096  # of a tile of similarities: 8 MB of float32, so that it stays in cache
STRIDE = 16  # every 16th row of the base tells how near the nearest ones are
WHOLE = 1 << 22  # similarities held at once where whole rows are needed
WHOLE_GPU = 1 << 28  # the same on a GPU: 1 GB


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
    gpu: torch.device | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of `base` for each row of `query`, nearest first.

    query is n × d, base is m × d; `exclude` names one row of `base` for each query that does not
    count (a cell is no neighbour of its own). Equal distances are ordered by row. Returns indices
    (n × k, int64) and distances (n × k, float32; 1 − cosine, or Euclidean). k is cut to what is
    there. On a `gpu` rounding differs, and which of several equal k-th neighbours is taken is open.
    ValueError for another metric.
    """
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric {metric!r} is neither cosine nor euclidean")
    if metric == "cosine":
        query, base = unit_rows(query), unit_rows(base)
    else:
        # Distances are shift-invariant; centring keeps float32 products accurate, and a whole
        # number as the centre keeps equal distances between whole numbers equal. The product of
        # the longer rows is q·b - ‖b‖²/2, which orders the base as the distance does.
        centre = np.rint(np.mean(base, axis=0, dtype=np.float64))
        query = np.asarray(query - centre, dtype=np.float32)
        base = np.asarray(base - centre, dtype=np.float32)
        length = np.einsum("ij,ij->i", query, query)[:, None]
        query = np.column_stack([query, np.ones(len(query), dtype=np.float32)])
        base = np.column_stack([base, np.einsum("ij,ij->i", base, base) / -2])
    k = min(k, len(base) - (exclude is not None))
    exclude = np.full(len(query), -1) if exclude is None else np.asarray(exclude)
    if gpu is None:
        blocks = [slice(start, start + ROWS) for start in range(0, len(query), ROWS)]
        # A block a thread, each with products of its own: no thread waits for another.
        alone = len(blocks) > 1 and thread_count() > 1
        with threadpool_limits(1, "blas") if alone else contextlib.nullcontext():
            found = parallel(lambda rows: _search(query[rows], base, k, exclude[rows]), blocks)
    else:
        found = _search_gpu(query, base, k, exclude, gpu)
    indices = np.concatenate([i for i, _ in found] or [np.empty((0, k), dtype=np.int64)])
    scores = np.concatenate([s for _, s in found] or [np.empty((0, k), dtype=np.float32)])
    if metric == "cosine":
        return indices, 1 - scores
    return indices, np.sqrt(np.maximum(length - 2 * scores, 0))


def _search(
    query: np.ndarray, base: np.ndarray, k: int, exclude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `base` with the k largest products for each row of `query`, and the products.

    Tile by tile, only products that reach a bound are kept: one that about 2 k of them reach.
    Rows without such a bound, or where too few reach it, are searched whole.
    """
    bound = _bound(query, base, k)
    rows, columns, scores = [], [], []
    tile = np.empty((len(query), COLUMNS), dtype=np.float32)
    for start in range(0, len(base), COLUMNS):
        part = base[start : start + COLUMNS]
        products = np.matmul(query, part.T, out=tile if len(part) == COLUMNS else None)
        place = np.flatnonzero(products >= bound)
        rows.append(place // len(part))
        columns.append(start + place % len(part))
        scores.append(products.ravel()[place])
    row, column, score = (np.concatenate(parts) for parts in (rows, columns, scores))
    other = column != exclude[row]
    row, column, score = row[other], column[other], score[other]
    order = np.argsort(row, kind="stable")
    row, column, score = row[order], column[order], score[order]
    counts = np.bincount(row, minlength=len(query))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((len(query), max(k, counts.max())), -np.inf, dtype=np.float32)
    names = np.zeros(table.shape, dtype=np.int64)
    table[row, place], names[row, place] = score, column
    best = _largest(table, k)
    indices = np.take_along_axis(names, best, axis=1)
    scores = np.take_along_axis(table, best, axis=1)
    few = np.flatnonzero(counts < k)
    step = max(1, WHOLE // len(base))
    for those in (few[start : start + step] for start in range(0, len(few), step)):
        products = query[those] @ base.T
        own = np.flatnonzero(exclude[those] >= 0)
        products[own, exclude[those][own]] = -np.inf
        indices[those] = _largest(products, k)
        scores[those] = np.take_along_axis(products, indices[those], axis=1)
    return indices, scores


def _search_gpu(
    query: np.ndarray, base: np.ndarray, k: int, exclude: np.ndarray, gpu: torch.device
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What `_search` gives for all rows, block by block, by whole rows of products on a GPU."""
    import torch

    base = torch.from_numpy(np.ascontiguousarray(base)).to(gpu)
    found, step = [], max(1, WHOLE_GPU // max(len(base), 1))
    for start in range(0, len(query), step):
        block = torch.from_numpy(np.ascontiguousarray(query[start : start + step])).to(gpu)
        own = torch.from_numpy(exclude[start : start + step]).to(gpu)
        products = block @ base.T
        has = (own >= 0).nonzero()[:, 0]
        products[has, own[has]] = -torch.inf
        score, column = products.topk(k, dim=1)
        column, order = column.sort(dim=1)
        score, order = score.gather(1, order).sort(dim=1, descending=True, stable=True)
        found.append((column.gather(1, order).cpu().numpy(), score.cpu().numpy()))
    return found


def _bound(query: np.ndarray, base: np.ndarray, k: int) -> np.ndarray:
    """A product that about 2 k rows of `base` reach, for each row of `query` (b × 1).

    Infinite where a sample of the base shows none: it is small, or many products are equal.
    """
    sample = query @ base[::STRIDE].T
    rank = int(np.ceil(2 * k / STRIDE)) + 4
    if k == 0 or sample.shape[1] < 4 * rank:
        return np.full((len(query), 1), np.inf, dtype=np.float32)
    place = sample.shape[1] - rank
    bound = np.partition(sample, place, axis=1)[:, place][:, None]
    bound[(sample >= bound).sum(axis=1) > 2 * rank] = np.inf
    return bound


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


def nearest_rows(query: np.ndarray, base: np.ndarray, k: int) -> np.ndarray:
    """The indices that `nearest` gives, by cosine."""
    return nearest(query, base, k)[0]


def mutual(
    first: np.ndarray, second: np.ndarray, k: int, search: Callable = nearest_rows
) -> np.ndarray:
    """Pairs (row of `first`, row of `second`) where each is among the other's k nearest (cosine).

    first is n × d, second m × d; `search` is called as `nearest_rows` is. Returns pairs, p × 2
    int64, sorted.
    """
    return np.column_stack(mutual_matrix(first, second, k, search).nonzero()).astype(np.int64)


def mutual_matrix(
    first: np.ndarray, second: np.ndarray, k: int, search: Callable = nearest_rows
) -> sp.csr_matrix:
    """The pairs of `mutual` as true values of an n × m CSR matrix, sorted."""
    forward = search(first, second, k).astype(np.int32)
    backward = search(second, first, k).astype(np.int32)
    forward.sort(axis=1)
    both = np.empty(forward.shape, dtype=bool)
    for rows in (slice(start, start + ROWS) for start in range(0, len(forward), ROWS)):
        own = np.arange(len(forward), dtype=np.int32)[rows, None, None]
        both[rows] = (backward[forward[rows]] == own).any(axis=2)
    starts = np.concatenate([[0], np.cumsum(both.sum(axis=1))])
    chosen = forward[both]
    shape = len(first), len(second)
    return sp.csr_matrix((np.ones(len(chosen), dtype=bool), chosen, starts), shape=shape)
