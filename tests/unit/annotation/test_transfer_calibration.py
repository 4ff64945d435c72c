"""Calibration against explicit sums, scikit-learn's curve and isotonic regression."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.isotonic import isotonic_regression

from lloki.annotation import transfer_calibration as calibration
from lloki.annotation.transfer_calibration import Held


def cells(seed, n=600, power=3.0, group="one"):
    """Probabilities of three labels that are too sure where power is above 1."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet(np.ones(3), n)
    codes = (rng.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1)
    said = true**power
    return Held(group, said / said.sum(axis=1, keepdims=True), codes)


def test_error_and_reliability_are_those_of_scikit_learn():
    held = cells(0)
    top, right = held.probability.max(axis=1), held.probability.argmax(axis=1) == held.codes
    share, mean = calibration_curve(right, top, n_bins=calibration.BINS)
    table = calibration.reliability(held.probability, held.codes)
    np.testing.assert_allclose(table["right"], share)
    np.testing.assert_allclose(table["probability"], mean)
    weights = table["cells"] / len(top)
    expected = (weights * abs(mean - share)).sum()
    np.testing.assert_allclose(calibration.error(held.probability, held.codes), expected)
    assert np.isnan(calibration.error(np.empty((0, 3)), np.empty(0, int)))


def test_curves_are_isotonic_regression_with_equal_groups():
    held = [cells(2, 300, group="a"), cells(3, 900, group="b")]
    curves = calibration.fit(held).curves
    probability = np.concatenate([part.probability for part in held])[:, 1]
    is_it = np.concatenate([part.codes for part in held]) == 1
    weights = np.repeat([1 / 300, 1 / 900], [300, 900])
    order = np.argsort(probability)
    expected = isotonic_regression(is_it[order].astype(float), sample_weight=weights[order])
    np.testing.assert_allclose(curves[1].predict(probability[order]), expected, atol=1e-6)


def test_curves_are_taken_where_they_help_on_other_groups():
    held = [cells(seed, group=name) for seed, name in enumerate("abc")]
    found, new = calibration.choose(held), cells(9)
    assert set(found.curves) == {0, 1, 2}
    after = found.apply(new.probability)
    np.testing.assert_allclose(after.sum(axis=1), 1)
    before = calibration.error(new.probability, new.codes)
    assert calibration.error(after, new.codes) < 0.05 < before


@pytest.mark.parametrize("held", [
    [cells(0, group="a")],
    [cells(0, power=4, group="a"), cells(1, power=0.25, group="b")],
    [cells(0, power=4, group="a"), cells(1, power=4, group="a")],
    [],
], ids=["one group", "groups that disagree", "one group twice", "none"])  # fmt: skip
def test_probabilities_stay_where_nothing_says_that_curves_help(held):
    found = calibration.choose(held)
    assert found.curves == {}
    np.testing.assert_allclose(found.apply(cells(5).probability), cells(5).probability)


def test_a_rare_label_and_cells_without_label_have_no_say():
    held = cells(4)
    codes = held.codes.copy()
    codes[np.flatnonzero(codes == 2)[30:]] = -1
    curves = calibration.fit([Held("a", held.probability, codes)]).curves
    assert set(curves) == {0, 1}


def test_risk_falls_with_fewer_cells():
    held = cells(6)
    found = calibration.risk_coverage(held.probability, held.codes, (0.25, 0.5, 1))
    wrong = held.probability.argmax(axis=1) != held.codes
    order = np.argsort(-held.probability.max(axis=1))
    assert found == {s: pytest.approx(wrong[order[: int(600 * s)]].mean()) for s in (0.25, 0.5, 1)}
    assert found[0.25] < found[0.5] < found[1]
