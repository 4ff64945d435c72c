"""What ends a command with one line: faults that a user can mend, and what the machine lacks."""

from __future__ import annotations

import math
from pathlib import Path

DISK_FULL, OUT_OF_MEMORY = 74, 137  # exit codes; the pipeline tries the second one again
COPY_AGAIN = "copy it again, or make it anew"  # the remedy for a damaged file


class InputError(Exception):
    """An error that the user can mend: where it is, what is wrong there, what to do about it."""

    def __init__(self, where: object, fact: str, remedy: str) -> None:
        super().__init__(f"{where}: {fact}; {remedy}")


class DiskFullError(Exception):
    """No space is left for an output; what was written of it is removed."""


def lacks_memory(error: Exception, path: str | Path, growth: float = 1) -> bool:
    """Whether reading a file, or a folder's files, failed for want of memory, and not for damage.

    A damaged length asks for more than any file of this size holds: for more than `growth` times
    its bytes. Where the error does not tell what was asked for, that much is tried for.
    """
    if not isinstance(error, MemoryError):
        return False
    files = [Path(path), *Path(path).rglob("*")]
    most = int(growth * sum(file.stat().st_size for file in files if file.is_file()))
    if hasattr(error, "shape"):  # as NumPy has it
        return math.prod(error.shape) * error.dtype.itemsize <= most
    try:
        bytearray(most)
    except MemoryError:
        return True
    return False
