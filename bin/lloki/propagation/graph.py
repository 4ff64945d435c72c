"""The graph of a slice: neighbours in expression, weights by distance in space (Eq. 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, svds

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
    mean = _mean(matrix)
    wanted = max(1, min(n_pcs, genes, n - 1))
    if genes <= EIGEN_LIMIT or wanted >= min(n, genes) - 1:
        rows = block_rows(genes)
        blocks = (matrix[start : start + rows] for start in range(0, n, rows))
        axes = covariance_axes(blocks, mean, wanted)
    else:
        axes = _varying(*_lanczos_axes(matrix, mean, wanted, seed))
    return project(matrix, mean, axes)


def stored_components(
    read: Callable[[int | None], Iterable[sp.csr_matrix]],
    shape: tuple[int, int],
    n_pcs: int,
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """What `principal_components` gives, by blocks of rows of a matrix that is not in memory.

    read: gives the matrix in blocks of so many rows, three times; all at once (None) where it has
    more than EIGEN_LIMIT genes. shape: n × G.
    """
    n, genes = shape
    if genes > EIGEN_LIMIT:
        yield from (principal_components(matrix, n_pcs, seed) for matrix in read(None))
        return
    rows = block_rows(genes)
    mean = sum(_mean(block) * (block.shape[0] / n) for block in read(rows))
    axes = covariance_axes(read(rows), mean, max(1, min(n_pcs, genes, n - 1)))
    yield from (project(block, mean, axes) for block in read(rows))


def _mean(matrix: sp.csr_matrix) -> np.ndarray:
    return np.asarray(matrix.mean(axis=0, dtype=np.float64)).ravel()


def project(matrix: sp.csr_matrix, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Scores (n × p float32) of the cells of a matrix, or of rows of it, on axes (G × p)."""
    if axes.shape[1] == 0:
        return np.zeros((matrix.shape[0], 1), dtype=np.float32)
    return (matrix @ axes - mean @ axes).astype(np.float32)


def block_rows(genes: int) -> int:
    """Rows of a dense block of so many genes."""
    return max(1, BLOCK_VALUES // genes)


def covariance_axes(blocks: Iterable[sp.csr_matrix], mean: np.ndarray, wanted: int) -> np.ndarray:
    """The first axes (G × p) of a matrix that comes in blocks of rows, by its covariance matrix.

    mean: of the genes. Axes without variance are left out, so p may be less than `wanted`, and 0.
    """
    genes = len(mean)
    scatter = np.zeros((genes, genes))
    for block in blocks:
        centred = block.toarray() - mean
        scatter += centred.T @ centred
    values, axes = eigh(scatter, subset_by_index=(genes - wanted, genes - 1))
    return _varying(values[::-1], axes[:, ::-1])


def _varying(values: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return axes[:, values > max(values.max(), 0) * 1e-10]


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
