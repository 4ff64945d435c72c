"""Leiden: clusters as good as igraph's, whole, and the same for a seed."""

import random

import igraph
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import kneighbors_graph

from lloki.support.leiden import by_size, leiden, modularity


def blobs(n=1200, k=6, d=5, spread=1.0, seed=0):
    """Cells of k types, and the graph of their neighbours."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(k, size=n)
    space = 4 * rng.normal(size=(k, d))[kinds] + spread * rng.normal(size=(n, d))
    graph = kneighbors_graph(space, 10)
    return sp.csr_matrix(graph.maximum(graph.T), dtype=np.float32), kinds


def by_igraph(graph):
    upper = sp.triu(graph, 1, "coo")
    made = igraph.Graph(graph.shape[0], np.column_stack(upper.coords).tolist())
    return made, upper.data.tolist()


@pytest.mark.parametrize("resolution", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_modularity_is_as_high_as_igraphs(resolution, spread):
    graph, _ = blobs(spread=spread)
    other, weights = by_igraph(graph)
    options = {"weights": weights, "resolution": resolution, "n_iterations": -1}
    random.seed(0)  # igraph draws from it
    theirs = [other.community_leiden("modularity", **options).membership for _ in range(10)]
    ours = [leiden(graph, resolution, seed) for seed in range(10)]
    high, level = (
        np.mean([modularity(graph, np.array(labels), resolution) for labels in found])
        for found in (ours, theirs)
    )
    assert high > 0.995 * level


def test_modularity_is_igraphs():
    graph, kinds = blobs()
    other, weights = by_igraph(graph)
    for resolution in (0.5, 1, 2):
        np.testing.assert_allclose(
            modularity(graph, kinds, resolution),
            other.modularity(kinds.tolist(), weights, resolution, directed=False),
        )


def test_types_that_lie_apart_are_found():
    graph, kinds = blobs(spread=0.7)
    found = leiden(graph)
    assert adjusted_rand_score(kinds, found) > 0.95
    assert (np.diff(np.bincount(found)) <= 0).all()


def test_clusters_hang_together():
    graph, _ = blobs(spread=4)
    found = leiden(graph, 2)
    for cluster in range(found.max() + 1):
        own = np.flatnonzero(found == cluster)
        assert connected_components(graph[own][:, own])[0] == 1


def test_one_seed_one_result_and_what_has_no_edges_stands_alone():
    graph, _ = blobs(300, spread=3)
    np.testing.assert_array_equal(leiden(graph, seed=3), leiden(graph, seed=3))
    lone = sp.block_diag([graph, sp.csr_matrix((2, 2))], "csr")
    found = leiden(lone)
    assert len(set(found[-2:])) == 2 and not set(found[-2:]) & set(found[:-2])
    assert leiden(sp.csr_matrix((1, 1), dtype=np.float32)).tolist() == [0]
    assert leiden(sp.csr_matrix((0, 0), dtype=np.float32)).tolist() == []


def test_numbers_go_by_size():
    assert by_size(np.array([7, 3, 3, 9, 7, 3])).tolist() == [1, 0, 0, 2, 1, 0]
