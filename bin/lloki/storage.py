"""Arrays too large for memory, in a nameless file that is gone with the process."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path

import numpy as np


class StoredRows:
    """n × d float32 on disk. Rows are read as copies; pages read do not stay in the process."""

    def __init__(self, n: int, d: int, folder: str | Path) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(max(1, n * d * 4))
            self._map = mmap.mmap(file.fileno(), 0)
        self._values = np.frombuffer(self._map, dtype=np.float32, count=n * d).reshape(n, d)
        self.shape = (n, d)

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """A copy of some rows."""
        if isinstance(rows, slice):
            found = self._values[rows].copy()
        else:
            found = np.take(self._values, rows, axis=0)
        self._map.madvise(mmap.MADV_DONTNEED)
        return found

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        """Write some rows."""
        self._values[rows] = values
        self._map.madvise(mmap.MADV_DONTNEED)
