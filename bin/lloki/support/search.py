"""Nearest neighbours of many cells: exactly, or by an index whose recall is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lloki.support.neighbours import nearest, unit_rows

if TYPE_CHECKING:
    import torch

RECALL_CELLS = 1000  # cells on which an approximate search is compared with the exact one
RECALL_WANTED = 0.95
EXACT_CELLS = 200_000  # up to here a full search (quadratic) is as fast as an index
PATIENT_CELLS = 400_000  # up to here one may be waited for where an index finds too few
WIDTH = 0.2  # how far beyond the k-th an index is searched: of 50,000 cells it finds 0.94, not 0.87


class Neighbours(NamedTuple):
    """Neighbours of every cell (n × k, nearest first), and how they were found."""

    indices: np.ndarray
    method: str
    recall: float


def find_neighbours(
    base: np.ndarray,
    k: int,
    metric: str = "cosine",
    method: str = "auto",
    seed: int = 0,
    gpu: torch.device | None = None,
    query: np.ndarray | None = None,
    patient: bool = True,
) -> Neighbours:
    """The k nearest rows of `base` for each row of `query`, or of every cell of `base` itself.

    base: m × d; query: n × d, None for `base`, whose cells are no neighbours of their own (all
    others if k ≥ m). metric: cosine or euclidean; method: exact, approx (recall measured on a
    sample of cells; searched again more widely, and at last exactly, while it is below
    RECALL_WANTED), or auto (exact up to EXACT_CELLS on both sides, and on a GPU). Not patient: of
    more than PATIENT_CELLS the wider search stands, whatever its recall.
    """
    asked = base if query is None else query
    k = min(k, len(base) - (query is None))
    if method == "auto":
        few = max(len(base), len(asked)) <= EXACT_CELLS
        method = "exact" if few or gpu is not None else "approx"
    for width in (1, 2) if method == "approx" and k > 0 else ():
        found = _approximate(base, k, metric, seed, width, query)
        share = recall(base, found, metric, seed, query)
        last = width == 2 and not patient and max(len(base), len(asked)) > PATIENT_CELLS
        if share >= RECALL_WANTED or last:
            return Neighbours(found, "approx", share)
    own = np.arange(len(base)) if query is None else None
    found, _ = nearest(asked, base, k, metric, own, gpu)
    return Neighbours(found, "exact", 1.0)


def _approximate(
    base: np.ndarray, k: int, metric: str, seed: int, width: int, query: np.ndarray | None
) -> np.ndarray:
    """Most of the neighbours of `find_neighbours`, by an index (pynndescent), seeded.

    So many times as many as are wanted are looked for.
    """
    from pynndescent import NNDescent  # compiles code: only where it is needed

    wanted = min(width * (k + (query is None)), len(base))
    index = NNDescent(base, metric=metric, n_neighbors=wanted, random_state=seed)
    if query is not None:
        return index.query(query, k=wanted, epsilon=WIDTH)[0][:, :k].astype(np.int64)
    found = index.neighbor_graph[0][:, : k + 1].astype(np.int64)
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
