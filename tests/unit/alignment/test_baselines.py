"""Other ways to align, and the scores, against plain writings of what they should be."""

import numpy as np
import pytest

from lloki.alignment import baselines
from lloki.alignment.rigid import Motion


def tissue(cells=120, genes=12, seed=0):
    """Positive expression that depends on the place, and an L-shaped slice."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1000, size=(4 * cells, 2))
    xy = xy[(xy[:, 0] < 400) | (xy[:, 1] < 300)][:cells]
    centres = rng.uniform(0, 1000, size=(genes, 2))
    away = ((xy[:, None] - centres) ** 2).sum(axis=2)
    return np.exp(-away / 300**2) * 3, xy


TURN = Motion(np.array([[0.0, -1.0], [1.0, 0.0]]), np.array([5000.0, -300.0]))


def test_pastes_plan_undoes_a_motion():
    values, xy = tissue()
    motion, loss = baselines.paste(
        (values, TURN(xy)), (values, xy), 0.01, 1000, np.random.default_rng(0)
    )
    assert np.linalg.norm(motion(TURN(xy)) - xy, axis=1).mean() < 1
    assert abs(loss) < 1e-6


def test_paste_takes_a_sample_of_the_cells():
    values, xy = tissue()
    motion, _ = baselines.paste(
        (values, TURN(xy)), (values, xy), 0.05, 60, np.random.default_rng(0)
    )
    assert np.linalg.norm(motion(TURN(xy)) - xy, axis=1).mean() < 150


def test_kabsch_on_components_of_shared_genes_undoes_a_motion():
    values, xy = tissue()
    spaces = baselines.components(values, values, 5)
    assert [space.shape for space in spaces] == [(120, 5), (120, 5)]
    motion = baselines.kabsch_on((spaces[0], TURN(xy)), (spaces[1], xy), 1)
    np.testing.assert_allclose(motion(TURN(xy)), xy, atol=1e-6)


def test_scores_by_hand():
    moved, fixed = np.array([[0.0, 0], [10, 0]]), np.array([[1.0, 0], [11, 0], [30, 0]])
    x, y = np.array([[1.0, 0], [3, 0]]), np.array([[2.0, 5], [4, 6], [0, 7]])
    labels = np.array(["a", "b"], object), np.array(["a", "a", None], object)
    found = baselines.scores(moved, fixed, (x, y), labels)
    # pairs both ways: 0-0, 1-1; 0-0, 1-1, 1-2; the last has no label on one side
    assert found["label_match"] == pytest.approx(2 / 4)
    first, second = [0, 1, 0, 1, 1], [0, 1, 0, 1, 2]
    a, b = ((v - v.mean(0)) / np.where(v.std(0) > 0, v.std(0), 1) for v in (x, y))
    assert found["pearson"] == pytest.approx((a[first] * b[second]).mean())
    raw = np.corrcoef(x[first].ravel(), y[second].ravel())[0, 1]
    assert found["pearson_raw"] == pytest.approx(raw)


def test_scores_of_nothing_are_nan():
    xy = np.zeros((3, 2))
    none = np.array([None] * 3, object)
    found = baselines.scores(xy, xy, (np.zeros((3, 0)), np.zeros((3, 0))), (none, none))
    assert all(np.isnan(value) for value in found.values()) and len(found) == 3


@pytest.mark.parametrize("d", [2, 3])
def test_random_motions_are_rotations_that_overlap(d):
    rng = np.random.default_rng(0)
    moving, fixed = rng.uniform(size=(50, d)) + 90, rng.uniform(size=(60, d))
    for _ in range(20):
        motion = baselines.random_motion(moving, fixed, rng)
        assert np.linalg.det(motion.rotation) == pytest.approx(1)
        gap = motion(moving).mean(axis=0) - fixed.mean(axis=0)
        assert np.abs(gap).max() < 0.25 * baselines.extent(fixed)
