"""Markers: scanpy's test in each slice, and what several slices say together."""

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from scipy.stats import combine_pvalues, false_discovery_control, mannwhitneyu, norm

from lloki.annotation.markers import FEWEST, SURE, combined, rank_sums, shown


def slice_of(n=300, genes=12, k=3, seed=0):
    """Expression with ties and zeros, in which gene i is higher in cluster i; and clusters."""
    rng = np.random.default_rng(seed)
    clusters = rng.integers(k, size=n)
    counts = rng.poisson(0.7, (n, genes)).astype(np.float32)
    for cluster in range(k):
        counts[clusters == cluster, cluster] += rng.poisson(2, (clusters == cluster).sum())
    counts[:, -1] = 0
    return sp.csr_matrix(np.log1p(counts)), clusters


def test_each_gene_is_tested_as_by_scanpy():
    matrix, clusters = slice_of()
    data = ad.AnnData(matrix)
    data.obs["cluster"] = clusters.astype(str)
    data.obs["cluster"] = data.obs["cluster"].astype("category")
    sc.tl.rank_genes_groups(data, "cluster", method="wilcoxon", tie_correct=True, pts=True)
    found = rank_sums(matrix, clusters, 3)
    for cluster in range(3):
        table = sc.get.rank_genes_groups_df(data, str(cluster)).set_index("names")
        table = table.loc[data.var_names]
        wanted = np.nan_to_num(table["scores"].to_numpy())
        np.testing.assert_allclose(found.z[cluster], wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.share[cluster], table["pct_nz_group"], atol=1e-6)
        np.testing.assert_allclose(found.rest[cluster], table["pct_nz_reference"], atol=1e-6)


def test_fold_changes_are_of_means_without_logarithm():
    matrix, clusters = slice_of()
    counts, own = np.expm1(matrix.toarray()), clusters == 2
    wanted = np.log2((counts[own].mean(axis=0) + 0.01) / (counts[~own].mean(axis=0) + 0.01))
    np.testing.assert_allclose(rank_sums(matrix, clusters, 3).change[2], wanted, rtol=1e-4)


def test_auc_is_that_of_mann_and_whitney():
    matrix, clusters = slice_of()
    found, dense = rank_sums(matrix, clusters, 3), matrix.toarray()
    for gene in (0, 5, 11):
        own = clusters == 1
        u = mannwhitneyu(dense[own, gene], dense[~own, gene]).statistic
        np.testing.assert_allclose(found.auc[1, gene], u / (own.sum() * (~own).sum()), rtol=1e-6)


def test_a_cluster_of_few_cells_is_not_asked():
    matrix, clusters = slice_of()
    clusters[:] = 0
    clusters[: FEWEST - 1] = 1
    clusters[FEWEST : 3 * FEWEST] = 2
    found = rank_sums(matrix, clusters, 4)
    assert np.isnan(found.z[1]).all() and np.isnan(found.auc[3]).all()
    assert not np.isnan(found.z[2]).any()


@pytest.fixture(scope="module")
def three():
    """Slices of genes 0-11, 0-5 and 6-11; what each says."""
    found = {}
    for i, (name, own) in enumerate({"a": range(12), "b": range(6), "c": range(6, 12)}.items()):
        matrix, clusters = slice_of(200 + 100 * i, seed=i)
        found[name] = np.array(own), rank_sums(matrix[:, list(own)], clusters, 3)
    return found, np.array([f"g{i}" for i in range(12)], dtype=object)


def test_slices_are_combined_by_stouffer(three):
    slices, genes = three
    table = combined(slices, genes)
    assert (table.groupby("cluster").size() == 12).all()
    rows = table.query("cluster == 1").set_index("gene")
    for gene in (1, 8):
        those = [slices["a"], slices["b" if gene < 6 else "c"]]
        z, weights = [], []
        for columns, one in those:
            z.append(one.z[1, np.flatnonzero(columns == gene)[0]])
            weights.append(np.sqrt(one.cells[1] * one.others[1] / (one.cells[1] + one.others[1])))
        p = combine_pvalues(norm.sf(z), "stouffer", weights).pvalue
        np.testing.assert_allclose(norm.sf(rows.loc[f"g{gene}", "z"]), p, rtol=1e-6)
        assert rows.loc[f"g{gene}", "slices"] == 2
    np.testing.assert_allclose(rows["fdr"], false_discovery_control(rows["p"]))
    sure = table[table["fdr"] < SURE]
    assert (sure.groupby("cluster")["auc"].diff().dropna() <= 0).all()
    assert (sure.index == np.sort(sure.index)).all() and len(sure) < len(table)
    assert table.groupby("cluster")["gene"].first().tolist() == ["g0", "g1", "g2"]


def test_a_gene_of_one_panel_is_found(three):
    slices, genes = three
    alone = {"a": slices["a"], "c": slices["c"]}
    table = combined(alone, genes)
    first = table.groupby("cluster").first()
    assert first["gene"].tolist() == ["g0", "g1", "g2"] and (first["slices"] == 1).all()
    assert (first["fdr"] < 1e-3).all() and (first["auc"] > 0.7).all()


def test_a_gene_that_no_slice_asked_is_left_out(three):
    slices, genes = three
    table = combined({"b": slices["b"]}, genes)
    assert set(table["gene"]) == {f"g{i}" for i in range(6)}


def test_the_order_of_slices_does_not_matter(three):
    slices, genes = three
    first = combined(slices, genes)
    again = combined(dict(reversed(slices.items())), genes)
    np.testing.assert_allclose(first["z"], again["z"])
    assert (first["gene"] == again["gene"]).all()


def test_the_best_of_each_cluster_are_shown_once(three):
    table = combined(*three)
    assert shown(table, 1) == ["g0", "g1", "g2"]
    more = shown(table, 12)
    assert len(more) == len(set(more)) < 12
