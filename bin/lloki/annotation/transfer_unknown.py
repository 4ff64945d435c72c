"""Cells outside what the sources of labels cover: a test whose level holds on held-out cells.

How foreign a cell is: the log of its distance to the labelled cells that were asked (averaged over
near cells of the slice, the nearest kind of source), plus the entropy of its label. A cell's p is
the share of held-out cells of known types, given the same label, that are as foreign (conformal).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lloki.annotation.transfer import Votes, averaged, entropy

LEAST = 50  # held-out cells of a label; with fewer all labels are taken together
TINY = 1e-6


def foreignness(
    votes: Sequence[Votes], probability: np.ndarray, near: np.ndarray, relative: bool = False
) -> np.ndarray:
    """How foreign each cell is (n). relative: distances in units of the slice's median one."""
    distance = np.min([averaged(vote.distance, near) for vote in votes], axis=0)
    scale = max(float(np.median(distance)), TINY) if relative else 1.0
    return np.log(np.maximum(distance, TINY) / scale) + entropy(probability)


def p_values(
    foreign: np.ndarray, label: np.ndarray, held: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Share of held-out cells of the same label that are at least as foreign (n, 0 to 1).

    foreign, label: n; held: the same two of each group of held-out cells of known types. Every
    group counts alike.
    """
    scores = np.concatenate([score for score, _ in held])
    labels = np.concatenate([label for _, label in held])
    weights = np.concatenate([np.full(len(score), 1 / max(1, len(score))) for score, _ in held])
    found = np.empty(len(foreign))
    for value in np.unique(label):
        own, of_label = label == value, labels == value
        if of_label.sum() < LEAST:
            of_label = np.ones(len(labels), dtype=bool)
        found[own] = _tail(foreign[own], scores[of_label], weights[of_label])
    return found


def _tail(values: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the scores at or above each value, the value itself counted among them."""
    order = np.argsort(scores, kind="stable")
    above = np.append(np.cumsum(weights[order][::-1])[::-1], 0)
    mean = weights.mean()
    place = np.searchsorted(scores[order], values, side="left")
    return (above[place] + mean) / (weights.sum() + mean)
