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

ROWS = 512  # of a tile of products, and its columns: 1 MB, so that it stays in a core's own cache
SYMMETRIC = 200_000  # rows up to which a product found once is kept for its other row: 2 GB
WAVE = 32  # blocks of rows whose products are kept at once
STRIDE = 16  # every 16th row of the base tells how near the nearest ones are
GROUP = 8  # of so many of them the largest product is looked at
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
    same = query is base
    if metric == "cosine":
        base = unit_rows(base)
        query = base if same else unit_rows(query)
    else:
        # Distances are shift-invariant; centring keeps float32 products accurate, and a whole
        # number as the centre keeps equal distances between whole numbers equal.
        centre = np.rint(np.mean(base, axis=0, dtype=np.float64))
        query, base = _halves(query - centre, left=True), _halves(base - centre, left=False)
    k = min(k, len(base) - (exclude is not None))
    exclude = np.full(len(query), -1) if exclude is None else np.asarray(exclude)
    if gpu is None:
        # A block a thread, each with products of its own: no thread waits for another.
        alone = len(query) > ROWS and thread_count() > 1
        with threadpool_limits(1, "blas") if alone else contextlib.nullcontext():
            indices, scores = _search(query, base, k, exclude, same and len(base) <= SYMMETRIC)
    else:
        indices, scores = _search_gpu(query, base, k, exclude, gpu)
    return indices, 1 - scores if metric == "cosine" else np.sqrt(np.maximum(-2 * scores, 0))


def _halves(values: np.ndarray, left: bool) -> np.ndarray:
    """Rows (float32) whose product, left with right, is -‖a - b‖²/2 = a·b - ‖a‖²/2 - ‖b‖²/2.

    The lengths come first: so the sum is the same to the bit when a and b change sides.
    """
    values = np.asarray(values, dtype=np.float32)
    half = np.einsum("ij,ij->i", values, values) / -2
    ones = np.ones_like(half)
    return np.column_stack([*((half, ones) if left else (ones, half)), values])


def _search(
    query: np.ndarray, base: np.ndarray, k: int, exclude: np.ndarray, same: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `base` with the k largest products for each row of `query`, and the products.

    Tile by tile, only products that reach a row's bound are kept: one that about 2 k of them reach.
    Rows without such a bound, or where too few reach it, are searched whole. Where query and base
    are the `same` rows, only tiles on the diagonal and above are made, and looked at for rows and
    columns: in the order of the bounds, what reaches that of a column has reached that of its row.
    """
    starts = range(0, len(query), ROWS)
    sample = base[::STRIDE][: len(base[::STRIDE]) // GROUP * GROUP]
    found = parallel(lambda start: _bound(query[start : start + ROWS], sample, k), starts)
    bound = np.concatenate(found or [np.empty(0, dtype=np.float32)])
    order = np.argsort(bound, kind="stable")
    asked, bound, exclude = _whole(query[order]), _whole(bound[order], np.inf), exclude[order]
    ahead, names = (_whole(base[order]), order) if same else (_whole(base), np.arange(len(base)))
    none = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    kept = [[none] for _ in starts]  # of each block: rows in it, columns, products; in any order

    def look(start: int) -> None:
        block, least = asked[start : start + ROWS], bound[start : start + ROWS, None]
        if least[0] == np.inf:
            return
        tile = np.empty((ROWS, ROWS), dtype=np.float32)
        for first in range(start if same else 0, len(ahead), ROWS):
            np.matmul(block, ahead[first : first + ROWS].T, out=tile)
            tile[:, len(base) - first :] = -np.inf
            place = np.flatnonzero(tile >= least)
            row, column = np.divmod(place.astype(np.int32), np.int32(ROWS))
            score = tile.ravel()[place]
            kept[start // ROWS].append((row, first + column, score))
            if same and first > start:
                back = np.flatnonzero(score >= bound[first + column])
                kept[first // ROWS].append((column[back], start + row[back], score[back]))

    def choose(start: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(start, start + ROWS)
        row, column, score = map(np.concatenate, zip(*kept[start // ROWS], strict=True))
        kept[start // ROWS] = []
        block = asked[start : min(start + ROWS, len(query))]
        return _best(block, base, k, exclude[rows], row, names[column], score)

    chosen = []
    for wave in (starts[i : i + WAVE] for i in range(0, len(starts), WAVE)):
        parallel(look, wave)  # no later one keeps anything for a block of these
        chosen += parallel(choose, wave)
    indices = np.empty((len(query), k), dtype=np.int64)
    scores = np.empty((len(query), k), dtype=np.float32)
    for start, found in zip(starts, chosen, strict=True):
        indices[order[start : start + ROWS]], scores[order[start : start + ROWS]] = found
    return indices, scores


def _whole(values: np.ndarray, fill: float = 0) -> np.ndarray:
    """With so many rows more that blocks are whole: BLAS rounds a smaller one in another way."""
    more = [(0, -len(values) % ROWS)] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, more, constant_values=fill)


def _best(
    query: np.ndarray, base: np.ndarray, k: int, exclude: np.ndarray, row, column, score
) -> tuple[np.ndarray, np.ndarray]:
    """The k largest products (score) of each row of `query`, of those given by row and column."""
    other = column != exclude[row]
    row, column, score = row[other], column[other], score[other]
    order = np.argsort(row * np.int64(len(base)) + column)
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
) -> tuple[np.ndarray, np.ndarray]:
    """What `_search` gives, block by block, by whole rows of products on a GPU."""
    import torch

    base = torch.from_numpy(np.ascontiguousarray(base)).to(gpu)
    indices, scores = [np.empty((0, k), dtype=np.int64)], [np.empty((0, k), dtype=np.float32)]
    step = max(1, WHOLE_GPU // max(len(base), 1))
    for start in range(0, len(query), step):
        block = torch.from_numpy(np.ascontiguousarray(query[start : start + step])).to(gpu)
        own = torch.from_numpy(exclude[start : start + step]).to(gpu)
        products = block @ base.T
        has = (own >= 0).nonzero()[:, 0]
        products[has, own[has]] = -torch.inf
        score, column = products.topk(k, dim=1)
        column, order = column.sort(dim=1)
        score, order = score.gather(1, order).sort(dim=1, descending=True, stable=True)
        indices.append(column.gather(1, order).cpu().numpy())
        scores.append(score.cpu().numpy())
    return np.concatenate(indices), np.concatenate(scores)


def _bound(query: np.ndarray, sample: np.ndarray, k: int) -> np.ndarray:
    """A product that about 2 k rows of the base reach, for each row of `query`.

    sample: every STRIDE-th row of the base. Infinite where it shows none: it is small, or many
    products are equal. Of each GROUP only the largest product is ranked; that two of the first
    few fall into one lowers the bound a little.
    """
    rank = int(np.ceil(2 * k / STRIDE)) + 4
    if k == 0 or len(sample) < 4 * rank * GROUP:
        return np.full(len(query), np.inf, dtype=np.float32)
    products = (query @ sample.T).reshape(len(query), GROUP, -1).max(axis=1)
    place = products.shape[1] - rank
    bound = np.partition(products, place, axis=1)[:, place]
    bound[(products >= bound[:, None]).sum(axis=1) > 2 * rank] = np.inf
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
