"""The last step of an alignment: the motion nearby under which cells lie among their like.

Landmarks fix a motion only as well as cells of one surrounding are told from others of its kind.
Once slices overlap, every cell says something: how much its surroundings resemble those it lies on.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from lloki.alignment.rigid import Motion, rms

CELLS = 5000  # of the moving slice, that are looked at
NEAR = 5  # cells of the fixed slice, that a place is read from
FAR = 5  # spacings between cells beyond which a place lies outside the fixed slice
STEP = 1 / 3  # of the tolerance, first step in every direction
EVALUATIONS = 150  # for three free directions


class Likeness:
    """How much cells of one slice resemble the place of another on which a motion lays them.

    moving, fixed: (features, unit rows n × p; coordinates n × d). Of `moving` CELLS are drawn.
    """

    def __init__(
        self,
        moving: tuple[np.ndarray, np.ndarray],
        fixed: tuple[np.ndarray, np.ndarray],
        rng: np.random.Generator,
    ):
        rows = np.sort(rng.permutation(len(moving[1]))[:CELLS])
        self.features, self.places = moving[0][rows], moving[1][rows]
        self.fixed, self.ground = fixed[0], cKDTree(fixed[1])
        count = len(fixed[1])
        self.near = range(1, min(NEAR, count) + 1)
        self.spacing = np.median(self.ground.query(fixed[1], 2)[0][:, -1]) if count > 1 else 0.0

    def inside(self, motion: Motion) -> np.ndarray:
        """Which of the cells lie within the fixed slice, a bool each."""
        return self.ground.query(motion(self.places))[0] < FAR * self.spacing

    def of(self, motion: Motion, cells: np.ndarray | None = None) -> float:
        """Mean cosine of the cells (a bool each; all) to where they lie, 0 outside the slice."""
        cells = np.ones(len(self.places), dtype=bool) if cells is None else cells
        away, near = self.ground.query(motion(self.places[cells]), self.near)
        weight = 1 / (away + self.spacing)
        weight /= weight.sum(axis=1, keepdims=True)
        alike = np.einsum("np,nkp,nk->n", self.features[cells], self.fixed[near], weight)
        return float(np.where(away[:, 0] < FAR * self.spacing, alike, 0).mean())


def refine(
    motion: Motion, likeness: Likeness, tolerance: float, pull: float = 0.0,
    other: Motion | None = None,
) -> Motion:  # fmt: skip
    """The motion near `motion`, or near `other`, of the largest likeness.

    Cells that lie outside the fixed slice under `motion` do not count, so that slices may overlap
    in part; cells that leave it count as 0, so that none is gained by leaving. `pull`: what a move
    by the tolerance away from `motion` has to gain; where all places look alike, as along a layer,
    that is the better guess. Simplex search (Nelder and Mead 1965) over rotation and translation;
    scale and hand stay. `motion` itself where nothing better is found, or where fewer than 10 cells
    overlap.
    """
    cells = likeness.inside(motion)
    if cells.sum() < 10:
        return motion
    places = likeness.places[cells]
    before = motion(places)

    def unlike(moved: Motion) -> float:
        away = rms(np.linalg.norm(moved(places) - before, axis=1)) if pull else 0.0
        return pull * (away / tolerance) ** 2 - likeness.of(moved, cells)

    starts = [motion, *([other] if other else [])]
    found = [_searched(start, unlike, places, tolerance, likeness.spacing) for start in starts]
    return min([motion, *found], key=unlike)


def _searched(
    start: Motion, unlike, places: np.ndarray, tolerance: float, spacing: float
) -> Motion:
    """Where the simplex search from `start` ends."""
    centre, goal = places.mean(axis=0), start(places).mean(axis=0)
    radius = max(rms(np.linalg.norm(start(places) - goal, axis=1)), 1e-300)
    upper = np.triu_indices(len(goal), 1)

    def moved(step: np.ndarray) -> Motion:
        turn = np.zeros((len(goal), len(goal)))
        turn[upper] = -step[: len(upper[0])] / radius
        rotation = expm(turn - turn.T) @ start.rotation
        shift = goal + step[len(upper[0]) :] - start.scale * rotation @ centre
        return Motion(rotation, shift, start.scale)

    free = len(upper[0]) + len(goal)
    simplex = np.vstack([np.zeros(free), np.eye(free) * STEP * tolerance]) - STEP * tolerance / 4
    options = {
        "initial_simplex": simplex, "xatol": 0.1 * spacing, "fatol": 1e-5,
        "maxfev": EVALUATIONS * free // 3,
    }  # fmt: skip
    found = minimize(lambda step: unlike(moved(step)), np.zeros(free), method="Nelder-Mead",
                     options=options)  # fmt: skip
    return moved(found.x)
