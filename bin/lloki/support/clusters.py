"""K-means by blocks of rows: the same for any number of threads."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from lloki.support.threads import one_blas_thread, parallel

ROWS = 2048  # of a block, whose products are one thread's work


def assign(space: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre (n int64) of each row, and the squared distance to it (n float32).

    space: n × d float32; centres: k × d. The first of several equally near ones.
    """
    lengths = np.einsum("ij,ij->i", centres, centres)

    def block(start: int) -> tuple[np.ndarray, np.ndarray]:
        part = space[start : start + ROWS]
        gaps = part @ (-2 * centres.T)
        gaps += lengths
        found = gaps.argmin(axis=1)
        least = gaps[np.arange(len(part)), found] + np.einsum("ij,ij->i", part, part)
        return found, np.maximum(least, 0)

    with one_blas_thread():
        found = parallel(block, range(0, len(space), ROWS))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def start(space: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k rows of space, drawn in proportion to the squared distance to those drawn before."""
    first = rng.integers(len(space))
    rows, gaps = [first], assign(space, space[[first]])[1]
    while len(rows) < min(k, len(space)) and gaps.max() > 0:
        ends = np.cumsum(gaps, dtype=np.float64)
        rows.append(int(np.searchsorted(ends, rng.random() * ends[-1], side="right")))
        gaps = np.minimum(gaps, assign(space, space[rows[-1:]])[1])
    return space[rows]


def k_means(
    space: np.ndarray, centres: np.ndarray, steps: int, tolerance: float = np.inf
) -> np.ndarray:
    """The cluster of each row (n int64) by Lloyd's steps from given centres.

    space: n × d float32, centred; centres: k × d. Ends where nothing moves, or after so many steps
    once the sum of squared distances, in single precision, changes by no more than the tolerance.
    A centre without rows goes to the origin. Both as scib-metrics' KMeans has it, which goes on to
    the end of its steps when nothing moves any more.
    """
    codes, inertia, step = None, np.float32(np.inf), 0
    while True:
        found, gaps = assign(space, centres)
        before, inertia = inertia, gaps.sum(dtype=np.float32)
        settled = codes is not None and np.array_equal(found, codes)
        if settled or (step >= steps and abs(before - inertia) <= tolerance):
            return found
        codes, step = found, step + 1
        centres = means(space, codes, len(centres))


def means(space: np.ndarray, codes: np.ndarray, k: int) -> np.ndarray:
    """The mean of the rows of each cluster (k × d float32; of none: zero)."""
    members = sp.csr_matrix(
        (np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(k, len(codes))
    )
    sizes = np.maximum(np.bincount(codes, minlength=k), 1)
    return ((members @ space) / sizes[:, None]).astype(np.float32)
