"""Tissue domains: cells with surroundings alike, in all slices; regions carried over by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from lloki.integration import sketch
from lloki.support import clusters
from lloki.support.leiden import by_size
from lloki.support.neighbours import nearest

SIZES = 20, 50  # cells around one that are averaged
FIRST, KEPT = 30, 15  # components of the embedding, and of its averages
KINDS = 60  # of cells at most, in each of which panels are brought to one mean
OF_KIND = 100  # cells of a kind, in the mean, at least
FEW = 10  # cells of a panel in a kind by which half of that is done
NUMBERS = range(4, 21)  # domains that are tried
CELLS = 20_000  # at most, on which the number is chosen
PARTS, SHARE = 5, 0.5  # draws of those cells, that domains must hold on
LEVEL = 0.05  # stability that is given up for more domains
STARTS, STEPS = 10, 300  # of k-means
VOTERS = 20  # cells that carry a region over
ASKED = 50_000  # cells with a region at most that are looked at for it, regions in proportion


def components(values: np.ndarray, kept: int) -> np.ndarray:
    """The first principal components of values (n × d), n × at most `kept`, float32.

    Signs are settled: the largest entry of each direction is positive.
    """
    values = np.asarray(values, dtype=np.float32)
    middle = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    product = np.zeros((values.shape[1],) * 2)
    for start in range(0, len(values), 1 << 16):
        block = (values[start : start + (1 << 16)] - middle).astype(np.float64)
        product += block.T @ block
    directions = np.linalg.eigh(product)[1][:, ::-1][:, :kept]
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(directions[largest, np.arange(directions.shape[1])])
    return (values - middle) @ directions.astype(np.float32)


def levelled(
    values: np.ndarray, space: np.ndarray, panels: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Values of cells with the same mean for each panel in each kind of cells (n × e).

    values: n × e; space: n × d, where panels are together, by which kinds are found (k-means);
    panels: of each cell. The mean is that of the panels with FEW cells of the kind or more.
    """
    space = components(space, FIRST)
    centres = _centres(space, int(np.clip(len(space) // OF_KIND, 1, KINDS)), seed, 1)
    names, codes = np.unique(panels, return_inverse=True)
    of = clusters.assign(space, centres)[0] * len(names) + codes
    number = len(centres) * len(names)
    sizes = np.bincount(of, minlength=number).reshape(len(centres), len(names), 1)
    means = clusters.means(values, of, number).reshape(len(centres), len(names), -1)
    many = sizes >= FEW
    panels_of = many.sum(axis=1, keepdims=True)
    middle = (means * many).sum(axis=1, keepdims=True) / np.maximum(panels_of, 1)
    shift = (means - middle) * (panels_of > 0) * sizes / (sizes + FEW)
    return values - shift.reshape(number, -1).astype(np.float32)[of]


def surroundings(
    spaces: Sequence[np.ndarray],
    slices: Sequence[tuple[np.ndarray, np.ndarray]],
    sizes: Sequence[int] = SIZES,
) -> np.ndarray:
    """What lies around each cell: components of its neighbours' mean embeddings (n × KEPT float32).

    spaces: embeddings, n × d each; slices: positions of the cells of each slice (m) and their
    coordinates (m × 2 or 3). Means over the nearest so many other cells of the slice (all, if it
    has fewer), each embedding and size with the same variance in all; then components, each divided
    by the root of its standard deviation, so that the first ones do not decide alone.
    """
    parts = [components(space, FIRST) for space in spaces]
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    values = np.concatenate(parts, axis=1)
    blocks = [np.empty_like(values) for _ in sizes]
    for rows, places in slices:
        for block, mean in zip(blocks, _means(values[rows], places, sizes), strict=True):
            block[rows] = mean
    for block in blocks:
        for part in np.split(block, ends, axis=1):
            part /= max(np.sqrt(part.var(axis=0, dtype=np.float64).sum()), 1e-12)
    found = components(np.concatenate(blocks, axis=1), KEPT)
    return found / np.sqrt(np.maximum(found.std(axis=0, dtype=np.float64), 1e-6)).astype("f4")


def _means(values: np.ndarray, places: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Mean of the values over the nearest so many others, for each size; alone: its own."""
    most = min(max(sizes), len(values) - 1)
    if most < 1:
        return [values] * len(sizes)
    tree, found = cKDTree(places), [np.empty_like(values) for _ in sizes]
    for start in range(0, len(values), 1 << 13):
        own = np.arange(start, min(start + (1 << 13), len(values)))
        near = tree.query(places[own], most + 1)[1]
        # the cell itself is not always the first: others may lie on it
        order = np.argsort(near == own[:, None], axis=1, kind="stable")
        near = np.take_along_axis(near, order, 1)[:, :most]
        for size, block in zip(sizes, found, strict=True):
            block[own] = values[near[:, :size]].mean(axis=1)
    return found


def domains(around: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """The domain of each cell (n int64), the largest is 0: k-means, the best of STARTS.

    around: n × d, as `surroundings` gives it.
    """
    return by_size(clusters.assign(around, _centres(around, number, seed))[0])


def _centres(around: np.ndarray, number: int, seed: int, starts: int = STARTS) -> np.ndarray:
    """Centres of the clusters with the least squares, found on CELLS cells at most."""
    rng = np.random.default_rng(seed)
    if len(around) > CELLS:
        around = around[np.sort(rng.permutation(len(around))[:CELLS])]
    best, least = None, np.inf
    for _ in range(starts):
        first = clusters.start(around, number, rng)
        codes = clusters.k_means(around, first, STEPS, 0)
        centres = clusters.means(around, codes, len(first))
        squares = clusters.assign(around, centres)[1].sum(dtype=np.float64)
        if squares < least:
            best, least = centres, squares
    return best


def stability(
    around: np.ndarray,
    slices: Sequence[str],
    numbers: Sequence[int] = NUMBERS,
    seed: int = 0,
    told: Callable[[], object] = lambda: None,
) -> pd.DataFrame:
    """How well so many domains hold: columns domains, stability; chosen on CELLS cells at most.

    Each number is fitted to PARTS draws of SHARE of the cells, and all cells are given to each
    draw's domains: the mean adjusted Rand index of two of them. slices: of each cell.
    """
    from sklearn.metrics import adjusted_rand_score

    some = around[sketch.stratified_sample(np.asarray(slices), CELLS, seed)]
    rng = np.random.default_rng(seed)
    draws = [np.sort(rng.permutation(len(some))[: round(SHARE * len(some))]) for _ in range(PARTS)]
    rows = []
    for number in numbers:
        if number > SHARE * len(some):
            break
        found = [
            clusters.assign(some, _centres(some[own], number, seed + part, 4))[0]
            for part, own in enumerate(draws)
        ]
        pairs = combinations(found, 2)
        rows.append((number, float(np.mean([adjusted_rand_score(*pair) for pair in pairs]))))
        told()
    return pd.DataFrame(rows, columns=["domains", "stability"])


def choose(table: pd.DataFrame) -> int:
    """The most domains whose stability is within LEVEL of the best; 1 where none was tried."""
    if table.empty:
        return 1
    return int(table["domains"][table["stability"] >= table["stability"].max() - LEVEL].max())


def carried(
    around: np.ndarray, regions: np.ndarray, samples: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Regions of cells that have none, by the VOTERS cells with the most alike surroundings.

    around: n × d; regions: of each cell, None where unknown; samples: of each cell. Cells of slices
    without any region get one, and the share of votes for it (float32, NaN elsewhere); the known
    ones stay, and other cells of slices that have regions stay without.
    """
    known = np.flatnonzero(regions != None)  # noqa: E711
    lacking = ~np.isin(samples, np.unique(samples[known]))
    found, share = regions.copy(), np.full(len(regions), np.nan, dtype=np.float32)
    if not len(known) or not lacking.any():
        return found, share
    known = known[sketch.stratified_sample(regions[known].astype(str), ASKED, seed)]
    names, codes = np.unique(regions[known].astype(str), return_inverse=True)
    near = nearest(around[lacking], around[known], VOTERS, "euclidean")[0]
    votes = np.stack([(codes[near] == code).mean(axis=1) for code in range(len(names))], axis=1)
    found[lacking] = names[votes.argmax(axis=1)]
    share[lacking] = votes.max(axis=1)
    return found, share
