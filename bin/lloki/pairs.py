"""Pairs of cells of different batches that are each other's nearest: anchors and positives.

Two cells are compared by their embeddings and, where expression is given, by the genes that their
two panels share, both averaged over the cells' near ones of the same slice. The embedding knows all
genes of a panel, but for a small panel only roughly; shared genes are few, but measured in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.sparse as sp

from lloki import mosaic
from lloki.neighbours import mutual, nearest, unit_rows

AXES = 50  # principal axes of the shared genes that pairs are compared on
FEWEST = 5  # shared genes that say something


def own_neighbors(embedding: np.ndarray, slices: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k nearest cells of the own slice for every cell (n × k, int64; cosine).

    embedding: n × d; slices: n numbers. Nearest first. A slice of fewer than k + 1 cells repeats
    what it has.
    """
    found = np.empty((len(embedding), k), dtype=np.int64)
    for s in np.unique(slices):
        rows = np.flatnonzero(slices == s)
        part = embedding[rows]
        near, _ = nearest(part, part, k, exclude=np.arange(len(rows)))
        if near.shape[1] == 0:
            near = np.arange(len(rows))[:, None]
        found[rows] = rows[np.take(near, np.resize(np.arange(near.shape[1]), k), axis=1)]
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
        mean = np.asarray(values.mean(axis=0), dtype=np.float64).ravel()
        square = np.asarray(values.multiply(values).mean(axis=0), dtype=np.float64).ravel()
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-8)
        weights = mosaic.gene_weights(mosaic.correlations(values)) ** 2
        return cls(values, keys, mean, scale, weights)


@dataclass(frozen=True)
class View:
    """What the pairs of a slice are found in.

    rows: its cells among all; averaging: n × n CSR, a cell's mean over itself and its near cells;
    space: embeddings, averaged, centred and scaled to unit length (n × d float32).
    """

    rows: np.ndarray
    averaging: sp.csr_matrix
    space: np.ndarray
    expression: Expression | None


def view(
    embedding: np.ndarray,
    rows: np.ndarray,
    near: np.ndarray,
    expression: Expression | None = None,
) -> View:
    """The view of one slice.

    embedding: n × d; rows: n, the cells' places among all cells; near: n × k, places within the
    slice of the near cells that a cell is averaged with (k may be 0). Averaging takes out noise,
    centring takes out what a technology adds to all of its cells.
    """
    n, k = near.shape
    places = np.column_stack([np.arange(n), near]).ravel()
    share = np.full(n * (k + 1), 1 / (k + 1), dtype=np.float32)
    averaging = sp.csr_matrix((share, places, np.arange(0, n * (k + 1) + 1, k + 1)), shape=(n, n))
    space = averaging @ np.asarray(embedding, dtype=np.float32)
    return View(rows, averaging, unit_rows(space - space.mean(axis=0)), expression)


def find_pairs(views: Sequence[View], batches: Sequence[object], k: int) -> np.ndarray:
    """Mutual nearest neighbours between all slices of different batches.

    views and batches: one a slice; k: nearest cells on each side. Likeness is the cosine of the
    embeddings plus, where two slices share FEWEST genes or more, that of the shared genes. Returns
    rows of all cells, p × 2 int64, each pair in both directions.
    """
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for (first, of_first), (second, of_second) in combinations(zip(views, batches, strict=True), 2):
        if of_first != of_second:
            found = mutual(*_sides(first, second), k)
            found = np.column_stack([first.rows[found[:, 0]], second.rows[found[:, 1]]])
            pairs += [found, found[:, ::-1]]
    return np.concatenate(pairs)


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
    mean = (v.averaging @ e.values[:, columns]).toarray()
    return ((mean - e.mean[columns]) * (e.scale[columns] * weights)).astype(np.float32)
