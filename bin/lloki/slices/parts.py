"""AnnData files in parts: what is small read alone, and a file written rows by rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.slices import hdf5
from lloki.slices.checks import check_embedding, check_matrix
from lloki.slices.files import ANNDATA, check_cells, check_whole, writing
from lloki.support.errors import InputError

CHUNK_BYTES = 1 << 19  # of a piece of a dataset
LIGHT = {"compression": "gzip", "compression_opts": 1}


def read_head(path: str | Path) -> tuple[ad.AnnData, dict[str, tuple[int, ...]]]:
    """obs, the names of the genes and uns['lloki'] of a file, and the shapes of its obsm.

    InputError as from `files.read_h5ad`. What is in obsm is not read.
    """
    with hdf5.reading(path, ANNDATA), h5py.File(path) as file:
        var = pd.DataFrame(index=ad.io.read_elem(file["var"]).index) if "var" in file else None
        data = ad.AnnData(obs=ad.io.read_elem(file["obs"]), var=var)
        if "uns/lloki" in file:
            data.uns["lloki"] = ad.io.read_elem(file["uns/lloki"])
        arrays = file["obsm"].items() if "obsm" in file else ()
        shapes = {key: value.shape for key, value in arrays if isinstance(value, h5py.Dataset)}
    check_cells(data, path)
    return data, shapes


def read_integrated(path: str | Path, arrays: Iterable[str], columns: Iterable[str]) -> ad.AnnData:
    """The head of an integrated file, as `read_head` gives it.

    InputError unless it has these arrays of obsm, with a row a cell, these columns of obs, and a
    sample for every cell.
    """
    head, shapes = read_head(path)
    for key in arrays:
        if len(shapes.get(key, ())) != 2 or shapes[key][0] != head.n_obs:
            fact = f"obsm[{key!r}] is missing, or not a row a cell"
            raise InputError(path, fact, "make it with integrate.py")
    for key in columns:
        if key not in head.obs:
            have = ", ".join(map(str, head.obs.columns)) or "none"
            raise InputError(path, f"obs has no column {key!r}", f"it has: {have}")
    if head.obs["sample"].isna().any():
        raise InputError(path, "cells are without a sample", "make it with integrate.py")
    return head


def read_cells(path: str | Path, key: str) -> tuple[ad.AnnData, tuple[int, ...]]:
    """obs and uns['lloki'] of a file alone, and the shape of obsm[key] (n × d).

    InputError as from `files.read_embedding`; whether values are finite is for `embedding_blocks`.
    """
    data, shapes = read_head(path)
    if key not in shapes:
        raise InputError(path, f"obsm[{key!r}] is missing", "run the stage that makes it first")
    return data, shapes[key]


def embedding_blocks(path: str | Path, key: str, rows: int = 8192) -> Iterator[np.ndarray]:
    """obsm[key] of a file that `read_cells` read, float32, so many rows at a time.

    InputError where a value is not finite.
    """
    with h5py.File(path) as file:
        values = file[f"obsm/{key}"]
        for start in range(0, len(values), rows):
            block = np.asarray(values[start : start + rows], dtype=np.float32)
            check_embedding(block, path, key)
            yield block


def read_without_expression(
    path: str | Path, wanted: Callable[[str], bool] = lambda key: True
) -> ad.AnnData:
    """obs, uns and the wanted keys of obsm of a file; InputError as from `files.read_h5ad`."""
    with hdf5.reading(path, ANNDATA), h5py.File(path) as file:
        found = {k: ad.io.read_elem(file[k]) if k in file else {} for k in ("obs", "uns")}
        keys = filter(wanted, file["obsm"].keys() if "obsm" in file else ())
        data = ad.AnnData(**found, obsm={k: ad.io.read_elem(file[f"obsm/{k}"]) for k in keys})
    check_whole(data, path)
    return data


def read_arrays(path: str | Path, cells: int, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """obsm[key] of a file of so many cells, for those keys that it has."""
    with hdf5.reading(path, ANNDATA), h5py.File(path) as file:
        obs = pd.DataFrame(index=pd.RangeIndex(cells).astype(str))
        found = {k: ad.io.read_elem(file[f"obsm/{k}"]) for k in keys if f"obsm/{k}" in file}
        return dict(ad.AnnData(obs=obs, obsm=found).obsm)


def read_matrix(path: str | Path, shape: tuple[int, int]) -> sp.csr_matrix:
    """X of a file alone, as `files.read_expression` has it; InputError unless of this shape."""
    with hdf5.reading(path, ANNDATA), h5py.File(path) as file:
        matrix = ad.io.read_elem(file["X"]) if "X" in file else None
    if matrix is not None and matrix.shape != shape:
        raise InputError(path, f"X has shape {matrix.shape}, not {shape}", "make the file again")
    return check_matrix(matrix, path)


def read_matrix_and_counts(
    path: str | Path, shape: tuple[int, int]
) -> tuple[sp.csr_matrix, sp.csr_matrix | None]:
    """X of a slice as `read_matrix` gives it, and layers['counts'] where there is one."""
    matrix = read_matrix(path, shape)
    with hdf5.reading(path, ANNDATA), h5py.File(path) as file:
        counts = ad.io.read_elem(file["layers/counts"]) if "layers/counts" in file else None
    if counts is None:
        return matrix, None
    if counts.shape != shape:
        fact = f"layers['counts'] has shape {counts.shape}, not {shape}"
        raise InputError(path, fact, "make the file again")
    return matrix, check_matrix(counts, path)


def has_counts(path: str | Path) -> bool:
    """Whether a file has layers['counts']."""
    with hdf5.reading(path, ANNDATA), h5py.File(path) as file:
        return "layers/counts" in file


@dataclass(frozen=True)
class Expression:
    """What a report tells of the expression of n cells: of each, genes found and counts; of some
    genes their values.

    detected: n; counts: n, or None where none are kept; genes, values: names and n × g (float32);
    measured: which panel (columns) has which gene (rows), or None where the file does not say.
    """

    detected: np.ndarray
    counts: np.ndarray | None
    genes: Sequence[str]
    values: sp.csc_matrix
    measured: pd.DataFrame | None


def read_some_genes(path: str | Path, genes: Iterable[str], rows: int = 8192) -> Expression | None:
    """Expression of a file, read so many rows at a time; None where X is not there, or not CSR.

    Of `genes` those that the file has, in its order.
    """
    with hdf5.reading(path, ANNDATA), h5py.File(path) as file:
        if "X" not in file or file["X"].attrs.get("encoding-type") != "csr_matrix":
            return None
        names = ad.io.read_elem(file["var"]).index.astype(str)
        has = file.get("varm/measured")
        measured = None if has is None else ad.io.read_elem(has)
        if not isinstance(measured, pd.DataFrame):
            measured = None
        wanted = np.flatnonzero(names.isin(list(genes)))
        matrix = ad.io.sparse_dataset(file["X"])
        raw = file.get("layers/counts")
        raw = None if raw is None else ad.io.sparse_dataset(raw)
        detected, counts, values = [], [], []
        for start in range(0, matrix.shape[0], rows):
            block = matrix[start : start + rows]
            detected.append(np.diff(block.indptr))
            values.append(block[:, wanted])
            if raw is not None:
                counts.append(np.asarray(raw[start : start + rows].sum(axis=1)).ravel())
    return Expression(
        np.concatenate(detected), np.concatenate(counts) if counts else None,
        list(names[wanted]), sp.csc_matrix(sp.vstack(values), dtype=np.float32), measured,
    )  # fmt: skip


class JoinedFile:
    """An AnnData file that is written rows by rows; no more than a block is in memory.

    Made for so many cells: `add` gives rows of an array of obsm, `extend` rows of X, or of counts,
    in their order, `finish` the rest. What was written is read again by `rows` and `expression`.
    """

    def __init__(self, path: str | Path, cells: int) -> None:
        self.path, self.cells = Path(path), cells
        self._pointers: dict[str, list[np.ndarray]] = {}
        self._file = h5py.File(path, "w")
        _encode(self._file, "anndata")
        for name in ("layers", "obsm", "obsp", "varm", "varp"):
            _encode(self._file.create_group(name), "dict")

    def __enter__(self) -> JoinedFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, key: str, start: int, values: np.ndarray) -> None:
        """Rows of obsm[key] from `start` on; the first block gives width and dtype."""
        name = f"obsm/{key}"
        if name not in self._file:
            rows = max(1, CHUNK_BYTES // max(1, values[:1].nbytes))
            chunks = (min(rows, self.cells), max(1, values.shape[1]))
            made = self._file.create_dataset(
                name, (self.cells, values.shape[1]), values.dtype, chunks=chunks, **LIGHT
            )
            _encode(made, "array", "0.2.0")
        self._file[name][start : start + len(values)] = values

    def fill(self, key: str, blocks: Iterable[np.ndarray]) -> None:
        """All rows of obsm[key], block by block."""
        start = 0
        for block in blocks:
            self.add(key, start, block)
            start += len(block)

    def extend(self, matrix: sp.csr_matrix, name: str = "X") -> None:
        """More rows of X, or of layers/counts."""
        if name not in self._file:
            _encode(self._file.create_group(name), "csr_matrix")
            for part, dtype in (("data", np.float32), ("indices", np.int32)):
                self._file[name].create_dataset(
                    part, (0,), dtype, maxshape=(None,), chunks=(CHUNK_BYTES // 4,), **LIGHT
                )
        self._genes = matrix.shape[1]
        pointers = self._pointers.setdefault(name, [np.zeros(1, dtype=np.int64)])
        last = pointers[-1][-1]
        for part in ("data", "indices"):
            stored = self._file[f"{name}/{part}"]
            stored.resize((last + matrix.nnz,))
            stored[last:] = getattr(matrix, part)
        pointers.append(matrix.indptr[1:].astype(np.int64) + last)

    def __contains__(self, key: str) -> bool:
        """Whether there is obsm[key]."""
        return key in self._file["obsm"]

    def rows(self, key: str) -> h5py.Dataset:
        """obsm[key], to be read by slices of rows."""
        return self._file[f"obsm/{key}"]

    def expression(self, rows: int | None = None) -> Iterator[sp.csr_matrix]:
        """X, so many rows at a time (None: all at once)."""
        pointers = np.concatenate(self._pointers["X"])
        step = rows or self.cells
        for start in range(0, self.cells, step):
            own = pointers[start : start + step + 1]
            data, indices = (self._file[f"X/{n}"][own[0] : own[-1]] for n in ("data", "indices"))
            shape = len(own) - 1, self._genes
            yield sp.csr_matrix((data, indices, (own - own[0]).astype(np.int32)), shape=shape)

    def finish(
        self,
        obs: pd.DataFrame,
        genes: Iterable[str],
        uns: Mapping[str, object],
        varm: Mapping[str, object] | None = None,
    ) -> None:
        """The cells, the genes, what is known of them, and the notes; the end of X and counts."""
        var = pd.DataFrame(index=pd.Index(genes).astype(str))
        for name, parts in self._pointers.items():
            pointers = np.concatenate(parts)
            small = pointers[-1] <= np.iinfo(np.int32).max
            self._file[name].create_dataset(
                "indptr", data=pointers.astype(np.int32 if small else np.int64), **LIGHT
            )
            self._file[name].attrs["shape"] = [self.cells, self._genes]
        elements = {"obs": obs, "var": var, "uns": dict(uns), "varm": dict(varm or {})}
        with writing(self.path):
            for name, value in elements.items():
                ad.io.write_elem(self._file, name, value, dataset_kwargs=LIGHT)


def _encode(node: h5py.Group | h5py.Dataset, kind: str, version: str = "0.1.0") -> None:
    """Say what a node is, as anndata looks for it."""
    node.attrs.update({"encoding-type": kind, "encoding-version": version})
