"""Slices and cells that are enough to train on."""

import numpy as np
import pytest

from lloki.integration import subset


def shares(*kinds):
    found = np.zeros(subset.KINDS)
    found[list(kinds)] = 1 / len(kinds)
    return found


BATCHES = {"a": "M", "b": "M", "c": "M", "d": "X", "e": "M"}
SIZES = {"a": 100, "b": 300, "c": 200, "d": 50, "e": 250}
PROFILES = {
    "a": shares(0, 1, 2, 3), "b": shares(0, 1), "c": shares(2, 4), "d": shares(7),
    "e": shares(0, 1, 2),
}  # fmt: skip


def test_all_slices_train_while_they_are_few_enough():
    assert subset.choose_slices(BATCHES, SIZES, PROFILES, 900) == list(BATCHES)


def test_of_each_batch_the_fewest_that_hold_all_its_kinds():
    assert subset.choose_slices(BATCHES, SIZES, PROFILES, 899) == ["a", "c", "d"]


def test_of_slices_that_hold_the_same_the_largest():
    alike = dict.fromkeys(BATCHES, shares(0, 1))
    assert subset.choose_slices(BATCHES, SIZES, alike, 1) == ["b", "d"]


def test_a_kind_that_hardly_occurs_asks_for_no_slice():
    rare = dict(PROFILES, c=shares(2) * (1 - 0.5 * subset.PRESENT))
    rare["c"][4] = 0.5 * subset.PRESENT
    assert subset.choose_slices(BATCHES, SIZES, rare, 1) == ["a", "d"]


def test_profiles_tell_slices_of_the_same_kinds_of_cells():
    rng = np.random.default_rng(0)
    cells = {
        "a": rng.normal(0, 1, (900, 5)), "b": rng.normal(0, 1, (300, 5)),
        "c": rng.normal(6, 1, (20, 5)),
    }  # fmt: skip
    found = subset.profiles_of(cells)
    assert all(abs(share.sum() - 1) < 1e-9 for share in found.values())
    away = {s: np.abs(found["a"] - found[s]).sum() for s in "bc"}
    assert away["b"] < 0.5 and away["c"] > 1.9
    again = subset.profiles_of(cells)
    assert all((again[s] == found[s]).all() for s in cells)


@pytest.mark.parametrize(("most", "quotas"), [(60, [10, 25, 25]), (99, [10, 30, 59])])
def test_cells_are_drawn_alike_from_every_slice(most, quotas):
    sizes = [10, 30, 100]
    rows = subset.draw_cells(sizes, most)
    assert [len(r) for r in rows] == quotas
    for n, r in zip(sizes, rows, strict=True):
        assert (np.diff(r) > 0).all() and r[0] >= 0 and r[-1] < n
    again = subset.draw_cells(sizes, most)
    assert all((a == b).all() for a, b in zip(rows, again, strict=True))
    assert subset.draw_cells(sizes, 140) is None
