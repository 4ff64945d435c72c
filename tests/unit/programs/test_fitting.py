"""Whole fits: a planted truth, SpiceMix's stored results, seeds, orders, new slices, stability."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from metagene_cases import AFFINITY, CASES, planted, stored, there

from lloki.programs import fitting
from lloki.programs.simplex_field import first_affinity


@pytest.fixture(scope="module")
def truth():
    return planted(n=1600)


@pytest.fixture(scope="module")
def found(truth):
    return fitting.fit(truth[0], 4, iterations=60)[0]


def test_a_planted_truth_is_found(truth, found):
    cells, m, z = truth
    partner, r = fitting.matched(m, found.metagenes)
    assert r.min() > 0.95
    assert fitting.matched(z, found.proportions)[1].min() > 0.9
    own = found.affinity[np.ix_(partner, partner)]
    true = AFFINITY - AFFINITY.mean()
    assert (np.sign(own) == np.sign(true))[np.abs(true) > 1].all()
    assert fitting.explained(cells, found) > 0.9


def test_one_seed_gives_one_result_on_any_number_of_threads(truth, found, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    again = fitting.fit(truth[0], 4, iterations=60)[0]
    assert again.values.tobytes() == found.values.tobytes()
    assert again.metagenes.tobytes() == found.metagenes.tobytes()
    assert again.history == found.history


def test_it_ends_where_nothing_moves(truth):
    cells, _, _ = truth
    rough = np.random.default_rng(0).uniform(0.5, 1.5, cells.values.shape).astype(np.float32)
    rough = replace(cells, values=cells.values * rough)
    fit = fitting.fit(rough, 4, iterations=400)[0]
    assert len(fit.history) < 410
    seen = [one["noise"] for one in fit.history[-11:]]
    assert abs(seen[-1] / seen[0] - 1) < 1e-4


def test_the_best_start_goes_on(truth):
    fit, tried = fitting.fit(truth[0], 4, starts=3, iterations=0)
    assert [one["seed"] for one in tried] == [0, 1, 2]
    assert fit.history[-1]["objective"] == min(one["objective"] for one in tried)


def test_of_many_cells_some_compare_the_starts(truth, found, monkeypatch):
    monkeypatch.setattr(fitting, "CELLS", 1000)
    fit, tried = fitting.fit(truth[0], 4, iterations=20)
    assert len(fit.values) == 3200 and len(tried) == 3
    assert fitting.matched(truth[1], fit.metagenes)[1].min() > 0.95


def test_slices_in_either_order_give_the_same(truth):
    cells, _, _ = truth
    n = cells.starts[1]
    turn = np.r_[n : 2 * n, :n]
    other = replace(cells, values=cells.values[turn], graph=cells.graph[turn][:, turn])
    labels = fitting.start_labels(cells, 4, 0)
    ends = []
    for part, start in ((cells, labels), (other, labels[turn])):
        fit = fitting.fit_plain(part, start, 4)
        ends.append(fitting.fit_bound(part, fit, 10, seed=0))
    np.testing.assert_allclose(ends[0].metagenes, ends[1].metagenes, atol=1e-4)
    np.testing.assert_allclose(ends[0].affinity, ends[1].affinity, atol=1e-2)
    np.testing.assert_allclose(ends[0].proportions[turn], ends[1].proportions, atol=1e-2)


def test_metagenes_laid_on_the_same_and_on_new_cells_give_their_mixtures(truth, found):
    cells, _, z = truth
    same = fitting.laid_on(cells, found)
    assert np.abs(same.proportions - found.proportions).mean() < 0.01
    new, _, z = planted(n=900, slices=1, seed=0)
    laid = fitting.laid_on(new, replace(found, values=np.empty((0, 4), np.float32)))
    assert laid.metagenes is found.metagenes
    assert fitting.matched(z, laid.proportions)[1].min() > 0.9


def test_what_is_there_is_stable_and_what_is_not_is_not(truth, found):
    cells, _, _ = truth
    stable = fitting.stability(cells, found, 2, 10, 10, 1e-4, 0)
    assert stable.shape == (2, 4) and stable.min() > 0.9
    rng = np.random.default_rng(0)
    noise = replace(cells, values=rng.uniform(0, 1, cells.values.shape).astype(np.float32))
    fit = fitting.fit(noise, 4, iterations=5)[0]
    assert fitting.stability(noise, fit, 2, 10, 5, 1e-4, 0).mean() < 0.5


def test_a_half_has_half_of_each_slice_and_its_edges(truth):
    cells, _, _ = truth
    rows, half = fitting.part_of(cells, 1600, 3)
    assert np.diff(half.starts).tolist() == [800, 800]
    np.testing.assert_array_equal(half.values, cells.values[rows])
    assert half.graph.nnz == cells.graph[rows][:, rows].nnz > 0


def test_one_metagene_no_neighbours_and_an_empty_slice_are_borne(truth):
    cells, _, _ = truth
    one = fitting.fit(cells, 1, iterations=3)[0]
    np.testing.assert_allclose(one.proportions, 1)
    bare = replace(cells, graph=sp.csr_matrix(cells.graph.shape, dtype=np.float32))
    free = fitting.fit(bare, 4, iterations=12)[0]
    assert not free.affinity.any() and np.isfinite(free.values).all()
    starts = np.array([0, 0, *cells.starts[1:]])
    gap = replace(cells, starts=starts, weights=np.full(3, 1 / 3))
    assert np.isfinite(fitting.fit(gap, 4, iterations=3)[0].metagenes).all()


def test_slices_that_share_no_cluster_are_told(truth):
    cells, _, _ = truth
    values = cells.values.copy()
    values[: cells.starts[1]] = 0
    values[: cells.starts[1], 0] = 4 + np.random.default_rng(0).uniform(0, 1e-3, cells.starts[1])
    _, tried = fitting.fit(replace(cells, values=values), 3, starts=1, iterations=1)
    assert tried[0]["slices_in_one_cluster"] == [0]


def test_a_sample_stands_for_all_cells(truth):
    cells, _, _ = truth
    rows, stands = fitting.sample_of(cells, 500, 0)
    assert len(rows) == 500 and len(set(rows)) == 500
    assert stands.sum() == pytest.approx(cells.cell_weights.sum())


@there
@pytest.mark.parametrize(
    ("name", "seed", "iterations"), [("mpfc", 0, 15), ("mpfc", 1, 15), ("demo_xlloki", 0, 10)]
)
def test_from_the_same_clusters_it_ends_where_spicemix_does_or_lower(name, seed, iterations):
    cells, _, k = stored(name)
    labels = np.load(CASES / f"init_{name}_K{k}.npz")[f"seed{seed}"].astype(int)
    theirs = np.load(CASES / f"spicemix_{name}_K{k}_s{seed}.npz")
    fit = fitting.fit_plain(cells, labels, k)
    assert fit.noise <= theirs["log"][9, 3] * 1.01
    assert fitting.matched(theirs["M_nmf"], fit.metagenes)[1].min() > 0.99
    first = first_affinity(fit.proportions, cells.graph, cells.starts, cells.weights)
    assert np.corrcoef(first.ravel(), theirs["Sigma0"].ravel())[0, 1] > 0 or name == "mpfc"
    fit = fitting.fit_bound(cells, fit, iterations)
    assert fit.noise <= theirs["sigma_yx"][0] * 1.01
    if name == "demo_xlloki":  # of raw panels the package does not find itself again
        assert fitting.matched(theirs["M"], fit.metagenes)[1].min() > 0.98


@there
def test_seeds_agree_no_less_than_spicemix_with_itself():
    """Where it ends by 10 iterations on the demo: 11 of 15 above .9."""
    cells, _, k = stored("demo_xlloki")
    ends = []
    for seed in (0, 1):
        labels = np.load(CASES / "init_demo_xlloki_K15.npz")[f"seed{seed}"].astype(int)
        ends.append(fitting.fit_bound(cells, fitting.fit_plain(cells, labels, k), 10))
    assert (fitting.matched(ends[0].metagenes, ends[1].metagenes)[1] > 0.9).sum() >= 11
