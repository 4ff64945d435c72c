"""Feature propagation on the graph, and the denoising step after it (Eq. 2, 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from lloki.support.threads import parallel

if TYPE_CHECKING:
    import torch

BLOCK_VALUES = 1 << 21  # values of a dense block of rows: 8 MB of float32


class Imputation(NamedTuple):
    """What propagation gave (n × G CSR float32), how it ended, which cells are at their target."""

    matrix: sp.csr_matrix
    iterations: int
    stopped_by: str
    at_target: np.ndarray


def impute(
    observed: sp.csr_matrix,
    graph: sp.csr_matrix,
    max_nonzero: np.ndarray,
    max_iter: int = 40,
    tolerance: float = 1e-4,
    random_seed: int | None = None,
    gpu: torch.device | None = None,
    report: Callable[[float], None] = lambda change: None,
) -> Imputation:
    """Fill each cell from its neighbours up to its target: X(t+1) = (1 - M) A X(t) + M X(0), Eq. 2.

    observed: X(0), n × G CSR float32, not negative, without stored zeros; graph: A, n × n CSR
    float32; max_nonzero: N_max, n integers. After each step a cell keeps its observed values and
    the largest of its imputed ones (equal ones by gene order; with `random_seed` any of them, by
    chance, as the authors' program does), at most N_max in all; a cell that observed more than
    that keeps what it observed. The next step starts from the matrix restricted in this way.

    The run ends by `targets` (every cell is at its target, or its neighbours hold no gene that it
    lacks), by `tolerance` (relative change in the Frobenius norm) or by `max_iter`; `report` is
    given the change of each step. Two dense n × G arrays are held, whatever the graph; on a `gpu`
    the product A X is made there, and held as a third.
    """
    current = observed.toarray()
    following = np.empty_like(current)
    counts = np.diff(observed.indptr)
    spare = np.maximum(max_nonzero - counts, 0)
    stopped_by, iterations = "max_iter", 0
    spread = _product(graph, gpu)

    def step(rows: slice) -> tuple[float, float]:
        seed = None if random_seed is None else (random_seed, iterations, rows.start)
        block = _step(hop(rows), observed[rows], spare[rows], seed)
        counts[rows] = np.count_nonzero(block, axis=1)
        following[rows] = block
        return _square(block - current[rows]), _square(current[rows])

    while iterations < max_iter and stopped_by == "max_iter":
        hop = spread(current)
        squares = parallel(step, _blocks(*current.shape))
        moved, size = (sum(column) for column in zip(*squares, strict=True))
        iterations += 1
        change = float(np.sqrt(moved / size)) if size else 0.0
        current, following = following, current
        if not _can_grow(graph, current, np.flatnonzero(counts < max_nonzero)):
            stopped_by = "targets"
        elif change < tolerance:
            stopped_by = "tolerance"
        report(change)
    return Imputation(_sparse(current), iterations, stopped_by, counts >= max_nonzero)


def _product(
    graph: sp.csr_matrix, gpu: torch.device | None
) -> Callable[[np.ndarray], Callable[[slice], np.ndarray]]:
    """`_product(graph, gpu)(values)(rows)` is graph[rows] @ values; on a GPU made once for all."""
    if gpu is None:
        return lambda values: lambda rows: graph[rows] @ values
    import torch

    parts = (torch.from_numpy(part) for part in (graph.indptr, graph.indices, graph.data))
    weights = torch.sparse_csr_tensor(*parts, size=graph.shape).to(gpu)

    def spread(values: np.ndarray) -> Callable[[slice], np.ndarray]:
        whole = (weights @ torch.from_numpy(values).to(gpu)).cpu().numpy()
        return lambda rows: whole[rows]

    return spread


def _step(
    hop: np.ndarray, observed: sp.csr_matrix, spare: np.ndarray, seed: tuple[int, ...] | None
) -> np.ndarray:
    """Some rows of X(t+1), restricted, from the same rows of A X(t) and of X(0)."""
    fixed = observed.toarray()
    imputed = np.where(fixed > 0, np.float32(0), hop)
    if seed is None:
        return keep_largest(imputed, spare) + fixed
    lots = np.random.default_rng(seed).random(imputed.shape, dtype=np.float32) + 1
    drawn = keep_largest(np.where(imputed > 0, lots, np.float32(0)), spare) > 0
    return np.where(drawn, imputed, fixed)


def _can_grow(graph: sp.csr_matrix, current: np.ndarray, cells: np.ndarray) -> bool:
    """Whether one more step would bring a further gene to any of these cells."""
    for rows in _blocks(len(cells), current.shape[1]):
        part = cells[rows]
        if ((graph[part] @ current > 0) & (current[part] == 0)).any():
            return True
    return False


def keep_largest(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Each row's `counts` largest values, zero elsewhere; of equal values the first columns stay.

    values: b × G, not negative; counts: b integers, not negative. Returns a new array.
    """
    genes = values.shape[1]
    place = np.clip(genes - counts, 0, genes - 1)[:, None]
    bound = np.take_along_axis(np.sort(values, axis=1), place, axis=1)
    keep, tied = values > bound, values == bound
    room = counts - keep.sum(axis=1)
    crowded = np.flatnonzero(tied.sum(axis=1) > room)
    tied[crowded] &= np.cumsum(tied[crowded], axis=1) <= room[crowded, None]
    return np.where(keep | tied, values, np.float32(0))


def thin(observed: sp.csr_matrix, max_nonzero: np.ndarray) -> sp.csr_matrix:
    """The matrix with each cell cut to its max_nonzero largest values, at least one.

    observed: n × G CSR float32; max_nonzero: n integers. One value stays even where the target
    is 0, since later stages describe every cell.
    """
    counts = np.maximum(max_nonzero, 1)
    blocks = _blocks(*observed.shape)
    return _stack(lambda rows: keep_largest(observed[rows].toarray(), counts[rows]), blocks)


def denoise(
    observed: sp.csr_matrix,
    imputed: sp.csr_matrix,
    graph: sp.csr_matrix,
    alpha: float = 0.05,
    diffuse: str = "imputed",
    support: str = "imputed",
    gpu: torch.device | None = None,
) -> sp.csr_matrix:
    """One step of smoothing, α A Z + (1 - α) Z (Eq. 5); nonzero entries of `observed` stay.

    observed, imputed: n × G CSR float32; graph: A of the imputed matrix, n × n CSR float32;
    diffuse: Z is the imputed or the original (observed) matrix; support: with `imputed` the result
    is zero where `imputed` is, with `all` it is not restricted. Returns n × G CSR float32.
    """
    source = (imputed if diffuse == "imputed" else observed).toarray()
    hop = _product(graph, gpu)(source)

    def smoothed(rows: slice) -> np.ndarray:
        block = alpha * hop(rows) + (1 - alpha) * source[rows]
        fixed = observed[rows].toarray()
        block = np.where(fixed > 0, fixed, block)
        if support == "imputed":
            block[imputed[rows].toarray() == 0] = 0
        return block

    return _stack(smoothed, _blocks(*observed.shape))


def _blocks(n: int, genes: int) -> Iterator[slice]:
    step = max(1, BLOCK_VALUES // genes)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _square(values: np.ndarray) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _sparse(values: np.ndarray) -> sp.csr_matrix:
    return _stack(lambda rows: values[rows], _blocks(*values.shape))


def _stack(block: Callable[[slice], np.ndarray], blocks: Iterator[slice]) -> sp.csr_matrix:
    """The sparse matrix of all blocks, each given dense by `block`."""
    found = parallel(lambda rows: sp.csr_matrix(block(rows), dtype=np.float32), blocks)
    return sp.vstack(found, format="csr")


def fullness(matrix: sp.csr_matrix) -> float:
    """Share of entries that are not zero."""
    return matrix.nnz / (matrix.shape[0] * matrix.shape[1])
