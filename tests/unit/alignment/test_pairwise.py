"""Landmarks, the test of chance and whole alignments, on real slices split in two and on none."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from demo_slices import demo_slice
from scipy.spatial.distance import cdist
from scipy.stats import gumbel_r

from lloki.alignment import pairwise
from lloki.slices.files import log_normalise
from lloki.slices.genes import shared

UNIT = {"starmap": 0.09}


@cache
def slice_(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = demo_slice(name)
    xy = data.obsm["spatial"].astype(float) * UNIT.get(name, 1)
    return log_normalise(data.X).toarray(), xy, data.var_names.to_numpy(dtype=str)


def embed(*matrices: np.ndarray) -> list[np.ndarray]:
    """Principal components of genes standardised within each matrix."""
    scaled = [(x - x.mean(0)) / np.maximum(x.std(0), 1e-6) for x in matrices]
    axes = np.linalg.svd(np.vstack(scaled), full_matrices=False)[2][:20]
    return [x @ axes.T for x in scaled]


@cache
def halves(name: str):
    """Two halves of a slice that share no cell, the first turned by 137° and pushed away."""
    expression, xy, _ = slice_(name)
    first = np.random.default_rng(0).permutation(len(xy)) < len(xy) // 2
    a, b = embed(expression[first], expression[~first])
    turn = np.radians(137)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (a, xy[first] @ rotation.T + [5000, -300]), (b, xy[~first]), rotation, xy[first]


@cache
def strangers(one: str, other: str):
    (x, xy, genes), (y, uv, panel) = slice_(one), slice_(other)
    here, there = shared(genes, panel)
    a, b = embed(x[:, here], y[:, there])
    return (a, xy), (b, uv)


@pytest.mark.parametrize(("name", "degrees", "um"), [("osmfish", 2, 40), ("xenium", 2, 15)])
def test_a_known_motion_is_found_back_from_disjoint_cells(name, degrees, um):
    moving, fixed, rotation, true = halves(name)
    found = pairwise.align(moving, fixed, chance_runs=10)
    assert found.method == "robust" and not found.reason and found.p < 0.01
    off = found.motion.rotation @ rotation
    assert np.degrees(abs(np.arctan2(off[1, 0], off[0, 0]))) < degrees
    assert np.linalg.norm(found.motion(moving[1]) - true, axis=1).mean() < um
    away = found.motion(moving[1][found.pairs[:, 0]]) - fixed[1][found.pairs[:, 1]]
    np.testing.assert_array_equal(np.linalg.norm(away, axis=1) < found.tolerance, found.inliers)
    assert found.rmsd == pytest.approx(np.sqrt((away[found.inliers] ** 2).sum(1).mean()))


def test_a_turned_over_slice_needs_the_mirror():
    moving, fixed, _, true = halves("xenium")
    over = moving[0], moving[1] * [-1, 1]
    found = pairwise.align(over, fixed, chance_runs=3, mirror=True)
    assert np.linalg.det(found.motion.rotation) == pytest.approx(-1)
    assert np.linalg.norm(found.motion(over[1]) - true, axis=1).mean() < 15


def test_cells_not_landmarks_tell_the_hand(monkeypatch):
    """Where a slice is much the same on both sides, more landmarks may agree with the wrong one."""
    moving, fixed, _, _ = halves("osmfish")
    fits_of = pairwise.fit_robust

    def misled(*arguments, **more):
        fits = fits_of(*arguments, **more)
        return [replace(fit, score=fits[0].score + n) for n, fit in enumerate(fits)][::-1]

    monkeypatch.setattr(pairwise, "fit_robust", misled)
    for turn in (1, -1):
        over = moving[0], moving[1] * [turn, 1]
        found = pairwise.align(over, fixed, chance_runs=3, mirror=True)
        assert np.sign(np.linalg.det(found.motion.rotation)) == turn


def test_sections_in_space_are_laid_on_each_other():
    (a, xy), (b, uv), _, true = halves("osmfish")
    flat = np.column_stack([xy, np.full(len(xy), 70.0)]), np.column_stack([uv, np.zeros(len(uv))])
    found = pairwise.align((a, flat[0]), (b, flat[1]), chance_runs=5)
    assert found.method == "robust"
    moved = found.motion(flat[0])
    assert np.linalg.norm(moved[:, :2] - true, axis=1).mean() < 40
    assert np.abs(moved[:, 2]).max() < 40


@pytest.mark.parametrize(
    "pair", [("xenium", "osmfish"), ("xenium", "starmap")], ids=lambda pair: "-".join(pair)
)
@pytest.mark.parametrize("seed", [0, 1])
def test_slices_of_different_tissues_stay_where_they_are(pair, seed):
    moving, fixed = strangers(*pair)
    found = pairwise.align(moving, fixed, chance_runs=12, seed=seed)
    assert found.method == "identity"
    assert "no better than by chance" in found.reason and found.p > pairwise.ALPHA
    np.testing.assert_array_equal(found.motion(moving[1]), moving[1])
    assert not found.inliers.any() and np.isnan(found.rmsd)


def test_slices_of_noise_stay_where_they_are_but_for_rare_luck():
    lucky = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        noise = [(rng.normal(size=(250, 10)), rng.uniform(0, 1e3, size=(250, 2))) for _ in range(2)]
        lucky += pairwise.align(*noise, chance_runs=6).method != "identity"
    assert lucky <= 1


def test_shuffled_landmarks_are_not_enough_of_a_test():
    """Why kinds are turned apart: against shuffled pairs even strangers look aligned."""
    moving, fixed = strangers("xenium", "osmfish")
    found = pairwise.align(moving, fixed, chance_runs=5)
    rng = np.random.default_rng(0)
    source, target = moving[1][found.pairs[:, 0]], fixed[1][found.pairs[:, 1]]
    (shuffled,) = pairwise.fit_robust(source, rng.permutation(target), found.tolerance, rng)
    assert found.score > 2 * shuffled.score
    assert found.score < found.chance.max() * 1.2


def test_plain_is_one_fit_over_pairs_of_single_cells():
    moving, fixed, _, _ = halves("osmfish")
    found = pairwise.align(moving, fixed, plain=True, neighborhood=15)
    near = 1 - cdist(moving[0], fixed[0], "cosine")
    rank = [np.argsort(np.argsort(-near, axis=axis), axis=axis) < 5 for axis in (0, 1)]
    np.testing.assert_array_equal(found.pairs, np.argwhere(rank[0] & rank[1]))
    assert found.method == "plain" and found.inliers.all() and np.isnan(found.p)
    expected = pairwise.fit_plain(moving[1][found.pairs[:, 0]], fixed[1][found.pairs[:, 1]])
    np.testing.assert_array_equal(found.motion.rotation, expected.motion.rotation)


def test_surroundings_are_means_over_few_and_over_many_of_the_nearest_cells():
    rng = np.random.default_rng(0)
    embedding, xy = rng.normal(size=(50, 6)) + 3, rng.uniform(size=(50, 2))
    order = np.argsort(cdist(xy, xy), axis=1)
    parts = []
    for count in (3, 11):  # the cell itself, and 2 or 10 others
        mean = (embedding - embedding.mean(0))[order[:, :count]].mean(axis=1)
        parts.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
    expected = np.hstack(parts) / np.sqrt(2)
    np.testing.assert_allclose(pairwise.surroundings(embedding, xy, 10), expected, atol=1e-5)
    alone = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    np.testing.assert_allclose(pairwise.surroundings(embedding, xy, 0), alone, atol=1e-6)
    for neighbors in (1, 500):
        assert pairwise.surroundings(embedding, xy, neighbors).shape == (50, 12)


@pytest.mark.parametrize(
    ("cells", "plain", "reason"),
    [
        (9, False, "landmarks join only"),
        (1, False, "landmarks join only 1 cells, 10 are needed"),
        (2, True, "one line"),
        (1, True, "1 landmarks fix no motion"),
    ],
)
def test_too_few_landmarks(cells, plain, reason):
    rng = np.random.default_rng(0)
    sides = [(rng.normal(size=(cells, 3)), rng.uniform(size=(cells, 2))) for _ in range(2)]
    found = pairwise.align(*sides, plain=plain)
    assert found.method == "identity" and reason in found.reason


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("place", ["line", "spot"])
def test_cells_on_a_line_or_a_spot(plain, place):
    rng = np.random.default_rng(0)
    along = np.linspace(0, 1000, 200) if place == "line" else np.zeros(200)
    embedding = np.column_stack([np.sin(along / 100), np.cos(along / 100), along / 1000])
    moving = embedding + rng.normal(scale=0.01, size=(200, 3)), np.column_stack([along, along])
    found = pairwise.align(moving, moving, plain=plain)
    assert found.method == "identity" and found.reason


def test_equal_embeddings_everywhere_are_no_error():
    xy = np.random.default_rng(0).uniform(0, 1000, size=(100, 2))
    found = pairwise.align((np.ones((100, 4)), xy), (np.ones((100, 4)), xy), chance_runs=3)
    assert found.method == "identity"


def test_large_slices_are_thinned(monkeypatch):
    monkeypatch.setattr(pairwise, "MAX_CELLS", 300)
    moving, fixed, _, _ = halves("xenium")
    around = [pairwise.surroundings(*side, 15) for side in (moving, fixed)]
    pairs, features = pairwise.landmarks(*around, 5, np.random.default_rng(0))
    assert np.unique(pairs[:, 0]).size <= 300 and pairs.max() >= 300
    first = around[0][pairs[:, 0]]
    np.testing.assert_array_equal(features[:, : first.shape[1]], first)


def test_the_same_seed_gives_the_same_alignment():
    moving, fixed, _, _ = halves("osmfish")
    first, second = (pairwise.align(moving, fixed, chance_runs=3, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.motion.rotation, second.motion.rotation)
    np.testing.assert_array_equal(first.chance, second.chance)
    np.testing.assert_array_equal(first.pairs, second.pairs)


def test_exceedance_is_the_gumbel_tail():
    scores = gumbel_r.rvs(40, 6, size=4000, random_state=0)
    for score in (30, 45, 70):
        expected = gumbel_r.sf(score, 40, 6)
        assert pairwise.exceedance(score, scores) == pytest.approx(expected, rel=0.15)
    assert np.isnan(pairwise.exceedance(3, np.zeros(0)))
    assert pairwise.exceedance(3, np.zeros(5)) == 0
    assert pairwise.exceedance(0, np.zeros(5)) == 1
