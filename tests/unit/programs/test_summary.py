"""A fit in figures, and as a file."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lloki.programs import summary
from lloki.programs.metagenes import Fit
from lloki.support.errors import InputError


@pytest.fixture
def fit():
    rng = np.random.default_rng(0)
    m = rng.dirichlet(np.ones(5), 3).T
    values = rng.gamma(1, size=(50, 3)).astype(np.float32)
    return Fit(m, values, np.diag([-1.0, -2.0, 3.0]), 0.1)


def test_a_row_for_each_metagene_with_its_lamp(fit):
    stable = np.array([[0.9, 0.6, 0.1], [0.8, 0.5, 0.2]])
    moran = pd.DataFrame({"metagene": ["A", "A", "B"], "I": [0.1, 0.3, 0.5]})
    genes = pd.DataFrame({"metagene": ["A", "A", "B"], "gene": ["x", "y", "z"], "z": [3, 2, -1]})
    table = summary.programs(list("ABC"), ["t", None, None], fit.proportions, stable, moran, genes)
    assert table["lamp"].tolist() == ["green", "amber", "red"]
    assert table["stability"].tolist() == pytest.approx([0.85, 0.55, 0.15])
    assert table["genes"].tolist() == ["x, y", "", ""]
    assert table["moran"][0] == pytest.approx(0.2) and np.isnan(table["moran"][2])
    assert table["share"].sum() == pytest.approx(1) and table["leads"].sum() == pytest.approx(1)
    none = summary.programs(list("ABC"), [None] * 3, fit.proportions, stable[:0], moran, genes)
    assert none["lamp"].tolist() == ["", "", ""]


def test_a_run_away_and_the_dead_are_told(fit):
    assert summary.warnings(fit, list("ABC")) == []
    dead = fit.values.copy()
    dead[:, 1] = 1e-10
    odd = replace(fit, values=dead, affinity=fit.affinity * 20)
    first, second = summary.warnings(odd, list("ABC"))
    assert "60" in first and second.startswith("B:")


def test_another_order_moves_all_parts(fit):
    turned = summary.reordered(fit, np.array([2, 0, 1]))
    assert turned.affinity.diagonal().tolist() == [3, -1, -2]
    np.testing.assert_array_equal(turned.metagenes[:, 0], fit.metagenes[:, 2])
    np.testing.assert_array_equal(turned.values[:, 1], fit.values[:, 0])


def test_a_model_comes_back(fit, tmp_path):
    path = tmp_path / "model.npz"
    summary.write_model(path, fit, np.arange(5.0), list("ABC"), ["t", None, None])
    found, floors, names, types = summary.read_model(path)
    np.testing.assert_array_equal(found.metagenes, fit.metagenes)
    np.testing.assert_array_equal(found.affinity, fit.affinity)
    assert (found.noise, floors.tolist()) == (0.1, [0, 1, 2, 3, 4])
    assert (names, types) == (list("ABC"), ["t", None, None])


def test_what_is_no_model_is_refused(fit, tmp_path):
    path = tmp_path / "model.npz"
    for content in (b"", b"PK", b"text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no model of metagenes"):
            summary.read_model(path)
    with pytest.raises(InputError, match="no model of metagenes"):
        summary.read_model(tmp_path / "none.npz")
    summary.write_model(path, fit, np.arange(5.0), list("ABC"), [None] * 3)
    whole = path.read_bytes()
    for damaged in (whole[:-40], whole[:200] + bytes(20) + whole[220:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="no model of metagenes"):
            summary.read_model(path)
    summary.write_model(path, replace(fit, noise=-1.0), np.arange(5.0), list("ABC"), [None] * 3)
    with pytest.raises(InputError, match="do not fit"):
        summary.read_model(path)
    summary.write_model(path, fit, np.arange(4.0), list("ABC"), [None] * 3)
    with pytest.raises(InputError, match="do not fit"):
        summary.read_model(path)
