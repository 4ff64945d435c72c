"""Pairs of cells of different batches that are each other's nearest: anchors and positives.

Two cells are compared by their embeddings and, where expression is given, by the genes that their
two panels share, both averaged over the cells' near ones of the same slice. The embedding knows all
genes of a panel, but for a small panel only roughly; shared genes are few, but measured in both.
Cells of a reference, where there are any, say where in the embedding cells can be at all: each cell
is laid among those nearest to it, which takes out what its technology alone adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lloki.embedding import mosaic
from lloki.support.neighbours import mutual_matrix, nearest, unit_rows
from lloki.support.search import find_neighbours
from lloki.support.storage import blocks

if TYPE_CHECKING:
    import torch

AXES = 50  # principal axes of the shared genes that pairs are compared on
FEWEST = 5  # shared genes that say something
SHARE, FEWEST_NEAR = 25, 15  # a pair is among the nearest 25th of a slice, or the nearest 15
LAID_AMONG = 30  # cells of a reference
SEARCH_AXES = 64  # principal axes of an embedding that neighbours are searched on


def search_axes(embedding: np.ndarray) -> np.ndarray | None:
    """Axes that neighbours are searched on (d × SEARCH_AXES float32); None where d is not more.

    They are those of the largest second moments, by which cosines change least. embedding: n × d,
    also a memory map, which is read block by block.
    """
    d = embedding.shape[1]
    if d <= SEARCH_AXES:
        return None
    moments = sum((block.T @ block for _, block in blocks(embedding)), np.zeros((d, d)))
    return np.linalg.eigh(moments)[1][:, -SEARCH_AXES:].astype(np.float32)


def search_space(embedding: np.ndarray, axes: np.ndarray | None) -> np.ndarray:
    """Embeddings (n × d, also a memory map) on `search_axes`, as neighbours are searched in.

    Returns n × SEARCH_AXES float32; without axes n × d.
    """
    if axes is None:
        return np.array(embedding, dtype=np.float32)
    space = np.empty((len(embedding), axes.shape[1]), dtype=np.float32)
    for rows, block in blocks(embedding):
        space[rows] = block @ axes
    return space


def own_neighbors(
    space: np.ndarray,
    slices: np.ndarray,
    k: int,
    seed: int = 0,
    gpu: torch.device | None = None,
) -> np.ndarray:
    """Rows of the k nearest cells of the own slice for every cell (n × k, int32; cosine).

    space: n × d; slices: n numbers. Nearest first; exact but in very large slices. A
    slice of fewer than k + 1 cells repeats what it has.
    """
    found = np.empty((len(space), k), dtype=np.int32)
    for s in np.unique(slices):
        rows = np.flatnonzero(slices == s)
        near = find_neighbours(space[rows], k, "cosine", seed=seed, gpu=gpu).indices
        if near.shape[1] == 0:
            near = np.arange(len(rows))[:, None]
        found[rows] = rows[np.take(near, np.resize(np.arange(near.shape[1]), k), axis=1)]
    return found


def hard_negatives(
    space: np.ndarray, slices: np.ndarray, labels: np.ndarray, gpu: torch.device | None = None
) -> np.ndarray:
    """The nearest cell of the own slice with another label (n rows, cosine); -1 if there is none.

    space: n × d; slices: n numbers; labels: n; "": none, such a cell neither has a negative nor
    is one.
    """
    found, labelled = np.full(len(space), -1, dtype=np.int64), np.asarray(labels) != ""
    for s in np.unique(slices):
        rows = np.flatnonzero((slices == s) & labelled)
        for label in np.unique(labels[rows]):
            same = labels[rows] == label
            if not same.all():
                near, _ = nearest(space[rows[same]], space[rows[~same]], 1, gpu=gpu)
                found[rows[same]] = rows[~same][near[:, 0]]
    return found


@dataclass(frozen=True)
class Expression:
    """A slice's genes as pairs compare them: n cells × G genes, each gene once, sorted by key.

    values: CSR, log-normalised; keys: names as panels are matched by; mean, scale: of each gene
    over the slice (scale: 1 / standard deviation, 0 without variance); weights: by communality.
    """

    values: sp.csr_matrix
    keys: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, values: sp.csr_matrix, genes: object) -> Expression:
        """From a slice's log-normalised expression (n × G CSR) and its gene names (G)."""
        keys, columns = mosaic.gene_columns(genes)
        values = sp.csr_matrix(values)[:, columns]
        mean, scale = mosaic.mean_and_scale(values)
        weights = mosaic.gene_weights(mosaic.correlations(values)) ** 2
        return cls(values, keys, mean, scale, weights)


@dataclass(frozen=True)
class View:
    """What the pairs of a slice are found in.

    rows: its cells among all (n); near: the cells that each is averaged with, itself first
    (n × k + 1 places in the slice, int32); space: embeddings, averaged, centred and scaled to unit
    length (n × d float32), and with a reference beside them the same of its cells around (n × 2d).
    """

    rows: np.ndarray
    near: np.ndarray
    space: np.ndarray
    expression: Expression | None


def view(
    space: np.ndarray,
    rows: np.ndarray,
    near: np.ndarray,
    expression: Expression | None = None,
    reference: np.ndarray | None = None,
    gpu: torch.device | None = None,
) -> View:
    """The view of one slice.

    space: embeddings, n × d; rows: n, the cells' places among all cells; near: n × k, places within
    the slice of the near cells that a cell is averaged with (k may be 0); reference: embeddings
    of its cells, centred and of unit length, m × d. Averaging takes out noise, centring takes out
    what a technology adds to all of its cells.
    """
    near = np.column_stack([np.arange(len(near)), near]).astype(np.int32)
    average = averaging(near)
    found = _centred(average @ np.asarray(space, dtype=np.float32))
    if reference is not None:
        around = find_neighbours(reference, LAID_AMONG, gpu=gpu, query=found).indices
        laid = _centred(average @ (averaging(around, len(reference)) @ reference))
        found = np.hstack([found, laid])
    return View(rows, near, found, expression)


def _centred(space: np.ndarray) -> np.ndarray:
    return unit_rows(space - space.mean(axis=0))


def averaging(near: np.ndarray, among: int | None = None) -> sp.csr_matrix:
    """The matrix (n × n CSR, float32) whose product is every cell's mean over its near cells.

    among: how many cells those are places among, where they are others (n × among).
    """
    n, k = near.shape
    share = np.full(n * k, 1 / k, dtype=np.float32)
    return sp.csr_matrix((share, near.ravel(), np.arange(0, n * k + 1, k)), shape=(n, among or n))


@dataclass(frozen=True)
class Partners:
    """Pairs of n cells: those of cell i are cells[first[i] : first[i + 1]], ascending.

    first: n + 1, int64; cells: int32, every pair in both directions.
    """

    first: np.ndarray
    cells: np.ndarray

    def counts(self) -> np.ndarray:
        """How many partners each cell has (n)."""
        return np.diff(self.first)

    def table(self) -> np.ndarray:
        """The pairs as rows (cell, partner), p × 2 int32, sorted."""
        anchors = np.repeat(np.arange(len(self.first) - 1, dtype=np.int32), self.counts())
        return np.column_stack([anchors, self.cells])

    def within(self, labels: np.ndarray) -> Partners:
        """The pairs but those of two labels that differ (labels: n; "": none, which fits all)."""
        codes = np.unique(labels, return_inverse=True)[1].astype(np.int32)
        unknown = np.asarray(labels) == ""
        one, other = np.repeat(np.arange(len(codes)), self.counts()), self.cells
        return self._kept((codes[one] == codes[other]) | unknown[one] | unknown[other])

    def between(self, groups: np.ndarray) -> Partners:
        """The pairs of cells of different groups alone (groups: n numbers)."""
        return self._kept(np.repeat(groups, self.counts()) != groups[self.cells])

    def _kept(self, kept: np.ndarray) -> Partners:
        return Partners(np.concatenate([[0], np.cumsum(kept)])[self.first], self.cells[kept])


def find_partners(
    views: Sequence[View],
    batches: Sequence[object],
    k: int,
    gpu: torch.device | None = None,
    new: int | None = None,
) -> Partners:
    """Mutual nearest neighbours between all slices of different batches.

    views and batches: one a slice; k: nearest cells on each side, but no more than a part of the
    smaller slice (SHARE, FEWEST_NEAR): the 80 nearest of 500 cells are of many kinds. Likeness is
    the cosine of the embeddings plus, where two slices share FEWEST genes or more, that of the
    shared genes. new: so many first slices, each with all others; the others have no pairs among
    themselves (None: all).
    """
    found, search = [], partial(_search, gpu)
    for a, b in combinations(range(len(views)), 2):
        if batches[a] != batches[b] and (new is None or a < new):
            first, second = views[a], views[b]
            few = max(FEWEST_NEAR, min(len(first.rows), len(second.rows)) // SHARE)
            pairs = mutual_matrix(*_sides(first, second), min(k, few), search)
            found.append((first.rows, second.rows, pairs))
    return _joined(sum(len(v.rows) for v in views), found)


def _joined(n: int, found: list[tuple[np.ndarray, np.ndarray, sp.csr_matrix]]) -> Partners:
    """The pairs of all n cells from those of two slices each, in the order of the slices.

    found: rows of both slices among all cells, and their pairs; it is emptied as it is read.
    """
    counts = np.zeros(n, dtype=np.int64)
    for first, second, pairs in found:
        counts[first] += np.diff(pairs.indptr)
        counts[second] += np.bincount(pairs.indices, minlength=len(second))
    starts = np.concatenate([[0], np.cumsum(counts)])
    cells, free = np.empty(starts[-1], dtype=np.int32), starts[:-1].copy()
    while found:
        first, second, pairs = found.pop(0)
        for rows, others, one_way in ((first, second, pairs), (second, first, pairs.T.tocsr())):
            each = np.diff(one_way.indptr)
            places = np.repeat(free[rows] - one_way.indptr[:-1], each)
            places += np.arange(len(places))
            cells[places] = others[one_way.indices]
            free[rows] += each
    return Partners(starts, cells)


def find_pairs(views: Sequence[View], batches: Sequence[object], k: int) -> np.ndarray:
    """What `find_partners` finds as a table: rows of all cells, p × 2 int32, in both directions."""
    return find_partners(views, batches, k).table()


def _search(gpu: torch.device | None, query: np.ndarray, base: np.ndarray, k: int) -> np.ndarray:
    """As `nearest_rows`; by an index where there are very many cells on a side and no GPU."""
    return find_neighbours(base, k, gpu=gpu, query=query).indices


def _sides(first: View, second: View) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the cells of both slices whose cosines are the likeness."""
    a, b = first.expression, second.expression
    if a is None or b is None:
        return first.space, second.space
    keys, in_first, in_second = np.intersect1d(a.keys, b.keys, return_indices=True)
    if len(keys) < FEWEST:
        return first.space, second.space
    weights = a.weights[in_first] * b.weights[in_second]
    genes = [_shared(first, in_first, weights), _shared(second, in_second, weights)]
    if len(keys) > AXES:
        moments = sum(values.T @ values / len(values) for values in genes)
        axes = np.linalg.eigh(moments)[1][:, -AXES:]
        genes = [values @ axes for values in genes]
    sides = (
        np.column_stack([unit_rows(values), v.space])
        for values, v in zip(genes, (first, second), strict=True)
    )
    return tuple(sides)


def _shared(v: View, columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Some genes of a slice, standardised, averaged over near cells and weighted (n × s)."""
    e = v.expression
    mean = (averaging(v.near) @ e.values[:, columns]).toarray()
    return ((mean - e.mean[columns]) * (e.scale[columns] * weights)).astype(np.float32)
