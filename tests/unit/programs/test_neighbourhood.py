"""Graphs of cells against what they have to be; Moran's I against its sum over all pairs."""

import numpy as np
import pytest
from metagene_cases import CASES, there

from lloki.programs.neighbourhood import moran, neighbour_graph


@pytest.fixture(scope="module")
def places():
    return np.random.default_rng(0).uniform(0, 1000, (300, 2))


@pytest.mark.parametrize("kind", ["delaunay", "nearest"])
def test_it_is_symmetric_without_loops_and_without_the_longest(places, kind):
    whole, cut = (neighbour_graph(places, kind, longest) for longest in (100, 80))
    for graph in (whole, cut):
        assert abs(graph - graph.T).nnz == 0 and not graph.diagonal().any()
        assert set(graph.data) == {1.0} and graph.dtype == np.float32
    assert cut.nnz == pytest.approx(0.8 * whole.nnz, abs=2)
    rows, columns = (whole - cut).nonzero()
    kept = np.linalg.norm(np.subtract(*places[np.array(cut.nonzero())]), axis=1).max()
    assert np.linalg.norm(places[rows] - places[columns], axis=1).min() >= kept


def test_a_lattice_has_its_nearest_six():
    x, y = np.meshgrid(np.arange(10.0), np.arange(10.0))
    hexagons = np.column_stack([(x + y % 2 / 2).ravel(), (y * np.sqrt(0.75)).ravel()])
    for kind in ("delaunay", "nearest"):
        graph = neighbour_graph(hexagons, kind, 100)
        inner = [10 * i + j for i in range(2, 8) for j in range(2, 8)]
        gaps = np.linalg.norm(hexagons[:, None] - hexagons[None], axis=2)
        for i in inner:
            assert set(np.flatnonzero((gaps[i] < 1.1) & (gaps[i] > 0))) <= set(graph[[i]].indices)


@pytest.mark.parametrize(
    "few", [np.zeros((3, 2)), np.column_stack([np.arange(9.0), np.zeros(9)]), np.zeros((0, 2)),
            np.column_stack([np.arange(9.0), 2 * np.arange(9.0)]), np.ones((8, 2))],
)  # fmt: skip
def test_too_few_cells_and_cells_on_a_line_have_none(few):
    assert neighbour_graph(few).nnz == 0


def test_none_is_none(places):
    assert neighbour_graph(places, "none").nnz == 0


def test_cells_on_one_another_have_neighbours(places):
    twice = np.concatenate([places, places[:40]])
    graph = neighbour_graph(twice)
    assert (np.diff(graph.indptr)[300:] > 0).mean() > 0.9
    again = neighbour_graph(twice)
    assert abs(graph - again).nnz == 0


def test_a_flat_third_coordinate_changes_nothing(places):
    deep = np.column_stack([places, np.full(300, 7.0)])
    assert abs(neighbour_graph(deep) - neighbour_graph(places)).nnz == 0
    rng = np.random.default_rng(1)
    assert neighbour_graph(rng.uniform(0, 100, (300, 3))).nnz > neighbour_graph(places).nnz


def test_moran_is_the_sum_over_pairs_and_its_p_that_of_permutations(places):
    graph = neighbour_graph(places[:60])
    rng = np.random.default_rng(0)
    values = np.column_stack([places[:60, 0] + rng.normal(0, 400, 60), rng.normal(size=60)])
    found, p = moran(values, graph)
    w = graph.toarray()
    w /= np.maximum(w.sum(axis=1, keepdims=True), 1)
    for k in range(2):
        z = values[:, k] - values[:, k].mean()
        assert found[k] == pytest.approx(60 / w.sum() * (z @ w @ z) / (z @ z))
        chance = [moran(rng.permutation(values[:, [k]]), graph)[0][0] for _ in range(2000)]
        assert p[k] == pytest.approx(np.mean(np.array(chance) >= found[k]), abs=0.03)


def test_moran_of_what_cannot_be_judged_is_nan(places):
    constant = np.ones((300, 1))
    assert np.isnan(moran(constant, neighbour_graph(places))[0]).all()
    assert np.isnan(moran(places, neighbour_graph(places, "none"))[0]).all()


@there
@pytest.mark.parametrize("name", ["mpfc", "demo_xlloki"])
def test_edges_are_those_that_were_given_to_spicemix(name):
    file = np.load(CASES / f"input_{name}.npz", allow_pickle=True)
    for r in range(len(file["samples"])):
        graph = neighbour_graph(file[f"xy{r}"])
        first, second = file[f"edges{r}"].T
        assert graph.nnz == 2 * len(first) and (graph[first, second] == 1).all()
