"""Refinement: a motion that is a little off comes back, and one that is right stays."""

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from lloki.alignment import refinement
from lloki.alignment.rigid import Motion


def slices(d=2, cells=800, seed=0):
    """Two samples of one smooth field, the features unit rows, places over 1 mm."""
    rng = np.random.default_rng(seed)
    sides = []
    for _ in range(2):
        xy = rng.uniform(0, 1000, size=(cells, d))
        field = np.column_stack([f(xy[:, i] / 250 + i) for i in range(d) for f in (np.sin, np.cos)])
        sides.append((field / np.linalg.norm(field, axis=1, keepdims=True), xy))
    return sides


def turned(d, degrees, shift):
    rotation = np.eye(d)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation[:2, :2] = [[c, -s], [s, c]]
    return Motion(rotation, np.full(d, float(shift)))


def refine(start, moving, fixed, *more, seed=0):
    return refinement.refine(
        start, refinement.Likeness(moving, fixed, np.random.default_rng(seed)), 200, *more
    )


@pytest.mark.parametrize(("d", "um"), [(2, 15), (3, 60)])
@pytest.mark.parametrize("turn", [True, False])
def test_a_motion_that_is_off_comes_back(d, um, turn):
    (features, places), fixed = slices(d)
    first = Motion(np.eye(d), np.zeros(d))
    if turn:
        first = Motion(special_ortho_group.rvs(d, random_state=1), np.full(d, 700.0))
    moving = (places - first.translation) @ first.rotation  # `first` takes them to their places
    off = turned(d, 6, 50)
    start = Motion(off.rotation @ first.rotation, off(first.translation[None])[0])
    found = refine(start, (features, moving), fixed)
    before = np.linalg.norm(start(moving) - places, axis=1).mean()
    after = np.linalg.norm(found(moving) - places, axis=1).mean()
    assert after < um < before


def test_half_a_slice_is_laid_on_its_half():
    (features, places), fixed = slices()
    half = places[:, 0] < 500
    found = refine(turned(2, 4, 40), (features[half], places[half]), fixed)
    assert np.linalg.norm(found(places[half]) - places[half], axis=1).mean() < 25


def test_along_a_layer_a_motion_stays_where_it_was():
    (_, places), (_, others) = slices()
    fixed, moving = (
        (np.column_stack([np.cos(p[:, 1] / 300), np.sin(p[:, 1] / 300)]), p)
        for p in (others, places)
    )  # what cells are like goes by depth alone
    noise = np.random.default_rng(1).normal(scale=0.3, size=moving[0].shape)
    moving = moving[0] + noise, places
    off = Motion(np.eye(2), np.array([0.0, 60.0]))
    free, held = (refine(off, moving, fixed, pull)(places) - places for pull in (0, 0.03))
    assert abs(held[:, 0].mean()) < abs(free[:, 0].mean()) / 2
    assert abs(held[:, 1].mean()) < 20


def test_hand_and_scale_stay():
    (features, places), fixed = slices()
    start = Motion(np.diag([-1.0, 1.0]), np.array([1000.0, 0.0]), 0.5)
    moving = (places - start.translation) @ start.rotation / start.scale
    found = refine(start, (features, moving), fixed)
    assert np.linalg.det(found.rotation) == pytest.approx(-1) and found.scale == 0.5
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(2), atol=1e-12)


@pytest.mark.parametrize("cells", [1, 5])
def test_few_cells_stay(cells):
    (features, places), fixed = slices()
    start = turned(2, 4, 40)
    moving = features[:cells], places[:cells]
    assert refine(start, moving, fixed) is start


def test_slices_apart_stay():
    moving, fixed = slices()
    start = turned(2, 0, 1e5)
    assert refine(start, moving, fixed) is start


def test_the_same_every_time():
    moving, fixed = slices()
    one, two = (refine(turned(2, 5, 30), moving, fixed, seed=3) for _ in "ab")
    np.testing.assert_array_equal(one.rotation, two.rotation)
    np.testing.assert_array_equal(one.translation, two.translation)


def test_held_near_one_motion_a_much_better_place_elsewhere_is_found():
    """Two starts: the search from the first ends beside it, where too many cells lie amiss."""
    (features, places), fixed = slices()
    over = turned(2, 180, 1000)
    alone = refine(over, (features, places), fixed, 0.01)
    both = refine(over, (features, places), fixed, 0.01, turned(2, 0, 40))
    away = [np.linalg.norm(found(places) - places, axis=1).mean() for found in (alone, both)]
    assert away[1] < 60 and away[0] > 400


def test_cells_are_alike_where_they_belong_and_not_at_all_outside():
    moving, fixed = slices()
    likeness = refinement.Likeness(moving, fixed, np.random.default_rng(0))
    stay, off, outside = (turned(2, 0, um) for um in (0, 200, 1e5))
    assert likeness.of(stay) > 0.9 > likeness.of(off)
    assert likeness.inside(stay).all() and not likeness.inside(outside).any()
    assert likeness.of(outside) == 0
    part = moving[1][:, 0] < 300
    assert likeness.of(off, part) != likeness.of(off)
