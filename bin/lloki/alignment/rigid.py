"""Rigid motions: the best one over landmarks (Kabsch), and the one that most landmarks agree on.

A motion takes a row of coordinates x to scale · R x + t.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SCALES = (0.5, 2.0)  # without bounds the best scale is 0, with all cells on the densest spot
CANDIDATES = 2000  # motions tried, each through as few landmarks as fix one
REFINED = 8  # the best of them, refitted
REFITS = 50


class Unalignable(Exception):
    """The landmarks fix no motion, for the reason given."""


@dataclass(frozen=True)
class Motion:
    """x → scale · rotation x + translation; `rotation` is d × d, a mirror image has det −1."""

    rotation: np.ndarray
    translation: np.ndarray
    scale: float = 1.0

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The points (n × d) moved."""
        return self.scale * points @ self.rotation.T + self.translation


@dataclass(frozen=True)
class Fit:
    """A motion, the landmarks that agree with it (bool each), and how well they do."""

    motion: Motion
    inliers: np.ndarray
    rmsd: float  # over the inliers, in the unit of the coordinates
    score: float


def identity(dimensions: int) -> Motion:
    """The motion that leaves every point where it is."""
    return Motion(np.eye(dimensions), np.zeros(dimensions))


def kabsch(
    source: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None = None,
    scale: bool = False,
    mirror: bool = False,
) -> Motion:
    """The motion of least weighted squared distance from `source` to `target`, both m × d.

    Kabsch 1976; with `scale` Umeyama 1991; with `mirror` a reflection is taken where it fits
    better. Unalignable when there are fewer than d points, or they lie on one line.
    """
    weights = np.ones(len(source)) if weights is None else weights
    used = np.count_nonzero(weights)
    if used < source.shape[1]:
        raise Unalignable(f"{used} landmarks fix no motion")
    for points in (source[weights > 0], target[weights > 0]):
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[0] <= 1e-9 * np.abs(points).max() or spread[1] <= 1e-6 * spread[0]:
            raise Unalignable("the landmarks lie on one line or one spot")
    rotation, translation, factor = _fit(source, target, weights, scale, mirror)
    return Motion(rotation, translation, float(factor))


def _fit(source, target, weights, scale=False, mirror=False) -> tuple:
    """Kabsch on stacks: source and target … × m × d, weights … × m."""
    weights = weights / weights.sum(axis=-1, keepdims=True)
    centre, goal = (np.einsum("...m,...md->...d", weights, x) for x in (source, target))
    source, target = source - centre[..., None, :], target - goal[..., None, :]
    u, s, vt = np.linalg.svd(np.swapaxes(target * weights[..., None], -1, -2) @ source)
    sign = np.ones_like(s)
    sign[..., -1] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    if mirror:  # where neither hand fits better (points in a plane of 3-D), stay with the rotation
        sign[..., -1] = np.where(s[..., -1] > 1e-9 * s[..., 0], 1.0, sign[..., -1])
    rotation = (u * sign[..., None, :]) @ vt
    factor = np.ones(s.shape[:-1])
    if scale:
        spread = np.einsum("...m,...md->...", weights, source**2)
        factor = np.clip((s * sign).sum(axis=-1) / np.maximum(spread, 1e-300), *SCALES)
    moved = factor[..., None] * np.einsum("...ij,...j->...i", rotation, centre)
    return rotation, goal - moved, factor


def fit_plain(
    source: np.ndarray, target: np.ndarray, scale: bool = False, mirror: bool = False
) -> Fit:
    """One Kabsch fit over all landmarks, as in the paper. Unalignable as for `kabsch`."""
    motion = kabsch(source, target, scale=scale, mirror=mirror)
    everyone = np.ones(len(source), dtype=bool)
    return Fit(motion, everyone, rms(distances(motion, source, target)), float(len(source)))


def fit_robust(
    source: np.ndarray,
    target: np.ndarray,
    tolerance: float,
    rng: np.random.Generator,
    scale: bool = False,
    mirror: bool = False,
) -> list[Fit]:
    """The motion that most landmarks agree with, within `tolerance`: RANSAC, then trimmed refits.

    source, target m × d. The score is Σ max(0, 1 − distance² / tolerance²), which counts the
    landmarks that agree and prefers close ones. With `mirror` the best of each hand, the better
    one first. Unalignable when no few landmarks agree on a motion, or those that do lie on one
    line.
    """
    fits, failure = [], Unalignable("no two landmarks agree on a motion")
    for hand in (1.0, -1.0) if mirror else (1.0,):
        flip, best = _flip(source.shape[1], hand), None
        for candidate in _candidates(source * flip, target, tolerance, rng, scale):
            turned = replace(candidate, rotation=candidate.rotation * flip)
            try:
                fit = refit(turned, source, target, tolerance, scale)
            except Unalignable as error:
                failure = error
                continue
            if best is None or fit.score > best.score:
                best = fit
        if best:
            fits.append(best)
    if not fits:
        raise failure
    return sorted(fits, key=lambda fit: -fit.score)


def _candidates(source, target, tolerance, rng, scale) -> list[Motion]:
    """The best motions through d landmarks drawn at random, judged by all landmarks."""
    m, d = source.shape
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    source, target = source - centre, target - goal
    draw = rng.integers(m, size=(8 * CANDIDATES, d))
    side, goal_side = (
        np.linalg.norm(x[draw] - x[np.roll(draw, 1, axis=1)], axis=2) for x in (source, target)
    )
    # Landmarks close together fix no angle; distances differ between the slices where one is wrong.
    good = np.minimum(side, goal_side).min(axis=1) > 2 * tolerance
    if not scale:
        good &= np.abs(side - goal_side).max(axis=1) < 2 * tolerance
    draw = draw[good][:CANDIDATES]
    if not len(draw):
        return []
    rotation, translation, factor = _fit(source[draw], target[draw], np.ones(draw.shape), scale)
    # A motion through d noisy landmarks is itself off: judge it loosely.
    score = _scores(source, target, rotation, translation, factor, 2 * tolerance)
    translation += goal - factor[:, None] * (rotation @ centre)
    best = np.argsort(-score, kind="stable")[:REFINED]
    return [Motion(rotation[i], translation[i], float(factor[i])) for i in best]


def _scores(source, target, rotation, translation, factor, tolerance) -> np.ndarray:
    """Scores of many motions (stacks of R, t, scale), squared distances by one matrix product."""
    pairs = np.einsum("mi,mj->mij", target, source).reshape(len(source), -1)
    square = (source**2).sum(axis=1), (target**2).sum(axis=1)
    landmarks = np.column_stack([*square, np.ones(len(source)), source, target, pairs])
    motions = np.column_stack([
        factor**2, np.ones(len(factor)), (translation**2).sum(axis=1),
        2 * factor[:, None] * np.einsum("hij,hi->hj", rotation, translation), -2 * translation,
        -2 * factor[:, None] * rotation.reshape(len(factor), -1),
    ])  # fmt: skip
    blocks = range(0, len(motions), 250)
    return np.concatenate([
        np.maximum(1 - motions[i : i + 250] @ landmarks.T / tolerance**2, 0).sum(axis=1)
        for i in blocks
    ])  # fmt: skip


def refit(
    motion: Motion, source: np.ndarray, target: np.ndarray, tolerance: float, scale: bool = False
) -> Fit:
    """Fit again and again to the landmarks that agree, closer ones first, until nothing changes.

    motion: where to start, its hand stays; source, target m × d. Unalignable when none agrees, or
    those that do lie on one line.
    """
    flip = _flip(source.shape[1], np.sign(np.linalg.det(motion.rotation)))
    source, motion = source * flip, replace(motion, rotation=motion.rotation * flip)
    floor = 1e-9 * np.abs(target - target.mean(axis=0)).max()
    before = None
    for step in range(REFITS):
        distance = distances(motion, source, target)
        bound = tolerance if step else 2 * tolerance
        agree = distance < bound
        if not agree.any():
            raise Unalignable("no few landmarks agree on a motion")
        # Where most of those that agree agree closely, the rest of them is chance.
        bound = min(bound, 3 * np.median(distance[agree]) + floor)
        weights = np.maximum(1 - (distance / bound) ** 2, 0)
        if before is not None and np.abs(weights - before).max() < 1e-9:
            break
        motion, before = kabsch(source, target, weights, scale), weights
    distance = distances(motion, source, target)
    inliers = distance < tolerance
    score = np.maximum(1 - (distance / tolerance) ** 2, 0).sum()
    motion = replace(motion, rotation=motion.rotation * flip)
    return Fit(motion, inliers, rms(distance[inliers]), float(score))


def _flip(dimensions: int, hand: float) -> np.ndarray:
    """Factors of the coordinates that turn a slice over where `hand` is −1."""
    return np.where(np.arange(dimensions) == 0, hand, 1.0)


def distances(motion: Motion, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How far each moved source point lies from its target."""
    return np.linalg.norm(motion(source) - target, axis=1)


def rms(distance: np.ndarray) -> float:
    """Root mean square, NaN of nothing."""
    return float(np.sqrt(np.mean(distance**2))) if len(distance) else float("nan")
