"""Two halves of one slice that share no cell, as two technologies with panels of their own.

The second half is thinned and noised to the sparsity of another technology. Where its cells truly
lie is known, so the error of any alignment is.
"""

from pathlib import Path

import anndata as ad
import numpy as np
import scipy.sparse as sp
from scipy.optimize import brentq
from scipy.spatial import cKDTree

EFFICIENCY = 0.5  # standard deviation of a gene's log efficiency in the second half
STRAYS = 0.05  # share of the second half's molecules that are counted in a cell nearby
NEARBY = 10
SPARSER = 0.5  # the second half's share of nonzero values, as a multiple of the first one's


def read(path, unit_um: float) -> ad.AnnData:
    """A slice with raw counts, its coordinates in micrometres."""
    data = ad.read_h5ad(path)
    data.X = sp.csr_matrix(data.X, dtype=np.float32)
    data.obsm["spatial"] = np.asarray(data.obsm["spatial"], float) * unit_um
    data.uns["technology"] = str(data.uns.get("technology", Path(path).stem))
    return data


def halves(data, share: float, seed: int, crop: float = 1.0, most: int | None = None) -> list:
    """Both halves of a slice; `share` of its genes are in both panels, the others in one of them.

    Of the second half, only the share `crop` on one side of a straight cut is kept. `most`: cells
    drawn for a half at most.
    """
    rng = np.random.default_rng(seed)
    cells = rng.permutation(data.n_obs)
    size = min(data.n_obs // 2, most or data.n_obs)
    sides = np.sort(cells[:size]), np.sort(cells[size : 2 * size])
    genes = rng.permutation(data.n_vars)
    shared = max(2, round(share * data.n_vars))
    own = (data.n_vars - shared) // 2
    panels = genes[: shared + own], np.r_[genes[:shared], genes[shared + own :]]
    first = data[sides[0]][:, np.sort(panels[0])].copy()
    second = data[sides[1]]
    angle = rng.uniform(0, 2 * np.pi)
    along = second.obsm["spatial"][:, :2] @ [np.cos(angle), np.sin(angle)]
    second = second[along <= np.quantile(along, crop)]
    second = second[:, np.sort(panels[1])].copy()
    second.X = noised(second.X, second.obsm["spatial"], rng)
    second.uns["technology"] = f"{data.uns['technology']}, thinned"
    filled = [np.diff(part.X.indptr) > 0 for part in (first, second)]
    return [part[kept].copy() for part, kept in zip((first, second), filled, strict=True)]


def noised(counts, places, rng):
    """Counts thinned gene by gene to SPARSER of the nonzero values; STRAYS of them stray."""
    entries = counts.tocoo()
    efficiency = rng.lognormal(0, EFFICIENCY, size=counts.shape[1])[entries.col]

    def left(level):
        chance = np.minimum(level * efficiency, 1)
        return (1 - (1 - chance) ** entries.data).sum() - SPARSER * entries.nnz

    chance = np.minimum(brentq(left, 1e-4, 100) * efficiency, 1)
    kept = rng.binomial(entries.data.astype(int), chance)
    stray = rng.binomial(kept, STRAYS)
    _, near = cKDTree(places).query(places, min(NEARBY + 1, len(places)))
    to = near[entries.row, rng.integers(1, near.shape[1], size=entries.nnz)]
    row = np.concatenate([entries.row, to])
    values = np.concatenate([kept - stray, stray])
    noisy = sp.coo_matrix((values, (row, np.tile(entries.col, 2))), shape=counts.shape)
    noisy = sp.csr_matrix(noisy, dtype=np.float32)
    noisy.eliminate_zeros()
    return noisy


def moved(places, rng, mirror: bool = False):
    """The places after a random rigid motion about their centre, and then some."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn * [-1, 1] if mirror else turn
    centred = places - places.mean(axis=0)
    return centred @ turn.T + rng.uniform(-3, 3, size=2) * np.ptp(places, axis=0)


def error(found, true) -> tuple[float, float]:
    """Degrees and micrometres by which found places (n × 2) miss the true ones.

    Degrees: the rotation that is left between them (180 where they are mirrored); micrometres: mean
    distance of a cell from its place.
    """
    first, second = found - found.mean(axis=0), true - true.mean(axis=0)
    u, _, vt = np.linalg.svd(first.T @ second)
    turn = u @ vt
    mirrored = np.linalg.det(turn) < 0
    degrees = 180.0 if mirrored else np.degrees(abs(np.arctan2(turn[1, 0], turn[0, 0])))
    return float(degrees), float(np.linalg.norm(found - true, axis=1).mean())
