"""Dense tables of counts as text, cells × genes, read block by block into a sparse matrix.

MERSCOPE and CosMx write their counts so, and most fields are a zero. NumPy finds the fields in the
bytes of a block and makes numbers of those that are none; the table itself is never in memory.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.support.errors import COPY_AGAIN, InputError

BLOCK = 1 << 20  # bytes: what is made of a block stays in the processor's caches
MISSING = {b"", b"NA", b"N/A", b"NAN", b"NULL", b"NONE", b"<NA>"}  # in capitals
DIGITS = 15  # float64 holds whole numbers of so many digits exactly, and the powers of ten
QUOTE, NEWLINE, ZERO, POINT = b'"\n0.'
BLANK_LINES = re.compile(rb"\n *(?=\n)")


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


@contextlib.contextmanager
def open_table(path: str | Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where they begin as gzip's do, whatever its name says.

    InputError if the file is missing, or turns out to be damaged while it is read.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb"))
            if file.peek(2)[:2] == b"\x1f\x8b":
                file = stack.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=file), BLOCK))
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error, COPY_AGAIN) from None


def read_header(path: str | Path) -> tuple[list[str], str]:
    """The names of all columns, and what separates them: a comma or a tab.

    A column without a name is called '', also the first one where R left its name out.

    InputError if the file is missing, damaged or no table, or has no rows.
    """
    with open_table(path) as file:
        return _head(file, path)[:2]


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
    with open_table(path) as file:
        names, separator, first = _head(file, path)
        texts = [_position(names, key, path) for key in ids]
        others = [_position(names, key, path) for key in without]
        numbers = np.setdiff1d(np.arange(len(names)), texts + others)
        if not len(numbers):
            fact = "the table has no cells or no columns"
            raise InputError(path, fact, "cell names come first, then one column a gene")
        parts, rows, empty = _Parts(len(texts)), 0, 0
        for block in _blocks(file, first):
            try:
                buffer, starts, lengths = _fields(block, separator, len(names), rows)
                rows += len(starts)
                words = [_texts(block, starts[:, i], lengths[:, i]) for i in texts]
                if keep is not None:
                    wanted = np.flatnonzero(keep(words))
                    starts, lengths = starts[wanted], lengths[wanted]
                    words = [word[wanted] for word in words]
                counts, columns, values = _values(buffer, starts, lengths, numbers, names)
            except _TableError as error:
                raise _unreadable(path, error, error.remedy) from None
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
    with open_table(path) as file:
        names, separator, first = _head(file, path)
        rows = 0
        for block in _blocks(file, first):
            try:
                buffer, starts, lengths = _fields(block, separator, len(names), rows)
                for name, i in texts.items():
                    parts[name].append(_texts(block, starts[:, i], lengths[:, i]))
                for name, i in numbers.items():
                    with _naming(lambda field, i=i: names[i]):
                        parts[name].append(_numbers(buffer, starts[:, i], lengths[:, i]))
            except _TableError as error:
                raise _unreadable(path, error, error.remedy) from None
            rows += len(starts)
    return pd.DataFrame({name: np.concatenate(part) for name, part in parts.items()})


class _TableError(Exception):
    """What is wrong in a block, and the remedy."""

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(fact)
        self.remedy = remedy


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


def _unreadable(path: object, reason: object, remedy: str = "give CSV or TSV") -> InputError:
    return InputError(path, f"not a readable table ({reason})", remedy)


def _position(names: list[str], key: int | str, path: object) -> int:
    """The column of a name; InputError where there is none."""
    if isinstance(key, int):
        return key
    if key not in names:
        have = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(path, f"it has no column {key!r} (it has {have})", "mend the header")
    return names.index(key)


def _head(file: BinaryIO, path: object) -> tuple[list[str], str, bytes]:
    """The names of all columns, what separates fields, and the first line below the header."""
    header, first = _line(file), _line(file)
    if b"\0" in header:
        raise _unreadable(path, "it is no text")
    if not first:
        raise _unreadable(path, "no cells: it has no line below a header")
    try:
        text, below = header.decode("utf-8-sig"), first.decode("utf-8", "replace")
    except UnicodeDecodeError:
        raise _unreadable(path, "its header is not in UTF-8") from None
    separator = "\t" if text.count("\t") > text.count(",") else ","
    try:
        names, fields = (next(csv.reader([line], delimiter=separator)) for line in (text, below))
    except csv.Error as error:
        raise _unreadable(path, error) from None
    names = [name.strip() for name in names]
    return ([""] * (len(fields) == len(names) + 1) + names), separator, first


def _line(file: BinaryIO) -> bytes:
    """The next line that is not blank, with its end; nothing where there is none."""
    for line in file:
        if line.strip(b" \r\n"):
            return line.replace(b"\r\n", b"\n") if line.endswith(b"\n") else line + b"\n"
    return b""


def _blocks(file: BinaryIO, rest: bytes) -> Iterator[bytes]:
    """All lines from `rest` on, some at a time, each with its end; blank ones are left out."""
    while chunk := file.read(BLOCK):
        chunk = rest + chunk
        cut = chunk.rfind(b"\n") + 1
        rest = chunk[cut:]
        if block := _tidy(chunk[:cut]):
            yield block
    if block := _tidy(rest + b"\n"):
        yield block


def _tidy(block: bytes) -> bytes:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if b"\n\n" in block or b" \n" in block or block[:1] in b" \n":
        block = BLANK_LINES.sub(b"", b"\n" + block)[1:]
    return b"" if block == b"\n" else block


def _fields(block: bytes, separator: str, width: int, rows: int) -> tuple[np.ndarray, ...]:
    """The bytes (uint8), and where each field begins and how long it is: rows × width, int32.

    Quotes around a field are left out. rows: how many came before, for what is said of a fault.
    """
    buffer = np.frombuffer(block, np.uint8)
    apart = (buffer == ord(separator)) | (buffer == NEWLINE)
    quoted = b'"' in block
    if quoted:
        inside = np.logical_xor.accumulate(buffer == QUOTE)
        if inside[-1]:
            raise _TableError(f"a quote is not closed below row {rows + 1}", COPY_AGAIN)
        apart &= ~inside
    ends = np.flatnonzero(apart).astype(np.int32)
    last = np.flatnonzero(buffer[ends] == NEWLINE)
    if len(ends) != len(last) * width or (last[0] != width - 1) or (np.diff(last) != width).any():
        fields = np.diff(last, prepend=-1)
        row = int(np.flatnonzero(fields != width)[0])
        fact = f"row {rows + row + 1} has {fields[row]} fields, the header {width}"
        raise _TableError(fact, COPY_AGAIN)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    lengths = ends - starts
    if quoted:
        around = (buffer[starts] == QUOTE) & (buffer[ends - 1] == QUOTE) & (lengths > 1)
        starts, lengths = starts + around, lengths - 2 * around
    return buffer, starts.reshape(-1, width), lengths.reshape(-1, width)


def _texts(block: bytes, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Some fields as text."""
    pairs = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
    words = np.empty(len(starts), object)
    words[:] = [block[a:b].decode("utf-8", "replace").replace('""', '"').strip() for a, b in pairs]
    return words


def _values(
    buffer: np.ndarray, starts: np.ndarray, lengths: np.ndarray, columns: np.ndarray, names
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the fields that are not zero: how many a row, which of `columns` they are, the values."""
    if len(columns) < starts.shape[1]:
        these = slice(columns[0], columns[-1] + 1)  # a slice copies nothing
        these = these if columns[-1] - columns[0] + 1 == len(columns) else columns
        starts, lengths = starts[:, these], lengths[:, these]
    other = (lengths != 1) | (buffer[starts] != ZERO)
    counts = np.count_nonzero(other, axis=1)
    places = np.flatnonzero(other)
    column = (places - np.repeat(np.arange(len(counts)) * len(columns), counts)).astype(np.int32)
    with _naming(lambda field: names[columns[column[field]]]):
        values = _numbers(buffer, starts[other], lengths[other])
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        values = values.astype(np.float32)
    if not values.all():  # written as 0.0
        stored = values != 0
        row = np.repeat(np.arange(len(counts)), counts)[stored]
        counts = np.bincount(row, minlength=len(counts))
        column, values = column[stored], values[stored]
    return counts, column, values


class _FieldError(Exception):
    """A field that is no number: which one, its text."""

    def __init__(self, field: int, text: str) -> None:
        super().__init__()
        self.field, self.text = field, text


@contextlib.contextmanager
def _naming(column: Callable[[int], str]) -> Iterator[None]:
    """Within it a field that is no number is a fault of its column."""
    try:
        yield
    except _FieldError as error:
        fact = f"column {column(error.field)!r} is not numeric, it has {error.text!r}"
        raise _TableError(fact, "drop or mend that column") from None


def _numbers(buffer: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Fields as float64, NaN where a value is missing.

    Digits with or without a point become a whole number over a power of ten, both exact: the
    nearest float64. All other fields are read one by one.
    """
    values = (buffer[starts] - np.uint8(ZERO)).astype(np.float64)
    rest = np.flatnonzero((lengths != 1) | (values > 9))
    if not len(rest):
        return values
    starts, lengths = starts[rest], lengths[rest]
    whole = np.zeros(len(rest), np.int64)
    power = np.zeros(len(rest), np.int8)
    pointed = np.zeros(len(rest), bool)
    plain = (lengths > 0) & (lengths <= DIGITS)
    for k in range(min(int(lengths.max()), DIGITS)):
        within = lengths > k
        byte = buffer[np.minimum(starts + k, len(buffer) - 1)]
        digit = within & (byte - np.uint8(ZERO) < 10)
        point = within & (byte == POINT)
        plain &= ~within | digit | (point & ~pointed)
        whole = np.where(digit, whole * 10 + (byte - np.uint8(ZERO)), whole)
        power += digit & pointed
        pointed |= point
    plain &= lengths > pointed
    found = whole / 10.0**power
    missing = (lengths == 0) | (
        (lengths == 2) & (buffer[starts] == ord("N"))
        & (buffer[np.minimum(starts + 1, len(buffer) - 1)] == ord("A"))
    )  # fmt: skip
    found[missing] = np.nan
    for i in np.flatnonzero(~plain & ~missing):
        text = buffer[starts[i] : starts[i] + lengths[i]].tobytes().strip()
        if text.upper() in MISSING:
            found[i] = np.nan
            continue
        try:
            if b"_" in text:  # Python's own way to write 1000
                raise ValueError
            found[i] = float(text)
        except ValueError:
            raise _FieldError(int(rest[i]), text.decode("utf-8", "replace")[:40]) from None
    values[rest] = found
    return values


def _filled(counts: np.ndarray, values: np.ndarray, width: int) -> np.ndarray:
    """Whether a row has any value, by the stored ones: all `width` of an empty row are NaN."""
    row = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(row[np.isnan(values)], minlength=len(counts)) < width
