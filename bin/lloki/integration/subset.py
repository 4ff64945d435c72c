"""Of many slices those that are enough to train on: a few of each batch, that hold all its kinds.

The paper trains on one slice of each technology. A trained model embeds the other slices of a batch
(technology and panel) as well, since it has learned that batch's vector.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.cluster.vq import kmeans2

KINDS, SEEN = 20, 500  # of cells, that slices are told by; cells of a slice that are looked at
PRESENT = 0.01  # share of a slice from which it has a kind: 5 of 500 cells


def profiles_of(embeddings: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """Shares of KINDS kinds of cells in each slice, by k-means on SEEN cells of each.

    embeddings: n × p of each slice, all cells or enough of them.
    """
    rng = np.random.default_rng(seed)
    drawn = {
        sample: np.asarray(cells[np.sort(rng.permutation(len(cells))[:SEEN])], np.float64)
        for sample, cells in embeddings.items()
    }
    pooled = np.concatenate(list(drawn.values()))
    _, kind = kmeans2(pooled, min(KINDS, len(pooled)), minit="++", rng=rng, missing="warn")
    parts = np.split(kind, np.cumsum([len(cells) for cells in drawn.values()])[:-1])
    shares = [np.bincount(part, minlength=KINDS) / len(part) for part in parts]
    return dict(zip(drawn, shares, strict=True))


def choose_slices(
    batches: Mapping[str, Hashable],
    sizes: Mapping[str, int],
    profiles: Mapping[str, np.ndarray],
    most: int,
) -> list[str]:
    """The slices to train on: all while they have at most `most` cells together, else a few.

    batches, sizes, profiles: of each slice its batch, its cells, its shares of kinds. Of each batch
    the fewest slices that hold every kind of cells that any of its slices holds: one after the
    other, the one that adds most.
    """
    if sum(sizes.values()) <= most:
        return list(batches)
    chosen: set[str] = set()
    for batch in dict.fromkeys(batches.values()):
        members = [sample for sample in batches if batches[sample] == batch]
        there = {sample: profiles[sample] >= PRESENT for sample in members}
        wanted = np.logical_or.reduce(list(there.values()))
        while True:
            best = max(members, key=lambda s: ((there[s] & wanted).sum(), sizes[s]))
            chosen.add(best)
            wanted = wanted & ~there[best]
            if not wanted.any():
                break
    return [sample for sample in batches if sample in chosen]


def draw_cells(sizes: Sequence[int], most: int, seed: int = 0) -> list[np.ndarray] | None:
    """Rows of each slice to train on, `most` in all, in order; None where that is all there are.

    Slices share alike: one with fewer than its part gives all it has, the others more.
    """
    if sum(sizes) <= most:
        return None
    rng = np.random.default_rng(seed)
    quota, left = np.zeros(len(sizes), dtype=int), most
    for rank, i in enumerate(np.argsort(sizes, kind="stable")):
        quota[i] = min(sizes[i], left // (len(sizes) - rank))
        left -= quota[i]
    return [np.sort(rng.permutation(n)[:q]) for n, q in zip(sizes, quota, strict=True)]
