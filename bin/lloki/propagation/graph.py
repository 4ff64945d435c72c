"""The graph of a slice: neighbours in expression, weights by distance in space (Eq. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, svds

from lloki.support.neighbours import approximate, nearest, unit_rows

if TYPE_CHECKING:
    import torch

SIGMA_PAIRS = 100  # random pairs of cells behind the default width of the Gaussian
RECALL_CELLS = 1000  # cells on which an approximate search is compared with the exact one
RECALL_WANTED = 0.95
EXACT_CELLS = 200_000  # up to here a full search (quadratic) is as fast as an index
EIGEN_LIMIT = 4000  # genes up to which the covariance matrix is decomposed whole
BLOCK_VALUES = 1 << 22  # values of a dense block of rows


class Neighbours(NamedTuple):
    """Neighbours of every cell (n × k, never the cell itself), and how they were found."""

    indices: np.ndarray
    method: str
    recall: float


def principal_components(matrix: sp.csr_matrix, n_pcs: int, seed: int = 0) -> np.ndarray:
    """Scores of the cells on the first principal components of the centred matrix.

    matrix: n × G; returns n × p float32 with p = n_pcs, or fewer where the matrix has fewer
    components with variance (at least 1 column is returned, of zeros if there is none). Exact up
    to EIGEN_LIMIT genes (covariance matrix), beyond that by a Lanczos iteration started by `seed`.
    """
    n, genes = matrix.shape
    mean = np.asarray(matrix.mean(axis=0, dtype=np.float64)).ravel()
    wanted = max(1, min(n_pcs, genes, n - 1))
    if genes <= EIGEN_LIMIT or wanted >= min(n, genes) - 1:
        values, axes = _covariance_axes(matrix, mean, wanted)
    else:
        values, axes = _lanczos_axes(matrix, mean, wanted, seed)
    axes = axes[:, values > max(values.max(), 0) * 1e-10]
    if axes.shape[1] == 0:
        return np.zeros((n, 1), dtype=np.float32)
    return (matrix @ axes - mean @ axes).astype(np.float32)


def _covariance_axes(
    matrix: sp.csr_matrix, mean: np.ndarray, wanted: int
) -> tuple[np.ndarray, np.ndarray]:
    n, genes = matrix.shape
    scatter = np.zeros((genes, genes))
    rows = max(1, BLOCK_VALUES // genes)
    for start in range(0, n, rows):
        block = matrix[start : start + rows].toarray() - mean
        scatter += block.T @ block
    values, axes = eigh(scatter, subset_by_index=(genes - wanted, genes - 1))
    return values[::-1], axes[:, ::-1]


def _lanczos_axes(
    matrix: sp.csr_matrix, mean: np.ndarray, wanted: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    n, genes = matrix.shape
    centred = LinearOperator(
        (n, genes),
        matvec=lambda v: matrix @ v - mean @ v,
        rmatvec=lambda u: matrix.T @ u - mean * u.sum(),
        dtype=np.float64,
    )
    start = np.random.default_rng(seed).standard_normal(min(n, genes))
    _, values, axes = svds(centred, k=wanted, v0=start)
    return values[::-1] ** 2, axes[::-1].T


def find_neighbours(
    space: np.ndarray,
    k: int,
    metric: str = "cosine",
    method: str = "auto",
    seed: int = 0,
    gpu: torch.device | None = None,
) -> Neighbours:
    """The k nearest other cells of every cell (all others if k ≥ n).

    space: n × p float32; metric: cosine or euclidean; method: exact, approx (recall measured on
    a sample of cells; searched again more widely, and at last exactly, while it is below
    RECALL_WANTED), or auto (exact up to EXACT_CELLS, and on a GPU).
    """
    n = len(space)
    k = min(k, n - 1)
    if method == "auto":
        method = "exact" if n <= EXACT_CELLS or gpu is not None else "approx"
    for width in (1, 2) if method == "approx" and k > 0 else ():
        found = _approximate(space, k, metric, seed, width)
        share = recall(space, found, metric, seed)
        if share >= RECALL_WANTED:
            return Neighbours(found, "approx", share)
    found, _ = nearest(space, space, k, metric, np.arange(n), gpu)
    return Neighbours(found, "exact", 1.0)


def _approximate(space: np.ndarray, k: int, metric: str, seed: int, width: int) -> np.ndarray:
    found = approximate(space, width * (k + 1), metric, seed)[:, : k + 1]
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = True  # crowded out by its duplicates: the farthest goes instead
    return found[~own].reshape(len(found), k)


def recall(
    space: np.ndarray,
    found: np.ndarray,
    metric: str,
    seed: int = 0,
    query: np.ndarray | None = None,
) -> float:
    """Share of the neighbours found that are as near as the exact k-th, on a sample of the cells.

    space: m × p, searched by the rows of query, n × p (None: by its own, each without itself);
    found: n × k. Judged by distance, so that any of several equally near cells counts.
    """
    n, k = found.shape
    cells = np.random.default_rng(seed).choice(n, min(n, RECALL_CELLS), replace=False)
    asked, own = (space[cells], cells) if query is None else (query[cells], None)
    farthest = nearest(asked, space, k, metric, exclude=own)[1][:, -1:]
    near = space[found[cells].ravel()]
    if metric == "cosine":
        asked, near = unit_rows(asked), unit_rows(near)
    near = near.reshape(len(cells), k, -1)
    if metric == "cosine":
        gaps = 1 - np.einsum("ip,ijp->ij", asked, near)
    else:
        gaps = np.linalg.norm(asked[:, None, :] - near, axis=2)
    return float((gaps <= farthest * (1 + 1e-4) + 1e-6).mean())


def mean_pair_distance(coordinates: np.ndarray, seed: int = 0) -> float:
    """Mean distance of SIGMA_PAIRS random pairs of distinct cells (σ); 0 for a single cell."""
    n = len(coordinates)
    if n < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    first = rng.integers(n, size=SIGMA_PAIRS)
    second = (first + rng.integers(1, n, size=SIGMA_PAIRS)) % n
    return float(np.linalg.norm(coordinates[first] - coordinates[second], axis=1).mean())


def spatial_graph(neighbours: np.ndarray, coordinates: np.ndarray, sigma: float) -> sp.csr_matrix:
    """The normalised graph A = D^(-1/2) W D^(-1/2) of Eq. 1.

    neighbours: n × k, the directed edges, joined with their reverse; coordinates: n × 2 or 3,
    micrometres; sigma: micrometres. W is exp(-d² / 2σ²) on the edges and 1 on the diagonal (σ = 0,
    when all cells lie at one point: 1 for a distance of 0). Returns n × n CSR float32, symmetric.
    """
    n, k = neighbours.shape
    rows, columns = np.repeat(np.arange(n), k), neighbours.ravel()
    directed = sp.csr_matrix((np.ones(n * k, dtype=bool), (rows, columns)), shape=(n, n))
    edges = sp.triu(directed + directed.T, k=1, format="coo")
    first, second = edges.coords
    squares = ((coordinates[first] - coordinates[second]) ** 2).sum(axis=1)
    with np.errstate(divide="ignore"):
        exponents = np.divide(squares, 2 * sigma**2, out=np.zeros(len(squares)), where=squares > 0)
    weights = np.exp(-exponents)
    degrees = 1 + np.bincount(first, weights, n) + np.bincount(second, weights, n)
    weights /= np.sqrt(degrees[first] * degrees[second])
    half = sp.csr_matrix((weights.astype(np.float32), (first, second)), shape=(n, n))
    graph = sp.csr_matrix(half + half.T + sp.diags_array((1 / degrees).astype(np.float32)))
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph


def averaging(graph: sp.csr_matrix) -> sp.csr_matrix:
    """The graph with each row divided by its sum: a cell's product with it is a weighted mean.

    graph: n × n CSR float32, not negative; rows of zeros stay zero. The rows of Eq. 1's A add up
    to more or less than 1 as fewer or more cells chose the same neighbours, and the amounts of A X
    with them.
    """
    sums = np.asarray(graph.sum(axis=1, dtype=np.float64)).ravel()
    scale = np.divide(1, sums, out=np.zeros(len(sums)), where=sums > 0)
    return sp.csr_matrix(sp.diags_array(scale) @ graph, dtype=np.float32)
