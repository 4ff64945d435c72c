"""Motions against SciPy's, and what the robust fit makes of landmarks that are mostly wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation
from scipy.stats import special_ortho_group

from lloki.alignment.rigid import (
    Motion,
    Unalignable,
    fit_plain,
    fit_robust,
    identity,
    kabsch,
    refit,
)

SEEDS = st.integers(0, 2**32 - 1)


def points(rng: np.random.Generator, n: int = 40, d: int = 2) -> np.ndarray:
    return rng.uniform(-1000, 1000, size=(n, d)) * np.linspace(1, 0.4, d)


def motion(rng: np.random.Generator, d: int, scale: float = 1, mirror: bool = False) -> Motion:
    rotation = special_ortho_group.rvs(d, random_state=rng)
    if mirror:
        rotation[:, 0] *= -1
    return Motion(rotation, rng.uniform(-5000, 5000, size=d), scale)


def assert_same(found: Motion, true: Motion, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(found.rotation, true.rotation, atol=atol * 1e-3)
    np.testing.assert_allclose(found.translation, true.translation, atol=atol)
    assert found.scale == pytest.approx(true.scale, abs=atol * 1e-3)


@settings(deadline=None)
@given(SEEDS, st.sampled_from([2, 3]), st.booleans(), st.floats(0.5, 2), st.booleans())
def test_kabsch_recovers_any_motion(seed, d, mirror, factor, weighted):
    rng = np.random.default_rng(seed)
    source, true = points(rng, d=d), motion(rng, d, factor, mirror)
    weights = rng.uniform(0.1, 1, size=len(source)) if weighted else None
    found = kabsch(source, true(source), weights, scale=True, mirror=mirror)
    assert_same(found, true)


@settings(deadline=None)
@given(SEEDS)
def test_kabsch_with_noise_and_weights_is_scipys_best_rotation(seed):
    rng = np.random.default_rng(seed)
    source, true, weights = points(rng, d=3), motion(rng, 3), rng.uniform(0, 1, size=40)
    target = true(source) + rng.normal(scale=300, size=source.shape)
    found = kabsch(source, target, weights)
    middle, goal = np.average(source, 0, weights), np.average(target, 0, weights)
    expected, _ = Rotation.align_vectors(target - goal, source - middle, weights=weights)
    np.testing.assert_allclose(found.rotation, expected.as_matrix(), atol=1e-6)
    np.testing.assert_allclose(found(middle[None])[0], goal, atol=1e-6)


@pytest.mark.parametrize("d", [2, 3])
def test_kabsch_with_mirror_is_scipys_procrustes(d):
    rng = np.random.default_rng(d)
    source, true = points(rng, d=d), motion(rng, d, mirror=True)
    target = true(source) + rng.normal(scale=50, size=source.shape)
    found = kabsch(source, target, mirror=True)
    expected, _ = orthogonal_procrustes(source - source.mean(0), target - target.mean(0))
    np.testing.assert_allclose(found.rotation, expected.T, atol=1e-9)
    assert np.linalg.det(found.rotation) < 0
    assert np.linalg.det(kabsch(source, target).rotation) > 0


def test_scale_is_the_least_squares_one():
    rng = np.random.default_rng(0)
    source, true = points(rng), motion(rng, 2, 1.3)
    target = true(source) + rng.normal(scale=100, size=source.shape)
    found = kabsch(source, target, scale=True)

    def loss(factor):
        turned = factor * (source - source.mean(0)) @ found.rotation.T
        return ((turned - target + target.mean(0)) ** 2).sum()

    near = [loss(found.scale * step) for step in (0.999, 1, 1.001)]
    assert near[1] == min(near)


def test_points_in_a_plane_of_space_keep_their_hand():
    rng = np.random.default_rng(0)
    flat = np.column_stack([points(rng), np.zeros(40)])
    true = motion(rng, 3)
    for mirror in (False, True):
        assert_same(kabsch(flat, true(flat), mirror=mirror), true)


LINE = np.column_stack([np.arange(20.0), 2 * np.arange(20.0)])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (np.zeros((1, 2)), "1 landmarks"),
        (np.zeros((0, 2)), "0 landmarks"),
        (np.full((20, 2), 7.0), "one line or one spot"),
        (LINE, "one line or one spot"),
        (np.column_stack([LINE, np.ones(20)]), "one line or one spot"),
    ],
)
def test_what_fixes_no_motion_is_refused(source, reason):
    good = points(np.random.default_rng(0), len(source), source.shape[1])
    for pair in ((source, good), (good, source)):
        with pytest.raises(Unalignable, match=reason):
            kabsch(*pair)
        with pytest.raises(Unalignable, match=reason):
            fit_plain(*pair)


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.sampled_from([2, 3]), st.booleans())
def test_robust_fit_is_exact_among_outliers(seed, d, mirror):
    rng = np.random.default_rng(seed)
    source, true = points(rng, 200, d), motion(rng, d, mirror=mirror)
    target = true(source)
    wrong = rng.permutation(200)[:120]
    target[wrong] = target[rng.permutation(wrong)] + rng.normal(scale=50, size=(120, d))
    fits = fit_robust(source, target, 50.0, rng, mirror=mirror)
    fit = fits[0]
    assert_same(fit.motion, true, atol=1e-3)
    right = np.setdiff1d(np.arange(200), wrong)
    assert fit.inliers[right].all() and fit.inliers.sum() < 110
    hands = [np.linalg.det(each.motion.rotation) for each in fits]
    assert len(fits) <= 1 + mirror and len(set(np.sign(hands))) == len(fits)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_refit_comes_back_from_nearby_and_keeps_its_hand(mirror):
    rng = np.random.default_rng(5)
    source, true = points(rng, 200), motion(rng, 2, mirror=mirror)
    target = true(source)
    target[:80] += rng.normal(scale=500, size=(80, 2))
    c, s = np.cos(0.02), np.sin(0.02)
    start = Motion(np.array([[c, -s], [s, c]]) @ true.rotation, true.translation + 10)
    fit = refit(start, source, target, 50.0)
    assert_same(fit.motion, true, atol=1e-3)
    assert fit.inliers[80:].all()
    with pytest.raises(Unalignable, match="no few landmarks"):
        refit(Motion(true.rotation, true.translation + 1e5), source, target, 50.0)


def test_robust_fit_finds_the_scale_and_plain_fit_is_led_astray():
    rng = np.random.default_rng(3)
    source, true = points(rng, 300), motion(rng, 2, 1.4)
    target = true(source)
    target[:150] = points(rng, 150) + 4000
    assert_same(fit_robust(source, target, 40.0, rng, scale=True)[0].motion, true, atol=1e-3)
    plain = fit_plain(source, target, scale=True)
    assert plain.inliers.all()
    assert np.linalg.norm(plain.motion(source) - true(source), axis=1).mean() > 300


def test_robust_fit_averages_noise():
    rng = np.random.default_rng(5)
    source, true = points(rng, 1000), motion(rng, 2)
    target = true(source) + rng.normal(scale=30, size=source.shape)
    target[:400] = rng.permutation(target[:400])
    (fit,) = fit_robust(source, target, 150.0, rng)
    assert np.linalg.norm(fit.motion(source) - true(source), axis=1).max() < 10
    assert fit.rmsd == pytest.approx(30 * np.sqrt(2), rel=0.25)
    distance = np.linalg.norm(fit.motion(source) - target, axis=1)
    np.testing.assert_array_equal(fit.inliers, distance < 150)
    assert fit.score == pytest.approx(np.maximum(1 - (distance / 150) ** 2, 0).sum())


def test_robust_fit_refuses_what_no_motion_joins():
    rng = np.random.default_rng(0)
    spot = np.full((30, 2), 5.0)
    with pytest.raises(Unalignable, match="no two landmarks agree"):
        fit_robust(spot, points(rng, 30), 10.0, rng)
    line = np.outer(np.linspace(0, 1000, 30), [1.0, 1.0])
    with pytest.raises(Unalignable, match="one line"):
        fit_robust(line, line + 100, 10.0, rng)


def test_robust_fit_is_the_same_every_time():
    rng = np.random.default_rng(1)
    source, target = points(rng, 300), points(rng, 300)
    (first,), (second,) = (
        fit_robust(source, target, 90.0, np.random.default_rng(7)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.motion.rotation, second.motion.rotation)
    np.testing.assert_array_equal(first.inliers, second.inliers)


def test_identity_moves_nothing():
    xyz = points(np.random.default_rng(0), d=3)
    np.testing.assert_array_equal(identity(3)(xyz), xyz)
