"""K-means against scikit-learn's, and the same on any number of threads."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from lloki.support import clusters


@pytest.fixture(scope="module")
def space():
    rng = np.random.default_rng(0)
    found = rng.normal(size=(5000, 6)) + 4 * rng.normal(size=(5, 6))[rng.integers(5, size=5000)]
    return (found - found.mean(axis=0)).astype(np.float32)


def test_cells_go_to_the_nearest_centre(space):
    centres = space[:30]
    codes, gaps = clusters.assign(space, centres)
    apart = cdist(space, centres, "sqeuclidean")
    np.testing.assert_array_equal(codes, apart.argmin(axis=1))
    np.testing.assert_allclose(gaps, apart.min(axis=1), atol=1e-3)


def test_lloyds_steps_end_where_scikit_learn_ends(space, monkeypatch):
    start = clusters.start(space, 5, np.random.default_rng(1))
    assert start.shape == (5, 6) and len(np.unique(start, axis=0)) == 5
    found = clusters.k_means(space, start, 300, 0.0)
    theirs = KMeans(5, init=start, n_init=1, max_iter=1000, tol=0).fit(space)
    np.testing.assert_array_equal(found, theirs.labels_)
    means = clusters.means(space, found, 6)
    np.testing.assert_allclose(means[:5], theirs.cluster_centers_, atol=1e-4)
    assert (means[5] == 0).all()  # of no cells
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    np.testing.assert_array_equal(found, clusters.k_means(space, start, 300, 0.0))


def test_a_start_has_no_more_centres_than_there_are_places():
    space = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    assert len(clusters.start(space, 10, np.random.default_rng(0))) == 3
