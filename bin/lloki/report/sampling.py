"""Which cells a page shows when there are too many: as many of each slice, rare ones kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

MOST = 100_000
RARE = 30  # cells of each kind in a slice that are kept before others are drawn


def draw(slices: Sequence[str], kinds: Sequence[object], most: int, seed: int = 0) -> np.ndarray:
    """Positions of the cells that are shown, in a random order, so that none covers all others.

    slices, kinds: of each of n cells. All cells where they are few enough; else slices get equal
    numbers (small ones whole), and in each the first RARE cells of every kind come first.
    """
    n = len(slices)
    order = np.random.default_rng(seed).permutation(n)
    if n <= most:
        return order
    table = pd.DataFrame({
        "cell": order, "slice": pd.factorize(np.asarray(slices)[order])[0],
        "kind": pd.factorize(np.asarray(kinds)[order])[0],
    })  # fmt: skip
    table["common"] = table.groupby(["slice", "kind"]).cumcount() >= RARE
    table = table.sort_values("common", kind="stable")
    quota = quotas(table["slice"].value_counts().sort_index().to_numpy(), most)
    kept = table[table.groupby("slice").cumcount().to_numpy() < quota[table["slice"]]]
    return order[np.isin(order, kept["cell"].to_numpy())]


def quotas(sizes: np.ndarray, most: int) -> np.ndarray:
    """How many of each slice are shown: as equal as their sizes let them be, `most` in all."""
    left, quota = most, np.zeros(len(sizes), dtype=int)
    for rank, place in enumerate(np.argsort(sizes, kind="stable")):
        quota[place] = min(sizes[place], left // (len(sizes) - rank))
        left -= quota[place]
    return quota
