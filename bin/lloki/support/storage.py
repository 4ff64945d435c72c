"""Rows of a matrix that may be a memory map, read so that little of the file stays in memory.

A page fault maps more than the page that was asked for: 13,000 rows drawn at random from 2 GB had
all of it resident at once. So rows are read window by window, and each is let go of.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

WINDOW_BYTES = 1 << 26
ROWS = 8192


def take(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows (sorted) of values (n × d), as a copy."""
    if not isinstance(values, np.memmap):
        return values[rows]
    found = np.empty((len(rows), values.shape[1]), dtype=values.dtype)
    window = max(1, WINDOW_BYTES // max(1, values[:1].nbytes))
    cuts = np.searchsorted(rows, np.arange(0, len(values) + window, window))
    for start, stop in pairwise(cuts):
        if start < stop:
            found[start:stop] = values[rows[start:stop]]
            give_back(values)
    return found


def blocks(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """All rows of values in order, ROWS at a time, as copies in float32, with their places."""
    for start in range(0, len(values), ROWS):
        rows = slice(start, min(start + ROWS, len(values)))
        block = np.array(values[rows], dtype=np.float32)
        give_back(values)
        yield rows, block


def give_back(values: np.ndarray) -> None:
    """Let go of the pages of a memory map that this process holds; they are read again if asked."""
    if isinstance(values, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        values._mmap.madvise(mmap.MADV_DONTNEED)
