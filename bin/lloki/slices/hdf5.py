"""What the HDF5 library does not refuse by itself: what it would read for ever, or elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py

from lloki.support.errors import COPY_AGAIN, InputError, lacks_memory

DEFLATED = 1100  # deflate, the compression of AnnData files, makes nothing smaller than 1 / 1032

HEAP = b"GCOL\x01\x00\x00\x00"  # how a heap of text begins: its name, its version, three zeros
BLOCK = 1 << 24
ITEM = struct.Struct("<H6xQ")  # of a heap: its number, 0 for what is free; its length in bytes


@contextlib.contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Within it a file is read without warnings; InputError if it is missing or is no `what`."""
    if Path(path).is_dir():
        raise InputError(path, f"it is a folder, no {what}", "write it as one (write_h5ad)")
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(Path(path))
            yield
    except InputError:
        raise
    except Exception as error:
        if lacks_memory(error, path, DEFLATED):
            raise
        if _is_10x(path):
            raise InputError(
                path, f"it is a matrix of 10x, no {what}",
                "write it as one (scanpy.read_10x_h5, then write_h5ad)",
            ) from None  # fmt: skip
        raise InputError(
            path, f"not a readable {what} ({type(error).__name__})",
            "write it again (an AnnData with write_h5ad), or copy it again",
        ) from None  # fmt: skip


def _is_10x(path: str | Path) -> bool:
    """Whether a file is a matrix as Cell Ranger writes it."""
    with contextlib.suppress(OSError, RuntimeError), h5py.File(path) as file:  # damaged: neither
        return "matrix/barcodes" in file
    return False


def check(path: Path) -> None:
    """InputError where a file is damaged so that reading it has no end, or needs another file.

    The library reads a heap whose free part has no length for ever, which is what a block of zeros
    makes of one (HDF5 file format specification 3.0, III.E). Other files, which links, external
    storage or virtual datasets name, are never read: an input is what was given, and no more.
    """
    with open(path, "rb") as file:
        for start in _heaps(path):
            _walk(file, start, path)
    with h5py.File(path) as file:
        links: dict[str, object] = {}
        file.visititems_links(links.__setitem__)
        for name, link in links.items():
            if isinstance(link, h5py.ExternalLink):
                _refuse_elsewhere(f"/{name}", path)
            if isinstance(link, h5py.HardLink):
                _check_node(file[name], path)


def _heaps(path: Path) -> Iterator[int]:
    """Where heaps begin; a block at a time, for mapped files count as a process's memory."""
    with open(path, "rb", buffering=0) as file:
        before, kept = 0, b""
        while block := file.read(BLOCK):
            block = kept + block
            found = block.find(HEAP)
            while found >= 0:
                yield before + found
                found = block.find(HEAP, found + 1)
            kept = block[1 - len(HEAP) :]
            before += len(block) - len(kept)


def _walk(file: object, start: int, path: Path) -> None:
    """InputError where the items of a heap do not lead to its end."""
    file.seek(start + 8)
    size = int.from_bytes(file.read(8), "little")
    at, end = start + 16, min(start + size, os.fstat(file.fileno()).st_size)
    while end - at >= ITEM.size:
        file.seek(at)
        number, length = ITEM.unpack(file.read(ITEM.size))
        step = ITEM.size + (length + 7) // 8 * 8 if number else length
        if step < ITEM.size:
            raise InputError(path, f"it is damaged at byte {at}", COPY_AGAIN)
        at += step


def _check_node(node: h5py.Group | h5py.Dataset, path: Path) -> None:
    """InputError where a group or dataset is not sound, or takes its values from another file."""
    attributes = [node.attrs.get_id(name) for name in node.attrs]
    numbers = [math.prod(attribute.shape) for attribute in attributes]
    types = [attribute.get_type() for attribute in attributes]
    if isinstance(node, h5py.Dataset):
        if node.external or node.is_virtual:
            _refuse_elsewhere(node.name, path)
        shape = node.shape or ()
        pieces = zip(shape, node.chunks or shape, strict=True)
        numbers.append(math.prod(-(-length // max(part, 1)) for length, part in pieces))
        types.append(node.id.get_type())
    # A value, and a piece of a dataset, takes a byte at least: more of them have no end. Lists of
    # other lengths each are in no AnnData file; text whose type is damaged looks so, and crashes.
    lists = any(isinstance(kind, h5py.h5t.TypeVlenID) for kind in types)
    if lists or max(numbers, default=0) > path.stat().st_size:
        raise InputError(path, f"{node.name} is damaged", COPY_AGAIN)


def _refuse_elsewhere(name: str, path: Path) -> None:
    raise InputError(path, f"{name} lies in another file", "write it with all its values")
