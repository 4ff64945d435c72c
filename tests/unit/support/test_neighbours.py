"""Nearest and mutual neighbours against sorted distances."""

import numpy as np
import pytest
import torch
from devices import DEVICES
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.support import neighbours


def by_sorting(query, base, k, metric):
    query, base = query.astype(np.float64), base.astype(np.float64)
    if metric == "cosine":
        unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (query, base)]
        distance = 1 - unit[0] @ unit[1].T
    else:
        distance = np.linalg.norm(query[:, None] - base[None], axis=2)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distance, order, axis=1)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nearest_is_the_sorted_distances_whatever_the_block(metric, monkeypatch):
    random = np.random.default_rng(0)
    query, base = random.normal(size=(70, 6)), random.normal(size=(90, 6))
    indices, distances = neighbours.nearest(query, base, 7, metric)
    expected, lengths = by_sorting(query, base, 7, metric)
    assert (indices == expected).all()
    np.testing.assert_allclose(distances, lengths, atol=1e-5)
    for name, value in {"ROWS": 9, "WHOLE": 300}.items():
        monkeypatch.setattr(neighbours, name, value)
    assert (neighbours.nearest(query, base, 7, metric)[0] == expected).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_ties_go_by_row_and_a_cell_is_not_its_own_neighbour(seed, k):
    base = np.random.default_rng(seed).integers(0, 3, size=(15, 2)).astype(float)
    indices, _ = neighbours.nearest(base, base, k, "euclidean", exclude=np.arange(15))
    distance = np.square(base[:, None] - base[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (indices == np.argsort(distance, axis=1, kind="stable")[:, :k]).all()


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_many_rows_with_and_without_ties_are_searched_exactly(metric, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    random = np.random.default_rng(0)
    spread = random.normal(size=(2000, 4)).astype(np.float32)
    points = np.concatenate([spread, np.repeat(spread[:4], 300, axis=0)])
    order = random.permutation(len(points))
    points = points[order]
    indices, distances = neighbours.nearest(points, points, 12, metric, np.arange(len(points)))
    unit = neighbours.unit_rows(points) if metric == "cosine" else points
    distance = np.linalg.norm(unit[:, None] - unit[None], axis=2).astype(np.float64)
    np.fill_diagonal(distance, np.inf)
    if metric == "cosine":
        distance = distance**2 / 2
    expected = np.sort(distance, axis=1)[:, :12]
    np.testing.assert_allclose(np.take_along_axis(distance, indices, 1), expected, atol=1e-5)
    np.testing.assert_allclose(distances, expected, atol=1e-3)
    assert all(len(set(row)) == 12 for row in indices.tolist())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_each_product_once_gives_what_all_products_give(metric, monkeypatch):
    random = np.random.default_rng(0)
    points = random.normal(size=(1500, 20)).astype(np.float32)
    points[::50] *= 30  # rows with bounds of their own
    points = np.concatenate([points, points[:300], points[:150]])  # and rows with equals
    points = points[random.permutation(len(points))]
    own = np.arange(len(points))
    monkeypatch.setattr(neighbours, "STRIDE", 4)
    monkeypatch.setattr(neighbours, "GROUP", 2)
    results = []
    for threads, rows, wave, base in (
        (1, 512, 32, points.copy()), (1, 512, 32, points), (3, 60, 32, points), (2, 60, 3, points),
    ):  # fmt: skip
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        monkeypatch.setattr(neighbours, "ROWS", rows)
        monkeypatch.setattr(neighbours, "WAVE", wave)
        results.append(neighbours.nearest(points, base, 10, metric, own))
    if products_are_the_same_in_parts(points):
        for indices, distances in results[1:]:
            np.testing.assert_array_equal(indices, results[0][0])
            np.testing.assert_array_equal(distances, results[0][1])
    exact = neighbours.unit_rows(points) if metric == "cosine" else points
    exact = exact.astype(np.float64)
    true = [np.linalg.norm(exact[near] - exact[:, None], axis=2) for near, _ in results]
    for i, distances in zip(true[1:], (d for _, d in results[1:]), strict=True):
        np.testing.assert_allclose(i, true[0], atol=1e-5)  # equals may have changed places
        np.testing.assert_allclose(distances**2, results[0][1] ** 2, rtol=1e-5, atol=5e-3)


def products_are_the_same_in_parts(points):
    """Whether OpenBLAS sums alike here whatever the shape (its kernel for Haswell does not)."""
    whole = points @ points.T
    rows = [points[i : i + 60] for i in range(0, len(points), 60)]
    parts = np.block([[one @ other.T for other in rows] for one in rows])
    return np.array_equal(whole, parts)


def test_most_rows_have_a_bound_that_some_more_than_k_reach():
    points = neighbours.unit_rows(np.random.default_rng(0).normal(size=(5000, 20)))
    bound = neighbours._bound(points[:200], points[:: neighbours.STRIDE][:312], 10)
    reached = (points[:200] @ points.T >= bound[:, None]).sum(axis=1)
    assert (reached >= 10).mean() > 0.95
    assert reached.max() < 300


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_way_of_a_gpu_gives_the_same(metric, device, monkeypatch):
    monkeypatch.setattr(neighbours, "WHOLE_GPU", 5000)
    points = np.random.default_rng(0).normal(size=(700, 8)).astype(np.float32)
    own = np.arange(700)
    here, distances = neighbours.nearest(points, points, 20, metric, own)
    there, lengths = neighbours.nearest(points, points, 20, metric, own, torch.device(device))
    np.testing.assert_array_equal(there, here)
    np.testing.assert_allclose(lengths, distances, atol=1e-5)
    ways = (lambda *given, gpu=gpu: neighbours.nearest(*given, metric, gpu=gpu)[0]
            for gpu in (None, torch.device(device)))  # fmt: skip
    pairs = [neighbours.mutual(points[:300], points[300:], 9, search) for search in ways]
    np.testing.assert_array_equal(*pairs)


def test_k_is_cut_to_what_is_there():
    points = np.eye(3)
    assert neighbours.nearest(points, points, 9)[0].shape == (3, 3)
    assert neighbours.nearest(points[:1], points[:1], 5, exclude=np.array([0]))[0].shape == (1, 0)
    with pytest.raises(ValueError, match="manhattan"):
        neighbours.nearest(points, points, 1, "manhattan")


def test_mutual_pairs_are_in_both_lists():
    random = np.random.default_rng(1)
    first, second = random.normal(size=(40, 4)), random.normal(size=(30, 4))
    forward, _ = by_sorting(first, second, 5, "cosine")
    backward, _ = by_sorting(second, first, 5, "cosine")
    expected = [(i, j) for i in range(40) for j in sorted(forward[i]) if i in backward[j]]
    assert neighbours.mutual(first, second, 5).tolist() == [list(pair) for pair in expected]
