"""Silhouettes in blocks against scib-metrics and scikit-learn, across the borders of blocks."""

import numpy as np
import pytest
import scib_metrics
from sklearn.metrics import silhouette_samples

from lloki.scores import silhouette


@pytest.fixture(scope="module")
def cells():
    """2,500 cells (more than two blocks) far from the origin, groups of very unequal size."""
    rng = np.random.default_rng(0)
    groups = rng.choice(5, 2500, p=[0.6, 0.3, 0.08, 0.015, 0.005])
    space = rng.normal(size=(5, 12))[groups] + rng.normal(size=(2500, 12)) + 30
    return space.astype(np.float32), groups


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("between", ["nearest", "mean_other"])
def test_widths_equal_those_of_scib_metrics(cells, metric, between):
    space, groups = cells
    space = space - 30 if metric == "cosine" else space
    own = scib_metrics.utils.silhouette_samples(
        space, groups, metric=metric, between_cluster_distances=between
    )
    found = silhouette.widths(space, groups, metric, between)
    np.testing.assert_allclose(found, own, atol=1e-4)
    assert np.ptp(found) > 0.05


def test_widths_equal_those_of_scikit_learn_whatever_the_blocks(cells, monkeypatch):
    space, groups = cells[0][:301], cells[1][:301]
    expected = silhouette_samples(space.astype(np.float64), groups)
    for block in (7, 100, 1024):
        monkeypatch.setattr(silhouette, "BLOCK", block)
        np.testing.assert_allclose(silhouette.widths(space, groups), expected, atol=1e-9)


def test_close_cells_far_from_the_origin_keep_their_digits():
    """In single precision all distances within the groups would be lost."""
    rng = np.random.default_rng(1)
    groups = np.repeat([0, 1], 100)
    space = 1e4 + 1e-3 * (groups[:, None] + 0.2 * rng.normal(size=(200, 3)))
    expected = silhouette_samples(1e3 * (space - space.mean(axis=0)), groups)
    np.testing.assert_allclose(silhouette.widths(space, groups), expected, atol=1e-6)


def test_equal_cells_lone_cells_and_cells_at_the_origin():
    space = np.array([[0, 0], [0, 0], [3, 4], [9, 9]], dtype=np.float32)
    groups = np.array(["a", "a", "b", "c"])
    np.testing.assert_allclose(silhouette.widths(space, groups), [1, 1, 0, 0])
    np.testing.assert_allclose(silhouette.widths(np.zeros((4, 2)), [0, 0, 1, 1]), 0)
    # at the origin there is no direction: distance 1 to all, so neither near nor far
    found = silhouette.widths([[1, 0], [2, 0], [0, 0], [0, 3]], [0, 0, 1, 1], "cosine")
    np.testing.assert_allclose(found, [1, 1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("choices", [("taxicab", "nearest"), ("euclidean", "farthest")])
def test_other_choices_are_refused(cells, choices):
    with pytest.raises(ValueError, match="neither"):
        silhouette.widths(*cells, *choices)
    with pytest.raises(ValueError, match="two groups"):
        silhouette.widths(cells[0], np.zeros(len(cells[0])))
