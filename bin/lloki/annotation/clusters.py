"""Clusters of an embedding on two levels, by a resolution that holds on parts of the cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.integration import sketch
from lloki.integration.joined import with_gaps
from lloki.support.leiden import by_size, leiden
from lloki.support.search import find_neighbours

NEIGHBOURS = 15  # of a cell, itself among them, as in the UMAPs
RESOLUTIONS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.1, 1.5, 2.0, 2.8, 4.0)
CELLS = 20_000  # at most, on which a resolution is chosen
PARTS, SHARE = 5, 0.8  # of those cells, that clusters must hold on
FEWEST = 10  # cells of a cluster, in the mean, where a resolution is chosen
LEVEL = 0.05  # stability that is given up for more clusters
DOUBTFUL = 0.6  # stability below which clusters are doubted
FOUND = 0.75  # recall below which the graph is doubted; above it clusters change as by a seed
FINER = 1.5  # times as many clusters at least on the second level
BISECTIONS = 64
NAMED = 0.5  # least share of a cluster's labels that gives it a name


class Neighbours(NamedTuple):
    """The neighbours of cells: distances (n × n CSR, directed), weights (n × n CSR, symmetric).

    recall: the share of the true nearest ones among them, on a sample of the cells.
    """

    distances: sp.csr_matrix
    weights: sp.csr_matrix
    recall: float = 1.0


def neighbours(space: np.ndarray, k: int = NEIGHBOURS, seed: int = 0) -> Neighbours:
    """The k nearest cells of each in an embedding (n × d), itself among them; Euclidean.

    Weights as UMAP and scanpy have them (McInnes et al. 2018): 1 for the nearest, so falling off
    that each cell's add up to log2(k); of the two directions the one or the other, in probability.
    """
    space = np.asarray(space, dtype=np.float32)
    found = find_neighbours(space, k - 1, "euclidean", seed=seed, patient=False)
    indices, gaps = with_gaps(space, found.indices)
    n, k = indices.shape
    pointers = np.arange(0, n * (k - 1) + 1, max(k - 1, 1), dtype=np.int64)[: n + 1]
    pointers = pointers if len(pointers) == n + 1 else np.zeros(n + 1, dtype=np.int64)
    columns = indices[:, 1:].astype(np.int32).ravel()

    def csr(values: np.ndarray) -> sp.csr_matrix:
        made = sp.csr_matrix((values.astype(np.float32).ravel(), columns, pointers), shape=(n, n))
        made.sort_indices()
        return made

    one = csr(_memberships(gaps))
    other = sp.csr_matrix(one.T)
    weights = one + other - one.multiply(other)
    weights = sp.csr_matrix(weights, dtype=np.float32)
    return Neighbours(csr(gaps[:, 1:]), weights, found.recall)


def _memberships(gaps: np.ndarray, rows: int = 1 << 16) -> np.ndarray:
    """Weight of each neighbour (n × k - 1) by its distance (n × k, the cell itself first)."""
    parts = [_block_memberships(gaps[i : i + rows], gaps.mean()) for i in range(0, len(gaps), rows)]
    return np.concatenate(parts) if parts else gaps[:, 1:]


def _block_memberships(gaps: np.ndarray, mean: float) -> np.ndarray:
    gaps, means = gaps[:, 1:].astype(np.float64), gaps.mean(axis=1)
    least = np.where(gaps > 0, gaps, np.inf).min(axis=1, initial=np.inf)
    least[np.isinf(least)] = 0
    beyond = np.maximum(gaps - least[:, None], 0)
    low, high = np.zeros(len(gaps)), np.full(len(gaps), np.inf)
    width, wanted = np.ones(len(gaps)), np.log2(gaps.shape[1] + 1)
    for _ in range(BISECTIONS):
        much = np.exp(-beyond / width[:, None]).sum(axis=1) > wanted
        low, high = np.where(much, low, width), np.where(much, width, high)
        width = np.where(np.isinf(high), 2 * width, (low + high) / 2)
    width = np.maximum(width, 1e-3 * np.where(least > 0, means, mean))
    return np.exp(-np.divide(beyond, width[:, None], out=np.zeros_like(beyond), where=beyond > 0))


def stability(
    space: np.ndarray,
    slices: Sequence[str],
    resolutions: Sequence[float] = RESOLUTIONS,
    seed: int = 0,
    told: Callable[[], object] = lambda: None,
) -> pd.DataFrame:
    """How well clusters of each resolution hold, on PARTS draws of SHARE of the cells.

    space: n × d; slices: of each cell, drawn in proportion, CELLS at most. Columns: resolution;
    clusters (median over the draws); stability: the mean adjusted Rand index of two draws on the
    cells of both; error: the standard error of it, each draw left out in turn.
    """
    from sklearn.metrics import adjusted_rand_score

    some = sketch.stratified_sample(np.asarray(slices), CELLS, seed)
    space = np.asarray(space[some], dtype=np.float32)
    rng = np.random.default_rng(seed)
    found = []
    for part in range(PARTS):
        own = np.sort(rng.permutation(len(space))[: max(2, round(SHARE * len(space)))])
        graph = neighbours(space[own], seed=seed).weights
        labels = np.full((len(resolutions), len(space)), -1)
        for i, resolution in enumerate(resolutions):
            labels[i, own] = leiden(graph, resolution, seed + part)
        found.append(labels)
        told()
    rows = []
    for i, resolution in enumerate(resolutions):
        held = np.full((PARTS, PARTS), np.nan)
        for a, b in combinations(range(PARTS), 2):
            both = (found[a][i] >= 0) & (found[b][i] >= 0)
            held[a, b] = held[b, a] = adjusted_rand_score(found[a][i][both], found[b][i][both])
        without = [np.nanmean(np.delete(np.delete(held, p, 0), p, 1)) for p in range(PARTS)]
        error = np.sqrt((PARTS - 1) * np.var(without))
        number = int(np.median([labels[i].max() + 1 for labels in found]))
        rows.append((resolution, number, np.nanmean(held), error))
    return pd.DataFrame(rows, columns=["resolution", "clusters", "stability", "error"])


def choose(table: pd.DataFrame, least: float = 2, cells: float = np.inf) -> float | None:
    """The resolution of most clusters whose stability is level with the best one.

    table: as `stability` gives it, of so many cells; of rows with `least` clusters, of FEWEST cells
    in the mean, those within LEVEL of the most stable. None where there is no such row.
    """
    rows = table[table["clusters"].between(least, SHARE * min(cells, CELLS) / FEWEST)]
    if rows.empty:
        return None
    level = rows[rows["stability"] >= rows["stability"].max() - LEVEL]
    return float(level.sort_values(["clusters", "stability"])["resolution"].iloc[-1])


def two_levels(
    graph: sp.csr_matrix, coarse: float, fine: float | None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of each cell (n int64), and the finer ones in them (n int64, from 0 in each).

    graph: n × n CSR. The finer ones are those of the graph without edges between clusters; without
    a resolution for them each cluster is one.
    """
    first = leiden(graph, coarse, seed)
    if fine is None:
        return first, np.zeros_like(first)
    rows = np.repeat(first, np.diff(graph.indptr))
    inside = graph.copy()
    inside.data[rows != first[graph.indices]] = 0
    inside.eliminate_zeros()
    second = leiden(inside, fine, seed)
    within = np.empty_like(second)
    for cluster in range(first.max(initial=-1) + 1):
        own = first == cluster
        within[own] = by_size(second[own])
    return first, within


def names(labels: np.ndarray, clusters: np.ndarray) -> tuple[list[str], list[float]]:
    """A name for each cluster by its cells' labels, and the share of them that bear it.

    labels: of each cell, None where there is none; clusters: 0 to K - 1. That of most labelled
    cells if at least NAMED of them have it, else the first two with a stroke between; numbered
    where clusters have the same; empty (share 0) without labels.
    """
    found, shares = [], []
    for cluster in range(clusters.max(initial=-1) + 1):
        own = labels[clusters == cluster]
        counts = Counter(sorted(str(label) for label in own if label is not None))
        first = counts.most_common(2)
        share = first[0][1] / counts.total() if first else 0.0
        found.append("/".join(label for label, _ in first[: 1 if share >= NAMED else 2]))
        shares.append(share)
    seen: Counter = Counter()
    repeated = {name for name, times in Counter(found).items() if name and times > 1}
    for i, name in enumerate(found):
        if name in repeated:
            seen[name] += 1
            found[i] = f"{name} {seen[name]}"
    return found, shares


def sizes(clusters: np.ndarray, samples: np.ndarray, technologies: np.ndarray) -> pd.DataFrame:
    """Cells of each cluster in each slice, also where there are none, and its share of the slice.

    All of n cells: cluster, slice, technology. Columns: cluster, sample, technology, cells, share.
    """
    table = pd.crosstab(clusters, samples).rename_axis("cluster").rename_axis("sample", axis=1)
    found = table.stack().rename("cells").reset_index()
    of = dict(zip(samples, technologies, strict=True))
    found.insert(2, "technology", found["sample"].map(of))
    found["share"] = found["cells"] / found.groupby("sample")["cells"].transform("sum")
    return found
