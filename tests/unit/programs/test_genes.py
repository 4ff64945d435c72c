"""Genes of a metagene: markers, loadings and sets by plain computations."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import mannwhitneyu

from lloki.programs import genes

SYMBOLS = [f"G{i}" for i in range(12)]


@pytest.fixture
def slice():
    """500 cells; genes 0 and 1 follow the first metagene, 2 the second, 11 is constant."""
    rng = np.random.default_rng(0)
    z = rng.dirichlet(np.full(3, 0.4), 500)
    rate = np.full((500, 12), 0.5)
    rate[:, :2] += 6 * z[:, [0]]
    rate[:, 2] += 6 * z[:, 1]
    counts = rng.poisson(rate).astype(np.float32)
    counts[:, 11] = 1
    return z.astype(np.float32), sp.csr_matrix(np.log1p(counts)), sp.csr_matrix(counts)


def test_markers_are_by_the_cells_that_have_most(slice):
    z, expression, counts = slice
    table = genes.markers("s", z, expression, counts, SYMBOLS, ["M1", "M2", "M3"], ["g7"])
    first = table[table["metagene"] == "M1"]
    assert set(first["gene"][:2]) == {"G0", "G1"}
    assert "G7" in set(table[table["metagene"] == "M3"]["gene"])
    row = first.iloc[0]
    high = z[:, 0] > np.quantile(z[:, 0], 0.95)
    own = counts[:, [SYMBOLS.index(row["gene"])]].toarray().ravel()
    assert row["mean_above"] == pytest.approx(own[high].mean())
    assert row["share_below"] == pytest.approx((own[~high] > 0).mean())
    change = np.log2((own[high].mean() + 0.01) / (own[~high].mean() + 0.01))
    assert row["log2_fold_change"] == pytest.approx(change, rel=1e-5)
    assert row["cells_above"] == high.sum() == 25


def test_a_metagene_that_is_nowhere_has_no_markers(slice):
    z, expression, _ = slice
    z = np.column_stack([z, np.full(500, 1e-10)])
    table = genes.markers("s", z, expression, None, SYMBOLS, ["M1", "M2", "M3", "M4"])
    assert set(table["metagene"]) == {"M1", "M2", "M3"}


def test_loadings_are_those_of_least_squares(slice):
    z, expression, _ = slice
    found, error = genes.loadings(z, expression)
    dense = expression.toarray()
    slopes = np.linalg.lstsq(z, dense, rcond=None)[0]
    expected = (slopes - dense.mean(axis=0)) / np.maximum(dense.std(axis=0), 1e-300)
    np.testing.assert_allclose(found[:, :11], expected[:, :11], atol=0.05)
    assert np.isnan(found[:, 11]).all()
    assert found[0, 0] > 1 > -1 > found[2, 0] - 0.5
    left = dense[:, 0] - z @ slopes[:, 0]
    plain = np.sqrt(left @ left / 497 * np.linalg.inv(z.T @ z)[0, 0]) / dense[:, 0].std()
    assert error[0, 0] == pytest.approx(plain, rel=0.02)


def test_loadings_of_panels_are_joined_by_gene():
    one = ["Aa", "Bb"], np.array([[2.0, 1.0]]), np.array([[1.0, 1.0]])
    two = ["AA", "Cc"], np.array([[-1.0, np.nan]]), np.array([[0.5, 1.0]])
    found = genes.combined({"x": one, "y": two}, ["M1"]).set_index("gene")
    assert found.index.tolist() == ["Bb", "Aa"]
    assert found.loc["Aa", "loading"] == pytest.approx((2 - 4) / 5)
    assert found.loc["Aa", "z"] == pytest.approx((2 - 4) / np.sqrt(5))
    assert found.loc["Aa", ["slices", "agree"]].tolist() == [2, 1]
    assert found.loc["Bb", ["slices", "agree"]].tolist() == [1, 1]


def test_a_set_is_tested_by_ranks():
    rng = np.random.default_rng(0)
    names = [f"G{i}" for i in range(100)]
    table = pd.DataFrame({"metagene": "M1", "gene": names, "z": rng.normal(size=100)})
    table.loc[:9, "z"] += 3
    sets = {"up": names[:10], "other": names[40:60], "few": names[:4], "absent": ["X", "Y"]}
    found = genes.gene_sets(table, sets).set_index("set")
    assert set(found.index) == {"up", "other"}
    plain = {"alternative": "greater", "method": "asymptotic", "use_continuity": False}
    test = mannwhitneyu(table["z"][:10], table["z"][10:], **plain)
    assert found.loc["up", "p"] == pytest.approx(test.pvalue)
    assert found.loc["up", "auc"] == pytest.approx(test.statistic / 900)
    assert found.loc["up", "fdr"] == pytest.approx(min(1, 2 * test.pvalue))
    assert genes.gene_sets(table, {"few": names[:4]}).empty
