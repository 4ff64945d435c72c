"""Propagation and denoising against plain loops, and what must hold for any slice."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from demo_slices import demo_slice
from devices import DEVICES
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.propagation import graph, propagation, sparsity
from lloki.slices import files, genes
from lloki.support import search

DEMO = Path(__file__).parents[3] / "assets/demo"


@pytest.fixture(scope="module", params=["osmfish", "starmap", "xenium"])
def demo(request):
    """A real slice: X(0), its graph, and its targets by the reference."""
    data = demo_slice(request.param)
    data = files.prepare(data, "demo", sample=request.param, technology=request.param)
    atlas = files.read_reference(DEMO / "reference.h5ad")
    _, columns = genes.shared(data.var_names, atlas.var_names)
    target = sparsity.transport(sparsity.sparsity(data.X), sparsity.sparsity(atlas.X[:, columns]))
    return data.X, build(data.X, data.obsm["spatial"]), sparsity.max_nonzero(target, data.n_vars)


def build(matrix, coordinates):
    found = search.find_neighbours(graph.principal_components(matrix, 50), 40)
    return graph.spatial_graph(found.indices, coordinates, graph.mean_pair_distance(coordinates))


def plain_impute(observed, weights, limits, steps):
    """Eq. 2 with sparsity control, cell by cell in double precision."""
    state = observed.astype(np.float64)
    for _ in range(steps):
        hop = weights.astype(np.float64) @ state
        state = observed.astype(np.float64)
        for i, row in enumerate(hop):
            spare = max(limits[i] - np.count_nonzero(observed[i]), 0)
            reached = [j for j in np.flatnonzero(row) if observed[i, j] == 0]
            for j in sorted(reached, key=lambda j: (-row[j], j))[:spare]:
                state[i, j] = row[j]
    return state


def plain_denoise(observed, imputed, weights, alpha, diffuse, support):
    """Eq. 5 with what is kept of X(0), on whole dense matrices in double precision."""
    source = (imputed if diffuse == "imputed" else observed).astype(np.float64)
    result = alpha * weights.astype(np.float64) @ source + (1 - alpha) * source
    result[observed > 0] = observed[observed > 0]
    return result * (imputed > 0) if support == "imputed" else result


@pytest.mark.parametrize("share", [1.0, 1.5])
def test_real_slices_equal_the_plain_computation(demo, share):
    observed, weights, limits = demo
    limits = np.minimum((limits * share).astype(int), observed.shape[1])
    result = propagation.impute(observed, weights, limits)
    expected = plain_impute(observed.toarray(), weights.toarray(), limits, result.iterations)
    np.testing.assert_allclose(result.matrix.toarray(), expected, atol=1e-5)
    counts = np.diff(result.matrix.indptr)
    assert (counts <= np.maximum(limits, np.diff(observed.indptr))).all()
    assert result.stopped_by == "targets"
    np.testing.assert_array_equal(result.at_target, counts >= limits)


@pytest.mark.parametrize("support", ["imputed", "all"])
@pytest.mark.parametrize("diffuse", ["imputed", "original"])
def test_denoising_real_slices_equals_the_plain_computation(demo, diffuse, support):
    observed, weights, limits = demo
    imputed = propagation.impute(observed, weights, limits).matrix
    result = propagation.denoise(observed, imputed, weights, 0.05, diffuse, support).toarray()
    expected = plain_denoise(
        observed.toarray(), imputed.toarray(), weights.toarray(), 0.05, diffuse, support
    )
    np.testing.assert_allclose(result, expected, atol=1e-5)
    kept = observed.toarray() > 0
    np.testing.assert_array_equal(result[kept], observed.toarray()[kept])


@st.composite
def exact_slices(draw):
    """Whole numbers on weights that are quarters: single precision is exact, ties abound."""
    n, genes = draw(st.integers(1, 8)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    observed = rng.integers(0, 3, (n, genes)).astype(np.float32)
    observed *= rng.random((n, genes)) < draw(st.sampled_from([0.2, 0.6, 1.0]))
    half = np.triu(rng.choice([0, 0, 0.25, 0.5, 1], (n, n)), 1)
    weights = (half + half.T + np.eye(n)).astype(np.float32)
    return observed, weights, rng.integers(0, genes + 1, n)


@settings(max_examples=200, deadline=None)
@given(exact_slices(), st.integers(1, 4))
def test_any_slice_equals_the_plain_computation(case, steps):
    observed, weights, limits = case
    result = propagation.impute(
        sp.csr_matrix(observed), sp.csr_matrix(weights), limits, steps, tolerance=0
    )
    expected = plain_impute(observed, weights, limits, result.iterations)
    np.testing.assert_array_equal(result.matrix.toarray(), expected)


@settings(max_examples=100, deadline=None)
@given(exact_slices(), st.integers(1, 4))
def test_observed_values_stay_and_no_cell_exceeds_its_limit(case, steps):
    observed, weights, limits = case
    result = propagation.impute(sp.csr_matrix(observed), sp.csr_matrix(weights), limits, steps)
    values = result.matrix.toarray()
    np.testing.assert_array_equal(values[observed > 0], observed[observed > 0])
    counts = np.count_nonzero(values, axis=1)
    assert (counts <= np.maximum(limits, np.count_nonzero(observed, axis=1))).all()
    np.testing.assert_array_equal(result.at_target, counts >= limits)


def test_random_values_are_kept_at_the_same_number_and_by_the_seed(demo, monkeypatch):
    observed, weights, _ = demo
    limits = np.minimum(np.diff(observed.indptr) + 3, observed.shape[1])
    largest = propagation.impute(observed, weights, limits, 1)
    first = propagation.impute(observed, weights, limits, 1, random_seed=1)
    np.testing.assert_array_equal(np.diff(first.matrix.indptr), np.diff(largest.matrix.indptr))
    hop = np.where(observed.toarray() > 0, observed.toarray(), (weights @ observed).toarray())
    values = first.matrix.toarray()
    np.testing.assert_allclose(values, np.where(values > 0, hop, 0), rtol=1e-5)
    assert values.sum() < largest.matrix.sum()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    again = propagation.impute(observed, weights, limits, 1, random_seed=1).matrix
    assert (again != first.matrix).nnz == 0
    other = propagation.impute(observed, weights, limits, 1, random_seed=2).matrix
    assert (other != first.matrix).nnz > 0


@settings(max_examples=100, deadline=None)
@given(exact_slices(), st.randoms(use_true_random=False))
def test_permuting_cells_permutes_the_result(case, random):
    observed, weights, limits = case
    order = np.array(random.sample(range(len(observed)), len(observed)))
    plain = propagation.impute(sp.csr_matrix(observed), sp.csr_matrix(weights), limits, 3)
    moved = propagation.impute(
        sp.csr_matrix(observed[order]), sp.csr_matrix(weights[np.ix_(order, order)]),
        limits[order], 3,
    )  # fmt: skip
    np.testing.assert_array_equal(moved.matrix.toarray(), plain.matrix.toarray()[order])
    assert (moved.iterations, moved.stopped_by) == (plain.iterations, plain.stopped_by)


@settings(max_examples=100, deadline=None)
@given(exact_slices(), st.sampled_from([0.0, 0.25, 1.0]))
def test_denoising_any_slice_equals_the_plain_computation(case, alpha):
    observed, weights, limits = case
    imputed = plain_impute(observed, weights, limits, 1).astype(np.float32)
    for diffuse in ("imputed", "original"):
        for support in ("imputed", "all"):
            result = propagation.denoise(
                *map(sp.csr_matrix, (observed, imputed, weights)), alpha, diffuse, support
            )
            expected = plain_denoise(observed, imputed, weights, alpha, diffuse, support)
            np.testing.assert_array_equal(result.toarray(), expected)
            assert (result.data != 0).all()


def test_blocks_and_threads_do_not_change_the_result(demo, monkeypatch):
    observed, weights, limits = demo
    whole = propagation.impute(observed, weights, limits)
    smooth = propagation.denoise(observed, whole.matrix, weights)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(propagation, "BLOCK_VALUES", 7 * observed.shape[1])
    blocked = propagation.impute(observed, weights, limits)
    assert (blocked.matrix != whole.matrix).nnz == 0
    assert (propagation.denoise(observed, whole.matrix, weights) != smooth).nnz == 0


@pytest.mark.parametrize("device", DEVICES)
def test_the_way_of_a_gpu_gives_the_same(demo, device):
    observed, weights, limits = demo
    device = torch.device(device)
    here = propagation.impute(observed, weights, limits)
    there = propagation.impute(observed, weights, limits, gpu=device)
    np.testing.assert_allclose(there.matrix.toarray(), here.matrix.toarray(), atol=1e-5)
    assert (there.iterations, there.stopped_by) == (here.iterations, here.stopped_by)
    smooth = propagation.denoise(observed, here.matrix, weights, gpu=device)
    expected = propagation.denoise(observed, here.matrix, weights)
    np.testing.assert_allclose(smooth.toarray(), expected.toarray(), atol=1e-5)


@settings(deadline=None)
@given(exact_slices())
def test_thinning_keeps_the_largest_values_and_at_least_one(case):
    observed, _, limits = case
    result = propagation.thin(sp.csr_matrix(observed), limits).toarray()
    for before, after, limit in zip(observed, result, limits, strict=True):
        order = sorted(np.flatnonzero(before), key=lambda j: (-before[j], j))
        expected = np.zeros_like(before)
        kept = order[: max(limit, 1)]
        expected[kept] = before[kept]
        np.testing.assert_array_equal(after, expected)


def chain(n):
    """Cells in a row, each linked to the next and to itself."""
    return sp.csr_matrix(
        np.eye(n, dtype=np.float32) / 2 + np.eye(n, k=1) / 4 + np.eye(n, k=-1) / 4,
        dtype=np.float32,
    )


def run(observed, weights, limits, **options):
    changes = []
    result = propagation.impute(
        sp.csr_matrix(np.array(observed, dtype=np.float32)), weights, np.array(limits),
        report=changes.append, **options,
    )  # fmt: skip
    assert len(changes) == result.iterations
    return result


def test_stops_when_every_cell_is_at_its_target():
    result = run([[1], [0], [0], [0]], chain(4), [1] * 4, tolerance=0)
    assert (result.iterations, result.stopped_by) == (3, "targets")
    assert result.at_target.all()


def test_stops_when_nothing_is_in_reach():
    weights = sp.block_diag([chain(2), chain(2)], format="csr")
    result = run([[1, 0], [0, 0], [0, 0], [0, 0]], weights, [1] * 4, tolerance=0)
    assert result.stopped_by == "targets"
    assert result.at_target.tolist() == [True, True, False, False]


def test_stops_after_max_iter():
    result = run([[1], [0], [0], [0]], chain(4), [1] * 4, tolerance=0, max_iter=2)
    assert (result.iterations, result.stopped_by) == (2, "max_iter")
    assert result.at_target.tolist() == [True, True, True, False]


def test_stops_when_the_matrix_hardly_changes():
    result = run([[1], [0], [0], [0]], chain(4), [1] * 4, tolerance=0.3)
    assert (result.iterations, result.stopped_by) == (1, "tolerance")


def test_the_next_step_starts_from_the_restricted_matrix():
    # the middle cell may hold one gene, so the second one never passes through it
    result = run([[3, 2], [0, 0], [0, 0]], chain(3), [2, 1, 2], tolerance=0)
    values = result.matrix.toarray()
    assert np.count_nonzero(values[:, 1]) == 1
    assert np.count_nonzero(values[:, 0]) == 3
