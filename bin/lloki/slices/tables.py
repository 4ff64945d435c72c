"""Slices as tables: counts and coordinates in two files of text."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki.slices import dense
from lloki.slices.checks import check_unique, check_values
from lloki.slices.evidence import AXES
from lloki.support.errors import InputError

NOT_GENES = {  # columns that programs put beside counts, in lower case
    *(
        "fov cell cell_id cellid entityid n_counts n_genes total_counts n_genes_by_counts "
        "n_transcripts transcript_counts transcript_count leiden louvain cluster clusters "
        "seurat_clusters orig.ident cell_type celltype sample batch volume area cell_area "
        "nucleus_area ncount_rna nfeature_rna percent.mt z"
    ).split(),
    *(name.lower() for pair in AXES for name in pair),
}


def read_tables(counts: str | Path, coordinates: str | Path) -> tuple[ad.AnnData, list[str]]:
    """Read a slice from two tables (CSV or TSV, also gzipped), both with cell names first.

    The counts table has one column a gene; columns of NOT_GENES are passed over. Coordinates are
    told by the names of their columns (`evidence.AXES`, z beside them), else they are all columns,
    two or three. Counts are read block by block: memory goes by what is not zero. Gives the slice,
    and lines on what was passed over.
    """
    names = dense.read_header(counts)[0][1:]
    others = [name for name in dict.fromkeys(names) if name.lower() in NOT_GENES]
    found = dense.read_dense(counts, without=others)
    cells, genes = pd.Index(found.ids[0].astype(str)), pd.Index(found.columns).astype(str)
    check_unique(cells, "cell", counts)
    check_unique(genes, "gene", counts)
    axes = _axes(dense.read_header(coordinates)[0], coordinates)
    table = dense.read_columns(coordinates, {"cell": 0}, {i: i for i in axes})
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
    listed = ", ".join(others)
    return data, [f"columns that are no genes are passed over ({listed})"] if others else []


def _axes(names: list[str], where: object) -> list[int]:
    """Positions of the columns x, y (and z) of a table of coordinates: by name, if they can."""
    lower = [name.lower() for name in names]
    for pair in AXES:
        x, y = (name.lower() for name in pair)
        if x in lower and y in lower:
            axes = [x, y, *(z for z in (x.replace("x", "z", 1), "z") if z in lower and z != x)][:3]
            return [lower.index(axis) for axis in axes]
    if len(names) - 1 not in (2, 3):
        fact = f"it has {len(names) - 1} columns of numbers, and none are called x and y"
        raise InputError(where, fact, "leave 2 or 3: x, y (and z)")
    odd = [name for name in names[1:] if name.lower() in NOT_GENES]
    if odd:
        fact = f"its column {odd[0]!r} is no coordinate"
        raise InputError(where, fact, "call the columns x, y (and z)")
    return list(range(1, len(names)))
