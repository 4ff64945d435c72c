"""The metagenes fitted: starts, the two phases, a fit laid on new slices, how stable it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from lloki.programs.descent import LEAST
from lloki.programs.metagenes import (
    PLAIN_SWEEPS,
    Cells,
    Fit,
    field_of,
    moments,
    noise_of,
    objective,
    update_metagenes,
    update_values,
)
from lloki.programs.simplex_field import CELLS, first_affinity, update_affinity
from lloki.support import clusters
from lloki.support.threads import one_blas_thread

SETTLED = 1e-4, 0.02, 10  # relative change of the noise, change of the affinity, in iterations
ROUNDS = 100  # of a fit laid on new slices, at most
REFIT = 30  # iterations with field of a fit that is only compared with the first


def begin(cells: Cells, labels: np.ndarray, k: int) -> Fit:
    """M from the means of clusters (labels: N, 0 to K-1), X one-hot and as large as those."""
    means = np.zeros((cells.values.shape[1], k))
    for i in range(k):
        members = labels == i
        means[:, i] = cells.values[members].mean(axis=0) if members.any() else 1e-10
    sums = np.maximum(means.sum(axis=0), 1e-300)
    values = np.full((len(labels), k), LEAST, dtype=np.float32)
    values[np.arange(len(labels)), labels] = 1
    values = np.maximum(values * sums.astype(np.float32), np.float32(LEAST))
    metagenes = means / sums
    found = moments(cells, values)
    return Fit(metagenes, values, np.zeros((k, k)), noise_of(cells, found, metagenes))


def step(
    cells: Cells, fit: Fit, total: float, strength: float, seed: int | None = None
) -> tuple[Fit, float]:
    """One iteration, and the residual after it. seed: None for one without field."""
    if seed is None:
        fit = replace(fit, values=update_values(cells, fit, False, PLAIN_SWEEPS))
    elif len(fit.affinity) > 1 and cells.graph.nnz:
        fit = replace(fit, affinity=_affinity(cells, fit, strength, seed))
    found = moments(cells, fit.values, total)
    metagenes = update_metagenes(fit.metagenes, found)
    fit = replace(fit, metagenes=metagenes, noise=noise_of(cells, found, metagenes))
    if seed is not None:
        fit = replace(fit, values=update_values(cells, fit))
    return fit, found.residual(metagenes)


def _affinity(cells: Cells, fit: Fit, strength: float, seed: int) -> np.ndarray:
    z, _ = field_of(cells, fit)
    sample, stands = sample_of(cells, CELLS, seed)
    weights = cells.cell_weights
    with one_blas_thread():  # its products are small: sharing them costs more than it saves
        return update_affinity(
            fit.affinity, z, cells.graph @ z, cells.edges, weights, sample, stands, strength
        )


def sample_of(cells: Cells, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """About `most` cells, of each slice its share, and the weight that each stands for.

    What is drawn of a slice does not depend on the other slices' order.
    """
    share = min(1.0, most / len(cells.values))
    chosen, stands = [], []
    for a, b, weight in zip(cells.starts[:-1], cells.starts[1:], cells.weights, strict=True):
        n = int(np.ceil(share * (b - a)))
        if n:
            chosen.append(a + np.sort(np.random.default_rng(seed).permutation(b - a)[:n]))
            stands.append(np.full(n, weight * (b - a) / n))
    return np.concatenate(chosen), np.concatenate(stands)


def fit_plain(cells: Cells, labels: np.ndarray, k: int, iterations: int = 10) -> Fit:
    """The factorisation without field, from clusters."""
    fit = begin(cells, labels, k)
    total = moments(cells, fit.values).total
    history = []
    for i in range(iterations):
        fit, residual = step(cells, fit, total, 0)
        history.append(_record(i, fit, objective(cells, fit, residual), "plain"))
    return replace(fit, history=history)


def fit_bound(
    cells: Cells,
    fit: Fit,
    iterations: int = 200,
    strength: float = 1e-4,
    seed: int = 0,
    told: Callable[[], None] = lambda: None,
) -> Fit:
    """The factorisation with field, from one without; ends where noise and affinity rest.

    strength: lambda; told: called after each iteration.
    """
    z, _ = field_of(cells, fit)
    affinity = first_affinity(z, cells.graph, cells.starts, cells.weights)
    fit, history = replace(fit, affinity=affinity), list(fit.history)
    total = moments(cells, fit.values).total
    noises, affinities = [fit.noise], [affinity]
    for i in range(iterations):
        fit, residual = step(cells, fit, total, strength, seed)
        history.append(_record(i, fit, objective(cells, fit, residual), "field"))
        noises.append(fit.noise)
        affinities.append(fit.affinity)
        told()
        moved, turned, span = SETTLED
        if i >= span:
            change = np.abs(affinities[-1] - affinities[-1 - span]).max()
            if abs(noises[-1] / noises[-1 - span] - 1) < moved and change < turned:
                break
    return replace(fit, history=history)


def _record(i: int, fit: Fit, value: float, phase: str) -> dict:
    low, high = float(fit.affinity.min()), float(fit.affinity.max())
    return {"phase": phase, "iteration": i + 1, "objective": value, "noise": fit.noise,
            "affinity_least": low, "affinity_most": high}  # fmt: skip


def start_labels(cells: Cells, k: int, seed: int) -> np.ndarray:
    """K clusters of all cells (N, 0 to K-1): k-means on CELLS of them, the others by nearness."""
    sample, _ = sample_of(cells, CELLS, seed)
    some = cells.values[sample]
    middle = some.mean(axis=0)
    some -= middle
    centres = clusters.start(some, k, np.random.default_rng(seed))
    codes = clusters.k_means(some, centres, 100, 0.0)
    centres = clusters.means(some, codes, len(centres))
    return clusters.assign(cells.values, centres + middle)[0]


def fit(
    cells: Cells,
    k: int,
    *,
    starts: int = 3,
    plain: int = 10,
    iterations: int = 200,
    strength: float = 1e-4,
    seed: int = 0,
    told: Callable[[], None] = lambda: None,
) -> tuple[Fit, list[dict]]:
    """The best of several starts by J without field, then fitted with it; and what each gave.

    Starts are compared on CELLS cells. Of each: seed, objective, noise, and the slices whose cells
    are all in one cluster.
    """
    large = len(cells.values) > CELLS
    rows, part = part_of(cells, CELLS, seed) if large else (slice(None), cells)
    best, chosen, tried = None, None, []
    for i in range(starts):
        labels = start_labels(cells, k, seed + i)
        found = fit_plain(part, labels[rows], k, plain)
        spans = pairwise(cells.starts)
        alone = [r for r, (a, b) in enumerate(spans) if b - a > 1 and len(set(labels[a:b])) == 1]
        value = found.history[-1]["objective"]
        tried.append({"seed": seed + i, "objective": value, "noise": found.noise,
                      "slices_in_one_cluster": alone})  # fmt: skip
        if best is None or value < best.history[-1]["objective"]:
            best, chosen = found, labels
        told()
    if large:
        best = fit_plain(cells, chosen, k, plain)
    return fit_bound(cells, best, iterations, strength, seed, told), tried


def laid_on(cells: Cells, fit: Fit) -> Fit:
    """The values X of new cells for metagenes, affinity and noise that stay as they are."""
    k = fit.metagenes.shape[1]
    values = np.full((len(cells.values), k), cells.values.sum(axis=1).mean() / k, np.float32)
    found = replace(fit, values=values, history=[])
    found = replace(found, values=update_values(cells, found, False, PLAIN_SWEEPS))
    for _ in range(ROUNDS if cells.graph.nnz and k > 1 else 0):
        values = update_values(cells, found)
        moved = np.abs(values - found.values).mean()
        found = replace(found, values=values)
        if moved < 1e-4 * values.mean():
            break
    return found


def explained(cells: Cells, fit: Fit) -> float:
    """Explained variance: 1 - residual / weighted sum of squares about the mean of a dimension."""
    weights = cells.cell_weights
    mean = weights @ cells.values / weights.sum()
    found = moments(cells, fit.values)
    total = found.total - weights.sum() * float((mean**2).sum())
    return 1 - found.residual(fit.metagenes) / max(total, 1e-300)


def matched(own: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each column of `own` its partner in `other`, one to one, and their Pearson correlation.

    Both n × K; a constant column has correlation 0.
    """
    k = own.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        table = np.nan_to_num(np.corrcoef(own.T, other.T)[:k, k:])
    rows, columns = linear_sum_assignment(-table)
    return columns, table[rows, columns]


def part_of(cells: Cells, most: int, seed: int) -> tuple[np.ndarray, Cells]:
    """About `most` cells, of each slice its share, with the edges between them: rows, and cells."""
    rows, _ = sample_of(cells, most, seed)
    starts = np.searchsorted(rows, cells.starts)
    graph = cells.graph[rows][:, rows]
    return rows, Cells(cells.values[rows], graph, starts, cells.weights)


def stability(
    cells: Cells, fit: Fit, repeats: int, plain: int, iterations: int, strength: float, seed: int
) -> np.ndarray:
    """How well each metagene comes back from half of the cells and another start (repeats × K).

    Of many cells, CELLS are taken. Pearson of its mixtures with those of its match, over the cells
    of the half.
    """
    k = fit.metagenes.shape[1]
    found = []
    for i in range(repeats):
        rows, part = part_of(cells, min(len(cells.values) // 2, CELLS), seed + 1000 + i)
        labels = start_labels(part, k, seed + 1000 + i)
        other = fit_plain(part, labels, k, plain)
        other = fit_bound(part, other, min(iterations, REFIT), strength, seed)
        found.append(matched(fit.proportions[rows], other.proportions)[1])
    return np.array(found).reshape(repeats, k)
