"""Independent computations that tests of several files compare with."""

import numpy as np
from scipy.spatial.distance import cdist


def nearest_distances(space, k, metric):
    """Distances of the k nearest others of each row, by all pairs."""
    space = space.astype(np.float64)
    if metric == "cosine":
        length = np.linalg.norm(space, axis=1, keepdims=True)
        unit = np.divide(space, length, out=np.zeros_like(space), where=length > 0)
        distances = 1 - unit @ unit.T
    else:
        distances = cdist(space, space)
    np.fill_diagonal(distances, np.inf)
    return distances, np.sort(distances, axis=1)[:, : min(k, len(space) - 1)]


def check_neighbours(space, k, metric, found, tolerance):
    distances, nearest = nearest_distances(space, k, metric)
    assert found.shape == nearest.shape
    for i, row in enumerate(found):
        assert i not in row
        assert len(set(row)) == len(row)
    np.testing.assert_allclose(
        np.take_along_axis(distances, found, axis=1), nearest, atol=tolerance
    )
