"""Clusters of a graph by the Leiden algorithm (Traag, Waltman and van Eck 2019), for modularity."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numba import njit

ROUNDS = 10  # at most; a round begins at the clusters of the one before
GAIN = 1e-10  # of modularity times all weights: less is rounding


def leiden(graph: sp.csr_matrix, resolution: float = 1.0, seed: int = 0) -> np.ndarray:
    """The cluster of each node (n int64), the largest is 0.

    graph: n × n CSR, symmetric, weights not negative. Modularity with a resolution (Reichardt and
    Bornholdt): of weights inside clusters, less what nodes of such strengths would have by chance.
    Rounds of moving nodes, splitting clusters into well connected parts and joining those to
    nodes, until a round changes nothing. One seed, one result.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(graph.shape[0])
    for _ in range(ROUNDS):
        found = _round(graph, labels, resolution, rng)
        if found.max(initial=0) == labels.max(initial=0) and _same(found, labels):
            break
        labels = found
    return by_size(labels)


def by_size(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from the largest on; of equal ones the first met comes first."""
    _, first, codes, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.empty(len(sizes), dtype=np.int64)
    place[np.lexsort([first, -sizes])] = np.arange(len(sizes))
    return place[codes]


def modularity(graph: sp.csr_matrix, labels: np.ndarray, resolution: float = 1.0) -> float:
    """Modularity of clusters (n) of a graph (n × n), with a resolution."""
    strength = np.asarray(graph.sum(axis=1, dtype=np.float64)).ravel()
    rows = np.repeat(labels, np.diff(graph.indptr))
    inside = graph.data[rows == labels[graph.indices]].sum(dtype=np.float64)
    total = strength.sum()
    return float(
        inside / total - resolution * (np.bincount(labels, strength) ** 2).sum() / total**2
    )


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(by_size(first), by_size(second))


def _round(graph, labels, resolution, rng) -> np.ndarray:
    """Clusters after one round, from those before it."""
    member = np.arange(len(labels))  # the node of the graph at hand that a first node is part of
    while True:
        n = graph.shape[0]
        strength = np.asarray(graph.sum(axis=1, dtype=np.float64)).ravel()
        pull = resolution / max(strength.sum(), np.finfo(float).tiny)
        arrays = graph.indptr.astype(np.int64), graph.indices, graph.data
        labels = np.unique(labels, return_inverse=True)[1]
        labels = _move(*arrays, strength, labels, pull, rng.permutation(n))
        labels = np.unique(labels, return_inverse=True)[1]
        if labels.max(initial=-1) + 1 == n:
            return labels[member]
        parts = _refine(*arrays, strength, labels, pull, rng.permutation(n))
        parts, first, codes = np.unique(parts, return_index=True, return_inverse=True)
        if len(parts) == n:
            return labels[member]
        joins = sp.csr_matrix(
            (np.ones(n, graph.dtype), codes, np.arange(n + 1)), shape=(n, len(parts))
        )
        graph = sp.csr_matrix(joins.T @ graph @ joins)
        member, labels = codes[member], labels[first]


@njit
def _move(indptr, indices, weights, strength, labels, pull, order):
    """Nodes move to the neighbouring cluster, or to one of their own, that gains most.

    A node is looked at again when a neighbour has left its cluster.
    """
    n = len(strength)
    totals, sizes = np.zeros(n), np.zeros(n, np.int64)
    for node in range(n):
        totals[labels[node]] += strength[node]
        sizes[labels[node]] += 1
    free = [c for c in range(n) if sizes[c] == 0]
    queue, waits = order.copy(), np.ones(n, np.bool_)
    head, count = 0, n
    reach, met = np.zeros(n), np.empty(n, np.int64)
    while count > 0:
        node = queue[head]
        head, count = (head + 1) % n, count - 1
        waits[node] = False
        own, k = labels[node], 0
        for e in range(indptr[node], indptr[node + 1]):
            other = indices[e]
            if other != node and weights[e] > 0:
                if reach[labels[other]] == 0:
                    met[k] = labels[other]
                    k += 1
                reach[labels[other]] += weights[e]
        best = own
        most = reach[own] - pull * strength[node] * (totals[own] - strength[node])
        for i in range(k):
            gain = reach[met[i]] - pull * strength[node] * totals[met[i]]
            if met[i] != own and gain > most + GAIN:
                best, most = met[i], gain
        if most < -GAIN and sizes[own] > 1:
            best = free[-1]
        for i in range(k):
            reach[met[i]] = 0
        if best == own:
            continue
        if sizes[best] == 0:
            free.pop()
        labels[node] = best
        totals[own] -= strength[node]
        totals[best] += strength[node]
        sizes[own] -= 1
        sizes[best] += 1
        if sizes[own] == 0:
            free.append(own)
            totals[own] = 0
        for e in range(indptr[node], indptr[node + 1]):
            other = indices[e]
            if not waits[other] and labels[other] != best and other != node:
                waits[other] = True
                queue[(head + count) % n] = other
                count += 1
    return labels


@njit
def _refine(indptr, indices, weights, strength, labels, pull, order):
    """Parts of clusters: from single nodes, well connected ones join the part that gains most."""
    n = len(strength)
    whole = np.zeros(n)
    for node in range(n):
        whole[labels[node]] += strength[node]
    totals, sizes, outer = strength.copy(), np.ones(n, np.int64), np.zeros(n)
    for node in range(n):  # outer: weight between a part and the rest of its cluster
        for e in range(indptr[node], indptr[node + 1]):
            if indices[e] != node and labels[indices[e]] == labels[node]:
                outer[node] += weights[e]
    parts = np.arange(n)
    reach, met = np.zeros(n), np.empty(n, np.int64)
    for node in order:
        rest = whole[labels[node]] - strength[node]
        if sizes[parts[node]] > 1 or outer[node] < pull * strength[node] * rest:
            continue
        k, edges = 0, outer[node]
        for e in range(indptr[node], indptr[node + 1]):
            other = indices[e]
            if other != node and labels[other] == labels[node] and weights[e] > 0:
                if reach[parts[other]] == 0:
                    met[k] = parts[other]
                    k += 1
                reach[parts[other]] += weights[e]
        best, most = parts[node], 0.0
        for i in range(k):
            part = met[i]
            gain = reach[part] - pull * strength[node] * totals[part]
            bound = pull * totals[part] * (whole[labels[node]] - totals[part])
            if part != parts[node] and gain > most + GAIN and outer[part] >= bound:
                best, most = part, gain
        if best != parts[node]:
            outer[best] += edges - 2 * reach[best]
            totals[best] += strength[node]
            sizes[best] += 1
            sizes[parts[node]] = 0
            parts[node] = best
        for i in range(k):
            reach[met[i]] = 0
    return parts
