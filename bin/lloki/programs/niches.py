"""Niche programs: genes of one kind of cell that go with how much of another is around it.

The paper chooses clusters, genes and score by the variable that it then correlates. Here clusters
and genes come from other parts of the tissue than the cells that are scored, and the whole
procedure is done again on fields moved over the slices, which tell what chance gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, spearmanr

from lloki.programs.niche_field import beyond, blocks, fields, ranked
from lloki.programs.niche_groups import FEW, groups, one_hot
from lloki.programs.niche_sides import Side

CERTAIN = 1.96  # |z| that a gene needs in one slice
UNITS = 3  # slices, or subjects, from which on they are held out instead of blocks
ENOUGH = 50  # focus cells in the group and outside it, of a slice that is held out
BATCH = 50  # fields at once


@dataclass
class Programs:
    """Programs of N fields: group (C × N), weight, up and down (N × M), z of each slice (N × m)."""

    group: np.ndarray
    weight: np.ndarray
    up: np.ndarray
    down: np.ndarray
    z: list[np.ndarray]


@dataclass
class Fit:
    """What the procedure gives, first for the field as it is, then for moved ones.

    r, naive: 1 + N; scores: of each slice, cross-fitted; program: of all cells, of the true field;
    held_out: `blocks` or `slices`; gene_r: genes × (1 + N), correlation of each with the field.
    """

    genes: np.ndarray
    r: np.ndarray
    naive: np.ndarray
    scores: list[np.ndarray]
    naive_scores: list[np.ndarray]
    folds: list[np.ndarray]
    program: Programs
    held_out: str
    gene_r: np.ndarray


def group_z(
    ranks: np.ndarray, clusters: np.ndarray, train: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank test of each gene, cells of the group against the others (N × m), and their numbers.

    ranks: n × m, as `centred_ranks`; group: C × N. With all cells, the z of the Wilcoxon test with
    correction for ties; ranks are not made anew for a part of them. NaN below FEW on a side.
    """
    own = ranks[train]
    members = one_hot(clusters[train], len(group))
    cells = np.asarray(members.sum(axis=1)).ravel().astype(np.float64)
    n, chosen = len(own), group.T.astype(np.float64)
    inside = chosen @ cells
    outside = n - inside
    mean = own.mean(axis=0, dtype=np.float64) if n else np.zeros(own.shape[1])
    squares = np.einsum("ij,ij->j", own, own, dtype=np.float64) - n * mean**2
    sums = chosen @ (members @ own) - inside[:, None] * mean
    few = np.minimum(inside, outside) < FEW
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((inside * outside / (n * (n - 1)))[:, None] * squares)
        z = np.where(spread > 1e-9, sums / spread, 0)
    z[few] = np.nan
    return z, inside, outside


def weigh(
    sides: Sequence[Side],
    u: Sequence[np.ndarray],
    train: Sequence[np.ndarray],
    genes: int,
    top: int = 50,
    chosen: np.ndarray | None = None,
) -> Programs:
    """Group and genes by each field, from the cells that are in `train`.

    u: ranks of the fields (n × N of each slice); genes: in the union; chosen: C bool, a group that
    is given instead. Weight: mean over slices of the gene's rank there (-1 to 1), by the root of
    the cells on both sides. Up, down: all slices agree in sign, one is CERTAIN; the `top` each way.
    """
    clusters = [side.clusters for side in sides]
    group = groups(clusters, u, train) if chosen is None else chosen[:, None] & np.ones(
        (1, u[0].shape[1]), bool)  # fmt: skip
    shape = group.shape[1], genes
    total, heft, sure = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    above, below = np.ones(shape, bool), np.ones(shape, bool)
    kept = []
    for side, use in zip(sides, train, strict=True):
        z, inside, outside = group_z(side.ranks, side.clusters, use, group)
        kept.append(z)
        if not len(side.tested):
            continue
        none = np.isnan(z)
        ranks = 2 * (rankdata(np.nan_to_num(z), axis=1) - 0.5) / len(side.tested) - 1
        weight = np.where(none, 0, np.sqrt(inside * outside / (inside + outside + 1e-9))[:, None])
        at = side.tested
        total[:, at] += weight * ranks
        heft[:, at] += weight
        sure[:, at] |= np.abs(z) > CERTAIN
        above[:, at] &= none | (z > 0)
        below[:, at] &= none | (z < 0)
    weight = np.divide(total, heft, out=np.zeros(shape), where=heft > 0)
    up, down = (
        _top(np.where(side & sure, sign * weight, -np.inf), top)
        for side, sign in ((above, 1), (below, -1))
    )
    return Programs(group, weight, up, down, kept)


def _top(weight: np.ndarray, top: int) -> np.ndarray:
    """The `top` largest finite values of each row (bool)."""
    order = np.argsort(-weight, axis=1, kind="stable")[:, :top]
    found = np.zeros(weight.shape, bool)
    np.put_along_axis(found, order, True, axis=1)
    return found & np.isfinite(weight)


def score(side: Side, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Mean standard score of the genes up less that of those down, spread 1 (n × N float32).

    Of the genes that the slice measured; zero where it measured none.
    """
    found = np.zeros((len(side.values), len(up)), np.float32)
    for genes, sign in ((up, 1), (down, -1)):
        own = genes[:, side.measured]
        weights = own / np.maximum(own.sum(axis=1, keepdims=True), 1)
        found += sign * (side.levels @ weights.T.astype(np.float32))
    spread = found.std(axis=0)
    return np.divide(found, spread, out=np.zeros_like(found), where=spread > 1e-9)


def correlation(scores: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> np.ndarray:
    """Pearson correlation over all cells, means of slices taken off, column by column."""
    sums = np.zeros((3, scores[0].shape[1]))
    for s, v in zip(scores, values, strict=True):
        if len(s):
            s, v = s - s.mean(axis=0), v - v.mean(axis=0)
            sums += [(s * v).sum(axis=0), (s * s).sum(axis=0), (v * v).sum(axis=0)]
    scale = np.sqrt(sums[1] * sums[2])
    return np.divide(sums[0], scale, out=np.zeros_like(scale), where=scale > 1e-9)


def rank_correlation(scores: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> float:
    """Spearman's correlation of scores and values (n each), means of slices taken off."""
    parts = [[part - part.mean() for part in pair] for pair in zip(scores, values, strict=True)]
    whole = [np.concatenate(side) for side in zip(*parts, strict=True)]
    return float(spearmanr(*whole).statistic) if min(np.ptp(w) for w in whole) > 0 else 0.0


def folds_of(sides: Sequence[Side], program: Programs, count: int) -> tuple[str, list[np.ndarray]]:
    """What is held out with each cell: its unit where UNITS have ENOUGH cells, else its block."""
    group = program.group[:, 0]
    fit = [min(np.bincount(group[s.clusters].astype(int), minlength=2)) >= ENOUGH for s in sides]
    units = sorted({side.unit for side in sides})
    if len({side.unit for side, good in zip(sides, fit, strict=True) if good}) >= UNITS:
        return "slices", [np.full(len(s.values), units.index(s.unit)) for s in sides]
    return "blocks", [blocks(side.places, count) for side in sides]


def crossfit(
    sides: Sequence[Side],
    folds: Sequence[np.ndarray],
    u: Sequence[np.ndarray],
    genes: int,
    top: int = 50,
    chosen: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Scores (n × N of each slice) by programs from the cells that are not held out with them.

    Nor from cells whose neighbourhood reaches those.
    """
    found = [np.zeros(one.shape, np.float32) for one in u]
    for fold in sorted(set(np.concatenate(folds))):
        out = [own == fold for own in folds]
        train = [beyond(s.places, o, s.radius) for s, o in zip(sides, out, strict=True)]
        program = weigh(sides, u, train, genes, top, chosen)
        for i, rows in enumerate(out):
            if rows.any():
                found[i][rows] = score(sides[i], program.up, program.down)[rows]
    return found


def fit(
    sides: Sequence[Side],
    genes: np.ndarray,
    *,
    nulls: int = 199,
    count: int = 5,
    top: int = 50,
    chosen: np.ndarray | None = None,
    seed: int = 0,
    told=lambda: None,
) -> Fit:
    """The whole procedure, on the field as it is and on so many moved ones.

    count: blocks of a slice. Sides are in the order of their names; each null has its own seed.
    """
    everyone = [np.ones(len(side.values), bool) for side in sides]
    true = [ranked(side.values[:, None]) for side in sides]
    program = weigh(sides, true, everyone, len(genes), top, chosen)
    held_out, folds = folds_of(sides, program, count)
    r, naive, by_gene, first = [], [], [], None
    for start in range(0, nulls + 1, BATCH):
        batch = range(start, min(start + BATCH, nulls + 1))
        values = [fields(s.values, s.places, [_rng(seed, i, j) for j in batch])
                  for i, s in enumerate(sides)]  # fmt: skip
        u = [ranked(one) for one in values]
        scores = crossfit(sides, folds, u, len(genes), top, chosen)
        own = weigh(sides, u, everyone, len(genes), top, chosen)
        plain = [score(side, own.up, own.down) for side in sides]
        first = first or ([s[:, 0].copy() for s in scores], [s[:, 0].copy() for s in plain])
        r.append(correlation(scores, values))
        naive.append(correlation(plain, values))
        by_gene.append(gene_correlation(sides, values, len(genes)))
        told()
    return Fit(genes, np.concatenate(r), np.concatenate(naive), *first, folds, program, held_out,
               np.concatenate(by_gene, axis=1))  # fmt: skip


def _rng(seed: int, side: int, number: int) -> np.random.Generator | None:
    return np.random.default_rng([seed, side, number]) if number else None


def gene_correlation(sides: Sequence[Side], values: Sequence[np.ndarray], genes: int) -> np.ndarray:
    """Correlation of each gene with the fields over the slices that measured it (genes × N)."""
    total, cells = np.zeros((genes, values[0].shape[1])), np.zeros((genes, 1))
    for side, own in zip(sides, values, strict=True):
        v = own - own.mean(axis=0)
        spread = v.std(axis=0)
        v = np.divide(v, spread, out=np.zeros_like(v), where=spread > 1e-9)
        total[side.measured] += side.levels.T @ v
        cells[side.measured] += len(v)
    return total / np.maximum(cells, 1)


def chance(found: np.ndarray) -> float:
    """Share of values, the first one with them, that reach the first one."""
    return float((found >= found[0]).mean())


def laid_on(
    sides: Sequence[Side], genes: np.ndarray, up: np.ndarray, *, nulls: int = 199, seed: int = 0
) -> Fit:
    """An earlier program on these slices: only fields move, nothing is chosen.

    genes: keys of the program; up: which of them go up (bool), the others go down.
    """
    rows = np.vstack([up])
    scores = [score(side, rows, ~rows) for side in sides]
    r, by_gene = [], []
    for start in range(0, nulls + 1, BATCH):
        batch = range(start, min(start + BATCH, nulls + 1))
        values = [fields(s.values, s.places, [_rng(seed, i, j) for j in batch])
                  for i, s in enumerate(sides)]  # fmt: skip
        r.append(correlation([np.repeat(s, len(batch), axis=1) for s in scores], values))
        by_gene.append(gene_correlation(sides, values, len(genes)))
    true = [ranked(side.values[:, None]) for side in sides]
    everyone = [np.ones(len(side.values), bool) for side in sides]
    program = weigh(sides, true, everyone, len(genes))
    program.up, program.down = rows, ~rows
    own = [s[:, 0] for s in scores]
    folds = [np.zeros(len(s.values), dtype=np.int64) for s in sides]
    whole = np.concatenate(r)
    return Fit(genes, whole, whole, own, own, folds, program, "model",
               np.concatenate(by_gene, axis=1))  # fmt: skip
