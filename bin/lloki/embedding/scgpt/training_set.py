"""What a small scGPT is trained on: cells of all data sets, their genes, the factors to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from lloki.embedding.mosaic import MosaicModel
from lloki.slices.genes import Match, match_keys
from lloki.support.neighbours import nearest, unit_rows


@dataclass(frozen=True)
class Cells:
    """All cells of all data sets, one data set after the other.

    matrix: cells × genes of the vocabulary, CSR float32, positive, a gene a cell at least; sizes:
    cells of each data set; factors: cells × rank, float32, rows of unit length.
    """

    matrix: sp.csr_matrix
    sizes: np.ndarray
    factors: np.ndarray


def vocabulary(
    panels: Sequence[Sequence[str]], orthologs: Sequence[Mapping[str, str]]
) -> list[str]:
    """Symbols of all panels, sorted: a gene's human ortholog, else its name in upper case.

    `orthologs` gives the human symbol of mouse symbols, for each panel.
    """
    symbols: set[str] = set()
    for panel, table in zip(panels, orthologs, strict=True):
        symbols.update(match_keys([table.get(str(name), name) for name in panel]))
    return sorted(symbols)


def vocabulary_columns(matrix: sp.csr_matrix, match: Match, symbols: list[str]) -> sp.csr_matrix:
    """Cells × `symbols` (CSR) from cells × the symbols that were found (`collect_columns`)."""
    place = {symbol: i for i, symbol in enumerate(symbols)}
    columns = np.array([place[symbol] for symbol in match.found], dtype=np.int32)
    parts = (matrix.data, columns[matrix.indices], matrix.indptr)
    return sp.csr_matrix(parts, shape=(matrix.shape[0], len(symbols)))


def symbol_loadings(
    model: MosaicModel,
    panels: Sequence[Sequence[str]],
    matches: Sequence[Match],
    symbols: list[str],
) -> np.ndarray:
    """The mosaic model's loadings of `symbols` (genes × rank, float32), 0 where it has none."""
    row = {key: i for i, key in enumerate(model.genes)}
    place = {symbol: i for i, symbol in enumerate(symbols)}
    loadings = np.zeros((len(symbols), model.loadings.shape[1]), dtype=np.float32)
    for panel, match in zip(panels, matches, strict=True):
        for key, symbol in zip(match_keys(panel), match.symbols, strict=True):
            if key in row:
                loadings[place[symbol]] = model.loadings[row[key]]
    return loadings


def smoothed(factors: np.ndarray, neighbors: int) -> np.ndarray:
    """Factors (n × rank) averaged with those of the cell's nearest cells (cosine), unit length."""
    if neighbors:
        near, _ = nearest(factors, factors, neighbors, exclude=np.arange(len(factors)))
        factors = factors + factors[near].sum(axis=1)
    return unit_rows(factors)
