"""Target sparsity against POT's one-dimensional solver, NumPy's quantiles and exact fractions."""

from fractions import Fraction

import numpy as np
import ot
import pytest
import scipy.sparse as sp
from demo_slices import demo_slice
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.propagation import sparsity
from lloki.slices import genes

values = st.lists(st.integers(0, 20).map(lambda v: v / 20), min_size=1, max_size=40).map(np.array)
distinct = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n, unique=True)] * 2
    )
)


def test_sparsity_is_the_share_of_zeros():
    matrix = sp.csr_matrix(np.array([[0, 1, 2, 0], [0, 0, 0, 0], [1, 1, 1, 5]], dtype=np.float32))
    np.testing.assert_array_equal(sparsity.sparsity(matrix), [0.5, 1, 0])


@settings(deadline=None)
@given(distinct)
def test_transport_is_pots_plan_for_samples_of_one_size(samples):
    source, reference = map(np.array, samples)
    plan = ot.emd_1d(source, reference, metric="euclidean")
    expected = len(source) * plan @ reference
    np.testing.assert_allclose(sparsity.transport(source, reference), expected, atol=1e-9)


@pytest.mark.parametrize("sample", ["osmfish", "starmap", "xenium"])
def test_real_slices_are_moved_at_pots_cost(sample):
    data = demo_slice(sample)
    atlas = demo_slice("reference")
    _, columns = genes.shared(data.var_names, atlas.var_names)
    rng = np.random.default_rng(0)
    # jitter far below one gene makes the cells distinct, as the exact map needs
    source = sparsity.sparsity(sp.csr_matrix(data.X)) + rng.uniform(0, 1e-9, data.n_obs)
    reference = sparsity.sparsity(sp.csr_matrix(atlas.X[:, columns]))[: data.n_obs]
    moved = sparsity.transport(source, reference)
    for metric, cost in (("sqeuclidean", np.square), ("minkowski", np.abs)):
        best = ot.emd2_1d(source, reference, metric=metric, p=1)
        assert cost(moved - source).mean() == pytest.approx(best, rel=1e-6)


@settings(deadline=None)
@given(values, values)
def test_transport_with_ties_is_the_quantile_of_the_mean_rank(source, reference):
    levels = [((source < v).sum() + (source <= v).sum()) / 2 / len(source) for v in source]
    expected = np.quantile(reference, levels, method="hazen")
    np.testing.assert_allclose(sparsity.transport(source, reference), expected, atol=1e-12)


@settings(deadline=None)
@given(values, values)
def test_targets_are_monotone_and_equal_for_equal_cells(source, reference):
    moved = sparsity.transport(source, reference)
    order = np.argsort(source, kind="stable")
    assert (np.diff(moved[order]) >= 0).all()
    for value in np.unique(source):
        assert len(np.unique(moved[source == value])) == 1
    assert reference.min() <= moved.min()
    assert moved.max() <= reference.max()


@settings(deadline=None)
@given(st.integers(1, 20_000), st.data())
def test_max_nonzero_of_a_reachable_sparsity_is_exact(total, data):
    held = data.draw(st.integers(0, total))
    target = np.array([1 - held / total])
    assert sparsity.max_nonzero(target, total).tolist() == [held]


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(0, 1000))
def test_max_nonzero_rounds_up(total, share):
    exact = (1 - Fraction(share, 1000)) * total
    expected = -(-exact.numerator // exact.denominator)
    assert sparsity.max_nonzero(np.array([share / 1000]), total).tolist() == [expected]
