"""The search by an index: its recall is what is said, and a poor one is made good."""

import numpy as np
import pytest
from demo_slices import demo_slice
from unit_checks import check_neighbours

from lloki.propagation import graph
from lloki.slices import files
from lloki.support import search


@pytest.fixture(scope="module", params=["osmfish", "starmap", "xenium"])
def demo(request):
    data = demo_slice(request.param)
    return files.prepare(data, "demo", sample=request.param, technology=request.param)


def test_approximate_search_is_seeded_and_reports_its_recall(demo):
    space = graph.principal_components(demo.X, 50)
    first = search.find_neighbours(space, 40, method="approx", seed=1)
    again = search.find_neighbours(space, 40, method="approx", seed=1)
    np.testing.assert_array_equal(first.indices, again.indices)
    assert first.method == "approx"
    exact = search.find_neighbours(space, 40).indices
    overlap = np.mean(
        [len(set(a) & set(b)) / 40 for a, b in zip(first.indices, exact, strict=True)]
    )
    assert first.recall >= 0.95
    assert overlap == pytest.approx(first.recall, abs=0.02)


def test_recall_counts_what_is_missing(demo):
    space = graph.principal_components(demo.X, 50)
    found = search.find_neighbours(space, 20).indices
    assert search.recall(space, found, "cosine") == 1
    rng = np.random.default_rng(0)
    found[:, 10:] = rng.integers(len(space), size=found[:, 10:].shape)
    assert search.recall(space, found, "cosine") == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_poor_approximate_search_is_repeated_exactly(monkeypatch, metric):
    space = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
    widths = []

    def bad(space, k, metric, seed, width, query):
        widths.append(width)
        return (np.arange(len(space))[:, None] + np.arange(1, k + 1)) % len(space)

    monkeypatch.setattr(search, "_approximate", bad)
    found = search.find_neighbours(space, 5, metric, method="approx")
    assert (found.method, found.recall, widths) == ("exact", 1.0, [1, 2])
    check_neighbours(space, 5, metric, found.indices, 1e-5)


def test_of_too_many_cells_to_wait_for_the_wider_search_stands(monkeypatch):
    monkeypatch.setattr(search, "PATIENT_CELLS", 99)
    monkeypatch.setattr(search, "recall", lambda *a: 0.5)
    space = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    found = search.find_neighbours(space, 5, method="approx", patient=False)
    assert (found.method, found.recall) == ("approx", 0.5)
    for cells, patient in ((space, True), (space[:99], False)):
        assert search.find_neighbours(cells, 5, method="approx", patient=patient).method == "exact"


def test_many_cells_are_searched_approximately(monkeypatch):
    monkeypatch.setattr(search, "EXACT_CELLS", 99)
    space = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    assert search.find_neighbours(space, 5).method == "approx"
    assert search.find_neighbours(space[:99], 5).method == "exact"


def test_approximate_search_among_duplicates_never_names_the_cell_itself():
    space = np.repeat(np.eye(4, dtype=np.float32), 30, axis=0)
    found = search.find_neighbours(space, 10, method="approx")
    assert not (found.indices == np.arange(120)[:, None]).any()
    assert search.recall(space, found.indices, "cosine") == 1
