"""Dense tables of counts as text, cells × genes, read block by block into a sparse matrix.

MERSCOPE and CosMx write their counts so, and most fields are a zero. NumPy finds the fields in the
bytes of a block and makes numbers of those that are none; the table itself is never in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.slices import fields
from lloki.support.errors import InputError


@dataclass
class Dense:
    """A dense table as read.

    matrix: rows × columns of numbers, CSR float32; zeros are not stored, a missing value is NaN;
    columns: their names, as in the header (they may repeat); ids: the columns of text that were
    asked for, in that order, each an object array of text; empty: rows without any value, which
    were left out.
    """

    matrix: sp.csr_matrix
    columns: list[str]
    ids: list[np.ndarray]
    empty: int = 0


def read_header(path: str | Path) -> tuple[list[str], str]:
    """The names of all columns, and what separates them: a comma, a tab or a semicolon.

    A column without a name is called '', also the first one where R left its name out.
    InputError if the file is missing, damaged or no table, or has no rows.
    """
    with fields.open_table(path) as file:
        return fields.head(file, path)[:2]


IDS = {  # names of a column that names cells, in small letters
    "cell_id", "cellid", "cell_ids", "cell", "cells", "cell_name", "barcode", "barcodes",
    "entityid", "id",
}  # fmt: skip


def check_names_of_cells(names: Sequence[str], first: Sequence[str], where: object) -> None:
    """InputError where a table was written again with the numbers of its rows first.

    names: of its columns; first: the values of the first column. Its cells would be joined by these
    numbers with others'.
    """
    if names[0].strip().lower() not in ("", "index"):
        return
    others = [name for name in names[1:] if name.lower() in IDS or name.startswith("Unnamed:")]
    count = len(first)
    for start in (0, 1):
        if others and list(first) == [str(i) for i in range(start, count + start)]:
            fact = f"its first column counts the rows, and {others[0]!r} names the cells"
            raise InputError(where, fact, "leave the first column out")


def read_dense(
    path: str | Path,
    ids: Sequence[int | str] = (0,),
    *,
    without: Sequence[int | str] = (),
    keep: Callable[[list[np.ndarray]], np.ndarray] | None = None,
    check: Callable[[np.ndarray], None] | None = None,
    skip_empty: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Dense:
    """Read a CSV or TSV (also gzipped) with a header, then one row a cell.

    ids: columns that are text, by name or position; without: columns that are passed over; all
    others hold numbers. keep: given the ids of some rows (as in `Dense.ids`), which of those rows
    are wanted (boolean); the others' numbers are not looked at. check: given the stored values of
    some rows (float32), may raise, to end the reading early. skip_empty: leave out rows without
    any value. progress: given the number of rows read so far.

    InputError if the file is missing or damaged, has no rows or no columns of numbers, if a row
    has more or fewer fields than the header, or a value is no number.
    """
    with fields.open_table(path) as file:
        names, separator, first = fields.head(file, path)
        texts = [_position(names, key, path) for key in ids]
        others = [_position(names, key, path) for key in without]
        numbers = np.setdiff1d(np.arange(len(names)), texts + others)
        if not len(numbers):
            fact = "the table has no cells or no columns"
            raise InputError(path, fact, "cell names come first, then one column a gene")
        parts, rows, empty = _Parts(len(texts)), 0, 0
        for block in fields.blocks(file, first):
            try:
                buffer, starts, lengths = fields.locate(block, separator, len(names), rows)
                rows += len(starts)
                words = [fields.texts(block, starts[:, i], lengths[:, i]) for i in texts]
                if keep is not None:
                    wanted = np.flatnonzero(keep(words))
                    starts, lengths = starts[wanted], lengths[wanted]
                    words = [word[wanted] for word in words]
                counts, columns, values = _values(buffer, starts, lengths, numbers, names)
            except fields.TableError as error:
                raise fields.unreadable(path, error, error.remedy) from None
            if skip_empty and np.isnan(values).any():
                filled = _filled(counts, values, len(numbers))
                empty += int((~filled).sum())
                stored = np.repeat(filled, counts)
                counts, columns, values = counts[filled], columns[stored], values[stored]
                words = [word[filled] for word in words]
            if check is not None:
                check(values)
            parts.add(counts, columns, values, words)
            if progress is not None:
                progress(rows)
    matrix, found = parts.joined(len(numbers))
    return Dense(matrix, [names[i] for i in numbers], found, empty)


def read_columns(
    path: str | Path, texts: Mapping[str, int], numbers: Mapping[str, int]
) -> pd.DataFrame:
    """Some columns of such a table by their positions, under the names that are given.

    Those of `texts` are text, those of `numbers` float64, NaN where a value is missing. InputError
    as from `read_dense`.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in [*texts, *numbers]}
    with fields.open_table(path) as file:
        names, separator, first = fields.head(file, path)
        rows = 0
        for block in fields.blocks(file, first):
            try:
                buffer, starts, lengths = fields.locate(block, separator, len(names), rows)
                for name, i in texts.items():
                    parts[name].append(fields.texts(block, starts[:, i], lengths[:, i]))
                for name, i in numbers.items():
                    with fields.naming(lambda field, i=i: names[i]):
                        parts[name].append(fields.numbers(buffer, starts[:, i], lengths[:, i]))
            except fields.TableError as error:
                raise fields.unreadable(path, error, error.remedy) from None
            rows += len(starts)
    return pd.DataFrame({name: np.concatenate(part) for name, part in parts.items()})


class _Parts:
    """What blocks gave, to be joined at the end."""

    def __init__(self, texts: int) -> None:
        self.counts: list[np.ndarray] = []
        self.columns: list[np.ndarray] = []
        self.values: list[np.ndarray] = []
        self.words: list[list[np.ndarray]] = [[] for _ in range(texts)]

    def add(self, counts, columns, values, words) -> None:
        """Stored values by row, their columns, the values, and the texts of each id column."""
        self.counts.append(counts)
        self.columns.append(columns)
        self.values.append(values)
        for known, word in zip(self.words, words, strict=True):
            known.append(word)

    def joined(self, width: int) -> tuple[sp.csr_matrix, list[np.ndarray]]:
        """The matrix and the id columns; the parts are let go one after the other."""
        pointers = np.concatenate([[0], np.cumsum(np.concatenate(self.counts))])
        columns = np.concatenate(self.columns)
        self.columns.clear()
        values = np.concatenate(self.values)
        self.values.clear()
        matrix = sp.csr_matrix((values, columns, pointers), shape=(len(pointers) - 1, width))
        return matrix, [np.concatenate(word) for word in self.words]


def _position(names: list[str], key: int | str, path: object) -> int:
    """The column of a name; InputError where there is none."""
    if isinstance(key, int):
        return key
    if key not in names:
        have = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(path, f"it has no column {key!r} (it has {have})", "mend the header")
    return names.index(key)


def _values(
    buffer: np.ndarray, starts: np.ndarray, lengths: np.ndarray, columns: np.ndarray, names
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the fields that are not zero: how many a row, which of `columns` they are, the values."""
    if len(columns) < starts.shape[1]:
        these = slice(columns[0], columns[-1] + 1)  # a slice copies nothing
        these = these if columns[-1] - columns[0] + 1 == len(columns) else columns
        starts, lengths = starts[:, these], lengths[:, these]
    other = (lengths != 1) | (buffer[starts] != fields.ZERO)
    counts = np.count_nonzero(other, axis=1)
    places = np.flatnonzero(other)
    column = (places - np.repeat(np.arange(len(counts)) * len(columns), counts)).astype(np.int32)
    with fields.naming(lambda field: names[columns[column[field]]]):
        values = fields.numbers(buffer, starts[other], lengths[other])
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        values = values.astype(np.float32)
    if not values.all():  # written as 0.0
        stored = values != 0
        row = np.repeat(np.arange(len(counts)), counts)[stored]
        counts = np.bincount(row, minlength=len(counts))
        column, values = column[stored], values[stored]
    return counts, column, values


def _filled(counts: np.ndarray, values: np.ndarray, width: int) -> np.ndarray:
    """Whether a row has any value, by the stored ones: all `width` of an empty row are NaN."""
    row = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(row[np.isnan(values)], minlength=len(counts)) < width
