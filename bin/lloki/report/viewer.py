"""What a run found as the instruments' own viewers take it, slice by slice.

Forms: Xenium Explorer reads a table of `cell_id` and `group` for each grouping; MERSCOPE's
Visualizer an AnnData whose cells are named by EntityID, and the instrument's own two tables;
napari-cosmx (NanoString) the one `*_metadata.csv` beside its images, by `c_<slide>_<fov>_<cell>`.
Cells go by the ids that they have in the instrument's files, as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anndata as ad
import numpy as np
import pandas as pd

from lloki.slices.cosmx import CELL_ID
from lloki.slices.labels import as_text
from lloki.support.names import plain_names

MADE = "lloki_"  # columns that the run made
PLACES = {"X_umap": "umap", "spatial_aligned": "aligned"}  # of obsm, and the columns' names
UNLABELLED = "unlabelled"  # a viewer that sorts labels fails on missing ones
ANY = "cells.csv"


def groupings(obs: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Columns that group cells, as text: those called `labels`, and what the run made (MADE)."""
    made = [name for name in obs if name.startswith(MADE) and not _is_number(obs[name])]
    return pd.DataFrame(
        {name: as_text(obs[name]) for name in dict.fromkeys([*labels, *made])}, index=obs.index
    )


def numbers(data: ad.AnnData) -> pd.DataFrame:
    """Numbers of each cell: UMAP, aligned coordinates (µm), columns that the run made (MADE)."""
    found = {
        f"{name}_{axis}": values
        for key, name in PLACES.items() if key in data.obsm
        for axis, values in zip("XYZ", np.asarray(data.obsm[key]).T, strict=False)
    }  # fmt: skip
    made = [n for n in data.obs if n.startswith(MADE) and _is_number(data.obs[n])]
    found |= {name: data.obs[name].to_numpy() for name in made}
    return pd.DataFrame(found, index=data.obs_names).round(6)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def cell_ids(obs: pd.DataFrame, sample: str) -> pd.Index:
    """The ids of a sample's cells in the files they came from: obs['cell_id'], else their names."""
    names = obs.index.str.removeprefix(f"{sample}:")
    ids = as_text(obs["cell_id"]) if "cell_id" in obs else None
    return names if ids is None or ids.isna().any() or not ids.is_unique else pd.Index(ids)


def format_of(data: ad.AnnData, sample: str) -> str:
    """The form that a sample's files had (`xenium`, `h5ad`, ...); empty where it is not known."""
    notes: object = data.uns.get("lloki")
    for key in ("samples", sample, "prepare_slice", "format"):
        notes = notes.get(key) if isinstance(notes, Mapping) else None
    return str(notes or "")


def viewer_files(
    data: ad.AnnData, sample: str, labels: Sequence[str] = ()
) -> dict[str, pd.DataFrame | ad.AnnData]:
    """The files of a sample by name; tables have the cells' ids as their index.

    data: as integrated, with the cells of all samples; labels: columns of its obs. Every sample has
    ANY, all columns of `groupings` and `numbers`; an instrument's what its viewer takes, too.
    """
    cells = data[data.obs["sample"].astype(str) == sample]
    ids, form = cell_ids(cells.obs, sample), format_of(data, sample)
    groups, values = groupings(cells.obs, labels), numbers(cells)
    values = values.drop(columns=groups.columns, errors="ignore")
    filled = groups.fillna(UNLABELLED)
    found = {ANY: _table(ids, "cell_id", groups, values)}
    if form == "xenium":
        files = plain_names(groups, taken=[ANY.removesuffix(".csv")])
        for name, column in groups.items():
            known = column.notna().to_numpy()  # the others are unassigned in the viewer
            if known.any():
                group = column[known].to_frame("group")
                found[f"{files[name]}.csv"] = _table(ids[known], "cell_id", group)
    elif form == "merscope":
        places = {"spatial": cells.obsm["spatial"], "X_spatial": cells.obsm["spatial"][:, :2]}
        if "X_umap" in cells.obsm:
            places["X_umap"] = cells.obsm["X_umap"]
        obs = _table(ids, "EntityID", filled.astype("category"))
        found["cells.h5ad"] = ad.AnnData(obs=obs, obsm=places)
        for name, part in (("categories", filled), ("numeric_categories", values)):
            if len(part.columns):
                found[f"cell_{name}.csv"] = _table(ids, "EntityID", part)
    elif form == "cosmx":
        found["_metadata.csv"] = _table(_with_slide(ids, cells.obs), "cell_ID", filled, values)
    return found


def _table(ids: pd.Index, name: str, *parts: pd.DataFrame) -> pd.DataFrame:
    """Columns of all parts, cell by cell, under the ids."""
    return pd.concat(parts, axis=1).set_axis(ids.rename(name))


def _with_slide(ids: pd.Index, obs: pd.DataFrame) -> pd.Index:
    """`c_<slide>_<fov>_<cell>`, from `<fov>_<cell>` where files have no such ids; slide 1 if none.

    The old public sets have no number of a slide.
    """
    if ids.str.fullmatch(CELL_ID).all():
        return ids
    slides = as_text(obs["slide_ID"]) if "slide_ID" in obs else pd.Series("1", obs.index)
    slides = slides.where(slides.str.fullmatch(r"\d+").fillna(False).astype(bool), "1")
    return pd.Index("c_" + slides.to_numpy(object) + "_" + ids.to_numpy(object))
