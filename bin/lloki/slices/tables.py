"""Slices as tables: counts and coordinates in two files of text."""

from __future__ import annotations

import zlib
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki.slices import dense
from lloki.slices.checks import check_unique, check_values
from lloki.support.errors import InputError


def read_tables(counts: str | Path, coordinates: str | Path) -> ad.AnnData:
    """Read a slice from two tables (CSV or TSV, also gzipped), both with cell names first.

    The counts table has one column a gene, the coordinates table two or three columns of numbers.
    Counts are read block by block: memory goes by what is not zero.
    """
    found = dense.read_dense(counts)
    cells, genes = pd.Index(found.ids[0].astype(str)), pd.Index(found.columns).astype(str)
    check_unique(cells, "cell", counts)
    check_unique(genes, "gene", counts)
    axes = dense.read_header(coordinates)[0][1:]
    if len(axes) not in (2, 3):
        raise InputError(
            coordinates, f"it has {len(axes)} columns of numbers", "leave 2 or 3: x, y (and z)"
        )
    table = dense.read_columns(coordinates, {"cell": 0}, {i: i + 1 for i in range(len(axes))})
    known = pd.Index(table.pop("cell").astype(str))
    check_unique(known, "cell", coordinates)
    rows = known.get_indexer(cells)
    if (rows < 0).any():
        raise InputError(
            coordinates,
            f"cell {cells[int(np.argmin(rows))]!r} of {Path(counts).name} has no coordinates",
            "both tables need the same cell names in their first column",
        )
    data = ad.AnnData(found.matrix, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=genes))
    places = table.to_numpy(np.float64)[rows]
    check_values(places, coordinates, "it")
    data.obsm["spatial"] = places
    return data


def first_column(path: str | Path) -> list[str]:
    """The first column of a CSV below its header, as text; lines that begin with # are left out.

    InputError where there is no such table, or it names nothing.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        table = pd.read_csv(path, comment="#", usecols=[0], dtype=str, keep_default_na=False)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise InputError(path, f"not a readable table ({error})", "give CSV") from None
    names = [name.strip() for name in table.iloc[:, 0] if name.strip()]
    if not names:
        raise InputError(path, "it names no cells", "cell names come first, below a header")
    return names
