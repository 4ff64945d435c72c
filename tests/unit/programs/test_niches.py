"""Niche programs against plain computations, and on slices with and without a planted one."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from niche_slices import DOWN, UP, fitted, made_up
from scipy.stats import pearsonr, rankdata

from lloki.programs import niche_field, niche_genes, niches
from lloki.programs.niche_sides import Side


def side_of(seed, genes, tested, n=120, clusters=4, name="s"):
    """A slice of random values: counts with ties."""
    rng = np.random.default_rng(seed)
    values = rng.poisson(1.5, (n, len(genes))).astype(float)
    measured = np.array(genes)
    return values, Side(
        name, name, rng.random((n, 2)) * 100, rng.random(n), 5.0, rng.integers(0, clusters, n),
        niche_genes.centred_ranks(values[:, tested]).astype(np.float32), measured[tested],
        niche_genes.standard(values).astype(np.float32), measured,
    )  # fmt: skip


def test_z_is_that_of_scanpys_wilcoxon_test():
    values, side = side_of(0, range(6), np.arange(6))
    group = np.array([[True], [False], [True], [False]])
    z, inside, outside = niches.group_z(side.ranks, side.clusters, np.ones(120, bool), group)
    own = group[side.clusters, 0]
    data = ad.AnnData(values, obs=pd.DataFrame({"g": np.where(own, "in", "out")}))
    data.obs["g"] = data.obs["g"].astype("category")
    sc.tl.rank_genes_groups(data, "g", ["in"], "out", method="wilcoxon", tie_correct=True)
    found = sc.get.rank_genes_groups_df(data, "in").set_index("names")["scores"]
    np.testing.assert_allclose(z[0], found.loc[data.var_names], rtol=1e-3, atol=1e-3)
    assert (inside[0], outside[0]) == (own.sum(), (~own).sum())


def test_z_of_a_part_and_of_too_few():
    _, side = side_of(1, range(3), np.arange(3))
    train = np.arange(120) < 90
    group = np.array([[True, False], [False, False], [False, False], [False, False]])
    z, *_ = niches.group_z(side.ranks, side.clusters, train, group)
    r, own = side.ranks[train].astype(float), side.clusters[train] == 0
    n, n1 = 90, own.sum()
    spread = np.sqrt(n1 * (n - n1) / n * r.var(axis=0, ddof=1))
    np.testing.assert_allclose(z[0], (r[own].sum(0) - n1 * r.mean(0)) / spread, rtol=1e-5)
    assert np.isnan(z[1]).all()


def test_weights_and_directions_by_hand():
    """Three genes in two slices, of which the second did not measure gene 2."""
    sides = [side_of(2, [0, 1, 2], np.arange(3), name="a")[1],
             side_of(3, [0, 1], np.arange(2), n=60, name="b")[1]]  # fmt: skip
    for side in sides:  # gene 0 up, gene 1 down in cluster 0
        own = side.clusters == 0
        values = np.random.default_rng(4).random((len(own), side.ranks.shape[1]))
        values[own, 0] += 2
        values[own, 1] -= 2
        side.ranks[:] = niche_genes.centred_ranks(values)
    u = [np.where(s.clusters == 0, 0.4, -0.2).astype(np.float32)[:, None] for s in sides]
    everyone = [np.ones(len(s.values), bool) for s in sides]
    found = niches.weigh(sides, u, everyone, 3)
    assert found.group[:, 0].tolist() == [True, False, False, False]
    z = [niches.group_z(s.ranks, s.clusters, e, found.group)[0][0]
         for s, e in zip(sides, everyone, strict=True)]  # fmt: skip
    r = [2 * (rankdata(one) - 0.5) / len(one) - 1 for one in z]
    w = []
    for s in sides:
        n1, n = (s.clusters == 0).sum(), len(s.clusters)
        w.append(np.sqrt(n1 * (n - n1) / n))
    expected = [(w[0] * r[0][g] + w[1] * r[1][g]) / sum(w) for g in (0, 1)] + [r[0][2]]
    np.testing.assert_allclose(found.weight[0], expected, rtol=1e-6)
    assert found.up[0].tolist()[:2] == [True, False] and found.down[0].tolist()[:2] == [False, True]
    sides[1].ranks *= -1  # the slices disagree
    found = niches.weigh(sides, u, everyone, 3)
    assert not found.up[0, :2].any() and not found.down[0, :2].any()
    first = niches.weigh(sides[:1], u[:1], everyone[:1], 3, chosen=np.arange(4) == 0)
    assert first.up[0, 0]


def test_at_most_so_many_genes_go_each_way():
    _, side = side_of(5, range(30), np.arange(30))
    side.ranks[side.clusters == 1] += np.linspace(-1, 1, 30)
    u = [(side.clusters == 1).astype(np.float32)[:, None]]
    found = niches.weigh([side], u, [np.ones(120, bool)], 30, top=4)
    assert np.flatnonzero(found.up[0]).tolist() == [26, 27, 28, 29]
    assert found.down[0].sum() == 4


def test_a_score_is_over_the_genes_that_a_slice_measured():
    _, side = side_of(6, [0, 2, 3], np.arange(3))
    up, down = np.array([[True, True, False, False]]), np.array([[False, False, True, True]])
    plain = side.levels[:, 0] - (side.levels[:, 1] + side.levels[:, 2]) / 2
    np.testing.assert_allclose(
        niches.score(side, up, down)[:, 0], plain / plain.std(), rtol=1e-4, atol=1e-5
    )
    assert not niches.score(side, up[:, [1] * 4] * False, down * False).any()


def test_correlations_are_within_slices():
    rng = np.random.default_rng(0)
    s, v = rng.random((2, 100, 1))
    s[50:] += 5
    v[50:] += 5
    found = niches.correlation([s[:50], s[50:]], [v[:50], v[50:]])[0]
    centred = [np.concatenate([x[:50] - x[:50].mean(), x[50:] - x[50:].mean()])[:, 0]
               for x in (s, v)]  # fmt: skip
    assert found == pytest.approx(pearsonr(*centred).statistic)


def test_cross_fitting_uses_nothing_of_what_is_held_out():
    fit, sides, _ = fitted({"s": made_up(0, 800, program=0.5)}, nulls=0)
    assert fit.held_out == "blocks"
    u = [niche_field.ranked(sides[0].values[:, None])]
    for fold in range(5):
        out = fit.folds[0] == fold
        train = niche_field.beyond(sides[0].places, out, sides[0].radius)
        assert 0 < train.sum() < (~out).sum()
        program = niches.weigh(sides, u, [train], len(fit.genes))
        own = niches.score(sides[0], program.up, program.down)[:, 0]
        np.testing.assert_allclose(fit.scores[0][out], own[out], rtol=1e-5)
    # the score of a cell is the same whatever its own field is
    turned = sides[0].values.copy()
    out = fit.folds[0] == 0
    u[0][out] = u[0][out][::-1]
    again = niches.crossfit(sides, fit.folds, u, len(fit.genes))
    np.testing.assert_allclose(again[0][out][:, 0], fit.scores[0][out], rtol=1e-5)
    np.testing.assert_array_equal(turned, sides[0].values)


def test_slices_are_held_out_where_there_are_enough():
    slices = {name: made_up(i, 900, program=0.8) for i, name in enumerate("abc")}
    fit, sides, _ = fitted(slices, nulls=19)
    assert fit.held_out == "slices"
    assert [set(f) for f in fit.folds] == [{0}, {1}, {2}]
    assert fit.r[0] > 0.2 and niches.chance(fit.r) == 0.05
    for side in sides:
        side.unit = "one patient"
    assert niches.folds_of(sides, fit.program, 5)[0] == "blocks"


def test_a_planted_program_is_found_with_its_genes_near_the_truth():
    slice = made_up(11, 1500, program=0.8)
    fit, sides, _ = fitted({"s": slice})
    assert niches.chance(fit.r) <= 0.05
    up, down = fit.genes[fit.program.up[0]], fit.genes[fit.program.down[0]]
    assert {f"G{i}" for i in UP} <= set(up) and {f"G{i}" for i in DOWN} <= set(down)
    levels, genes = sides[0].levels, sides[0].measured
    true = levels[:, np.isin(fit.genes[genes], [f"G{i}" for i in UP])].mean(axis=1)
    true = true - levels[:, np.isin(fit.genes[genes], [f"G{i}" for i in DOWN])].mean(axis=1)
    assert fit.r[0] == pytest.approx(pearsonr(true, sides[0].values).statistic, abs=0.1)


def test_no_program_no_alarm_but_the_naive_test_cries():
    """Twenty slices whose states lie in patches of their own (benchmarks/niches.py: a hundred)."""
    alarms, naive, r = 0, 0, []
    for seed in range(20):
        fit, sides, _ = fitted({"s": made_up(100 + seed, 900)}, nulls=39, seed=seed)
        alarms += niches.chance(fit.r) <= 0.05
        naive += pearsonr(fit.naive_scores[0], sides[0].values).pvalue <= 0.05
        r.append(fit.r[0])
    assert alarms <= 4 and naive >= 12
    assert abs(np.mean(r)) < 0.1


def test_leaked_transcripts_make_no_program():
    """B is rich, and has more of some genes of F; half of its counts are in its neighbours."""
    r, alarms = {}, {}
    for guard in (True, False):
        fits = [
            fitted({"s": made_up(s, 900, leak=0.5)}, k=8, leak_guard=guard, seed=s)
            for s in range(20)
        ]
        r[guard] = np.mean([fit.r[0] for fit, *_ in fits])
        alarms[guard] = sum(niches.chance(fit.r) <= 0.05 for fit, *_ in fits)
        guarded = fits[0][2]["s"].table["guarded"]
        assert guarded[20:40].all() == guard and not guarded[:20].any()
    assert alarms[True] <= 3 < 6 <= alarms[False] and r[True] < r[False] - 0.1


def test_a_program_of_one_slice_is_laid_on_another():
    fit, *_ = fitted({"s": made_up(11, 1500, program=0.8)}, nulls=0)
    chosen = fit.program.up[0] | fit.program.down[0]
    keys, up = fit.genes[chosen], fit.program.up[0][chosen]
    for program, there in ((0.8, True), (0.0, False)):
        _, sides, _ = fitted({"t": made_up(12, 1500, program=program)}, nulls=0, wanted=keys)
        found = niches.laid_on(sides, keys, up, nulls=39)
        assert found.held_out == "model" and len(found.r) == 40
        assert (niches.chance(found.r) <= 0.05) == there
        np.testing.assert_array_equal(found.scores[0], found.naive_scores[0])


def test_one_seed_gives_one_answer_and_nulls_differ():
    slice = {"s": made_up(3, 700)}
    first, second = (fitted(slice, nulls=9)[0] for _ in range(2))
    np.testing.assert_array_equal(first.r, second.r)
    assert len(set(np.round(first.r, 6))) == 10
    more = fitted(slice, nulls=60)[0]
    np.testing.assert_allclose(more.r[:10], first.r, rtol=1e-5)
