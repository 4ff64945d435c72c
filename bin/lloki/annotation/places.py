"""Clusters that live in one technology alone: of its making, or of the tissue that it was given."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy.sparse as sp

ALONE = 0.95  # of a cluster in one technology, had all technologies as many cells
TOGETHER = 0.3  # neighbours in space of the same cluster, beyond chance, that make it a place
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
    share; together; elsewhere, the share of the other technologies' cells that bear the label of
    most of the cluster's; flag, of a cluster of one technology: `biology` where its neighbours in
    space are of the cluster too, a part of the tissue that the others may not have been given, else
    `batch`; empty otherwise.
    """
    counts = pd.crosstab(clusters, technologies)
    shares = counts / counts.sum()
    shares = shares.div(shares.sum(axis=1), axis=0)
    found = pd.DataFrame({
        "technology": shares.idxmax(axis=1).to_numpy(object),
        "technology_share": shares.max(axis=1).to_numpy(), "together": together,
    })  # fmt: skip
    found["elsewhere"] = [
        np.nan if labels is None else _elsewhere(clusters == cluster, technologies != top, labels)
        for cluster, top in enumerate(found["technology"])
    ]
    lone = (found["technology_share"] >= ALONE) & (shares.shape[1] > 1)
    found["flag"] = np.where(lone, np.where(together >= TOGETHER, BIOLOGY, BATCH), "")
    return found


def _elsewhere(own: np.ndarray, others: np.ndarray, labels: np.ndarray) -> float:
    """Share of other technologies' labelled cells that bear the label of most of a cluster's."""
    is_known = labels != None  # noqa: E711
    if not (own & is_known).any() or not (others & is_known).any():
        return np.nan
    words, counts = np.unique(labels[own & is_known].astype(str), return_counts=True)
    return float(np.mean(labels[others & is_known].astype(str) == words[counts.argmax()]))
