"""The last step of an alignment: the motion nearby under which cells lie among their like.

Landmarks fix a motion only as well as cells of one surrounding are told from others of its kind.
Once slices overlap, every cell says something: how much its surroundings resemble those it lies on.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from lloki.rigid import Motion, rms

CELLS = 2000  # of the moving slice, that are looked at
NEAR = 5  # cells of the fixed slice, that a place is read from
FAR = 5  # spacings between cells beyond which a place lies outside the fixed slice
STEP = 1 / 3  # of the tolerance, first step in every direction
EVALUATIONS = 150  # for three free directions


def refine(
    motion: Motion,
    moving: tuple[np.ndarray, np.ndarray],
    fixed: tuple[np.ndarray, np.ndarray],
    tolerance: float,
    rng: np.random.Generator,
    pull: float = 0.0,
) -> Motion:
    """The motion near `motion` of the largest mean cosine between cells and where they lie.

    moving, fixed: (features, unit rows n × p; coordinates n × d). Cells that lie outside the fixed
    slice at the start do not count, so that slices may overlap in part; cells that leave it count
    as 0, so that none is gained by leaving. `pull`: what a move by the tolerance has to gain, in
    mean cosine; where all places look alike, as along a layer, the start is the better guess.
    Simplex search (Nelder and Mead 1965) over rotation and translation; scale and hand stay.
    `motion` itself where nothing better is found, or where fewer than 10 cells overlap.
    """
    rows = np.sort(rng.permutation(len(moving[1]))[:CELLS])
    features, places = moving[0][rows], moving[1][rows]
    ground = cKDTree(fixed[1])
    count = min(NEAR, len(fixed[1]))
    spacing = np.median(ground.query(fixed[1], 2)[0][:, -1]) if len(fixed[1]) > 1 else 0.0
    inside = ground.query(motion(places))[0] < FAR * spacing
    if inside.sum() < 10:
        return motion
    features, places = features[inside], places[inside]
    centre, goal = places.mean(axis=0), motion(places).mean(axis=0)
    radius = max(rms(np.linalg.norm(motion(places) - goal, axis=1)), 1e-300)
    upper = np.triu_indices(len(goal), 1)

    def moved(step: np.ndarray) -> Motion:
        turn = np.zeros((len(goal), len(goal)))
        turn[upper] = -step[: len(upper[0])] / radius
        rotation = expm(turn - turn.T) @ motion.rotation
        shift = goal + step[len(upper[0]) :] - motion.scale * rotation @ centre
        return Motion(rotation, shift, motion.scale)

    def unlike(step: np.ndarray) -> float:
        away, near = ground.query(moved(step)(places), range(1, count + 1))
        weight = 1 / (away + spacing)
        weight /= weight.sum(axis=1, keepdims=True)
        alike = np.einsum("np,nkp,nk->n", features, fixed[0][near], weight)
        alike = np.where(away[:, 0] < FAR * spacing, alike, 0).mean()
        return float(pull * (step**2).sum() / tolerance**2 - alike)

    free = len(upper[0]) + len(goal)
    start = np.vstack([np.zeros(free), np.eye(free) * STEP * tolerance]) - STEP * tolerance / 4
    options = {
        "initial_simplex": start, "xatol": 0.1 * spacing, "fatol": 1e-5,
        "maxfev": EVALUATIONS * free // 3,
    }  # fmt: skip
    found = minimize(unlike, np.zeros(free), method="Nelder-Mead", options=options)
    return moved(found.x) if found.fun < unlike(np.zeros(free)) else motion
