"""Clusters: the graph as UMAP's, resolutions that hold, two levels, names, sizes."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from lloki.annotation import clusters
from lloki.annotation.clusters import choose, names, neighbours, sizes, stability, two_levels
from lloki.integration.joined import neighbour_table


def cells(kinds=5, kept=3, n=900, seed=0, apart=6.0, bend=0.3):
    """Cells of kinds, each of some subkinds that lie nearer; with their numbers."""
    rng = np.random.default_rng(seed)
    middles = apart * rng.normal(size=(kinds, 1, 8)) + bend * rng.normal(size=(kinds, kept, 8))
    first, second = rng.integers(kinds, size=n), rng.integers(kept, size=n)
    space = middles[first, second] + 0.35 * rng.normal(size=(n, 8))
    return space.astype(np.float32), first, first * kept + second


def test_weights_are_those_of_umap():
    from umap.umap_ import fuzzy_simplicial_set

    space = cells(n=400)[0]
    space[7] = space[3]  # two cells at one place
    indices, gaps = neighbour_table(space, 15)
    wanted, _, _ = fuzzy_simplicial_set(
        space, 15, np.random.RandomState(0), "euclidean", knn_indices=indices, knn_dists=gaps
    )
    found = neighbours(space, 15)
    np.testing.assert_allclose(found.weights.toarray(), wanted.toarray(), atol=2e-4)
    np.testing.assert_array_equal(np.diff(found.distances.indptr), 14)
    full = np.linalg.norm(space[:, None] - space[None], axis=2)
    np.testing.assert_allclose(
        np.sort(found.distances.toarray().max(axis=1)), np.sort(np.sort(full)[:, 14]), rtol=1e-4
    )


def test_few_cells_have_few_neighbours():
    for n in (1, 2, 5):
        found = neighbours(np.random.default_rng(0).random((n, 3)).astype(np.float32))
        assert found.weights.shape == (n, n) and found.distances.nnz == n * (n - 1)


@pytest.fixture(scope="module")
def held():
    space, first, second = cells()
    return space, first, second, stability(space, np.zeros(len(space)), (0.05, 0.3, 1, 3, 8))


def test_stability_tells_the_kinds_that_are_there(held):
    _, first, _, table = held
    assert table["clusters"].is_monotonic_increasing
    assert table["stability"].between(-0.5, 1).all() and (table["error"] >= 0).all()
    assert (table["stability"][table["clusters"] == len(set(first))] > 0.95).any()
    assert table["stability"].iloc[-1] < 1 - 2 * clusters.LEVEL  # cut at random
    assert choose(table) == 0.3


def test_what_is_chosen_are_most_clusters_that_hold():
    table = pd.DataFrame({
        "resolution": [0.1, 0.5, 1.0, 2.0], "clusters": [1, 4, 9, 30],
        "stability": [1.0, 0.93, 0.9, 0.5], "error": 0.0,
    })  # fmt: skip
    assert choose(table) == 1.0
    assert choose(table, 10) == 2.0
    assert choose(table, 31) is None
    assert choose(table, cells=60) == 0.5  # nine clusters of 48 cells would be too small
    assert choose(table, cells=30) is None


def test_the_finer_level_lies_in_the_first(held):
    space, first, second, table = held
    graph = neighbours(space).weights
    coarse = choose(table[table["clusters"] <= 5])
    outer, inner = two_levels(graph, coarse, 2)
    assert adjusted_rand_score(first, outer) > 0.95
    both = outer * 100 + inner
    assert adjusted_rand_score(second, both) > adjusted_rand_score(second, outer) + 0.1
    for cluster in np.unique(outer):
        assert (np.diff(np.bincount(inner[outer == cluster])) <= 0).all()
    assert two_levels(graph, coarse, None)[1].max() == 0


def test_names_come_of_the_labels():
    labels = np.array(["A", "A", None, "B", "B", "A", "A", "A", None, "C", "D", "E"], dtype=object)
    numbers = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 4, 4])
    found, shares = names(labels, numbers)
    assert found == ["A 1", "B", "A 2", "", "C/D"]
    np.testing.assert_allclose(shares, [1, 2 / 3, 1, 0, 1 / 3])


def test_sizes_are_told_for_every_slice():
    numbers = np.array([0, 0, 1, 0, 0, 0])
    samples = np.array(["a", "a", "a", "b", "b", "b"], dtype=object)
    found = sizes(numbers, samples, np.where(samples == "a", "X", "Y"))
    assert found["cells"].tolist() == [2, 3, 1, 0]
    assert found["technology"].tolist() == ["X", "Y", "X", "Y"]
    np.testing.assert_allclose(found["share"], [2 / 3, 1, 1 / 3, 0])
