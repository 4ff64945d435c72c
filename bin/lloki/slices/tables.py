"""Slices as tables: counts and coordinates in two files of text."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.slices import dense
from lloki.slices.checks import check_unique, check_values
from lloki.slices.places import AXES
from lloki.support.errors import InputError

SUMS = ("total", "sum", "totals", "sums", "grand total")
NOT_GENES = {  # columns that programs put beside counts, in small letters
    *(
        "fov cell cell_id cellid entityid cell_name barcode barcodes label n_cells n_counts "
        "n_genes n_umis n_transcripts total_counts total_umis transcript_counts transcript_count "
        "control_probe_counts control_codeword_counts unassigned_codeword_counts ncount_rna "
        "nfeature_rna ncount_spatial nfeature_spatial ncount_xenium nfeature_xenium percent.mt "
        "percent_mt doublet_score predicted_doublet leiden louvain cluster clusters "
        "seurat_clusters orig.ident ident cell_type celltype subclass sample sample_id batch slide "
        "slide_id slice section region donor volume area area.um2 area_um2 cell_area nucleus_area "
        "nucleus_count perimeter aspectratio aspect_ratio eccentricity solidity width height "
        "density z min_x max_x min_y max_y totals sums numi n_umi barcode_id x_loc y_loc z_loc "
        "x_px y_px total_transcripts total_genes"
    ).split(),
    *(name.lower() for pair in AXES for name in pair),
}
OF_PROGRAMS = re.compile(  # the same, by their form
    r"n_genes_by_.+|(log1p_)?(total|n_genes|mean)_.*counts.*|pct_counts_.+|(mean|(?-i:Max))\.\w+"
    r"|center[xy]_(local|global)_(px|mm)|(x_)?(umap|tsne|pca?)[_-]\d+|(leiden|louvain)[_.].+"
    r"|area\(px\)|unnamed: \d+",
    re.I,
)


def is_no_gene(name: str) -> bool:
    """Whether a column of a table of counts is one that programs put beside them."""
    return (
        name.lower() in NOT_GENES or name.lower() in SUMS or OF_PROGRAMS.fullmatch(name) is not None
    )


def read_tables(counts: str | Path, coordinates: str | Path) -> tuple[ad.AnnData, list[str]]:
    """Read a slice from two tables (CSV or TSV, also gzipped), both with names first.

    Commas, tabs or semicolons separate; with semicolons numbers may have decimal commas. The counts
    table has one column a gene, or one a cell, which is told by the names of the coordinates'
    cells; what `is_no_gene` is passed over. Coordinates go by the names of their columns
    (`places.AXES`, z beside them), else they are all columns, two or three. Counts are read block
    by block: memory goes by what is not zero. Gives the slice, and lines on what was passed over.
    """
    axes = _axes(dense.read_header(coordinates)[0], coordinates)
    table = dense.read_columns(coordinates, {"cell": 0}, {i: i for i in axes})
    known = pd.Index(table.pop("cell").astype(str))
    check_unique(known, "cell", coordinates)
    dense.check_names_of_cells(dense.read_header(coordinates)[0], known, coordinates)
    first, *names = dense.read_header(counts)[0]
    if first.lower() == "fov":
        fact = "it begins with 'fov', not with cell names"
        raise InputError(
            counts, fact, "put them first; of CosMx give the folder, metadata_file too"
        )
    turned = known.isin(names).any() and _turned(counts, names, known)
    said = ["the table of counts has a row a gene: it is read so"] if turned else []
    matrix, cells, genes, others = _read_turned(counts) if turned else _read_counts(counts, names)
    check_unique(cells, "cell", counts)
    dense.check_names_of_cells([first, *names], cells, counts)
    matrix, cells, sums = _without_sums(matrix, cells)
    rows = known.get_indexer(cells)
    if (rows < 0).any():
        raise InputError(
            coordinates,
            f"cell {cells[int(np.argmin(rows))]!r} of {Path(counts).name} has no coordinates",
            "both tables need the same cell names in their first column",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that repeat: told as a fault later
        data = ad.AnnData(matrix, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=genes))
    places = table.to_numpy(np.float64)[rows]
    check_values(places, coordinates, "it")
    data.obsm["spatial"] = places
    if sums:
        said.append(f"rows that add up the others are passed over ({', '.join(sums)})")
    if others:
        said.append(f"columns that are no genes are passed over ({', '.join(others)})")
    return data, said


def _read_counts(path: str | Path, names: list[str]) -> tuple:
    """The matrix (CSR), cells, genes, and the columns that were passed over; names: of columns."""
    others = [name for name in names if is_no_gene(name)]
    places = [i + 1 for i, name in enumerate(names) if is_no_gene(name)]
    found = dense.read_dense(path, without=places)
    return (
        found.matrix,
        pd.Index(found.ids[0].astype(str)),
        pd.Index(found.columns, dtype=str),
        others,
    )


def _without_sums(matrix: sp.csr_matrix, cells: pd.Index) -> tuple:
    """The matrix and its cells without rows called Total or Sum, and the names of those."""
    sums = cells.str.lower().isin(SUMS)
    if not sums.any():
        return matrix, cells, []
    return matrix[np.flatnonzero(~sums)], cells[~sums], cells[sums].tolist()


def _read_turned(path: str | Path) -> tuple:
    """The same of a table with a row a gene."""
    found = dense.read_dense(path)
    names = found.ids[0].astype(str)
    genes = np.array([not is_no_gene(name) for name in names])
    matrix = sp.csr_matrix(found.matrix[np.flatnonzero(genes)].T)
    others = names[~genes].tolist()
    return matrix, pd.Index(found.columns, dtype=str), pd.Index(names[genes]), others


def _turned(counts: str | Path, names: list[str], known: pd.Index) -> bool:
    """Whether cells are a table's columns: more of the known are there than in its first column."""
    first = dense.read_columns(counts, {"name": 0}, {})["name"].astype(str)
    return pd.Index(names).isin(known).mean() > first.isin(known).mean()


def pixels(coordinates: str | Path) -> str | None:
    """The columns of a table of coordinates whose names say that they are pixels."""
    names = dense.read_header(coordinates)[0]
    told = [names[i] for i in _axes(names, coordinates) if "_px" in names[i].lower()]
    return ", ".join(told) or None


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
    odd = [name for name in names[1:] if is_no_gene(name)]
    if odd:
        fact = f"its column {odd[0]!r} is no coordinate"
        raise InputError(where, fact, "call the columns x, y (and z)")
    return list(range(1, len(names)))
