"""Which labels lie beside one another in space more often than by chance."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy.sparse as sp


def pair_counts(codes: np.ndarray, graph: sp.csr_matrix, k: int) -> np.ndarray:
    """Edges between cells of two labels, and what moved labels would give: 3 × k × k float64.

    codes: of each of n cells, 0 to k - 1, or -1 for one that does not count; graph: n × n, 0/1,
    symmetric. Edges (once each), then their mean and variance where the labels change places among
    the cells in every way (join counts, Cliff and Ord 1981): exact, without drawing. What squidpy's
    nhood_enrichment draws to estimate.
    """
    counted = np.flatnonzero(codes >= 0)
    graph, codes = sp.csr_matrix(graph)[counted][:, counted], codes[counted]
    rows = np.repeat(codes, np.diff(graph.indptr))
    seen = np.zeros((k, k))
    np.add.at(seen, (rows, codes[graph.indices]), 1)
    seen[np.diag_indices(k)] /= 2
    sizes, n = np.bincount(codes, minlength=k).astype(float), len(codes)
    degrees = np.diff(graph.indptr).astype(float)
    edges, touching = degrees.sum() / 2, (degrees * (degrees - 1)).sum()

    def share(falling: np.ndarray, order: int) -> np.ndarray:
        """Of all ways to place so many cells."""
        ways = np.prod([n - i for i in range(order)], dtype=float)
        return falling / ways if ways > 0 else np.zeros_like(falling)

    a, b = sizes[:, None], sizes[None]
    two, three = share(2 * a * b, 2), share(a * b * (a + b - 2), 3)
    four = share(4 * a * (a - 1) * b * (b - 1), 4)
    for order, own in enumerate((two, three, four), start=2):
        own[np.diag_indices(k)] = share(np.prod([sizes - i for i in range(order)], axis=0), order)
    mean = edges * two
    square = edges * two + touching * three + (edges * (edges - 1) - touching) * four
    return np.stack([seen, mean, np.maximum(square - mean**2, 0)])


def enrichment(
    codes: np.ndarray, graphs: Iterable[tuple[str, np.ndarray, sp.csr_matrix]], names: list[str]
) -> pd.DataFrame:
    """How much more often than by chance two labels are neighbours, a row a pair and a slice.

    codes: of all cells, positions in names, -1 for none; graphs: of each slice its name, the
    positions of its cells and their graph. Columns: sample (`all`: the slices together), label,
    neighbour, edges, expected, log2 (of edges + 1 over expected + 1), z (NaN where labels leave
    nothing to chance). Labels that a slice lacks have no rows in it.
    """
    k, tables, total = len(names), [], np.zeros((3, len(names), len(names)))
    for sample, rows, graph in graphs:
        found = pair_counts(codes[rows], graph, k)
        total += found
        here = np.bincount(codes[rows][codes[rows] >= 0], minlength=k) > 0
        tables.append(_table(sample, found, here, names))
    tables.append(_table("all", total, np.bincount(codes[codes >= 0], minlength=k) > 0, names))
    return pd.concat(tables, ignore_index=True)


def _table(sample: str, found: np.ndarray, here: np.ndarray, names: list[str]) -> pd.DataFrame:
    first, second = (one.ravel() for one in np.meshgrid(*[np.flatnonzero(here)] * 2, indexing="ij"))
    seen, mean, variance = found[:, first, second]
    z = np.divide(
        seen - mean, np.sqrt(variance), out=np.full(len(seen), np.nan), where=variance > 1e-9
    )
    words = np.array(names, dtype=object)
    return pd.DataFrame({
        "sample": sample, "label": words[first], "neighbour": words[second], "edges": seen,
        "expected": mean, "log2": np.log2((seen + 1) / (mean + 1)), "z": z,
    })  # fmt: skip
