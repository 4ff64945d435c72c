"""What the autoencoder is trained on: cells, their neighbours, their partners in other batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lloki.integration import pairs
from lloki.integration.pairs import Expression, Partners

if TYPE_CHECKING:
    import torch


@dataclass
class Cells:
    """All cells of all slices, one after the other.

    embedding: n × d float32, also a memory map; batch and slice: n integers; neighbors: n × k rows
    of the same slice; hard: n rows, the negative of each cell (-1, or None for all: a random one of
    its slice); anchors: rows that are anchors (None: all).
    """

    embedding: np.ndarray
    batch: np.ndarray
    slice: np.ndarray
    neighbors: np.ndarray
    hard: np.ndarray | None = None
    anchors: np.ndarray | None = None


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
    seed: int = 0,
    gpu: torch.device | None = None,
) -> tuple[Cells, Partners]:
    """The cells of all slices, and the pairs of those that lie in different batches.

    embedding: n × d, slice after slice, also a memory map; sizes, batches, genes: of each slice its
    cells, its batch token, its expression (None: pairs by embeddings alone); labels: n; with them
    pairs are of one label, and with `hard_negatives` negatives are the nearest of another. A `gpu`
    searches.
    """
    slices = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    space = pairs.search_space(embedding)
    near = pairs.own_neighbors(space, slices, max(neighbors, pair_smoothing), seed, gpu)
    hard = pairs.hard_negatives(space, slices, labels, gpu) if hard_negatives else None
    views = []
    for s, known in enumerate(genes):
        rows = np.flatnonzero(slices == s)
        smoothed = near[rows, :pair_smoothing] - rows[0]
        views.append(pairs.view(space[rows], rows, smoothed, known))
    del space
    partners = pairs.find_partners(views, batches, pair_neighbors, gpu)
    if labels is not None:
        partners = partners.within(labels)
    near = np.ascontiguousarray(near[:, :neighbors])
    batch = np.array(batches, dtype=np.int32)[slices]
    return Cells(embedding, batch, slices, near, hard), partners
