"""Which cells of a slice are neighbours, and how far a value goes on from one to the next."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import scipy.sparse as sp
from scipy.spatial import Delaunay, QhullError, cKDTree
from scipy.stats import norm

NEAREST = 6
JITTER = 1e-3  # of the median gap between cells, for those that lie on one another


def neighbour_graph(
    places: np.ndarray, kind: str = "delaunay", longest: float = 95, seed: int = 0
) -> sp.csr_matrix:
    """Neighbours of the cells of a slice: n × n CSR float32, 0/1, symmetric, no loops.

    places: n × 2 or n × 3, µm. kind: `delaunay` (triangulation), `nearest` (the NEAREST six, either
    way) or `none`. Edges longer than the `longest` percentile of their lengths are left out. Empty
    where cells are too few or lie on a line. Cells on one another are moved apart a little.
    """
    n = len(places)
    places = places[:, np.ptp(places, axis=0) > 0] if n else places
    if kind == "none" or n < 4 or places.shape[1] < 2:
        return sp.csr_matrix((n, n), dtype=np.float32)
    places = _apart(places, seed)
    edges = _triangulated(places) if kind == "delaunay" else _nearest(places)
    lengths = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1)
    if len(edges):
        edges = edges[lengths <= np.percentile(lengths, longest)]
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n, n))


def _apart(places: np.ndarray, seed: int) -> np.ndarray:
    """Coordinates of which none are equal."""
    first = np.unique(places, axis=0, return_index=True)[1]
    if len(first) == len(places):
        return places
    gaps = cKDTree(places[first]).query(places[first], 2)[0][:, 1]
    noise = np.random.default_rng(seed).uniform(-1, 1, places.shape)
    again = np.ones(len(places), dtype=bool)
    again[first] = False
    return places + noise * again[:, None] * JITTER * np.median(gaps)


def _triangulated(places: np.ndarray) -> np.ndarray:
    try:
        simplices = Delaunay(places - places.mean(axis=0)).simplices
    except QhullError:  # on a line
        return np.empty((0, 2), dtype=int)
    pairs = [simplices[:, pair] for pair in combinations(range(simplices.shape[1]), 2)]
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _nearest(places: np.ndarray) -> np.ndarray:
    k = min(NEAREST, len(places) - 1)
    near = cKDTree(places).query(places, k + 1)[1][:, 1:]
    pairs = np.column_stack([np.repeat(np.arange(len(places)), k), near.ravel()])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def moran(values: np.ndarray, graph: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Moran's I of each column and its p (one-sided, normal approximation), weights of rows sum 1.

    values: n × K; graph: n × n, 0/1. NaN where a column is constant or there is no edge.
    """
    n, k = values.shape
    if not graph.nnz or n < 4:
        return np.full(k, np.nan), np.full(k, np.nan)
    degree = np.diff(graph.indptr)
    weights = sp.diags_array(1 / np.maximum(degree, 1)) @ graph.astype(np.float64)
    total = weights.sum()
    centred = values - values.mean(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = n / total * (centred * (weights @ centred)).sum(axis=0) / (centred**2).sum(axis=0)
    both = weights + weights.T
    s1 = (both.multiply(both)).sum() / 2
    s2 = (np.asarray(weights.sum(axis=1)).ravel() + np.asarray(weights.sum(axis=0)).ravel()) ** 2
    expected = -1 / (n - 1)
    variance = (n**2 * s1 - n * s2.sum() + 3 * total**2) / ((n**2 - 1) * total**2) - expected**2
    return found, norm.sf((found - expected) / np.sqrt(variance))
