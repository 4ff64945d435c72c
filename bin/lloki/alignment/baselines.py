"""What LLOKI's alignment is compared with, as far as no other package is needed; and the scores.

Kabsch on mutual nearest neighbours of single cells (in any embedding), and the objective of PASTE
(Zeira et al. 2022) by POT: fused Gromov-Wasserstein between expression and distances in space.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.spatial import cKDTree

from lloki.alignment.pairwise import extent
from lloki.alignment.rigid import Motion, kabsch
from lloki.support.neighbours import mutual

ALPHAS = (0.05, 0.01, 0.005, 0.001, 0.0001)  # weights of distances in space that the paper tried
FLOOR = 100  # random motions that show what a score is by chance


def kabsch_on(
    moving: tuple[np.ndarray, np.ndarray], fixed: tuple[np.ndarray, np.ndarray], neighbors: int = 5
) -> Motion:
    """One Kabsch fit over mutual nearest neighbours; each side (embedding n × p, places n × d).

    Unalignable as for `kabsch`.
    """
    pairs = mutual(moving[0], fixed[0], neighbors)
    return kabsch(moving[1][pairs[:, 0]], fixed[1][pairs[:, 1]])


def components(first: np.ndarray, second: np.ndarray, count: int = 50) -> list[np.ndarray]:
    """Principal components of both slices together (n × genes and m × genes, the same genes)."""
    joined = np.concatenate([first, second]).astype(np.float64)
    joined -= joined.mean(axis=0)
    _, _, axes = np.linalg.svd(joined, full_matrices=False)
    found = joined @ axes[:count].T
    return [found[: len(first)], found[len(first) :]]


def paste(
    moving: tuple[np.ndarray, np.ndarray],
    fixed: tuple[np.ndarray, np.ndarray],
    alpha: float,
    cells: int,
    rng: np.random.Generator,
) -> tuple[Motion, float]:
    """PASTE's plan between slices thinned to `cells` cells, as a motion; and the plan's loss.

    Each side is (expression of the shared genes n × G, not negative; coordinates n × d). Costs are
    the Kullback-Leibler divergences of the cells' expression (0.01 added, rows adding up to 1) and
    Euclidean distances scaled by their largest; the plan is fitted by weighted Kabsch.
    """
    import ot

    sides = []
    for values, places in (moving, fixed):
        rows = np.sort(rng.permutation(len(values))[:cells])
        sides.append((values[rows].astype(np.float64) + 0.01, places[rows]))
    (x, xy), (y, uv) = sides
    x, y = x / x.sum(axis=1, keepdims=True), y / y.sum(axis=1, keepdims=True)
    cost = (x * np.log(x)).sum(axis=1)[:, None] - x @ np.log(y).T
    near, far = (ot.dist(places, places, "euclidean") for places in (xy, uv))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a solver stopped at its limit is told by its loss
        plan, log = ot.gromov.fused_gromov_wasserstein(
            cost, near / near.max(), far / far.max(), ot.unif(len(x)), ot.unif(len(y)),
            loss_fun="square_loss", alpha=alpha, log=True, max_iter=200,
        )  # fmt: skip
    i, j = np.nonzero(plan > 1e-12)
    return kabsch(xy[i], uv[j], plan[i, j]), float(log["fgw_dist"])


def pairs_in_space(moved: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Row of `fixed` (m × d) nearest to each place of `moved` (n × d): n rows."""
    return cKDTree(fixed).query(moved)[1]


def scores(
    moved: np.ndarray,
    fixed: np.ndarray,
    expression: tuple[np.ndarray, np.ndarray],
    labels: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, float]:
    """How alike cells are that lie on each other: Pearson over shared genes, share of equal labels.

    Every cell pairs with its nearest in the other slice, both ways. expression: n × G and m × G,
    log-normalised, the same genes; Pearson is over all pairs and genes at once, each gene centred
    and scaled within its slice, so that what genes differ in by technology counts nothing. labels:
    n and m values, None where unknown, which do not count. NaN where there is nothing to compare.
    """
    rows = np.arange(len(moved)), pairs_in_space(fixed, moved)
    first = np.concatenate(rows)
    second = np.concatenate([pairs_in_space(moved, fixed), np.arange(len(fixed))])
    x, y = (_standardised(values) for values in expression)
    found = {"pearson": float((x[first] * y[second]).mean()) if x.shape[1] else np.nan}
    raw = [
        values[chosen].ravel() for values, chosen in zip(expression, (first, second), strict=True)
    ]
    flat = min((float(np.std(values)) for values in raw), default=0.0) == 0 if raw[0].size else True
    found["pearson_raw"] = np.nan if flat else float(np.corrcoef(*raw)[0, 1])
    if labels is not None:
        one, other = labels[0][first], labels[1][second]
        known = np.array([a is not None and b is not None for a, b in zip(one, other, strict=True)])
        found["label_match"] = float((one[known] == other[known]).mean()) if known.any() else np.nan
    return found


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)


def random_motion(moving: np.ndarray, fixed: np.ndarray, rng: np.random.Generator) -> Motion:
    """A random rotation that lays the middle of one slice near the middle of the other.

    The shift is up to a quarter of the slice's extent, so that slices overlap as aligned ones do.
    """
    d = moving.shape[1]
    rotation, upper = np.linalg.qr(rng.normal(size=(d, d)))
    rotation *= np.sign(np.diag(upper))
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
    shift = rng.uniform(-0.25, 0.25, size=d) * extent(fixed)
    return Motion(rotation, fixed.mean(axis=0) + shift - rotation @ moving.mean(axis=0))
