"""Correction by mutual nearest neighbours, against the same written out cell by cell."""

import numpy as np
import pytest

from lloki.scores import mnn
from lloki.support.neighbours import unit_rows


def by_hand(reference, moving, k, width):
    """The shift of each cell of `moving`, one cell and one pair at a time."""

    def gap(a, b):
        return float(((a - b) ** 2).sum())

    def near(cell, there):
        return sorted(range(len(there)), key=lambda i: gap(cell, there[i]))[:k]

    ahead = [near(cell, moving) for cell in reference]
    back = [near(cell, reference) for cell in moving]
    ways = {}
    for j in range(len(moving)):
        mine = [reference[i] - moving[j] for i in back[j] if j in ahead[i]]
        if mine:
            ways[j] = sum(mine) / len(mine)

    def weight(a, b):
        return np.exp(-gap(moving[a], moving[b]) / (2 * width**2))

    crowd = {j: sum(weight(j, other) for other in ways) for j in ways}
    shifts = []
    for cell in range(len(moving)):
        weights = {j: weight(cell, j) / crowd[j] for j in ways}
        total = sum(weights.values())
        shifts.append(sum(weights[j] * ways[j] for j in ways) / total)
    return np.array(shifts)


@pytest.fixture
def groups():
    """90 cells of 3 kinds on a sphere of 6 axes, with the kind of each."""
    rng = np.random.default_rng(0)
    kinds = np.tile([0, 1, 2], 30)
    return unit_rows(np.eye(6)[kinds] + rng.normal(scale=0.08, size=(90, 6))), kinds


def test_shifts_are_those_written_out(groups):
    space, _ = groups
    reference, moving = space[:50].astype(np.float64), space[50:].astype(np.float64)
    found = mnn.shifts(space[:50], space[50:], 4, 0.3)
    np.testing.assert_allclose(found, by_hand(reference, moving, 4, 0.3), rtol=1e-4, atol=1e-5)


def test_shifts_do_not_depend_on_how_many_weights_are_held(groups, monkeypatch):
    space, _ = groups
    whole = mnn.shifts(space[:50], space[50:], 4, 0.1)
    monkeypatch.setattr(mnn, "BLOCK", 1)
    np.testing.assert_allclose(mnn.shifts(space[:50], space[50:], 4, 0.1), whole, atol=1e-6)


def test_a_planted_shift_is_taken_back_kind_by_kind(groups):
    space, kinds = groups
    batches = np.repeat(["a", "b"], [50, 40])
    moved = space.copy()
    moved[50:, 3] += 0.5  # along an axis that no kind lies on
    moved = unit_rows(moved)

    def gaps(values):
        return [
            np.linalg.norm(
                values[:50][kinds[:50] == kind].mean(0) - values[50:][kinds[50:] == kind].mean(0)
            )
            for kind in range(3)
        ]

    assert min(gaps(moved)) > 0.35
    corrected = mnn.correct(moved, batches, k=10)
    assert max(gaps(corrected)) < 0.12
    np.testing.assert_array_equal(corrected[:50], moved[:50])  # the larger batch stays


def test_a_cell_far_from_all_pairs_moves_with_the_nearest():
    reference = np.array([[1, 0, 0]] * 3, dtype=np.float32)
    moving = np.array([[1, 0.1, 0], [-5, 0, 0]], dtype=np.float32)
    found = mnn.shifts(reference, moving, 1, 0.01)
    np.testing.assert_allclose(found, [[0, -0.1, 0]] * 2, atol=1e-6)


def test_the_order_of_cells_and_batches_changes_nothing(groups):
    space, _ = groups
    batches = np.array(["b", "a", "c"])[np.random.default_rng(1).integers(0, 3, 90)]
    space = unit_rows(space + 0.3 * np.eye(6)[3 + np.unique(batches, return_inverse=True)[1]])
    whole = mnn.correct(space, batches)
    order = np.random.default_rng(2).permutation(90)
    np.testing.assert_allclose(mnn.correct(space[order], batches[order]), whole[order], atol=1e-6)


def test_the_largest_batch_comes_first_and_one_alone_stays(groups):
    space, _ = groups
    batches = np.repeat(["a", "b", "c"], [20, 40, 30])
    corrected = mnn.correct(3 * space, batches)
    np.testing.assert_allclose(corrected[20:60], space[20:60], atol=1e-6)
    assert (np.abs(corrected - space).max(axis=1)[np.r_[0:20, 60:90]] > 1e-3).all()
    np.testing.assert_allclose(mnn.correct(space, np.repeat("a", 90)), space, atol=1e-6)
