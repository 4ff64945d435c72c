"""Genes of the focus cells of a slice: those that are theirs, ranks, standard scores, leakage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import rankdata

from lloki.slices.genes import match_keys

COLUMNS = 64  # genes made dense at once
MARKERS = 20  # genes of the neighbours by which leaked transcripts are told
FAR = np.log(2)  # least log fold change of those
FOREIGN = 2  # times as much in another kind of cell: such transcripts leaked, too
TINY = 1e-9


@dataclass
class FocusGenes:
    """Genes of the focus cells of one slice.

    keys: of the genes left by the guard (G); levels: n × G CSR, log1p of normalised counts;
    own: G bool, expressed by enough cells and more than elsewhere (stage one);
    table: all genes of the panel; leak: share of the neighbours' markers in each cell's counts (n).
    """

    keys: np.ndarray
    levels: sp.csr_matrix
    own: np.ndarray
    table: pd.DataFrame
    leak: np.ndarray


def side_means(counts: sp.csr_matrix, sides: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean of normalised counts over the cells of each side (n bool), gene by gene."""
    if not sides:
        return {}
    scale = _scale(np.asarray(counts.sum(axis=1)).ravel())
    rows = np.vstack([own * scale / max(own.sum(), 1) for own in sides.values()])
    return dict(zip(sides, (rows @ counts).astype(np.float64), strict=True))


def focus_genes(
    counts: sp.csr_matrix,
    symbols: Sequence[str],
    mean: np.ndarray,
    others: np.ndarray,
    around: np.ndarray,
    elsewhere: np.ndarray,
    *,
    guard: bool = True,
    min_share: float = 0.05,
    min_change: float = 0.3,
) -> FocusGenes:
    """Stage one, and the guard: genes that neighbours have more of than the focus cells are out.

    So are those of which another kind of cell has FOREIGN times as much. counts: n × G of the focus
    cells; mean, others, around, elsewhere: of normalised counts (`side_means`) over focus cells,
    all others, neighbours, and the most over any kind. The log fold change is the natural one. With
    the guard, counts are normalised by the sum of the genes that are theirs: leaked ones would
    make all others look fewer.
    """
    mine = counts.tocsc()
    total = np.asarray(mine.sum(axis=1)).ravel()
    share = np.diff(mine.indptr) / max(mine.shape[0], 1)
    change, beside = (np.log((mean + TINY) / (side + TINY)) for side in (others, around))
    keys = match_keys(symbols)
    guarded = ((around > mean) | (elsewhere > FOREIGN * mean)) & guard
    kept = ~pd.Index(keys).duplicated() & ~guarded & (share > 0)
    own = (share >= min_share) & (change >= min_change) & kept
    table = pd.DataFrame({
        "key": keys, "gene": np.asarray(symbols, dtype=object), "share": share,
        "focus_against_others": change, "tested": own, "guarded": guarded,
    })  # fmt: skip
    marks = np.argsort(beside, kind="stable")[:MARKERS]
    marks = marks[beside[marks] < -FAR]
    leak = np.asarray(mine[:, marks].sum(axis=1)).ravel() / np.maximum(total, 1)
    levels = mine[:, kept].tocsr().astype(np.float32)
    base = levels[:, own[kept]] if guard and own.any() else levels
    levels = (sp.diags(_scale(np.asarray(base.sum(axis=1)).ravel())) @ levels).log1p()
    return FocusGenes(keys[kept], levels.tocsr().astype(np.float32), own[kept], table, leak)


def _scale(total: np.ndarray) -> np.ndarray:
    """Factors that bring all cells to the median of their sums."""
    middle = np.median(total[total > 0]) if (total > 0).any() else 1
    return np.divide(middle, total, out=np.zeros(len(total)), where=total > 0)


def columns_of(levels: sp.csr_matrix, chosen: np.ndarray, how) -> np.ndarray:
    """`how` of some columns (n × m float32), a few made dense at a time."""
    whole = levels.tocsc()
    found = np.empty((levels.shape[0], len(chosen)), dtype=np.float32)
    for start in range(0, len(chosen), COLUMNS):
        part = slice(start, start + COLUMNS)
        found[:, part] = how(whole[:, chosen[part]].toarray())
    return found


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each column as shares of n, their mean taken off; ties share theirs."""
    return (rankdata(values, axis=0) - (len(values) + 1) / 2) / len(values)


def standard(values: np.ndarray) -> np.ndarray:
    """Each column less its mean, by its standard deviation; a constant one is zero."""
    values = values.astype(np.float64)
    spread = values.std(axis=0)
    return np.where(spread > 1e-9, (values - values.mean(axis=0)) / np.maximum(spread, 1e-9), 0)


def places_in(keys: np.ndarray, wanted: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the wanted genes that are there, and their place among the wanted."""
    found = pd.Index(keys).get_indexer(pd.Index(wanted))
    return found[found >= 0], np.flatnonzero(found >= 0)
