"""Clusters that live in one technology alone: of its making, or of the tissue that it was given."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy.sparse as sp

ALONE = 0.95  # of a cluster in one technology, had all technologies as many cells
TOGETHER = 0.3  # neighbours in space of the same cluster, beyond chance, that make it a place
ELSEWHERE = 0.01  # of the other technologies' cells that bear the cluster's label
BATCH, BIOLOGY = "batch", "biology"


def agreement(
    clusters: np.ndarray, graphs: Iterable[tuple[np.ndarray, sp.csr_matrix]]
) -> np.ndarray:
    """How much more often than by chance neighbours in space are of a cluster's own (K, at most 1).

    clusters: of each cell, 0 to K - 1; graphs: of each slice the positions of its cells (m) and
    their neighbours (m × m, 0/1). Kappa over the slices: (seen - chance) / (1 - chance), where
    chance is the cluster's share of the slice. NaN where its cells have no neighbours, or are all.
    """
    k = clusters.max(initial=-1) + 1
    ends, same, chance = np.zeros((3, k))
    for rows, graph in graphs:
        own = clusters[rows]
        first = np.repeat(own, np.diff(graph.indptr))
        edges = np.bincount(first, minlength=k)
        ends += edges
        same += np.bincount(first[first == own[graph.indices]], minlength=k)
        chance += edges * (np.bincount(own, minlength=k) / max(len(own), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (same - chance) / (ends - chance)


def alone(
    clusters: np.ndarray,
    technologies: np.ndarray,
    together: np.ndarray,
    labels: np.ndarray | None = None,
) -> pd.DataFrame:
    """Which clusters are of one technology alone, and what speaks for it: a row a cluster.

    clusters, technologies: of each of n cells; together: of `agreement`, K; labels: None where
    there is none. Columns: technology (of most cells, as shares of the technologies' cells), its
    share, together, flag: `batch` where the cells of other technologies bear the cluster's main
    label but lie elsewhere, or its neighbours in space are of other clusters; `biology` where they
    are of the cluster: a part of the tissue that the others were not given; else empty.
    """
    counts = pd.crosstab(clusters, technologies)
    shares = counts / counts.sum()
    shares = shares.div(shares.sum(axis=1), axis=0)
    top = shares.idxmax(axis=1).to_numpy(object)
    share = shares.max(axis=1).to_numpy()
    flags = [""] * len(shares)
    for cluster in np.flatnonzero(share >= ALONE) if shares.shape[1] > 1 else []:
        others = technologies != top[cluster]
        known = _is_elsewhere(clusters == cluster, others, labels)
        is_place = not known and together[cluster] >= TOGETHER
        flags[cluster] = BIOLOGY if is_place else BATCH
    return pd.DataFrame(
        {"technology": top, "technology_share": share, "together": together, "flag": flags}
    )


def _is_elsewhere(own: np.ndarray, others: np.ndarray, labels: np.ndarray | None) -> bool:
    """Whether the label of most of a cluster's cells is borne by cells of other technologies."""
    found = [] if labels is None else labels[own & (labels != None)]  # noqa: E711
    if not len(found):
        return False
    words, counts = np.unique(found.astype(str), return_counts=True)
    main = words[counts.argmax()]
    known = labels[others]
    return bool(np.mean(known.astype(str) == main) >= ELSEWHERE)
