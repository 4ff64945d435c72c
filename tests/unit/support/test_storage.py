"""Rows of memory maps, read window by window."""

from pathlib import Path

import numpy as np
import pytest

from lloki.support import storage


@pytest.mark.parametrize("window", [1, 100, 1 << 26])
def test_rows_of_a_memory_map_are_those_of_the_array(tmp_path, monkeypatch, window):
    monkeypatch.setattr(storage, "WINDOW_BYTES", window)
    monkeypatch.setattr(storage, "ROWS", 7)
    values = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    values.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=values.shape)
    for rows in ([], [0], [49], [3, 4, 20, 49], range(50)):
        rows = np.array(rows, dtype=np.int64)
        for stored in (values, mapped):
            np.testing.assert_array_equal(storage.take(stored, rows), values[rows])
    for stored in (values, mapped):
        parts = list(storage.blocks(stored))
        np.testing.assert_array_equal(np.concatenate([block for _, block in parts]), values)
        assert all((values[rows] == block).all() for rows, block in parts)


def test_reading_leaves_little_of_a_memory_map_in_memory(tmp_path):
    resident = tmp_path / "x"
    with resident.open("wb") as file:
        file.truncate(1 << 28)
    mapped = np.memmap(resident, np.float32, "r", shape=(1 << 17, 512))
    rows = np.sort(np.random.default_rng(0).choice(1 << 17, 4000, replace=False))
    before = pages_of_files()
    storage.take(mapped, rows)
    for _ in storage.blocks(mapped):
        pass
    assert pages_of_files() - before < 1 << 25
    np.asarray(mapped[rows])
    assert pages_of_files() - before > 1 << 25  # what it is without: the test can tell


def pages_of_files():
    """Bytes of files that this process has mapped and resident."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        pytest.skip("no /proc")
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssFile"))
