"""Batches corrected one after the other by mutual nearest neighbours, written from the publication.

Haghverdi L et al. Batch effects in single-cell RNA-sequencing data are corrected by matching mutual
nearest neighbors. Nature Biotechnology 36, 421–427 (2018). doi:10.1038/nbt.4091. On an embedding
instead of genes, and without the step that adjusts the variance along the correction.
"""

from __future__ import annotations

import numpy as np

from lloki.support.neighbours import mutual, nearest, unit_rows

NEIGHBOURS = 20  # k of the publication
WIDTH = 0.3  # standard deviation of the kernel, in a space of rows of length 1
BLOCK = 1 << 24  # weights held at once: 64 MB


def correct(
    space: np.ndarray, batches: np.ndarray, k: int = NEIGHBOURS, width: float = WIDTH
) -> np.ndarray:
    """Rows of length 1, batch after batch moved onto those before it (n × d float32).

    space: n × d; batches: n names. The largest batch is the first reference and stays; the next
    largest is moved and joins it, of equal ones that whose name comes first. k: nearest cells
    that are looked at for mutual pairs; width: of the Gaussian that smooths the shifts.
    """
    space = unit_rows(space)
    names, sizes = np.unique(batches, return_counts=True)
    names = names[np.lexsort((names, -sizes))]
    known = np.flatnonzero(batches == names[0])
    for name in names[1:]:
        new = np.flatnonzero(batches == name)
        space[new] += shifts(space[known], space[new], k, width)
        known = np.concatenate([known, new])
    return space


def shifts(reference: np.ndarray, moving: np.ndarray, k: int, width: float) -> np.ndarray:
    """How far each cell of a batch is to be moved onto the reference (m × d float32).

    reference: n × d; moving: m × d. The mean way of a cell to its mutual neighbours, averaged over
    all cells that have some, by a Gaussian of the distance; where such cells lie close together,
    each counts the less.
    """
    pairs = mutual(reference, moving, k, lambda *given: nearest(*given, metric="euclidean")[0])
    paired, place, count = np.unique(pairs[:, 1], return_inverse=True, return_counts=True)
    ways = np.zeros((len(paired), moving.shape[1]))
    np.add.at(ways, place, reference[pairs[:, 0]] - moving[pairs[:, 1]])
    ways /= count[:, None]
    anchors = moving[paired].astype(np.float64)
    crowd = np.concatenate([np.exp(w).sum(axis=1) for w in _blocks(anchors, anchors, width)])
    found = []
    for exponent in _blocks(moving.astype(np.float64), anchors, width):
        # far from all anchors every weight would be 0: only their ratios count
        weights = np.exp(exponent - exponent.max(axis=1, keepdims=True)) / crowd
        found.append(weights @ ways / weights.sum(axis=1, keepdims=True))
    return np.concatenate(found).astype(np.float32)


def _blocks(cells: np.ndarray, anchors: np.ndarray, width: float):
    """Logarithms of the Gaussian from cells (n × d) to anchors (a × d), some rows at a time."""
    step = max(1, BLOCK // len(anchors) // 2)
    lengths = (anchors**2).sum(axis=1)
    for start in range(0, len(cells), step):
        block = cells[start : start + step]
        gaps = (block**2).sum(axis=1)[:, None] + lengths - 2 * block @ anchors.T
        yield -np.maximum(gaps, 0) / (2 * width**2)
