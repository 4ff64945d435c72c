"""Metagenes against kinds of cells: means, AUC, names, and an order to show them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from lloki.programs.fitting import matched
from lloki.programs.metagenes import SEEN

FEWEST = 20  # cells of a type in a slice
GOOD = 0.75  # AUC in every slice, from which a metagene is called after a type


def type_auc(proportions: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """AUC of each metagene for each type against all other labelled cells (types × K).

    proportions: n × K; labels: n, None where unknown. Types of FEWEST cells or more.
    """
    known = labels != None  # noqa: E711
    kinds = pd.Series(labels[known]).value_counts()
    kinds = sorted(str(kind) for kind, count in kinds.items() if count >= FEWEST)
    k = proportions.shape[1]
    if not kinds or known.sum() < FEWEST + 1:
        return pd.DataFrame(np.empty((0, k)))
    ranks, own = rankdata(proportions[known], axis=0), labels[known]
    table = {}
    for kind in kinds:
        inside = own == kind
        n, m = inside.sum(), (~inside).sum()
        table[kind] = (ranks[inside].sum(axis=0) - n * (n + 1) / 2) / max(n * m, 1)
    return pd.DataFrame.from_dict(table, orient="index", columns=range(k))


def worst_auc(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The least AUC over the slices that have a type (types × K), of `type_auc` of each slice."""
    return pd.concat(tables).groupby(level=0).min() if tables else pd.DataFrame()


def order_and_names(
    worst: pd.DataFrame, proportions: np.ndarray
) -> tuple[np.ndarray, list[str | None]]:
    """Columns by largest enrichment (the commonest first without labels), and the type of each.

    The type is that for which a metagene's AUC is largest, if it is GOOD in every slice; the
    metagenes are in the new order.
    """
    if not len(worst):
        return np.argsort(-proportions.mean(axis=0), kind="stable"), [None] * proportions.shape[1]
    order = np.argsort(-worst.max(axis=0).to_numpy(), kind="stable")
    best, value = worst.idxmax(axis=0), worst.max(axis=0)
    return order, [str(best[i]) if value[i] >= GOOD else None for i in order]


def enrichment(
    sample: str, proportions: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> pd.DataFrame:
    """Per type and metagene of a slice: mean where there (z > SEEN), share of cells, AUC, cells."""
    auc = type_auc(proportions, labels)
    rows = []
    for kind, values in auc.iterrows():
        z = proportions[labels == kind]
        there = z > SEEN
        sums = np.where(there, z, 0).sum(axis=0, dtype=np.float64)
        means = sums / np.maximum(there.sum(axis=0), 1)
        for i, name in enumerate(names):
            rows.append((sample, kind, name, means[i], there[:, i].mean(), values[i], len(z)))
    columns = ["sample", "type", "metagene", "mean", "share", "auc", "cells"]
    return pd.DataFrame(rows, columns=columns)


def signatures(proportions: np.ndarray, labels: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Pearson correlation of each metagene with each type's indicator (types × K)."""
    table = []
    centred = proportions - proportions.mean(axis=0, dtype=np.float64)
    spread = np.sqrt((centred**2).sum(axis=0))
    for kind in kinds:
        own = (labels == kind).astype(np.float64)
        own -= own.mean()
        table.append(own @ centred / np.maximum(spread * np.sqrt((own**2).sum()), 1e-300))
    return np.array(table)


def mapping(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]], reference: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Metagenes of slices fitted alone, each laid on those of the reference by signature.

    parts: mixtures (n × K) and labels of each slice. Per slice: for each of the reference's
    metagenes its partner, one to one, and the correlation of their signatures over the types that
    both slices have.
    """
    kinds = {s: set(type_auc(z, labels).index) for s, (z, labels) in parts.items()}
    found = {}
    for sample, part in parts.items():
        both = sorted(kinds[sample] & kinds[reference])
        if len(both) < 3:
            k = part[0].shape[1]
            found[sample] = np.arange(k), np.full(k, np.nan)
            continue
        found[sample] = matched(signatures(*parts[reference], both), signatures(*part, both))
    return found
