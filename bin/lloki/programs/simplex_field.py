"""The field of the metagenes: what neighbours on a simplex say of each other's mixtures.

P(Z) ~ exp(-sum over pairs of neighbours of z_i' S z_j): where an entry of the affinity S is
negative, two metagenes like to be side by side. S maximises the pseudo-likelihood, for which

    I(eta) = integral over the K-simplex of exp(-eta'z) dz

is needed. It is the inverse Laplace transform of prod 1/(s + eta_k) at 1, here at its saddle
point with the second term of the expansion (Daniels 1954). The sum of signed terms
exp(-eta_k)/prod_j(eta_j - eta_k) that published code uses cancels to noise where etas are close.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

CELLS = 20_000  # on which log I is averaged in a step of the affinity
STEPS = 20  # of L-BFGS in a step
NEWTON = 50


def log_partition(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log I(eta) and the mean E[z] = -d log I / d eta under exp(-eta'z) on the simplex.

    eta: K × n float64, K > 1, a cell a column. Returns n and K × n. Error at most .03 nats (spread
    of eta about 20), below 1e-4 where the etas lie within 1 of each other and K > 4.
    """
    low = eta.min(axis=0)
    s = _saddle(eta - low)
    a = 1 / (eta - low + s)
    a2 = a * a
    a3, a4 = a2 * a, a2 * a2
    q2, q3, q4, q5 = a2.sum(axis=0), a3.sum(axis=0), a4.sum(axis=0), (a4 * a).sum(axis=0)
    correction = 1 + 0.75 * q4 / q2**2 - 5 / 6 * q3**2 / q2**3
    value = s - low + np.log(a).sum(axis=0) - 0.5 * np.log(2 * np.pi * q2) + np.log(correction)
    # the rest of the slope is by the sums of powers q; s moves with eta_k by -a_k²/q2
    by_q2 = -0.5 / q2 + (2.5 * q3**2 / q2**4 - 1.5 * q4 / q2**3) / correction
    by_q3 = -5 / 3 * q3 / q2**3 / correction
    by_q4 = 0.75 / q2**2 / correction
    by_s = 2 * by_q2 * q3 + 3 * by_q3 * q4 + 4 * by_q4 * q5
    mean = a + a2 * (2 * by_q2 * a + 3 * by_q3 * a2 + 4 * by_q4 * a3 - by_s / q2)
    return value, mean


def _saddle(e: np.ndarray) -> np.ndarray:
    """The s in [1, K] at which 1/(e + s) sum to 1 (n). e: K × n, each column's least is 0."""
    s = np.maximum(1.0, len(e) - e.mean(axis=0))
    for _ in range(NEWTON):  # from the left of the root: monotone
        a = 1 / (e + s)
        step = (a.sum(axis=0) - 1) / np.einsum("kn,kn->n", a, a)
        s += step
        if np.abs(step).max() < 1e-12 * len(e):
            break
    return s


def first_affinity(
    proportions: np.ndarray, graph: sp.csr_matrix, starts: Sequence[int], weights: np.ndarray
) -> np.ndarray:
    """-10 times the correlation of the mixtures of neighbours, its mean taken off (K × K).

    proportions: N × K; graph: N × N, 0/1, symmetric; starts: first cell of each slice, and N;
    weights: of each slice, sum 1. Slices without neighbours say nothing.
    """
    found = np.zeros((proportions.shape[1],) * 2)
    for r, weight in enumerate(weights):
        rows = slice(starts[r], starts[r + 1])
        own, z = graph[rows, rows], proportions[rows].astype(np.float64)
        degree = np.diff(own.indptr)
        if not degree.sum():
            continue
        centred = z - degree @ z / degree.sum()
        spread = np.sqrt(degree @ centred**2 / degree.sum())
        centred /= np.maximum(spread, 1e-12)
        found -= 10 * weight * (centred.T @ (own @ centred)) / degree.sum()
    found = (found + found.T) / 2
    return found - found.mean()


def update_affinity(
    affinity: np.ndarray,
    proportions: np.ndarray,
    around: np.ndarray,
    edges: float,
    weights: np.ndarray,
    sample: np.ndarray,
    sample_weights: np.ndarray,
    strength: float,
) -> np.ndarray:
    """The affinity after a step of the pseudo-likelihood (K × K, symmetric, of mean 0).

    proportions: N × K; around: sums of those of the neighbours; edges: directed ones, weighted;
    weights: of each cell; sample: the cells on which log I is averaged, with weights that stand for
    all; strength: lambda, of the penalty on squares. Convex: L-BFGS from `affinity`.
    """
    k = len(affinity)
    upper = np.triu_indices(k)
    linear = (proportions * weights[:, None]).T.astype(np.float64) @ around / edges
    near = np.ascontiguousarray(around[sample].T, dtype=np.float64)
    scale = sample_weights / edges

    def cost(free: np.ndarray) -> tuple[float, np.ndarray]:
        s = unfold(free, k)
        value, mean = log_partition(s @ near)
        gradient = linear - (mean * scale) @ near.T + 2 * strength * s
        gradient = gradient + gradient.T
        gradient[np.diag_indices(k)] /= 2
        total = (s * linear).sum() + scale @ value + strength * (s**2).sum()
        return total, gradient[upper]

    found = minimize(cost, affinity[upper], jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    s = unfold(found.x, k)
    return s - s.mean()


def unfold(free: np.ndarray, k: int) -> np.ndarray:
    """A symmetric k × k matrix of its upper triangle."""
    s = np.zeros((k, k))
    s[np.triu_indices(k)] = free
    return s + np.triu(s, 1).T


def pseudo_likelihood(
    affinity: np.ndarray,
    proportions: np.ndarray,
    around: np.ndarray,
    weights: np.ndarray,
    edges: float,
    strength: float,
) -> float:
    """What a step of the affinity makes smaller, over all cells: PL of the module's formulas."""
    eta = affinity @ around.T.astype(np.float64)
    value = (proportions.T * eta).sum(axis=0) + log_partition(eta)[0]
    return float(weights @ value / edges + strength * (affinity**2).sum())
