"""Linear maps of batches: what they bring together, and when they leave embeddings alone."""

import numpy as np
import pytest

from lloki.integration.levelling import level
from lloki.integration.pairs import Partners


def turned(seed=0, cells=400):
    """Cells of two batches, the second a turned, stretched and shifted copy; pairs of copies."""
    random = np.random.default_rng(seed)
    first = random.normal(size=(cells, 6))
    turn, _ = np.linalg.qr(np.eye(6) + 0.4 * random.normal(size=(6, 6)))
    second = first @ turn * np.linspace(0.7, 1.3, 6) + 3 + 0.05 * random.normal(size=first.shape)
    other = np.r_[np.arange(cells, 2 * cells), np.arange(cells)].astype(np.int32)
    partners = Partners(np.arange(2 * cells + 1), other)
    return np.concatenate([first, second]).astype(np.float32), partners


def misses(embedding, maps, cells=400):
    """Mean square by which copies miss each other, but for the shift, in variances."""
    first, second = (
        part + part @ change for part, change in zip(np.split(embedding, 2), maps, strict=True)
    )
    gap = first - second
    return (gap - gap.mean(axis=0)).var() / first.var()


def test_a_map_brings_a_turned_batch_onto_its_partners():
    embedding, partners = turned()
    batch = np.repeat([0, 1], 400)
    maps = level(embedding, batch, partners, 0.01)
    onto_first = maps * np.array([0, 1])[:, None, None]  # as both move onto the other
    assert misses(embedding, onto_first) < 0.02 < 0.3 < misses(embedding, np.zeros_like(maps))


def test_the_ridge_holds_a_map_to_the_identity():
    embedding, partners = turned()
    sizes = [
        np.abs(level(embedding, np.repeat([0, 1], 400), partners, s)).max() for s in (0.1, 1, 1e6)
    ]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[2] < 1e-4


def test_the_map_is_the_regression_on_the_mean_of_the_partners():
    random = np.random.default_rng(1)
    embedding = random.normal(size=(30, 3)).astype(np.float32)
    lists = [[15 + i, 15 + (i + 4) % 15] if i else [] for i in range(15)] + [[] for _ in range(15)]
    lists = [sorted(cells) for cells in lists]
    first = np.cumsum([0, *map(len, lists)])
    partners = Partners(first, np.concatenate(lists).astype(np.int32))
    maps = level(embedding, np.repeat([0, 1], 15), partners, 0.5)
    own, others = (
        embedding[1:15],
        np.array([embedding[cells].mean(axis=0) for cells in lists[1:15]]),
    )
    own, others = own - own.mean(axis=0), others - others.mean(axis=0)
    others *= np.linalg.norm(own) / np.linalg.norm(others)
    ridge = 0.5 * (own**2).sum() / 3 * np.eye(3)
    expected = np.linalg.inv(own.T @ own + ridge) @ (own.T @ others + ridge) - np.eye(3)
    np.testing.assert_allclose(maps[0], expected, atol=1e-5)
    assert (maps[1] == 0).all()  # without any pair


@pytest.mark.parametrize("most", [20, 10_000])
def test_some_cells_of_a_batch_are_enough(monkeypatch, most):
    monkeypatch.setattr("lloki.integration.levelling.CELLS", most)
    embedding, partners = turned()
    maps = level(embedding, np.repeat([0, 1], 400), partners, 0.01)
    assert misses(embedding, maps * np.array([0, 1])[:, None, None]) < 0.05


def test_cells_that_are_all_alike_stay_where_they_are():
    embedding, partners = turned()
    assert (level(np.ones_like(embedding), np.repeat([0, 1], 400), partners, 0.3) == 0).all()


def test_pairs_of_one_panel_say_nothing_of_a_map():
    partners = Partners(np.array([0, 2, 3, 4]), np.array([1, 2, 0, 0], dtype=np.int32))
    found = partners.between(np.array([0, 0, 1]))
    assert found.table().tolist() == [[0, 2], [2, 0]]
    assert found.first.tolist() == [0, 1, 1, 2]
