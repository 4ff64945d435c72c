"""The graph of a slice: neighbours in expression, weights by distance in space (Eq. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, svds

if TYPE_CHECKING:
    pass

SIGMA_PAIRS = 100  # random pairs of cells behind the default width of the Gaussian
EIGEN_LIMIT = 4000  # genes up to which the covariance matrix is decomposed whole
BLOCK_VALUES = 1 << 22  # values of a dense block of rows


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


def weighted(graph: sp.csr_matrix, weights: str) -> sp.csr_matrix:
    """The graph with a cell's weights as they are (`symmetric`, Eq. 1), or adding up (`mean`)."""
    return averaging(graph) if weights == "mean" else graph
