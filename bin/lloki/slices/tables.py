"""Slices as tables: counts and coordinates in two files of text."""

from __future__ import annotations

import zlib
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.slices.checks import check_unique, check_values
from lloki.support.errors import InputError


def read_tables(counts: str | Path, coordinates: str | Path) -> ad.AnnData:
    """Read a slice from two tables (CSV or TSV, also gzipped), both with cell names first.

    The counts table has one column a gene, the coordinates table two or three columns of numbers.
    """
    table, places = _read_table(counts), _read_table(coordinates)
    if places.shape[1] not in (2, 3):
        raise InputError(
            coordinates,
            f"it has {places.shape[1]} columns of numbers",
            "leave 2 or 3: x, y (and z)",
        )
    missing = table.index.difference(places.index)
    if len(missing):
        raise InputError(
            coordinates,
            f"cell {missing[0]!r} of {Path(counts).name} has no coordinates",
            "both tables need the same cell names in their first column",
        )
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        values = table.to_numpy(dtype=np.float32)
    data = ad.AnnData(
        sp.csr_matrix(values),
        obs=pd.DataFrame(index=table.index.astype(str)),
        var=pd.DataFrame(index=table.columns.astype(str)),
    )
    places = places.loc[table.index].to_numpy(dtype=np.float64)
    check_values(places, coordinates, "it")
    data.obsm["spatial"] = places
    return data


def _read_table(path: str | Path) -> pd.DataFrame:
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    separator = "\t" if ".tsv" in Path(path).name or ".txt" in Path(path).name else ","
    try:
        # The header apart: pandas would rename a second column of a name, and take 007 for 7.
        header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0]
        table = pd.read_csv(
            path, sep=separator, header=None, skiprows=1, index_col=0, dtype={0: str}
        )
        table.index.name = None
        table.columns = header.to_numpy()[len(header) - table.shape[1] :]  # R leaves out a corner
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise InputError(path, f"not a readable table ({error})", "give CSV or TSV") from None
    if table.empty:
        raise InputError(path, "the table has no cells or no columns", "cell names come first")
    for name, kind in table.dtypes.items():
        if not pd.api.types.is_numeric_dtype(kind):
            raise InputError(path, f"column {name!r} is not numeric", "drop or mend that column")
    check_unique(table.index, "cell", path)
    check_unique(table.columns, "gene", path)
    return table
