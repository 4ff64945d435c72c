"""Where cells are: coordinates found in an AnnData by name, and what is odd about them."""

from __future__ import annotations

import re

import anndata as ad
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from lloki.support.errors import InputError

CELLS = 2000  # that are looked at
RANDOM = (
    0.33  # 5 % quantile of gaps over their median: 0.27 of random points, 0.34 to 0.65 of cells
)
NEAR, FAR = 2.0, 100.0  # micrometres between a cell and its nearest: less or more is doubted
WHOLE_SLIDE = ("global", "spatial_fov")  # keys of obsm beside one of each field of view by itself
PLACES = (*WHOLE_SLIDE, "spatial", "X_spatial", "spatial3d")  # keys of obsm
AXES = (  # columns of obs
    ("x_centroid", "y_centroid"), ("center_x", "center_y"),
    ("CenterX_global_px", "CenterY_global_px"), ("x_um", "y_um"), ("X_um", "Y_um"),
    ("spatial_x", "spatial_y"), ("x", "y"), ("X", "Y"), ("x_px", "y_px"),
)  # fmt: skip


def find_places(data: ad.AnnData, where: object) -> tuple[object, str]:
    """Coordinates as they are (n × 2 or 3, columns by name where they have some), and where."""
    for key in PLACES:
        if key in data.obsm:
            return _by_name(data.obsm[key], where, key), f"obsm[{key!r}]"
    for axes in AXES:
        if all(name in data.obs for name in axes):
            depth = re.sub("[xX]", lambda x: "z" if x[0] == "x" else "Z", axes[0], count=1)
            named = [*axes, *([depth] if depth in data.obs else [])]
            return data.obs[named].to_numpy(), f"obs {', '.join(named)}"
    have = ", ".join([*data.obsm, *map(str, data.obs.columns)][:12]) or "nothing"
    fact = f"obsm['spatial'] is missing, and no coordinates are elsewhere (it has: {have})"
    raise InputError(where, fact, "put the cells' coordinates there")


def _by_name(values: object, where: object, key: str) -> object:
    """Columns x, y (and z) of a table in this order; other tables are told by their columns."""
    if not isinstance(values, pd.DataFrame):
        return values
    lower = {str(name).lower(): name for name in values.columns}
    axes = [lower[axis] for axis in "xyz" if axis in lower]
    if {"x", "y"} <= set(lower):
        return values[axes].to_numpy()
    if values.shape[1] in (2, 3) and not any(name.startswith(("row", "y")) for name in lower):
        return values.to_numpy()
    names = ", ".join(map(str, values.columns))
    raise InputError(where, f"obsm[{key!r}] has the columns {names}", "name them x, y (and z)")


def flat(places: np.ndarray) -> np.ndarray:
    """Coordinates without a third column in which all are equal."""
    level = places.shape[1] == 3 and np.ptp(places[:, 2]) == 0
    return places[:, :2] if level else places


def doubts_of_places(places: np.ndarray) -> list[str]:
    """What is odd about coordinates in micrometres (n × 2 or 3), with its remedy."""
    if len(places) < 20:
        return []
    if not np.ptp(places, axis=0).any():
        return ["all cells lie at one point: their graph and alignment say nothing"]
    some = places[np.random.default_rng(0).permutation(len(places))[:CELLS]]
    gaps = cKDTree(places).query(some, k=2)[0][:, 1]
    nearest, middle = np.quantile(gaps, [0.05, 0.5])
    if middle < NEAR or middle > FAR:
        return [
            f"cells lie {middle:.3g} µm from the nearest (median): are the coordinates pixels, or "
            "of each field of view by itself? (spatial_unit_um sets the unit)"
        ]
    if nearest < NEAR and nearest < RANDOM * middle:
        return [
            f"5 % of the cells lie within {nearest:.2g} µm of another, as points thrown at random: "
            "do fields of view lie on one another, each with coordinates of its own? (give those "
            "of the whole slide)"
        ]
    return []


def overlapping(obs: pd.DataFrame, places: np.ndarray) -> list[str]:
    """A warning where the fields of view (a column `fov`) lie on one another.

    Judged by the middles of the fields: two within a tenth of a field's extent are one place.
    """
    if "fov" not in obs or not 1 < obs["fov"].nunique() < len(obs) / 5:
        return []
    table = pd.DataFrame(places[:, :2], columns=["x", "y"]).groupby(
        obs["fov"].astype(str).to_numpy()
    )
    middles, extents = (table.max() + table.min()) / 2, table.max() - table.min()
    reach = 0.1 * float(extents.to_numpy().max(axis=1).mean())
    near = cKDTree(middles.to_numpy()).query(middles.to_numpy(), k=2)[0][:, 1]
    if np.mean(near < reach) < 0.5:
        return []
    return [
        "fields of view lie on one another: the coordinates are of each field by itself; give "
        "those of the whole slide"
    ]
