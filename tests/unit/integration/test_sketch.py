"""A few cells for all: in proportion, rare groups among them, and places for the rest."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.integration import joined, sketch


@pytest.fixture(scope="module")
def cells():
    """30,000 cells of three groups in four slices, and 25 of a fourth beside the first."""
    rng = np.random.default_rng(0)
    middles = 6 * np.eye(4, 8)
    kinds = np.concatenate([rng.integers(3, size=30_000), np.full(25, 3)])
    space = middles[kinds] + rng.normal(size=(len(kinds), 8)) * np.where(kinds < 3, 1, 0.2)[:, None]
    return space.astype(np.float32), rng.choice(4, len(kinds), p=[0.1, 0.2, 0.3, 0.4]), kinds


def test_rare_groups_stay_and_slices_keep_their_shares(cells):
    space, slices, kinds = cells
    chosen = sketch.representatives(space, slices, 3000)
    assert len(set(chosen)) == 3000 and (np.diff(chosen) > 0).all()
    assert (kinds[chosen] == 3).sum() >= 5  # 2.5 by their share
    shares = np.bincount(slices[chosen]) / 3000
    np.testing.assert_allclose(shares, np.bincount(slices) / len(slices), atol=0.03)
    codes = sketch.groups(space, slices)
    own = set(codes[kinds == 3])
    assert len(own) <= 3 and not own & set(codes[kinds < 3])


def test_the_same_cells_on_any_number_of_threads_and_from_any_chunks(cells, tmp_path, monkeypatch):
    space, slices, _ = cells
    first = sketch.representatives(space, slices, 2000, seed=1)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        stored = file.create_dataset("x", data=space, chunks=(700, 3))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        np.testing.assert_array_equal(sketch.representatives(stored, slices, 2000, seed=1), first)
        rows = np.array([0, 5, 8191, 8192, 30_024])
        np.testing.assert_array_equal(sketch.take(stored, rows), space[rows])
    assert (sketch.representatives(space, slices, 2000, seed=2) != first).any()


def test_others_lie_between_the_nearest_of_the_fitted(cells):
    space, _, _ = cells
    fitted = np.arange(0, len(space), 7)
    where = np.random.default_rng(0).normal(size=(len(fitted), 2)).astype(np.float32)
    found = np.concatenate(list(sketch.places(space, fitted, where, k=2)))
    assert found.dtype == np.float32 and found.shape == (len(space), 2)
    np.testing.assert_array_equal(found[fitted], where)
    for cell in (1, 9000, 30_000):
        gaps = np.linalg.norm(space[fitted].astype(float) - space[cell], axis=1)
        near = np.argsort(gaps)[:2]
        expected = np.average(where[near], axis=0, weights=1 / gaps[near])
        np.testing.assert_allclose(found[cell], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_umap_of_some_cells_keeps_the_groups_of_all(cells):
    space, slices, kinds = (part[::20] for part in cells)
    found = np.concatenate(list(joined.umap_of_many(space, slices, 500)))
    assert found.shape == (len(space), 2) and np.isfinite(found).all()
    middles = np.array([found[kinds == kind].mean(axis=0) for kind in range(3)])
    gaps = np.linalg.norm(found[:, None] - middles, axis=2)
    assert (gaps.argmin(axis=1) == kinds)[kinds < 3].mean() > 0.99
    whole = np.concatenate(list(joined.umap_of_many(space[:400], slices[:400], 500)))
    np.testing.assert_array_equal(whole, joined.umap(space[:400]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.data())
def test_a_stratified_sample_is_in_proportion(sizes, data):
    strata = np.repeat(np.arange(len(sizes)).astype(str), sizes)
    n = data.draw(st.integers(1, len(strata)))
    chosen = sketch.stratified_sample(strata, n, seed=3)
    assert len(set(chosen)) == n
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, sketch.stratified_sample(strata, n, seed=3))
    taken = np.bincount(strata[chosen].astype(int), minlength=len(sizes))
    if n >= len(sizes):
        assert taken.min() >= 1
        assert (np.abs(taken - n * np.array(sizes) / len(strata)) <= len(sizes)).all()
