"""Zarr stores, versions 2 and 3: an AnnData, or the table of a SpatialData; anndata reads both."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad

from lloki.slices.files import check_whole
from lloki.slices.source import Source
from lloki.support.errors import COPY_AGAIN, InputError

ROOTS = {"zarr.json", ".zgroup", ".zattrs", ".zmetadata"}  # one of them is at the root of a store


def store_format(path: Path) -> str | None:
    """`anndata`, `spatialdata`, or None for a folder that is no store of either."""
    if _is_store(path):
        return "spatialdata" if (path / "tables").is_dir() else "anndata"
    tables = path / "tables"
    return "spatialdata" if tables.is_dir() and any(map(_is_store, tables.iterdir())) else None


def _is_store(path: Path) -> bool:
    """Whether a folder is a zarr group."""
    return any((path / name).is_file() for name in ROOTS)


def read(path: Path, table: str | None = None) -> Source:
    """An AnnData store, or the table of a SpatialData store (by name, where it has several).

    InputError where there is no such table, it cannot be read, or its genes have no names (a store
    that lost its `var` is read with '0', '1', ...).
    """
    form = store_format(path)
    where = path
    if form == "spatialdata":
        names = sorted(p.name for p in (path / "tables").iterdir() if p.is_dir())
        if table is None and len(names) == 1:
            table = names[0]
        if table not in names:
            fact = f"it has the tables {', '.join(names) or 'none'}"
            raise InputError(path, fact, "name one in column region (--region)")
        where = path / "tables" / table
    elif table is not None:
        raise InputError(
            path, f"it has no table {table!r}: it is one AnnData", "leave region empty"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = ad.read_zarr(where)
    except MemoryError:
        raise
    except Exception as error:  # zarr and its codecs tell of damage by errors of many kinds
        fact = f"not a readable store of an AnnData ({type(error).__name__})"
        raise InputError(where, fact, COPY_AGAIN) from None
    check_whole(data, where, genes=False)
    if data.n_vars and all(str(name).isdigit() for name in data.var_names):
        fact = f"its genes are numbers ({data.var_names[0]}, ...): var was lost or never written"
        raise InputError(where, fact, "write the store again with gene names")
    return Source(data, str(form), [where])
