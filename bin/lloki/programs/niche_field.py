"""How much of another kind of cell is around each cell; the same field moved over the slice."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import rankdata

SQUARE = 1.5  # sides of a slice up to this ratio may be swapped
BANDS = (0, 20, 50, 100, 200, np.inf)  # µm to the nearest neighbour cell


def share_near(
    places: np.ndarray, neighbour: np.ndarray, focus: np.ndarray, k: int
) -> tuple[np.ndarray, float]:
    """Share of `neighbour` cells among the k nearest other cells of each focus cell (n_F).

    places: n × 2 or n × 3, µm; neighbour: n bool; focus: rows. k is cut to n - 1. Also the median
    distance to the k-th of them.
    """
    k = min(k, len(places) - 1)
    gaps, near = cKDTree(places).query(places[focus], k + 1)
    other = near != focus[:, None]
    other[other.all(axis=1), -1] = False  # many cells on one place: its own is not among them
    near = near[other].reshape(len(focus), k)
    return neighbour[near].mean(axis=1), float(np.median(gaps[:, -1]))


def distance_to(places: np.ndarray, neighbour: np.ndarray, focus: np.ndarray) -> np.ndarray:
    """Distance of each focus cell to the nearest other cell that is a `neighbour` (n_F, µm)."""
    rows = np.flatnonzero(neighbour)
    gaps, near = cKDTree(places[rows]).query(places[focus], min(2, len(rows)))
    gaps, near = gaps.reshape(len(focus), -1), near.reshape(len(focus), -1)
    own = rows[near[:, 0]] == focus
    return np.where(own, gaps[:, -1] if gaps.shape[1] > 1 else np.inf, gaps[:, 0])


def moved(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The places mirrored and turned at random within their box, and shifted round it (a torus)."""
    low, size = places.min(axis=0), np.ptp(places, axis=0)
    size[size == 0] = 1
    unit = (places - low) / size
    plane = unit[:, :2]
    if plane.shape[1] == 2 and max(size[:2]) <= SQUARE * min(size[:2]) and rng.random() < 0.5:
        plane = plane[:, ::-1]
    flip = rng.random(plane.shape[1]) < 0.5
    plane = np.where(flip, 1 - plane, plane)
    unit[:, :2] = (plane + rng.random(plane.shape[1])) % 1
    return unit * size + low


def fields(values: np.ndarray, places: np.ndarray, rngs: list) -> np.ndarray:
    """The field as it is (rng None) or moved, at the focus cells: n_F × len(rngs), float32.

    values: n_F; places: of the focus cells. A cell that comes to lie elsewhere has the value of the
    focus cell nearest to there.
    """
    tree = cKDTree(places)
    columns = [values if rng is None else values[tree.query(moved(places, rng))[1]] for rng in rngs]
    return np.column_stack(columns).astype(np.float32)


def ranked(found: np.ndarray) -> np.ndarray:
    """Ranks of each column, from 0 to 1 less a half (n × N float32)."""
    ranks = [(rankdata(column) - 0.5) / len(found) - 0.5 for column in found.T]
    return np.column_stack(ranks).astype(np.float32)


def blocks(places: np.ndarray, count: int) -> np.ndarray:
    """Compact blocks of equally many cells: the number of each cell's (n int64)."""
    found = np.zeros(len(places), dtype=np.int64)
    if count > 1 and len(places):
        first = count // 2
        side = np.argmax(np.ptp(places, axis=0))
        # equal coordinates go by the others, so that the order of cells does not matter
        keys = [places[:, i] for i in range(places.shape[1]) if i != side] + [places[:, side]]
        order = np.lexsort(keys)
        cut = round(len(places) * first / count)
        found[order[:cut]] = blocks(places[order[:cut]], first)
        found[order[cut:]] = first + blocks(places[order[cut:]], count - first)
    return found


def beyond(places: np.ndarray, held_out: np.ndarray, buffer: float) -> np.ndarray:
    """Cells further than `buffer` from every held-out one (n bool)."""
    if not held_out.any():
        return np.ones(len(places), dtype=bool)
    return (cKDTree(places[held_out]).query(places)[0] > buffer) & ~held_out
