"""Which slices are aligned with which: all pairs of a small group, some of a large one.

A group is what can lie in one frame (a block of tissue, a plane, a subject); slices of different
groups are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

HOWS = ("auto", "all", "star", "order", "alike", "none")
FEW = 8  # slices of a group up to which all its pairs are tried
NEXT = 2  # sections before and after, by depth
ALIKE = 3  # slices most like one

Pair = tuple[str, str]  # (fixed, moving)


def plan(
    groups: Mapping[str, Sequence[str]],
    how: str,
    depths: Mapping[str, float],
    profiles: Mapping[str, np.ndarray],
) -> list[Pair]:
    """The pairs to align, of each group as `how` says.

    groups: samples by group, its reference first; depths: place in a stack, of those that have one;
    profiles: shares of the kinds of cells (`integration.subset`). auto: all pairs of up to FEW
    slices; else neighbours in depth where all have one; else each with the reference and with the
    ALIKE slices most like it.
    """
    found: list[Pair] = []
    for samples in groups.values():
        deep = all(sample in depths for sample in samples)
        chosen = how
        if how == "auto":
            chosen = "all" if len(samples) <= FEW else "order" if deep else "alike"
        if chosen == "order" and not deep:
            chosen = "alike"
        found += _pairs(list(samples), chosen, depths, profiles)
    return found


def _pairs(samples: list[str], how: str, depths: Mapping, profiles: Mapping) -> list[Pair]:
    """Pairs of one group, each once; the one that comes first in `samples` is fixed."""
    if how == "none":
        return []
    if how == "all":
        return list(combinations(samples, 2))
    star = [(samples[0], sample) for sample in samples[1:]]
    if how == "star":
        return star
    place = {sample: i for i, sample in enumerate(samples)}
    if how == "order":
        stack = sorted(samples, key=lambda sample: (depths[sample], place[sample]))
        near = [(a, b) for i, a in enumerate(stack) for b in stack[i + 1 : i + 1 + NEXT]]
    else:
        near = star + _alike(samples, profiles)
    ordered = {tuple(sorted(pair, key=place.get)) for pair in near}
    return sorted(ordered, key=lambda pair: (place[pair[0]], place[pair[1]]))


def _alike(samples: list[str], profiles: Mapping[str, np.ndarray]) -> list[Pair]:
    """Each slice with the ALIKE others whose shares of kinds are most like its own (Hellinger)."""
    roots = np.sqrt(np.array([profiles[sample] for sample in samples]))
    away = np.linalg.norm(roots[:, None] - roots[None], axis=2)
    np.fill_diagonal(away, np.inf)
    near = np.argsort(away, axis=1, kind="stable")[:, :ALIKE]
    return [(samples[i], samples[j]) for i, row in enumerate(near) for j in row]


def batches(pairs: Sequence[Pair], sizes: Mapping[str, int], most: int) -> list[int]:
    """The task of each pair: pairs in order, of about `most` cells together."""
    tasks, task, load = [], 0, 0
    for fixed, moving in pairs:
        cells = sizes[fixed] + sizes[moving]
        if load and load + cells > most:
            task, load = task + 1, 0
        load += cells
        tasks.append(task)
    return tasks
