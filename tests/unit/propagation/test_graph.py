"""The graph against dense recomputations in double precision."""

import numpy as np
import pytest
import scipy.sparse as sp
from demo_slices import demo_slice
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from unit_checks import check_neighbours

from lloki.propagation import graph
from lloki.slices import files
from lloki.support import search


@pytest.fixture(scope="module", params=["osmfish", "starmap", "xenium"])
def demo(request):
    data = demo_slice(request.param)
    return files.prepare(data, "demo", sample=request.param, technology=request.param)


def dense_graph(neighbours, coordinates, sigma):
    """Eq. 1 as written: union of directed edges, Gaussian of distance, D^(-1/2) W D^(-1/2)."""
    n = len(coordinates)
    distances = cdist(coordinates, coordinates)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaussian = np.where(distances > 0, np.exp(-(distances**2) / (2 * sigma**2)), 1)
    edges = np.eye(n, dtype=bool)
    for i in range(n):
        for j in neighbours[i]:
            edges[i, j] = edges[j, i] = True
    weights = np.where(edges, gaussian, 0)
    root = np.diag(1 / np.sqrt(weights.sum(axis=1)))
    return root @ weights @ root


def test_real_slices_equal_the_dense_computation(demo):
    space = graph.principal_components(demo.X, 50)
    found = search.find_neighbours(space, 40)
    assert (found.method, found.recall) == ("exact", 1.0)
    check_neighbours(space, 40, "cosine", found.indices, 1e-5)
    sigma = graph.mean_pair_distance(demo.obsm["spatial"])
    result = graph.spatial_graph(found.indices, demo.obsm["spatial"], sigma)
    expected = dense_graph(found.indices, demo.obsm["spatial"], sigma)
    np.testing.assert_allclose(result.toarray(), expected, atol=1e-6)
    assert result.dtype == np.float32
    assert result.indices.dtype == np.int32
    assert (result != result.T).nnz == 0


@pytest.mark.parametrize("eigen_limit", [4000, 0])
def test_principal_components_equal_scikit_learn(demo, monkeypatch, eigen_limit):
    monkeypatch.setattr(graph, "EIGEN_LIMIT", eigen_limit)
    scores = graph.principal_components(demo.X, 20, seed=3)
    expected = PCA(20, svd_solver="full").fit_transform(demo.X.toarray().astype(np.float64))
    sign = np.sign((scores * expected).sum(axis=0))
    np.testing.assert_allclose(scores * sign, expected, atol=1e-3)


def test_principal_components_keep_all_distances_when_asked_for_more_than_there_are(demo):
    cells = demo.X[:30]
    scores = graph.principal_components(cells, 500)
    assert scores.shape[1] <= min(29, demo.n_vars)
    dense = cells.toarray().astype(np.float64)
    np.testing.assert_allclose(cdist(scores, scores), cdist(dense, dense), atol=1e-3)


def test_identical_cells_have_no_components():
    scores = graph.principal_components(sp.csr_matrix(np.ones((5, 3), dtype=np.float32)), 2)
    np.testing.assert_array_equal(scores, np.zeros((5, 1)))


def test_sigma_is_the_mean_distance_of_random_distinct_cells():
    coordinates = np.random.default_rng(0).uniform(0, 100, (500, 2))
    everything = cdist(coordinates, coordinates)
    mean = everything.sum() / (500 * 499)
    drawn = [graph.mean_pair_distance(coordinates, seed) for seed in range(200)]
    assert np.mean(drawn) == pytest.approx(mean, rel=0.02)
    # two cells at a distance of 7: a pair of a cell with itself would pull the mean below it
    assert graph.mean_pair_distance(np.array([[0.0, 0], [0, 7]]), 5) == pytest.approx(7)
    assert graph.mean_pair_distance(np.array([[3.0, 4.0]])) == 0


@st.composite
def cells(draw):
    """Cells with ties and duplicates: whole numbers in expression and in space, 2-D or 3-D."""
    n, genes = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    dimensions, spread = draw(st.sampled_from([2, 3])), draw(st.sampled_from([0, 2, 50]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = rng.integers(0, 3, (n, genes)).astype(np.float32)
    coordinates = rng.integers(0, spread + 1, (n, dimensions)).astype(np.float64)
    return matrix, coordinates


@settings(max_examples=150, deadline=None)
@given(cells(), st.integers(1, 15), st.sampled_from(["cosine", "euclidean"]), st.integers(0, 6))
def test_any_cells_equal_the_dense_computation(cells, k, metric, n_pcs):
    matrix, coordinates = cells
    space = graph.principal_components(sp.csr_matrix(matrix), n_pcs) if n_pcs else matrix
    found = search.find_neighbours(space, k, metric).indices
    check_neighbours(space, k, metric, found, 2e-3 if metric == "euclidean" else 1e-5)
    sigma = graph.mean_pair_distance(coordinates)
    result = graph.spatial_graph(found, coordinates, sigma)
    np.testing.assert_allclose(result.toarray(), dense_graph(found, coordinates, sigma), atol=1e-6)


def test_cells_at_one_point_weigh_alike():
    found = np.array([[1], [2], [0]])
    result = graph.spatial_graph(found, np.full((3, 2), 9.0), 0.0)
    np.testing.assert_allclose(result.toarray(), np.full((3, 3), 1 / 3), rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_permuting_cells_permutes_the_graph(seed):
    rng = np.random.default_rng(seed)
    matrix = sp.csr_matrix(rng.gamma(1, 1, (30, 8)).astype(np.float32))
    coordinates = rng.uniform(0, 100, (30, 3))
    order = rng.permutation(30)
    built = []
    for rows in (np.arange(30), order):
        space = graph.principal_components(matrix[rows], 5)
        found = search.find_neighbours(space, 4).indices
        built.append(graph.spatial_graph(found, coordinates[rows], 40.0).toarray())
    np.testing.assert_allclose(built[1], built[0][np.ix_(order, order)], atol=1e-6)


def test_averaging_gives_weighted_means_of_the_neighbours():
    rng = np.random.default_rng(0)
    weights = rng.random((30, 30)) * (rng.random((30, 30)) < 0.3)
    weights[7] = 0
    values = rng.random((30, 5))
    result = graph.averaging(sp.csr_matrix(weights, dtype=np.float32))
    assert (result.format, result.dtype) == ("csr", np.float32)
    expected = [np.average(values, axis=0, weights=w) if w.any() else np.zeros(5) for w in weights]
    np.testing.assert_allclose(result @ values, expected, rtol=1e-5)


@pytest.mark.parametrize("limit", [graph.EIGEN_LIMIT, 10])
def test_components_of_a_matrix_in_blocks_are_those_of_the_whole(demo, limit, monkeypatch):
    monkeypatch.setattr(graph, "EIGEN_LIMIT", limit)
    monkeypatch.setattr(graph, "BLOCK_VALUES", 40 * demo.n_vars)
    asked = []

    def read(rows):
        asked.append(rows)
        step = rows or demo.n_obs
        return [demo.X[start : start + step] for start in range(0, demo.n_obs, step)]

    found = np.concatenate(list(graph.stored_components(read, demo.shape, 5)))
    whole = graph.principal_components(demo.X, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(whole), atol=1e-3)
    assert set(asked) == ({40} if limit > 10 else {None})
