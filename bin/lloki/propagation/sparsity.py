"""Target sparsity of each cell, by one-dimensional optimal transport (Eq. 3, 4)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def sparsity(matrix: sp.csr_matrix) -> np.ndarray:
    """Share of zeros in each row (s) of an n × G matrix without stored zeros: n float64."""
    return 1 - np.diff(matrix.indptr) / matrix.shape[1]


def transport(source: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Map values onto the distribution of `reference`: F_ref⁻¹(F(source)), Eq. 3.

    This is the optimal transport map in one dimension for any convex cost. The i-th of n values
    in order stands at (i - 1/2) / n in both distributions; equal source values share their mean
    rank, and values between order statistics of the reference are interpolated linearly.
    source: n, reference: m; returns n float64.
    """
    _, place, counts = np.unique(source, return_inverse=True, return_counts=True)
    levels = ((np.cumsum(counts) - counts / 2) / len(source))[place]
    known = (np.arange(1, len(reference) + 1) - 0.5) / len(reference)
    return np.interp(levels, known, np.sort(reference))


def max_nonzero(targets: np.ndarray, genes: int) -> np.ndarray:
    """Nonzero genes allowed in a cell, N_max = ceil((1 - s*) G), Eq. 4: n int64.

    A product that rounding put a hair above a whole number counts as that number.
    """
    return np.ceil((1 - targets) * genes - 1e-6).astype(np.int64)


def summary(values: np.ndarray) -> dict:
    """Mean and QUANTILES of a distribution over cells, as the stages' JSON holds it."""
    return {"mean": float(values.mean()), "quantiles": np.quantile(values, QUANTILES).tolist()}
