"""What a MERSCOPE instrument or vpt wrote (Vizgen): a region's two tables of cells.

Form: Vizgen's documents of MERSCOPE's output and of vpt (vizgen-postprocessing), and folders of
before and after version 232. `cell_by_gene.csv` has the counts, cells × genes, `cell_metadata.csv`
volume and centre; both begin with the cells' ids under a name or none, and their cells may be in
other orders. Public downloads and vpt put a prefix before both names. Ids have up to 39 digits:
they are text here, no number holds them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki.slices import vendor
from lloki.slices.dense import IDS, check_names_of_cells, read_columns, read_dense, read_header
from lloki.slices.source import Source
from lloki.slices.tables import is_no_gene
from lloki.support.errors import InputError

COUNTS, METADATA = "cell_by_gene.csv", "cell_metadata.csv"  # how the names of the files end
CONTROLS = {"Blank": re.compile(r"(?i)blank[-_]?\d+")}  # there is no other mark
NUMBERS = ("center_x", "center_y", "volume", "fov", "transcript_count")


def read(
    folder: Path, fov: str | Collection[int] | None = None, keep_controls: bool = False
) -> Source:
    """The region in a folder, genes alone; coordinates in micrometres, y down.

    fov: fields of view to take, numbers or text such as `1-24 30`; None: all. keep_controls: Blanks
    stay among the genes. obs: `cell_id`, `control_counts` (Blanks), and where the file has them
    `volume_um3`, `fov`, `transcript_counts` (with Blanks). InputError where a file is missing or
    there twice, where the two do not fit, ids repeat, counts are not whole, or coordinates are
    missing.
    """
    counts = vendor.need_file(folder, COUNTS)
    return read_files(counts, vendor.need_file(folder, METADATA), fov, keep_controls)


def read_files(
    counts: Path,
    metadata: Path,
    fov: str | Collection[int] | None = None,
    keep_controls: bool = False,
) -> Source:
    """The region in two files, as `read` gives it."""
    wanted = vendor.parse_fovs(fov)
    table = _read_metadata(metadata)
    names, _ = read_header(counts)
    key = _id_column(names)
    others = [i for i, name in enumerate(names) if i != key and (not name or is_no_gene(name))]
    dense = read_dense(
        counts, [key], without=others,
        check=lambda values: vendor.check_counts(
            values, counts, "no whole counts", "give raw counts"
        ),
    )  # fmt: skip
    matrix, genes, controls, by_cell = vendor.split_controls(
        dense.matrix, dense.columns, CONTROLS, keep_controls
    )
    vendor.check_genes(genes, counts)
    ids = pd.Index(dense.ids[0])
    check_names_of_cells(names, ids, counts)
    _check_ids(ids, counts)
    row = table.index.get_indexer(ids)
    kept, warnings = row >= 0, []
    lacking = int((~kept).sum())
    if lacking == len(ids):
        fact = f"none of its cells ({table.index[0]!r}, ...) is in {counts.name} ({ids[0]!r}, ...)"
        raise InputError(metadata, fact, "give the two tables of one region and segmentation")
    if told := [names[i] for i in others if names[i]]:
        warnings.append(f"columns that are no genes are passed over ({', '.join(told)})")
    if lacking:
        warnings.append(f"{lacking} cells of {counts.name} are not in {metadata.name}: left out")
    facts = {
        "cells_in_table": len(ids), "cells_without_metadata": lacking,
        "metadata_without_counts": len(table) - (len(ids) - lacking),
    }  # fmt: skip
    if wanted is not None:
        fovs = vendor.whole_or_float(table["fov"].to_numpy()[row[kept]])
        if fovs.dtype.kind != "i":
            raise InputError(metadata, "its column fov is not filled", "leave fov empty")
        kept[kept], more = vendor.choose_fovs(fovs, wanted, metadata)
        warnings += more
    ids, table = ids[kept], table.iloc[row[kept]]
    obs = pd.DataFrame({"cell_id": ids.to_numpy(), "control_counts": by_cell[kept]}, index=ids)
    for name, ours in (("volume", "volume_um3"), ("fov", "fov"),
                       ("transcript_count", "transcript_counts")):  # fmt: skip
        values = table[name].to_numpy()
        if np.isfinite(values).any():  # some versions leave columns empty
            obs[ours] = values if name == "volume" else vendor.whole_or_float(values)
    places = table[["center_x", "center_y"]].to_numpy(np.float64)
    vendor.check_places(places, ids, metadata)
    matrix = matrix if kept.all() else matrix[np.flatnonzero(kept)]
    data = ad.AnnData(
        matrix, obs=obs, var=pd.DataFrame(index=pd.Index(genes)), obsm={"spatial": places}
    )
    return Source(
        data, "merscope", [counts, metadata], controls=controls, facts=facts, warnings=warnings
    )


def _id_column(names: list[str]) -> int:
    """The position of the cells' ids: by name, else the first column, which may have none."""
    return next((i for i, name in enumerate(names) if name.casefold() in IDS), 0)


def _read_metadata(path: Path) -> pd.DataFrame:
    """NUMBERS of all cells by their ids, NaN where there are none."""
    names, _ = read_header(path)
    for name in ("center_x", "center_y"):
        if name not in names:
            fact = f"it has no column {name!r} (it has {', '.join(names)})"
            raise InputError(path, fact, vendor.AS_WRITTEN)
    places = {name: names.index(name) for name in NUMBERS if name in names}
    table = read_columns(path, {"id": _id_column(names)}, places)
    table.index = pd.Index(table.pop("id").to_numpy(object))
    check_names_of_cells(names, table.index, path)
    _check_ids(table.index, path)
    return table.reindex(columns=NUMBERS)


def _check_ids(ids: pd.Index, path: Path) -> None:
    if not ids.is_unique:
        name = ids[ids.duplicated()][0]
        fact = f"cell {name!r} is there {int((ids == name).sum())} times"
        raise InputError(path, fact, vendor.ROUNDED)
