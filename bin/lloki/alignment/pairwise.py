"""Slice alignment: landmarks by mutual neighbours, a rigid motion over them, and a test of chance.

Landmarks are noisy: a cell of a kind meets any cell of that kind. Two things make them useful:
cells are compared by the mean embeddings of their surroundings, and the motion is the one that most
landmarks agree on, not their mean. Then the arrangement has to beat chance. A motion that does is
refined on all cells (see `refinement`).
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree

from lloki.alignment.refinement import Likeness, refine
from lloki.alignment.rigid import (
    Fit,
    Motion,
    Unalignable,
    distances,
    fit_plain,
    fit_robust,
    identity,
    refit,
    rms,
)
from lloki.support.neighbours import mutual, unit_rows

MIN_LANDMARKS = 10
MAX_LANDMARKS = 2000  # in the search for a motion; more do not change it
MAX_CELLS = 20_000  # of a slice, in the search for landmarks
TOLERANCE = 0.3  # of the smaller slice's extent: how far apart landmarks that agree may lie
NARROW = 5  # how many times fewer cells the near surroundings have than the wide ones
KINDS = 8  # kinds of surroundings that are turned apart in the test of chance
PULL = 0.03  # mean cosine that a move by the tolerance must gain in the last refinement
ALPHA = 0.01  # a motion counts when chance does as well at most this often


@dataclass(frozen=True)
class Alignment:
    """How one slice is laid on another; pairs m × 2 are the landmarks (row there, row here)."""

    motion: Motion
    method: str  # robust, plain, or identity where `reason` says why there is no other
    reason: str
    pairs: np.ndarray
    inliers: np.ndarray  # a bool for each landmark
    rmsd: float  # over the inliers, NaN for identity
    tolerance: float
    score: float  # the largest over all motions, before refinement
    chance: np.ndarray  # the scores that chance reached, one a run
    p: float  # how often chance does as well; NaN untested

    def row(self, sample: str, reference: str, via: str) -> dict:
        """A row of transforms.csv: aligned = scale · R x + t, in micrometres.

        `via`: the slice to which the pair is that the figures are of; the reference, or another.
        """
        d = len(self.motion.translation)
        return {
            "sample": sample,
            "reference": reference,
            "via": via,
            "method": self.method,
            **{f"r{i}{j}": self.motion.rotation[i, j] for i in range(d) for j in range(d)},
            **{f"t{'xyz'[i]}": self.motion.translation[i] for i in range(d)},
            "scale": self.motion.scale,
            "landmarks": len(self.pairs),
            "inliers": int(self.inliers.sum()),
            "rmsd": self.rmsd,
            "p": self.p,
            "reason": self.reason,
        }

    def figures(self, sample: str, reference: str) -> dict:
        """What the stage's JSON says of a pair; None where a figure does not apply."""
        rotation, chance = self.motion.rotation, self.chance
        angle = np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0]))
        figures = {
            "sample": sample,
            "reference": reference,
            "method": self.method,
            "reason": self.reason,
            "angle_degrees": angle if len(rotation) == 2 else np.nan,
            "mirrored": bool(np.linalg.det(rotation) < 0),
            "scale": self.motion.scale,
            "landmarks": len(self.pairs),
            "inliers": int(self.inliers.sum()),
            "rmsd_um": self.rmsd,
            "tolerance_um": self.tolerance,
            "score": self.score,
            "chance_median": np.median(chance) if len(chance) else np.nan,
            "chance_max": chance.max() if len(chance) else np.nan,
            "p": self.p,
        }
        missing = {k for k, v in figures.items() if isinstance(v, float) and np.isnan(v)}
        return {k: None if k in missing else v for k, v in figures.items()}


def itself(dimensions: int) -> Alignment:
    """How the reference lies on itself."""
    nothing = np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=bool)
    stay, reason = identity(dimensions), "the reference itself"
    return Alignment(
        stay, "identity", reason, *nothing, np.nan, np.nan, np.nan, np.zeros(0), np.nan
    )


def extent(coordinates: np.ndarray) -> float:
    """Root mean square distance of the cells from their centre."""
    return rms(np.linalg.norm(coordinates - coordinates.mean(axis=0), axis=1))


def align(
    moving: tuple[np.ndarray, np.ndarray],
    fixed: tuple[np.ndarray, np.ndarray],
    *,
    neighbors: int = 5,
    neighborhood: int = 15,
    tolerance: float | None = None,
    chance_runs: int = 30,
    plain: bool = False,
    scale: bool = False,
    mirror: bool = False,
    seed: int = 0,
) -> Alignment:
    """Lay one slice on another; each is (embedding n × p, coordinates n × d in micrometres).

    Landmarks are mutual nearest `neighbors` by their `surroundings` of `neighborhood` cells. The
    motion is the identity, with a reason, where too few landmarks are found or agree, where they
    lie on one line, or where chance does as well (see `chance_scores`; `chance_runs` of them). With
    `mirror` the cells, not the landmarks, tell the hand: landmarks agree from afar, and much tissue
    has two like sides. With `plain`: the paper's landmarks between single cells and one Kabsch fit
    over all, untested.
    """
    rng = np.random.default_rng(seed)
    around = [surroundings(*side, 0 if plain else neighborhood) for side in (moving, fixed)]
    pairs, features = landmarks(*around, neighbors, rng)
    if not plain:
        chosen = np.sort(rng.permutation(len(pairs))[:MAX_LANDMARKS])
        pairs, features = pairs[chosen], features[chosen]
    source, target = moving[1][pairs[:, 0]], fixed[1][pairs[:, 1]]
    reach = tolerance or TOLERANCE * min(extent(moving[1]), extent(fixed[1]))
    hands = {"scale": scale, "mirror": mirror}
    fit, method, reason, score, chance, p = None, "identity", "", 0.0, np.zeros(0), np.nan
    try:
        if plain:
            fit, method = fit_plain(source, target, **hands), "plain"
            score = fit.score
        elif (cells := _cells(pairs)) < MIN_LANDMARKS:
            raise Unalignable(f"landmarks join only {cells} cells, {MIN_LANDMARKS} are needed")
        else:
            fits = fit_robust(source, target, reach, rng, **hands)
            score = fits[0].score
            kind = kinds(features, KINDS, rng)
            chance = chance_scores(source, target, kind, reach, rng, chance_runs, **hands)
            p = exceedance(score, chance)
            if p > ALPHA:
                raise Unalignable(f"the landmarks agree no better than by chance (p = {p:.2g})")
            sides = zip(around, (moving[1], fixed[1]), strict=True)
            method, likeness = "robust", Likeness(*sides, rng)
            refined = [_refined(fit, likeness, source, target, reach, scale) for fit in fits]
            fit = max(refined, key=lambda fit: likeness.of(fit.motion))
    except Unalignable as error:
        reason = str(error)
    if method == "identity":
        stay, nobody = identity(source.shape[1]), np.zeros(len(pairs), dtype=bool)
        fit = Fit(stay, nobody, np.nan, score)
    return Alignment(
        fit.motion, method, reason, pairs, fit.inliers, fit.rmsd, reach, score, chance, p
    )


def _refined(fit: Fit, likeness: Likeness, source, target, reach: float, scale: bool) -> Fit:
    """The fit after `refinement.refine`, unless that loses most of the landmarks that agreed.

    Twice: free, which leaves the place where landmarks of one kind agreed by mistake; then held
    near the landmarks that agree with that.
    """
    free = motion = refine(fit.motion, likeness, reach)
    with contextlib.suppress(Unalignable):
        motion = refit(free, source, target, reach, scale).motion
    motion = refine(motion, likeness, reach, PULL, free)
    away = distances(motion, source, target)
    inliers = away < reach
    if inliers.sum() < fit.inliers.sum() / 2:
        return fit
    return Fit(motion, inliers, rms(away[inliers]), fit.score)


def landmarks(
    moving: np.ndarray, fixed: np.ndarray, neighbors: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks between two slices (m × 2 rows), and what lies around them (m × 2p).

    moving, fixed: surroundings of the cells, n × p. Of a slice with more than MAX_CELLS cells,
    that many are drawn.
    """
    sides = []
    for features in (moving, fixed):
        rows = np.sort(rng.permutation(len(features))[:MAX_CELLS])
        sides.append((rows, features[rows]))
    (rows, first), (columns, second) = sides
    pairs = mutual(first, second, neighbors)
    features = np.hstack([first[pairs[:, 0]], second[pairs[:, 1]]])
    return np.column_stack([rows[pairs[:, 0]], columns[pairs[:, 1]]]), features


def _cells(pairs: np.ndarray) -> int:
    """How many different cells the landmarks join, on the side that has fewer."""
    return min(len(np.unique(side)) for side in pairs.T)


def surroundings(embedding: np.ndarray, coordinates: np.ndarray, neighbors: int) -> np.ndarray:
    """What lies around each cell, unit rows n × 2p float32: mean embeddings near it and wider.

    embedding n × p, coordinates n × d. Wider: over itself and its nearest `neighbors` cells in
    space, which tells regions; near: over a fifth of them, which tells places within one. The
    slice's mean is taken off first: what all its cells have in common says nothing about place.
    With 0 neighbours the embedding stays as it is, n × p, but for the length of its rows.
    """
    if neighbors == 0:
        return unit_rows(embedding)
    count = min(neighbors + 1, len(coordinates))
    _, near = cKDTree(coordinates).query(coordinates, range(1, count + 1))
    embedding = embedding - embedding.mean(axis=0)
    scales = []
    for width in (max(neighbors // NARROW, 1), neighbors):
        # One neighbour at a time: no array of n × neighbors × p.
        total = sum(embedding[column] for column in near.T[: width + 1])
        scales.append(unit_rows(total) / np.float32(np.sqrt(2)))
    return np.hstack(scales)


def kinds(features: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A kind (0 … count − 1) for each landmark by k-means on its features (m × p)."""
    if not np.ptp(features, axis=0).any():
        return np.zeros(len(features), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty kind does no harm
        _, kind = kmeans2(features.astype(np.float64), count, minit="++", rng=rng)
    return kind


def chance_scores(
    source: np.ndarray,
    target: np.ndarray,
    kind: np.ndarray,
    tolerance: float,
    rng: np.random.Generator,
    runs: int,
    scale: bool = False,
    mirror: bool = False,
) -> np.ndarray:
    """Scores of `fit_robust` (one a run) when the kinds of landmarks do not belong together.

    In each run the target side of every kind is turned about the centre by an angle of its own (in
    the plane of the two main axes). Within a kind all distances stay, so a slice in which cells of
    a kind lie together, as they do in any tissue, agrees by chance as much as it really does; what
    is lost is the arrangement of the kinds, which only slices of the same anatomy share.
    """
    centre = target.mean(axis=0)
    _, _, axes = np.linalg.svd(target - centre, full_matrices=False)
    flat = (target - centre) @ axes.T
    scores = []
    for _ in range(runs):
        angle = rng.uniform(0, 2 * np.pi, size=kind.max() + 1)[kind]
        turned = flat.copy()
        turned[:, 0] = np.cos(angle) * flat[:, 0] - np.sin(angle) * flat[:, 1]
        turned[:, 1] = np.sin(angle) * flat[:, 0] + np.cos(angle) * flat[:, 1]
        try:
            scores.append(fit_robust(source, turned, tolerance, rng, scale, mirror)[0].score)
        except Unalignable:
            scores.append(0.0)
    return np.array(scores)


def exceedance(score: float, chance: np.ndarray) -> float:
    """How often chance reaches `score`: the tail of a Gumbel law fitted to `chance` by moments.

    Each score is the largest over many motions, and the largest of many follows that law. Its width
    is taken as 2 % of the scores at least: a lead smaller than that is none. NaN without scores.
    """
    if not len(chance):
        return float("nan")
    width = max(chance.std() * np.sqrt(6) / np.pi, 0.02 * chance.max())
    if width == 0:
        return float(score <= 0)
    mode = chance.mean() - np.euler_gamma * width
    return float(-np.expm1(-np.exp(-(score - mode) / width)))
