"""The steps of the metagenes against exact minima, and SpiceMix's where they are stored."""

from dataclasses import replace

import numpy as np
import pytest
from metagene_cases import planted, state, stored, there
from scipy.optimize import minimize, nnls

from lloki.programs import metagenes
from lloki.programs.metagenes import Fit


@pytest.fixture(scope="module")
def case():
    cells, m, z = planted()
    rng = np.random.default_rng(1)
    guess = m * rng.uniform(0.5, 1.5, m.shape)
    affinity = rng.normal(size=(4, 4))
    values = (z * 4 * rng.uniform(0.8, 1.2, z.shape)).astype(np.float32) + 1e-6
    return cells, Fit(guess / guess.sum(axis=0), values, affinity + affinity.T, 0.05)


def test_without_field_each_cell_is_at_its_least_squares(case):
    cells, fit = case
    found = metagenes.update_values(cells, fit, False, 500)
    for i in range(0, len(found), 97):
        best, _ = nnls(fit.metagenes, cells.values[i].astype(np.float64))
        np.testing.assert_allclose(found[i], best, atol=2e-3)


def value(cells, fit):
    left = metagenes.moments(cells, fit.values).residual(fit.metagenes)
    return metagenes.objective(cells, fit, left)


def test_with_field_the_objective_falls_to_where_its_slope_is_zero(case):
    cells, fit = case
    seen = [value(cells, fit)]
    for _ in range(60):
        fit = replace(fit, values=metagenes.update_values(cells, fit))
        seen.append(value(cells, fit))
    assert (np.diff(seen) < 1e-6 * abs(seen[0])).all()
    rng = np.random.default_rng(2)
    for _ in range(5):  # no step in any direction is better
        other = fit.values * (1 + 0.01 * rng.normal(size=fit.values.shape).astype(np.float32))
        assert value(cells, replace(fit, values=np.maximum(other, 1e-10))) > seen[-1]


def test_metagenes_and_noise_are_at_their_least(case):
    cells, fit = case
    found = metagenes.moments(cells, fit.values)
    m = metagenes.update_metagenes(fit.metagenes, found, 500)
    np.testing.assert_allclose(m.sum(axis=0), 1)
    assert m.min() >= 0
    rows = np.sqrt(cells.cell_weights)[:, None]
    direct = ((cells.values - fit.values @ m.T) ** 2 * rows**2).sum()
    assert found.residual(m) == pytest.approx(direct, rel=1e-5)
    column = minimize(  # one column by another way, on the simplex by softmax
        lambda free: found.residual(np.column_stack([np.exp(free) / np.exp(free).sum(), m[:, 1:]])),
        np.log(m[:, 0] + 1e-6), method="L-BFGS-B",
    )  # fmt: skip
    assert found.residual(m) <= column.fun * (1 + 1e-6)
    noise = metagenes.noise_of(cells, found, m)
    best = replace(fit, metagenes=m, noise=noise)
    for other in (0.95, 1.05):
        assert value(cells, best) < value(cells, replace(best, noise=noise * other))


def test_the_simplex_is_met_at_the_nearest_point():
    rng = np.random.default_rng(0)
    for _ in range(20):
        point = rng.normal(size=6)
        found = metagenes.on_simplex(point)
        assert found.min() >= 0 and found.sum() == pytest.approx(1)
        for other in rng.dirichlet(np.full(6, 0.5), 50):
            assert np.linalg.norm(point - found) <= np.linalg.norm(point - other) + 1e-12


def test_cells_in_another_order_give_the_same(case):
    cells, fit = case
    rng = np.random.default_rng(0)
    order = np.concatenate([a + rng.permutation(900) for a in (0, 900)])
    moved = replace(cells, values=cells.values[order], graph=cells.graph[order][:, order])
    found = metagenes.update_values(cells, fit)[order]
    again = metagenes.update_values(moved, replace(fit, values=fit.values[order]))
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-6)


def test_metagenes_in_another_order_give_the_same_at_rest(case):
    cells, fit = case
    turned = Fit(fit.metagenes[:, ::-1], fit.values[:, ::-1], fit.affinity[::-1, ::-1], fit.noise)
    found = metagenes.update_values(cells, fit, False, 500)
    again = metagenes.update_values(cells, turned, False, 500)
    np.testing.assert_allclose(again[:, ::-1], found, atol=2e-3)


def test_cells_without_anything_stay_finite(case):
    cells, fit = case
    values = cells.values.copy()
    values[::7] = 1e-6
    empty = replace(cells, values=values)
    for _ in range(5):
        fit = replace(fit, values=metagenes.update_values(empty, fit))
    assert np.isfinite(fit.values).all() and np.isfinite(fit.proportions).all()


def test_floors_and_scales():
    values = np.random.default_rng(0).gamma(2, size=(500, 5)).astype(np.float32) + 1
    floors = metagenes.floors_of(values, 0.01)
    np.testing.assert_allclose(floors, np.quantile(values, 0.01, axis=0), rtol=1e-6)
    assert not metagenes.floors_of(values, 0).any()
    metagenes.take_floor(values, floors)
    assert values.min() == np.float32(1e-6)
    metagenes.scale(values, [0, 100, 100, 500], 7)  # the second slice is empty
    np.testing.assert_allclose(
        [values[:100].sum(1).mean(), values[100:].sum(1).mean()], 7, rtol=1e-5
    )


@there
@pytest.mark.parametrize("name", ["mpfc", "demo_xlloki"])
def test_from_a_state_of_spicemix_the_steps_reach_what_its_own_reach(name):
    cells, _, k = stored(name)
    before, after = (state(name, k, f"s0_it{i}", cells) for i in (1, 2))
    found = metagenes.moments(cells, before.values)
    m = metagenes.update_metagenes(before.metagenes, found, 50)
    assert found.residual(m) <= found.residual(after.metagenes) * (1 + 1e-5)
    theirs = value(cells, after)
    fit = replace(after, values=before.values)
    for _ in range(40):
        fit = replace(fit, values=metagenes.update_values(cells, fit))
    assert value(cells, fit) <= theirs + 1e-4 * abs(theirs)
