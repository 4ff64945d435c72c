"""Factor analysis of data sets that measure different genes, from their correlations alone.

The standardised expression of gene g in a cell of data set d is gain_dg w_gᵀ z + noise of variance
v_dg: loadings w_g whatever the data set, factors z ~ N(0, I) of the cell. How well a technology
catches a gene is its gain and noise. Fitted by expectation maximisation (Rubin and Thayer 1982),
with the genes that a data set lacks left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NOISE = 0.05  # least noise, as a share of a gene's variance
GAIN = 0.2, 2.0  # bounds of a gain
GENES = 1000  # genes whose loadings are solved for at a time


@dataclass(frozen=True)
class Caught:
    """How a data set catches each of its genes: gain and variance of the noise (inf: silent)."""

    gain: np.ndarray
    noise: np.ndarray

    @classmethod
    def at_first(cls, moment: np.ndarray) -> Caught:
        """Before anything is known: the gain 1, all variance noise."""
        variances = np.diag(moment)
        return cls(
            np.ones(len(moment)), np.where(variances > 0, np.maximum(variances, NOISE), np.inf)
        )

    def projection(self, loadings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P (G × r), X P being the factors' posterior means, and their covariance (r × r)."""
        weighted = loadings * (self.gain / self.noise)[:, None]
        left = np.linalg.inv(
            np.eye(loadings.shape[1]) + (loadings * self.gain[:, None]).T @ weighted
        )
        return weighted @ left, left

    def expectation(
        self, loadings: np.ndarray, moment: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean products of the genes with the factors (G × r) and of the factors (r × r)."""
        projection, left = self.projection(loadings)
        cross = moment @ projection
        return cross, projection.T @ cross + left

    def again(
        self, loadings: np.ndarray, moment: np.ndarray, cross: np.ndarray, second: np.ndarray
    ) -> Caught:
        """Gains, drawn towards 1, and noise under these loadings and `expectation`s."""
        with_factors = (loadings * cross).sum(axis=1)
        explained = ((loadings @ second) * loadings).sum(axis=1)
        gain = np.clip((with_factors + 1) / (explained + 1), *GAIN)
        noise = np.diag(moment) - 2 * gain * with_factors + gain**2 * explained
        return Caught(gain, np.where(np.isinf(self.noise), np.inf, np.maximum(noise, NOISE)))


def solve_loadings(
    caught: Sequence[Caught],
    found: Sequence[tuple[np.ndarray, np.ndarray]],
    places: Sequence[np.ndarray],
    weights: np.ndarray,
    shape: tuple[int, int],
    ridge: float,
) -> np.ndarray:
    """Each gene's loadings by ridge regression on the factors of all cells that measured it."""
    precision, cross = np.zeros((len(caught), shape[0])), np.zeros(shape)
    for d, (c, place) in enumerate(zip(caught, places, strict=True)):
        precision[d, place] = weights[d] * c.gain**2 / c.noise
        cross[place] += (weights[d] * c.gain / c.noise)[:, None] * found[d][0]
    seconds, loadings = np.stack([second for _, second in found]), np.empty(shape)
    for start in range(0, shape[0], GENES):
        those = slice(start, start + GENES)
        system = np.tensordot(precision[:, those].T, seconds, 1) + ridge * np.eye(shape[1])
        loadings[those] = np.linalg.solve(system, cross[those, :, None])[:, :, 0]
    return loadings


def leading(moment: np.ndarray, rank: int) -> np.ndarray:
    """Principal axes of a data set scaled to its factors' unit variance, signs made definite."""
    values, vectors = np.linalg.eigh(moment)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)])
    return vectors * signs * np.sqrt(np.maximum(values, 0))
