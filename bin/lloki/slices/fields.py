"""Tables of text as bytes: their header, their lines in blocks, and the fields of a block.

NumPy finds the fields and makes numbers of them, many at once.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lloki.support.errors import COPY_AGAIN, InputError

BLOCK = 1 << 20  # bytes: what is made of a block stays in the processor's caches
MISSING = {"", "NA", "N/A", "NAN", "NULL", "NONE", "<NA>"}  # in capitals
DIGITS = 15  # float64 holds whole numbers of so many digits exactly, and the powers of ten
SEPARATORS = ",\t;"  # before a semicolon numbers may have a decimal comma
QUOTE, NEWLINE, ZERO, POINT = b'"\n0.'
BLANK_LINES = re.compile(rb"\n *(?=\n)")


class TableError(Exception):
    """What is wrong in a block, and the remedy."""

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(fact)
        self.remedy = remedy


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
        raise unreadable(path, error, COPY_AGAIN) from None


def unreadable(path: object, reason: object, remedy: str = "give CSV or TSV") -> InputError:
    """The error of a file that is no table, or a damaged one."""
    return InputError(path, f"not a readable table ({reason})", remedy)


def head(file: BinaryIO, path: object) -> tuple[list[str], str, bytes]:
    """The names of all columns, what separates fields, and the first line below the header."""
    header, first = _line(file), _line(file)
    if b"\0" in header:
        raise unreadable(path, "it is no text")
    if not first:
        raise unreadable(path, "no cells: it has no line below a header")
    try:
        text, below = header.decode("utf-8-sig"), first.decode("utf-8", "replace")
    except UnicodeDecodeError:
        raise unreadable(path, "its header is not in UTF-8") from None
    separator = max(SEPARATORS, key=text.count)
    try:
        names, fields = (next(csv.reader([line], delimiter=separator)) for line in (text, below))
    except csv.Error as error:
        raise unreadable(path, error) from None
    names = [name.strip() for name in names]
    return ([""] * (len(fields) == len(names) + 1) + names), separator, first


def _line(file: BinaryIO) -> bytes:
    """The next line that is not blank, with its end; nothing where there is none."""
    for line in file:
        if line.strip(b" \r\n"):
            return line.replace(b"\r\n", b"\n") if line.endswith(b"\n") else line + b"\n"
    return b""


def blocks(file: BinaryIO, rest: bytes) -> Iterator[bytes]:
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


def locate(block: bytes, separator: str, width: int, rows: int) -> tuple[np.ndarray, ...]:
    """The bytes (uint8), and where each field begins and how long it is: rows × width, int32.

    Quotes around a field are left out, decimal commas are points. rows: how many came before, for
    what is said of a fault.
    """
    if b"\0" in block:
        raise TableError("it is no text", "give CSV or TSV")
    buffer = np.frombuffer(block.replace(b",", b".") if separator == ";" else block, np.uint8)
    apart = (buffer == ord(separator)) | (buffer == NEWLINE)
    quoted = b'"' in block
    if quoted:
        inside = np.logical_xor.accumulate(buffer == QUOTE)
        if inside[-1]:
            raise TableError(f"a quote is not closed below row {rows + 1}", COPY_AGAIN)
        apart &= ~inside
    ends = np.flatnonzero(apart).astype(np.int32)
    last = np.flatnonzero(buffer[ends] == NEWLINE)
    if len(ends) != len(last) * width or (last[0] != width - 1) or (np.diff(last) != width).any():
        fields = np.diff(last, prepend=-1)
        row = int(np.flatnonzero(fields != width)[0])
        fact = f"row {rows + row + 1} has {fields[row]} fields, the header {width}"
        raise TableError(fact, COPY_AGAIN)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    lengths = ends - starts
    if quoted:
        around = (buffer[starts] == QUOTE) & (buffer[ends - 1] == QUOTE) & (lengths > 1)
        starts, lengths = starts + around, lengths - 2 * around
    return buffer, starts.reshape(-1, width), lengths.reshape(-1, width)


def texts(block: bytes, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Some fields as text, an object array."""
    pairs = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
    if block.isascii():
        whole = block.decode("ascii")
        found = [whole[a:b].strip() for a, b in pairs]
    else:
        found = [block[a:b].decode("utf-8", "replace").strip() for a, b in pairs]
    if b'""' in block:
        found = [word.replace('""', '"') for word in found]
    words = np.empty(len(found), object)
    words[:] = found
    return words


def missing(words: np.ndarray) -> np.ndarray:
    """Which texts stand for no value (boolean)."""
    return np.array([word.upper() in MISSING for word in words], dtype=bool)


class _FieldError(Exception):
    """A field that is no number: which one, its text."""

    def __init__(self, field: int, text: str) -> None:
        super().__init__()
        self.field, self.text = field, text


@contextlib.contextmanager
def naming(column: Callable[[int], str]) -> Iterator[None]:
    """Within it a field that is no number is a fault of its column."""
    try:
        yield
    except _FieldError as error:
        fact = f"column {column(error.field)!r} is not numeric, it has {error.text!r}"
        raise TableError(fact, "drop or mend that column") from None


def numbers(buffer: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
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
    absent = (lengths == 0) | (
        (lengths == 2) & (buffer[starts] == ord("N"))
        & (buffer[np.minimum(starts + 1, len(buffer) - 1)] == ord("A"))
    )  # fmt: skip
    found[absent] = np.nan
    for i in np.flatnonzero(~plain & ~absent):
        text = buffer[starts[i] : starts[i] + lengths[i]].tobytes().decode("utf-8", "replace")
        try:
            found[i] = _number(text.strip())
        except ValueError:
            raise _FieldError(int(rest[i]), text[:40]) from None
    values[rest] = found
    return values


def _number(text: str) -> float:
    """A number in any form; ValueError where it is none."""
    if text.upper() in MISSING:
        return np.nan
    if "_" in text:  # Python's own way to write thousands
        raise ValueError(text)
    return float(text)
