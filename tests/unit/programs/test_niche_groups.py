"""Clusters of cells, and which lie near the neighbours."""

import numpy as np

from lloki.programs import niche_groups


def test_clusters_finds_clear_clusters_and_is_the_same_twice():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [120, 80, 50])
    space = np.eye(3)[truth] * 5 + rng.normal(0, 0.3, (250, 3))
    found = niche_groups.focus_clusters(space.astype(np.float32), 0.3, seed=1)
    np.testing.assert_array_equal(found, truth)  # the largest comes first
    again = niche_groups.focus_clusters(space.astype(np.float32), 0.3, seed=1)
    np.testing.assert_array_equal(found, again)
    assert niche_groups.focus_clusters(space[:2].astype(np.float32)).shape == (2,)


def test_groups_by_hand():
    """Two slices: cluster 0 is near in both, 1 far, 2 near in one and too small in the other."""
    first = np.repeat([0, 1, 2], [20, 30, 12])
    second = np.repeat([0, 1, 2, 3], [15, 25, 5, 4])
    u = [np.select([first == 0, first == 1], [0.3, -0.3], 0.2)[:, None],
         np.select([second == 0, second == 1], [0.2, -0.1], -0.5)[:, None]]  # fmt: skip
    u = [np.hstack([one, -one]).astype(np.float32) for one in u]
    everyone = [np.ones(len(one), bool) for one in (first, second)]
    found = niche_groups.groups([first, second], u, everyone)
    # mean over slices with ten cells or more; no cluster below twenty in all
    np.testing.assert_array_equal(found[:, 0], [True, False, False, False])
    np.testing.assert_array_equal(found[:, 1], [False, True, False, False])
    alone = niche_groups.groups([first, second], u, [everyone[0], np.zeros(49, bool)])
    np.testing.assert_array_equal(alone[:, 0], [True, False, False, False])
