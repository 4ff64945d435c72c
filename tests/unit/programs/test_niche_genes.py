"""Genes of the focus cells: stage one, the guard, ranks and scores by plain computations."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import rankdata

from lloki.programs import niche_genes

SYMBOLS = ["A", "B", "C", "D", "E", "a"]  # the last is the first again


@pytest.fixture
def slice():
    """200 cells, 80 in focus: A and B are theirs, C the neighbours', D all cells', E rare."""
    rng = np.random.default_rng(0)
    focus, around = np.arange(200) < 80, np.arange(200) >= 140
    rate = np.full((200, 6), 0.2)
    rate[focus, :2], rate[around, 2], rate[:, 3] = 5, 6, 4
    rate[:, 4] = np.where(focus, 0.02, 0.001)
    return sp.csr_matrix(rng.poisson(rate).astype(np.float32)), focus, around


def genes_of(slice, elsewhere=(), **options):
    counts, focus, around = slice
    means = niche_genes.side_means(counts, {"f": focus, "o": ~focus, "n": around})
    means["elsewhere"] = np.zeros(6)
    for i in elsewhere:
        means["elsewhere"][i] = 3.1 * means["f"][i]
    return niche_genes.focus_genes(counts[focus], SYMBOLS, *means.values(), **options)


def test_means_are_of_normalised_counts(slice):
    counts, focus, around = slice
    dense = counts.toarray()
    total = dense.sum(axis=1, keepdims=True)
    dense = dense / np.maximum(total, 1) * np.median(total[total > 0])
    found = niche_genes.side_means(counts, {"f": focus, "n": around})
    np.testing.assert_allclose(found["f"], dense[focus].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["n"], dense[around].mean(axis=0), rtol=1e-5)


def test_stage_one_takes_what_is_theirs(slice):
    counts, focus, _ = slice
    found = genes_of(slice)
    assert found.table.loc[found.table["tested"], "gene"].tolist() == ["A", "B"]
    means = niche_genes.side_means(counts, {"f": focus, "n": slice[2]})
    assert (found.table["guarded"] == (means["n"] > means["f"])).all()
    assert "C" not in found.keys and len(set(found.keys)) == len(found.keys)
    dense = counts.toarray()
    dense = dense / np.maximum(dense.sum(axis=1, keepdims=True), 1)
    change = np.log(dense[focus, 0].mean() / dense[~focus, 0].mean())
    assert found.table["focus_against_others"][0] == pytest.approx(change, rel=1e-4)
    assert found.table["share"][4] == pytest.approx((counts[focus][:, [4]].toarray() > 0).mean())
    assert genes_of(slice, elsewhere=[0]).table["guarded"][0] and not found.table["guarded"][0]
    assert genes_of(slice, min_share=0, min_change=-9, guard=False).table["tested"].sum() >= 4


@pytest.mark.parametrize("guard", [True, False])
def test_levels_are_by_the_sum_of_the_genes_that_are_theirs(slice, guard):
    counts, focus, _ = slice
    found = genes_of(slice, guard=guard)
    columns = [SYMBOLS.index(key) for key in found.keys]
    dense = counts[focus].toarray()[:, columns].astype(float)
    total = dense[:, found.own | (not guard)].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        found.levels.toarray(), np.log1p(dense / total * np.median(total)), rtol=1e-5
    )


def test_leak_is_the_share_of_the_neighbours_markers(slice):
    counts, focus, _ = slice
    dense = counts[focus].toarray()
    np.testing.assert_allclose(genes_of(slice).leak, dense[:, 2] / dense.sum(axis=1), rtol=1e-5)


def test_ranks_and_standard_scores(slice):
    found = genes_of(slice)
    chosen = np.array([1, 0])
    dense = found.levels.toarray()[:, chosen].astype(float)
    ranks = niche_genes.columns_of(found.levels, chosen, niche_genes.centred_ranks)
    np.testing.assert_allclose(ranks, (rankdata(dense, axis=0) - 40.5) / 80, atol=1e-6)
    levels = niche_genes.columns_of(found.levels, chosen, niche_genes.standard)
    np.testing.assert_allclose(levels, (dense - dense.mean(0)) / dense.std(0), atol=1e-5)
    assert not niche_genes.standard(np.ones((5, 1))).any()
