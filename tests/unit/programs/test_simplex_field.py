"""The integral over the simplex against arithmetic of 60 digits; the affinity's steps."""

import math

import mpmath
import numpy as np
import pytest
from metagene_cases import AFFINITY, planted, state, stored, there

from lloki.programs.simplex_field import (
    first_affinity,
    log_partition,
    pseudo_likelihood,
    update_affinity,
)


def exact(eta):
    """log I(eta) of one cell by the signed sum, in as many digits as its cancellation needs."""
    with mpmath.workdps(400):
        e = [mpmath.mpf(float(x)) + mpmath.mpf(10) ** -40 * i for i, x in enumerate(eta)]
        total = sum(
            mpmath.exp(-a) / mpmath.fprod(b - a for j, b in enumerate(e) if j != i)
            for i, a in enumerate(e)
        )
        return float(mpmath.log(total))


@pytest.mark.parametrize(
    ("k", "spread", "error"),
    [(2, 1, 0.01), (2, 20, 0.05), (3, 3, 0.02), (6, 1, 0.004), (6, 60, 0.05), (15, 0.1, 1e-4),
     (15, 1, 1e-4), (15, 5, 0.02), (15, 20, 0.03), (15, 60, 0.05), (30, 1, 1e-4), (30, 20, 0.05)],
)  # fmt: skip
def test_the_integral_is_that_of_high_precision(k, spread, error):
    eta = np.random.default_rng(k).uniform(0, spread, (k, 6)) - 3
    eta[1:3, 0] = eta[0, 0]  # ties
    found, _ = log_partition(eta)
    assert np.abs(found - [exact(column) for column in eta.T]).max() < error


@pytest.mark.parametrize("k", range(2, 31, 4))
def test_at_zero_it_is_the_volume_of_the_simplex(k):
    (found,), mean = log_partition(np.zeros((k, 1)))
    assert found == pytest.approx(-math.lgamma(k), abs=0.002)
    np.testing.assert_allclose(mean, 1 / k)


@pytest.mark.parametrize(("k", "spread"), [(2, 3), (6, 0.1), (15, 5), (15, 40)])
def test_the_mean_is_the_slope_and_lies_on_the_simplex(k, spread):
    eta = np.random.default_rng(1).uniform(0, spread, (k, 20))
    _, mean = log_partition(eta)
    for i in range(k):
        step = np.zeros((k, 1))
        step[i] = 1e-5
        slope = (log_partition(eta - step)[0] - log_partition(eta + step)[0]) / 2e-5
        np.testing.assert_allclose(mean[i], slope, atol=1e-8)
    np.testing.assert_allclose(mean.sum(axis=0), 1, atol=1e-9)
    assert mean.min() > -0.01


def parts(cells, z):
    around = cells.graph @ z
    return z, around, cells.edges, cells.cell_weights


def test_the_affinity_of_a_planted_field_is_found():
    cells, _, z = planted(n=2500)
    z, around, edges, weights = parts(cells, z)
    affinity = first_affinity(z, cells.graph, cells.starts, cells.weights)
    everyone = np.arange(len(z))
    for _ in range(10):
        affinity = update_affinity(affinity, z, around, edges, weights, everyone, weights, 1e-4)
    true = AFFINITY - AFFINITY.mean()
    # an affinity that adds the same to all a cell's mixtures says nothing: pairs are compared
    upper = np.triu_indices(4)
    assert np.corrcoef(affinity[upper], true[upper])[0, 1] > 0.97
    assert (np.sign(affinity) == np.sign(true))[np.abs(true) > 1].all()


def test_a_step_lowers_the_pseudo_likelihood_and_keeps_the_form():
    cells, _, z = planted()
    z, around, edges, weights = parts(cells, z)
    start = first_affinity(z, cells.graph, cells.starts, cells.weights)
    assert abs(start.mean()) < 1e-9
    found = update_affinity(start, z, around, edges, weights, np.arange(len(z)), weights, 1e-4)
    np.testing.assert_allclose(found, found.T)
    assert abs(found.mean()) < 1e-9
    before, after = (pseudo_likelihood(s, z, around, weights, edges, 1e-4) for s in (start, found))
    assert after < before


def test_a_stronger_penalty_leaves_a_smaller_affinity():
    cells, _, z = planted()
    z, around, edges, weights = parts(cells, z)
    start, everyone = np.zeros((4, 4)), np.arange(len(z))
    sizes = [
        np.abs(update_affinity(start, z, around, edges, weights, everyone, weights, s)).max()
        for s in (1e-4, 1e-2, 1)
    ]
    assert sizes == sorted(sizes, reverse=True) and sizes[2] < sizes[0] / 5


def test_slices_without_neighbours_say_nothing():
    cells, _, z = planted(slices=1)
    empty = cells.graph.copy()
    empty.data[:] = 0
    empty.eliminate_zeros()
    assert not first_affinity(z, empty, cells.starts, cells.weights).any()


@there
@pytest.mark.parametrize("name", ["mpfc", "demo_xlloki"])
def test_the_step_reaches_at_least_what_spicemix_reaches(name):
    cells, _, k = stored(name)
    fit = state(name, k, "s0_it5", cells)
    z = fit.proportions
    z, around, edges, weights = parts(cells, z.astype(np.float64))
    start = first_affinity(z, cells.graph, cells.starts, cells.weights)
    found = start
    for _ in range(10):
        found = update_affinity(found, z, around, edges, weights, np.arange(len(z)), weights, 1e-4)
    own, theirs = (
        pseudo_likelihood(s, z, around, weights, edges, 1e-4) for s in (found, fit.affinity)
    )
    assert own <= theirs
