"""Metagenes as programs of genes: markers in each slice's own panel, loadings, sets of genes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import false_discovery_control, norm, rankdata

from lloki.programs.metagenes import SEEN
from lloki.slices.genes import match_keys

HIGH = 0.95  # quantile of a metagene above which cells are its own
TOP = 30  # markers of a metagene in a slice
COMMON = 0.05  # least share of those cells that express a marker
LITTLE = 0.01  # count added to both means of a fold change
RIDGE = 1e-3
SET_SIZES = 5, 500  # measured genes of a set


def markers(
    sample: str,
    proportions: np.ndarray,
    expression: sp.csr_matrix,
    counts: sp.csr_matrix | None,
    symbols: Sequence[str],
    names: Sequence[str],
    asked: Collection[str] = (),
) -> pd.DataFrame:
    """Genes higher in the cells above the HIGH quantile of a metagene than in the others.

    proportions: n × K; expression: n × G, log1p of normalised counts (without `counts`: as given);
    counts: raw. Means are of counts where there are any; the fold change (log2) is of normalised
    counts. The TOP ones a metagene, and those `asked` for.
    """
    level = expression.expm1() if counts is not None else expression
    shown = expression if counts is None else counts
    seen = sp.csr_matrix((np.ones(shown.nnz, np.float32), shown.indices, shown.indptr), shown.shape)
    wanted = np.isin(match_keys(symbols), match_keys(asked))
    tables = []
    for i, name in enumerate(names):
        z = proportions[:, i]
        high = (z > np.quantile(z, HIGH)) & (z > SEEN)
        n, others = int(high.sum()), int((~high).sum())
        if not n or not others:
            continue
        sides = np.vstack([high / n, ~high / others])
        (mean, base), (share, rest), (top, low) = (sides @ m for m in (shown, seen, level))
        change = np.log2((top + LITTLE) / (low + LITTLE))
        ranked = np.argsort(-np.where(share >= COMMON, change, -np.inf), kind="stable")[:TOP]
        ranked = ranked[(share[ranked] >= COMMON) & (change[ranked] > 0)]
        kept = np.concatenate([ranked, np.setdiff1d(np.flatnonzero(wanted), ranked)])
        tables.append(pd.DataFrame({
            "metagene": name, "sample": sample, "gene": np.asarray(symbols, dtype=object)[kept],
            "mean_above": mean[kept], "mean_below": base[kept], "share_above": share[kept],
            "share_below": rest[kept], "log2_fold_change": change[kept], "cells_above": n,
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def loadings(proportions: np.ndarray, expression: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Each gene of a slice on the metagenes, and the standard errors (K × G).

    Ridge regression of the expression (n × G) on the mixtures (n × K, rows sum 1, so without
    intercept). The loading is what a cell of one metagene alone would have above the gene's mean,
    in standard deviations of the gene; NaN for one that does not vary.
    """
    z, expression = proportions.astype(np.float64), expression.astype(np.float64)
    n, k = z.shape
    inverse = np.linalg.inv(z.T @ z + RIDGE * n / k * np.eye(k))
    shared = np.asarray(expression.T @ z).T  # K × G
    slopes = inverse @ shared
    mean = np.asarray(expression.mean(axis=0)).ravel()
    squares = np.asarray(expression.multiply(expression).sum(axis=0)).ravel()
    spread = np.sqrt(np.maximum(squares / n - mean**2, 0))
    fitted = 2 * (slopes * shared).sum(axis=0) - np.einsum("kg,kl,lg->g", slopes, z.T @ z, slopes)
    left = np.sqrt(np.maximum(squares - fitted, 0) / max(n - k, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(spread > 1e-9, (slopes - mean) / spread, np.nan)
        error = np.sqrt(np.diag(inverse))[:, None] * np.maximum(left, 1e-6 * spread) / spread
    return found, error


def combined(
    parts: Mapping[str, tuple[Sequence[str], np.ndarray, np.ndarray]], names: Sequence[str]
) -> pd.DataFrame:
    """Loadings of every gene of every panel, over the slices that measured it.

    parts: symbols, loadings and errors of each slice. Mean by inverse variance; z: of that mean;
    slices: that measured the gene; agree: those of them with the mean's sign. Largest z first.
    """
    long = []
    for symbols, loading, error in parts.values():
        keys = match_keys(symbols)
        first = ~pd.Index(keys).duplicated()
        for i, name in enumerate(names):
            long.append(pd.DataFrame({
                "metagene": name, "key": keys[first],
                "gene": np.asarray(symbols, dtype=object)[first],
                "loading": loading[i][first], "error": error[i][first],
            }))  # fmt: skip
    table = pd.concat(long, ignore_index=True).dropna(subset="loading")
    table["weight"] = 1 / table["error"] ** 2
    table["weighted"] = table["weight"] * table["loading"]
    groups = table.groupby(["metagene", "key"], sort=False)
    found = groups.agg(
        gene=("gene", "first"), weighted=("weighted", "sum"), weight=("weight", "sum"),
        slices=("gene", "size"), up=("loading", lambda x: int((x > 0).sum())),
    ).reset_index()  # fmt: skip
    found["loading"] = found["weighted"] / found["weight"]
    found["z"] = found["weighted"] / np.sqrt(found["weight"])
    found["agree"] = np.where(found["loading"] > 0, found["up"], found["slices"] - found["up"])
    place = {name: i for i, name in enumerate(names)}
    found["place"] = found["metagene"].map(place)
    found = found.sort_values(["place", "z"], ascending=[True, False], kind="stable")
    return found[["metagene", "gene", "loading", "z", "slices", "agree"]].reset_index(drop=True)


def gene_sets(genes: pd.DataFrame, sets: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """Sets of genes whose z (of `combined`) is higher than that of the other measured genes.

    Rank test (Mann-Whitney, one-sided, normal approximation); FDR over all sets and metagenes.
    Sets of SET_SIZES measured genes. AUC: chance that one of the set is above one that is not.
    """
    keyed = {name: set(match_keys(members)) for name, members in sets.items()}
    rows = []
    for metagene, table in genes.groupby("metagene", sort=False):
        keys, ranks = match_keys(table["gene"]), rankdata(table["z"])
        for name, members in keyed.items():
            inside = np.isin(keys, list(members))
            n, m = int(inside.sum()), int((~inside).sum())
            if not SET_SIZES[0] <= n <= SET_SIZES[1] or not m:
                continue
            u = ranks[inside].sum() - n * (n + 1) / 2
            z = (u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)
            rows.append((metagene, name, n, u / (n * m), z, float(norm.sf(z))))
    found = pd.DataFrame(rows, columns=["metagene", "set", "genes", "auc", "z", "p"])
    found["fdr"] = false_discovery_control(found["p"]) if len(found) else []
    return found.sort_values("p", kind="stable").reset_index(drop=True)
