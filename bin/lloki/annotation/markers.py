"""Genes that mark clusters, in every slice that measured them, and combined over slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import false_discovery_control, norm, rankdata

FEWEST = 10  # cells of a cluster, and others, that a slice needs to be asked
LITTLE = 0.01  # added to both means of a fold change
SURE = 0.05  # FDR of a marker, below


class RankSums(NamedTuple):
    """A slice's genes in each cluster (K × G, NaN where the slice was not asked), and cells (K)."""

    z: np.ndarray
    auc: np.ndarray
    change: np.ndarray
    share: np.ndarray
    rest: np.ndarray
    cells: np.ndarray
    others: np.ndarray


def rank_sums(expression: sp.csr_matrix, clusters: np.ndarray, k: int) -> RankSums:
    """Wilcoxon's rank sum test of each gene of a slice, each cluster against all other cells.

    expression: n × G CSR, log1p of normalised counts, not negative; clusters: of each cell, 0 to
    k - 1. z: normal approximation, ties corrected, as scanpy's `tie_correct`; auc: the chance that
    a cell of the cluster has more of the gene than another (half for equal ones); change: log2 of
    the means' ratio, logarithms taken off; share, rest: that express it, in the cluster and beside.
    """
    n, genes = expression.shape
    cells = np.bincount(clusters, minlength=k).astype(np.float64)
    others = n - cells
    ranks, sums, seen = np.zeros((3, k, genes))
    ties = np.zeros(genes)
    columns = sp.csc_matrix(expression)
    for gene in range(genes):
        own = slice(*columns.indptr[gene : gene + 2])
        values, where = columns.data[own], clusters[columns.indices[own]]
        values, where = values[values > 0], where[values > 0]
        zeros = n - len(values)
        rank, ties[gene] = _ranks(values, zeros)
        held = np.bincount(where, minlength=k)
        ranks[:, gene] = np.bincount(where, rank, k) + (cells - held) * (zeros + 1) / 2
        sums[:, gene] = np.bincount(where, np.expm1(values, dtype=np.float64), k)
        seen[:, gene] = held
    first, second = cells[:, None], others[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        above = ranks - first * (first + 1) / 2
        spread = np.sqrt(first * second / 12 * (n + 1 - ties / (n * max(n - 1, 1))))
        z = np.divide(
            above - first * second / 2, spread, out=np.zeros_like(above), where=spread > 0
        )
        mean, base = sums / first, (sums.sum(axis=0) - sums) / second
        found = (
            z, above / (first * second), np.log2((mean + LITTLE) / (base + LITTLE)),
            seen / first, (seen.sum(axis=0) - seen) / second,
        )  # fmt: skip
    asked = ((cells >= FEWEST) & (others >= FEWEST))[:, None]
    return RankSums(*(np.where(asked, one, np.nan) for one in found), cells, others)


def _ranks(values: np.ndarray, zeros: int) -> tuple[np.ndarray, float]:
    """Ranks of values (> 0) above so many zeros, and the sum of t³ - t over all ties."""
    rank = rankdata(values) + zeros
    times = np.unique(values, return_counts=True)[1].astype(np.float64)
    return rank, float((times**3 - times).sum() + float(zeros) ** 3 - zeros)


def combined(slices: Mapping[str, tuple[np.ndarray, RankSums]], genes: np.ndarray) -> pd.DataFrame:
    """Markers of each cluster over the slices that measured a gene: a row a cluster and gene.

    slices: of each the place of its genes among `genes`, and its `rank_sums`. z: Stouffer's sum,
    each slice by the root of m (N - m) / N, cells of the cluster m among N: what its own test can
    tell. auc, fold change and shares: means by the same weights squared. slices: that measured
    the gene and have enough cells to be asked; agree: of those, with the sign of z; fdr: Benjamini
    and Hochberg, over the genes of a cluster. In each cluster those with an FDR below SURE first,
    by auc, which does not grow with the slices that measure a gene; genes that no slice could test
    are left out.
    """
    k = len(next(iter(slices.values()))[1].cells)
    total, weight, number, up = np.zeros((4, k, len(genes)))
    means = np.zeros((4, k, len(genes)))
    for columns, one in slices.values():
        power = one.cells * one.others / np.maximum(one.cells + one.others, 1)
        power = np.where(np.isnan(one.z), 0, power[:, None])
        total[:, columns] += np.nan_to_num(one.z) * np.sqrt(power)
        weight[:, columns] += power
        number[:, columns] += power > 0
        up[:, columns] += np.nan_to_num(one.z) > 0
        for mean, values in zip(means, (one.auc, one.change, one.share, one.rest), strict=True):
            mean[:, columns] += np.nan_to_num(values) * power
    tables = []
    for cluster in range(k):
        own = np.flatnonzero(number[cluster] > 0)
        power = weight[cluster, own]
        z = total[cluster, own] / np.sqrt(power)
        p = 2 * norm.sf(np.abs(z))
        auc, change, share, rest = means[:, cluster, own] / power
        some = number[cluster, own].astype(int)
        agree = np.where(z > 0, up[cluster, own], some - up[cluster, own]).astype(int)
        table = pd.DataFrame({
            "cluster": cluster, "gene": genes[own], "slices": some, "agree": agree, "z": z,
            "auc": auc, "log2_fold_change": change, "share": share, "share_others": rest, "p": p,
            "fdr": false_discovery_control(p) if len(p) else p,
        })  # fmt: skip
        sure = (table["fdr"] < SURE).to_numpy()
        tables.append(table.iloc[np.lexsort([table["gene"], -table["auc"], ~sure])])
    return pd.concat(tables, ignore_index=True)


def shown(table: pd.DataFrame, best: int = 3) -> list[str]:
    """Genes for a picture: the `best` markers of each cluster, in the order of clusters, once each.

    table: of `combined`, best first. Markers have an FDR below SURE, and are higher in the cluster.
    """
    table = table[(table["fdr"] < SURE) & (table["auc"] > 0.5)]
    return list(dict.fromkeys(table.groupby("cluster", sort=False).head(best)["gene"]))
