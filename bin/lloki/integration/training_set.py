"""What the autoencoder is trained on: cells, their neighbours, their partners in other batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lloki.integration import pairs
from lloki.integration.pairs import Expression, Partners, View
from lloki.support.neighbours import unit_rows

if TYPE_CHECKING:
    import torch

    from lloki.integration.anchors import Anchors


@dataclass
class Cells:
    """All cells of all slices, one after the other.

    embedding: n × d float32, also a memory map; batch and slice: n integers; anchors: rows that are
    anchors, the first ones (None: all). Of the anchors, neighbors: k rows of the same slice for
    each; hard: the row of the negative of each (-1, or None for all: a random one of its slice).
    """

    embedding: np.ndarray
    batch: np.ndarray
    slice: np.ndarray
    neighbors: np.ndarray
    hard: np.ndarray | None = None
    anchors: np.ndarray | None = None


@dataclass(frozen=True)
class TrainingSet:
    """Cells, their partners, and what those were found in.

    That is a view of each slice, its axes, and the cells of references.
    """

    cells: Cells
    partners: Partners
    views: list[View]
    axes: np.ndarray | None
    reference: np.ndarray | None

    def between_panels(self) -> Partners:
        """The pairs of cells whose slices measured other genes, as far as slices tell their genes.

        Of the cells of the slices alone, without those of a known model.
        """
        genes = [v.expression and v.expression.keys.tobytes() for v in self.views]
        known = {keys: s for s, keys in enumerate(genes) if keys}
        codes = np.array([known.get(keys, s) for s, keys in enumerate(genes)])
        return self.partners.between(codes[self.cells.slice])


def assemble(
    embedding: np.ndarray,
    sizes: Sequence[int],
    batches: Sequence[int],
    genes: Sequence[Expression | None],
    labels: np.ndarray | None = None,
    *,
    neighbors: int,
    pair_neighbors: int,
    pair_smoothing: int,
    hard_negatives: bool = False,
    known: Anchors | None = None,
    known_batches: Sequence[int] = (),
    reference: np.ndarray | None = None,
    seed: int = 0,
    gpu: torch.device | None = None,
) -> TrainingSet:
    """The cells of all slices, and the pairs of those that lie in different batches.

    embedding: n × d, slice after slice, also a memory map; sizes, batches, genes: of each slice its
    cells, its batch token, its expression (None: pairs by embeddings alone); labels: n; with them
    pairs are of one label, and with `hard_negatives` negatives are the nearest of another. known:
    cells of a trained model, whose embeddings follow those of the slices, with the batch token of
    each of its slices: partners that are no anchors. reference: embeddings of a reference's cells
    (m × d; of a known model, its own). A `gpu` searches.
    """
    n = sum(sizes)
    slices = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    axes = pairs.search_axes(embedding) if known is None else known.axes
    space = pairs.search_space(embedding[:n], axes)
    near = pairs.own_neighbors(space, slices, max(neighbors, pair_smoothing), seed, gpu)
    hard = None
    if hard_negatives:
        hard = pairs.hard_negatives(space, slices, labels[:n], gpu)
    reference = reference if known is None else known.reference
    laid = None if reference is None else unit_rows(pairs.search_space(reference, axes))
    views = []
    for s, of_slice in enumerate(genes):
        rows = np.flatnonzero(slices == s)
        smoothed = near[rows, :pair_smoothing] - rows[0]
        views.append(pairs.view(space[rows], rows, smoothed, of_slice, laid, gpu))
    del space
    old = [] if known is None else known.views(n)
    tokens = [*batches, *known_batches]
    partners = pairs.find_partners([*views, *old], tokens, pair_neighbors, gpu, len(views))
    if labels is not None:
        partners = partners.within(labels)
    near = np.ascontiguousarray(near[:, :neighbors])
    slices = np.concatenate([slices, *(np.full(len(v.rows), len(views) + i, np.int32)
                                       for i, v in enumerate(old))])  # fmt: skip
    batch = np.array(tokens, dtype=np.int32)[slices]
    cells = Cells(embedding, batch, slices, near, hard, np.arange(n) if old else None)
    return TrainingSet(cells, partners, views, axes, reference)
