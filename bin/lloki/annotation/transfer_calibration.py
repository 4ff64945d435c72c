"""Whether probabilities of labels are right as often as they say, and what makes them so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

BINS = 15
LEAST = 50  # cells, of a label and of all others, below which its curve is not fitted
CELLS = 10_000  # of a slice, by which curves are fitted and chosen
FLOOR = 1e-3  # of a probability in a log loss


@dataclass(frozen=True)
class Held:
    """Cells whose labels were hidden: probabilities (n × C), labels (n, −1: none that counts).

    group: what was hidden with them; the cells of a group are never judged by one another.
    """

    group: str
    probability: np.ndarray
    codes: np.ndarray

    def known(self) -> Held:
        """Those with a label, CELLS drawn from them at most."""
        there = np.flatnonzero(self.codes >= 0)
        if len(there) > CELLS:
            there = np.sort(np.random.default_rng(0).choice(there, CELLS, replace=False))
        return Held(self.group, self.probability[there], self.codes[there])


@dataclass(frozen=True)
class Calibration:
    """A rising curve for each label that has one; without any, probabilities stay as they are."""

    curves: Mapping[int, IsotonicRegression] = field(default_factory=dict)

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (n × C, rows sum to 1)."""
        found = probability.astype(float)
        for label, curve in self.curves.items():
            found[:, label] = curve.predict(probability[:, label])
        found += 1e-6 * probability  # where every curve says 0
        return found / found.sum(axis=1, keepdims=True)


def fit(held: Sequence[Held]) -> Calibration:
    """Isotonic regression of each label, every group of held-out cells with the same weight."""
    held = [part.known() for part in held]
    probability = np.concatenate([part.probability for part in held])
    codes = np.concatenate([part.codes for part in held])
    group = np.repeat([part.group for part in held], [len(part.codes) for part in held])
    _, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
    curves = {}
    for label in range(probability.shape[1]):
        is_it = codes == label
        if min(is_it.sum(), (~is_it).sum()) >= LEAST:
            curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
            curves[label] = curve.fit(probability[:, label], is_it, 1 / sizes[place])
    return Calibration(curves)


def choose(held: Sequence[Held]) -> Calibration:
    """The curves of `fit` where they help on groups that they were not fitted to, else none.

    Each group is left out in turn; calibration error and log loss must both fall in the mean.
    """
    held = [part.known() for part in held if (part.codes >= 0).any()]
    groups = sorted({part.group for part in held})
    if len(groups) < 2:
        return Calibration()
    before, after = [], []
    for group in groups:
        curves = fit([part for part in held if part.group != group])
        for left in (part for part in held if part.group == group):
            before.append(_faults(left.probability, left.codes))
            after.append(_faults(curves.apply(left.probability), left.codes))
    helps = (np.mean(after, axis=0) < np.mean(before, axis=0)).all()
    return fit(held) if helps else Calibration()


def _faults(probability: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    return error(probability, codes), log_loss(probability, codes)


def log_loss(probability: np.ndarray, codes: np.ndarray) -> float:
    """Mean −log of the probability of the true label (codes: n), FLOOR at least."""
    own = probability[np.arange(len(codes)), codes]
    return float(-np.log(np.maximum(own, FLOOR)).mean())


def reliability(probability: np.ndarray, codes: np.ndarray) -> pd.DataFrame:
    """Of cells by the probability of their label, in BINS: cells, mean probability, share right."""
    confidence, right = _top(probability, codes)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"bin": place, "probability": confidence, "right": right})
    grouped = table.groupby("bin")
    found = grouped.mean()
    found.insert(0, "cells", grouped.size())
    return found.reset_index()


def error(probability: np.ndarray, codes: np.ndarray) -> float:
    """Expected calibration error: mean distance of probability and share right over BINS, by cells.

    probability: n × C; codes: n, the true labels. NaN for no cell.
    """
    if not len(codes):
        return np.nan
    table = reliability(probability, codes)
    apart = (table["probability"] - table["right"]).abs()
    return float(np.average(apart, weights=table["cells"]))


def risk_coverage(
    probability: np.ndarray, codes: np.ndarray, shares: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 1.0)
) -> dict[float, float]:
    """Share of wrong labels among the most certain cells, for each share of cells kept."""
    confidence, right = _top(probability, codes)
    order = np.argsort(-confidence, kind="stable")
    kept = {share: order[: max(1, round(share * len(order)))] for share in shares}
    return {share: float(1 - right[cells].mean()) for share, cells in kept.items() if len(order)}


def _top(probability: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each cell's most likely label, and whether that is the true one."""
    return probability.max(axis=1), (probability.argmax(axis=1) == codes).astype(float)
