"""Labels carried over to the cells of a slice from a reference and from labelled slices.

A cell asks the nearest labelled cells of each kind of source; what most of them are is that
source's vote. Votes are averaged over kinds of sources, and over cells of the slice that lie near
one another: between data sets a cell's neighbours are often wrong, within a slice seldom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from lloki.embedding import mosaic
from lloki.slices import genes
from lloki.support.neighbours import unit_rows
from lloki.support.search import find_neighbours

NEIGHBOURS = 30  # labelled cells that a cell asks
RARE = 0.25  # power of a label's cells by which its vote is divided: rare ones are heard
OWN = 15  # cells of the slice that votes are averaged over
STAY = 0.2  # of a cell's own vote in each round of averaging
ROUNDS = 10
REFERENCE = 0.7  # weight of the reference beside slices of other panels, which carry over worse
REFERENCE_OF_PANEL = 0.5  # beside slices some of which are of the same panel
LEAST_GENES = 10  # fewer shared ones, and a reference is not seen through the panel
SOURCE_CELLS = 50_000  # labelled cells of a kind of source that are asked at most


@dataclass(frozen=True)
class Votes:
    """What one kind of source says: share of each label (n × C), distance to its cells (n)."""

    share: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Atlas:
    """A reference: n × G log-normalised CSR, its G gene names, label of each cell.

    codes: places in a list of labels (−1: none), or as long as there is no list the labels.
    """

    expression: sp.csr_matrix
    symbols: np.ndarray
    codes: np.ndarray


def ask(
    query: np.ndarray, base: np.ndarray, codes: np.ndarray, labels: int, seed: int = 0
) -> Votes:
    """The label that most of the nearest labelled cells have, by cosine; rare labels count more.

    query: n × d; base: m × d with codes (m, −1: no label). Shares are 1 for the label of most
    votes, in equal parts where several have as many. The distance is that of the farthest of the
    cells asked. ValueError where no cell of the base has a label.
    """
    known = _some(codes, seed)
    if not len(known):
        raise ValueError("no cell has a label")
    base, codes = unit_rows(base[known]), codes[known]
    query = unit_rows(query)
    near = find_neighbours(base, NEIGHBOURS, query=query).indices
    far = 1 - np.einsum("nd,nd->n", query, base[near[:, -1]])
    counts = np.bincount(codes, minlength=labels)
    weight = np.maximum(counts, 1.0) ** -RARE
    rows = np.repeat(np.arange(len(query)), near.shape[1])
    asked = codes[near].ravel()
    votes = sp.coo_matrix((weight[asked], (rows, asked)), shape=(len(query), labels)).toarray()
    first = votes >= votes.max(axis=1, keepdims=True) * (1 - 1e-9)
    return Votes(first / first.sum(axis=1, keepdims=True), far.astype(np.float64))


def _some(codes: np.ndarray, seed: int) -> np.ndarray:
    """Rows with a label, SOURCE_CELLS at most: of each label so many at most that this holds."""
    known = np.flatnonzero(codes >= 0)
    if len(known) <= SOURCE_CELLS:
        return known
    order = np.random.default_rng(seed).permutation(known)
    order = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes[order])
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    low, high = 1, int(counts.max())  # the largest number of cells a label that fits
    while low < high:
        middle = (low + high + 1) // 2
        fits = np.minimum(counts, middle).sum() <= SOURCE_CELLS
        low, high = (middle, high) if fits else (low, middle - 1)
    return np.sort(order[place < low])


def through_panel(
    model: mosaic.MosaicModel, atlas: Atlas, panel: Sequence[str]
) -> np.ndarray | None:
    """A reference's cells (m × rank) as a slice with this panel would show them.

    None where they share fewer than LEAST_GENES genes.
    """
    _, columns = genes.shared(np.asarray(panel), atlas.symbols)
    if len(columns) < LEAST_GENES:
        return None
    return mosaic.embed(model, atlas.expression[:, columns], atlas.symbols[columns])


def ask_views(
    query: np.ndarray, views: Sequence[np.ndarray], codes: np.ndarray, labels: int, seed: int = 0
) -> Votes:
    """What `ask` says of several views of the same cells (m × d each), all counting alike.

    The distance is that of the last view.
    """
    votes = [ask(query, view, codes, labels, seed) for view in views]
    return Votes(np.mean([vote.share for vote in votes], axis=0), votes[-1].distance)


def own_neighbours(space: np.ndarray) -> np.ndarray:
    """The OWN nearest cells of each cell of a slice (n × k) in its embedding (n × d)."""
    return find_neighbours(space, OWN).indices


def averaged(values: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Values of cells (n × … ) averaged over near ones, and those over theirs, ROUNDS times.

    Each round keeps STAY of what the cell had at first, as in a random walk with restart.
    """
    if not near.shape[1]:
        return values
    n, k = near.shape
    walk = sp.csr_matrix((np.full(n * k, 1 / k), near.ravel(), np.arange(n + 1) * k), shape=(n, n))
    found = values
    for _ in range(ROUNDS):
        found = STAY * values + (1 - STAY) * (walk @ found)
    return found


def together(votes: Sequence[Votes], weights: Sequence[float], near: np.ndarray) -> np.ndarray:
    """Shares of labels (n × C, rows sum to 1) of all kinds of sources, averaged over near cells."""
    weights = np.asarray(weights, dtype=float) / np.sum(weights)
    share = sum(w * vote.share for w, vote in zip(weights, votes, strict=True))
    return averaged(share, near)


def entropy(probability: np.ndarray) -> np.ndarray:
    """Of each row (n × C), in units of the entropy of equal shares (0 to 1)."""
    if probability.shape[1] < 2:
        return np.zeros(len(probability))
    logs = np.log(probability, out=np.zeros_like(probability), where=probability > 0)
    return np.maximum(-(probability * logs).sum(axis=1) / np.log(probability.shape[1]), 0.0)
