"""Metagenes: a non-negative factorisation of many slices whose mixtures know their neighbours.

The model of SPICEMix (Chidester et al., Nature Genetics 55, 78-88, 2023): Y = X M' + noise, columns
of M (metagenes) on the simplex, x_i = s_i z_i with the mixture z_i on the simplex, neighbours bound
by the field of `simplex_field`. M, the affinity and the noise are shared by all slices. In turn

    J = sum over slices of weight * [|Y - X M'|² / (2 noise²) + n G log noise
                                     + 1/2 sum over cells of z_i' S nu_i]

is made less over X, M and the noise (nu_i: sum of the neighbours' mixtures), and the
pseudo-likelihood over S. X is found by coordinate descent over metagenes, of all cells at once: no
projection and no independent sets of cells; its stationary points are those of J.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from lloki.programs.descent import descend
from lloki.support.threads import one_blas_thread, parallel

if TYPE_CHECKING:
    import torch

SEEN = 1e-3  # z above it counts as there
TINY = 1e-6  # of an input's value
SWEEPS, PLAIN_SWEEPS = 40, 200  # of the descent, with and without field
ROWS, ROWS_GPU = 4096, 1 << 18  # cells of a block
SMALL = 0.02  # least size of a cell for the field, of the mean size


@dataclass(frozen=True)
class Cells:
    """Cells of all slices, slice after slice.

    values: N × G float32 ≥ 0, scaled; graph: N × N CSR, 0/1, symmetric, within slices; starts:
    first cell of each slice, and N; weights: of each slice, sum 1; gpu: where X is found, None: on
    the CPU.
    """

    values: np.ndarray
    graph: sp.csr_matrix
    starts: np.ndarray
    weights: np.ndarray
    gpu: torch.device | None = None

    @property
    def cell_weights(self) -> np.ndarray:
        """The weight of each cell's slice (N)."""
        return np.repeat(self.weights, np.diff(self.starts))

    @property
    def edges(self) -> float:
        """Directed edges of each slice, weighted."""
        return float(self.cell_weights @ np.diff(self.graph.indptr))

    @property
    def size(self) -> float:
        """Weighted number of values."""
        return float(self.weights @ np.diff(self.starts)) * self.values.shape[1]


@dataclass(frozen=True)
class Fit:
    """Metagenes M (G × K, columns sum 1), values X (N × K), affinity (K × K), noise."""

    metagenes: np.ndarray
    values: np.ndarray
    affinity: np.ndarray
    noise: float
    history: list[dict] = field(default_factory=list)

    @property
    def proportions(self) -> np.ndarray:
        """The mixture of each cell: Z, N × K float32, rows sum 1."""
        return self.values / self.values.sum(axis=1, keepdims=True)


def take_floor(values: np.ndarray, floors: np.ndarray) -> None:
    """Take each dimension's floor (G) off values (N × G float32), in place; TINY is left."""
    values -= floors.astype(np.float32)
    np.maximum(values, TINY, out=values)


def floors_of(values: np.ndarray, quantile: float) -> np.ndarray:
    """The quantile of each dimension over all cells (G); zeros for quantile 0."""
    if quantile == 0:
        return np.zeros(values.shape[1])
    return np.array([np.quantile(column, quantile) for column in values.T])


def scale(values: np.ndarray, starts: Sequence[int], k: int) -> None:
    """Multiply each slice's values (N × G, ≥ 0) so that its rows sum to K in the mean, in place."""
    for a, b in pairwise(starts):
        if b > a:
            mean = float(values[a:b].sum(axis=1, dtype=np.float64).mean())
            values[a:b] *= np.float32(k / max(mean, 1e-300))


def assemble(
    values: np.ndarray,
    graphs: Sequence[sp.csr_matrix],
    starts: Sequence[int],
    k: int,
    weights: np.ndarray | None = None,
    gpu: torch.device | None = None,
) -> Cells:
    """The cells of a fit of K metagenes; values (N × G, slice after slice) are scaled in place.

    graphs: of each slice; weights: of each, sum 1 (None: equal).
    """
    scale(values, starts, k)
    if weights is None:
        weights = np.full(len(graphs), 1 / len(graphs))
    return Cells(values, sp.block_diag(graphs, "csr", dtype=np.float32), starts, weights, gpu)


def blocks(function: Callable, n: int, rows: int = ROWS) -> list:
    """Results of a function of row slices of n rows, on all cores; the same for any number."""
    with one_blas_thread():
        return parallel(function, [slice(a, min(a + rows, n)) for a in range(0, n, rows)])


def field_of(cells: Cells, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Mixtures Z as the field sees them and each cell's size (N): of least SMALL of the mean."""
    size = fit.values.sum(axis=1)
    size = np.maximum(size, SMALL * size.mean())
    return fit.values / size[:, None], size


def update_values(cells: Cells, fit: Fit, bound: bool = True, sweeps: int = SWEEPS) -> np.ndarray:
    """X after a descent (N × K float32); `bound`: with the field, linearised at the X that is.

    The linear term alone could overshoot: a proximal term of the size of its gradient holds it.
    """
    precision = (fit.metagenes.T @ fit.metagenes / fit.noise**2).astype(np.float32)
    loads = np.ascontiguousarray((fit.metagenes / fit.noise**2).T, dtype=np.float32)
    affinity = fit.affinity.astype(np.float32)
    if bound:
        z, size = field_of(cells, fit)

    def block(rows: slice) -> np.ndarray:
        old = np.ascontiguousarray(fit.values[rows].T)
        target = loads @ cells.values[rows].T
        hold = np.zeros(old.shape[1], dtype=np.float32)
        if bound:
            pull = affinity @ (cells.graph[rows] @ z).T
            pull -= np.einsum("kn,nk->n", pull, z[rows])
            hold = np.abs(pull).max(axis=0) / size[rows] ** 2
            target += hold * old - pull / size[rows]
        return np.ascontiguousarray(descend(old, target, precision, hold, sweeps, cells.gpu).T)

    rows = ROWS if cells.gpu is None else ROWS_GPU
    return np.concatenate(blocks(block, len(fit.values), rows))


@dataclass(frozen=True)
class Moments:
    """Weighted products over cells: X'X (K × K), Y'X (G × K), |Y|²."""

    own: np.ndarray
    shared: np.ndarray
    total: float

    def residual(self, metagenes: np.ndarray) -> float:
        """Weighted sum of squares of Y - X M'."""
        model = (metagenes * (metagenes @ self.own - 2 * self.shared)).sum()
        return max(float(self.total + model), 0.0)


def moments(cells: Cells, values: np.ndarray, total: float | None = None) -> Moments:
    """Products of the step of M and the noise, in float64; total: |Y|², where it is known."""
    weights = cells.cell_weights

    def block(rows: slice) -> tuple[np.ndarray, np.ndarray, float]:
        x, y = values[rows].astype(np.float64), cells.values[rows].astype(np.float64)
        weighted = x * weights[rows, None]
        squares = 0.0 if total is not None else float(weights[rows] @ np.einsum("ij,ij->i", y, y))
        return weighted.T @ x, y.T @ weighted, squares

    own, shared, squares = (sum(parts) for parts in zip(*blocks(block, len(values)), strict=True))
    return Moments(own, shared, squares if total is None else total)


def update_metagenes(metagenes: np.ndarray, found: Moments, sweeps: int = 10) -> np.ndarray:
    """M after exact steps of one column after the other (G × K)."""
    m = metagenes.copy()
    for _ in range(sweeps):
        before = m.copy()
        for k in np.flatnonzero(np.diag(found.own) > 0):
            step = (m @ found.own[k] - found.shared[:, k]) / found.own[k, k]
            m[:, k] = on_simplex(m[:, k] - step)
        if np.abs(m - before).max() < 1e-9:
            break
    return m


def on_simplex(values: np.ndarray) -> np.ndarray:
    """The nearest point of the simplex (Duchi et al. 2008)."""
    ranked = np.sort(values)[::-1]
    excess = (np.cumsum(ranked) - 1) / np.arange(1, len(values) + 1)
    return np.maximum(values - excess[np.flatnonzero(ranked > excess)[-1]], 0)


def noise_of(cells: Cells, found: Moments, metagenes: np.ndarray) -> float:
    """The noise that makes J least; at least a thousandth of the values' root mean square."""
    floor = max(1e-6 * found.total / cells.size, 1e-300)
    return float(np.sqrt(max(found.residual(metagenes) / cells.size, floor)))


def objective(cells: Cells, fit: Fit, residual: float) -> float:
    """J, for a weighted residual sum of squares."""
    z, _ = field_of(cells, fit)
    around = cells.graph @ z
    pull = np.einsum("nk,kl,nl->n", z, fit.affinity, around, optimize=True)
    data = residual / (2 * fit.noise**2) + cells.size * np.log(fit.noise)
    return float(data + cells.cell_weights @ pull / 2)
