"""Cells of the references in the embedding: what slices are laid onto when pairs are searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from lloki.embedding import mosaic
from lloki.support.errors import InputError
from lloki.support.neighbours import unit_rows

CELLS = 20_000  # of all references together
NAME = "reference.safetensors"


def some(expression: sp.csr_matrix, parts: int, seed: int = 0) -> sp.csr_matrix:
    """So many cells (rows) of one of `parts` references as it may have, drawn at random."""
    order = np.random.default_rng(seed).permutation(expression.shape[0])
    return expression[np.sort(order[: CELLS // parts])]


def embed(
    model: mosaic.MosaicModel, references: Sequence[tuple[sp.csr_matrix, object]]
) -> np.ndarray:
    """All their cells (m × rank float32), each reference centred, rows of unit length.

    references: of each log-normalised expression and gene names.
    """
    found = [mosaic.embed(model, *reference) for reference in references]
    return unit_rows(np.concatenate([space - space.mean(axis=0) for space in found]))


def save(cells: np.ndarray, folder: Path) -> None:
    """Write what `embed` gave beside the model, into its folder."""
    save_file({"cells": cells}, folder / NAME)


def load(folder: str | Path) -> np.ndarray | None:
    """Read what `save` wrote; None where a model was fitted without a reference."""
    path = Path(folder, NAME)
    if not path.exists():
        return None
    try:
        cells = load_file(path)["cells"]
        if cells.ndim != 2 or not np.isfinite(cells).all():
            raise ValueError(f"{cells.shape} numbers, or such that are none")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        remedy = "give a folder that fit_mosaic.py wrote"
        raise InputError(path, f"it cannot be read ({error})", remedy) from None
    return cells
