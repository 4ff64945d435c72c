"""What training reads: all cells, their neighbours, and their positives across batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from lloki.neighbours import nearest
from lloki.pairs import Expression, View, find_pairs, own_neighbors, view
from lloki.storage import StoredRows
from lloki.training import Cells, Positives


def gather(
    embedding: StoredRows,
    counts: Sequence[int],
    batch: Sequence[int],
    genes: Sequence[Expression | None],
    labels: Sequence[np.ndarray] | None,
    *,
    neighbors: int,
    smoothing: int,
    pair_neighbors: int,
    hard_negatives: bool = False,
    folder: str | None = None,
) -> tuple[Cells, Positives]:
    """Cells and positives of slices that lie one after the other in `embedding` (n × d).

    counts: cells of each slice; batch and genes: of each slice; labels: types of each slice's
    cells, or None: positives are then of any type. Two slices are in memory at a time; `folder`
    takes a file for the rest.
    """
    n, d = embedding.shape
    slices = np.repeat(np.arange(len(counts)), counts)
    near = np.empty((n, max(neighbors, smoothing)), dtype=np.int32)
    negatives = np.full(n, -1, dtype=np.int32) if hard_negatives else None
    spaces, views, first = StoredRows(n, d, folder), [], 0
    for s, count in enumerate(counts):
        rows = slice(first, first + count)
        part = embedding[rows]
        own = own_neighbors(part, np.zeros(count, dtype=np.int8), near.shape[1]).astype(np.int32)
        near[rows] = own + first
        if negatives is not None:
            other = hardest(part, labels[s])
            negatives[rows] = np.where(other >= 0, other + first, -1)
        seen = view(part, np.arange(first, first + count), own[:, :smoothing], genes[s])
        spaces[rows] = seen.space
        views.append(replace(seen, space=np.empty((0, d), np.float32)))
        first += count
    cells = Cells(embedding, np.asarray(batch)[slices], slices, near[:, :neighbors], negatives)
    return cells, _positives(views, spaces, batch, labels, pair_neighbors)


def hardest(embedding: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Row of the closest cell of another type for each cell of a slice (n; cosine).

    embedding: n × d; labels: n. −1 where all cells are of one type.
    """
    found = np.full(len(embedding), -1, dtype=np.int64)
    for label in set(labels):
        here, others = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        if len(others):
            found[here] = others[nearest(embedding[here], embedding[others], 1)[0][:, 0]]
    return found


def _positives(
    views: list[View], spaces: StoredRows, batch: Sequence[int], labels: list | None, k: int
) -> Positives:
    """Pairs of all slices of different batches, two slices at a time."""
    types = None if labels is None else np.unique(np.concatenate(labels), return_inverse=True)[1]
    pairs: list[np.ndarray] = []

    def loaded(s: int) -> View:
        return replace(views[s], space=spaces[slice(views[s].rows[0], views[s].rows[-1] + 1)])

    for i, j in combinations(range(len(views)), 2):
        if batch[i] != batch[j]:
            found = find_pairs([loaded(i), loaded(j)], [0, 1], k).astype(np.int32)
            if types is not None:
                found = found[types[found[:, 0]] == types[found[:, 1]]]
            pairs.append(found)
    return Positives.of(pairs, len(spaces))
