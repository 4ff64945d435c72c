"""Zarr stores: an AnnData, or the table of a SpatialData, read (versions 2 and 3) and written.

anndata reads and writes the tables. The package spatialdata is not needed: what stands beside a
table, cells as circles, has the form of its first format (0.1, zarr 2), which needs no parquet and
which it still reads.
"""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from lloki.slices import hdf5
from lloki.slices.files import check_whole
from lloki.slices.source import Source
from lloki.support.errors import COPY_AGAIN, InputError, lacks_memory
from lloki.support.names import plain_names

ROOTS = {"zarr.json", ".zgroup", ".zattrs", ".zmetadata"}  # one of them is at the root of a store
ELEMENT, INSTANCE = "spatialdata_element", "spatialdata_instance"  # columns of a written table
ALIGNED = "aligned"  # the coordinate system of all slices
EXACT = 1e-3  # of the extent of a slice: how far off a motion may be


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
    _check_pieces(where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = ad.read_zarr(where)
    except Exception as error:  # zarr and its codecs tell of damage by errors of many kinds
        if lacks_memory(error, where, hdf5.DEFLATED):
            raise
        fact = f"not a readable store of an AnnData ({type(error).__name__})"
        raise InputError(where, fact, COPY_AGAIN) from None
    check_whole(data, where, genes=False)
    if data.n_vars and all(str(name).isdigit() for name in data.var_names):
        fact = f"its genes are numbers ({data.var_names[0]}, ...): var was lost or never written"
        raise InputError(where, fact, "write the store again with gene names")
    return Source(data, str(form), [where])


def _check_pieces(store: Path) -> None:
    """InputError where an array claims more pieces than its store has bytes: that has no end.

    Pieces that were never written are read as zeros, each in its turn.
    """
    files = [path for path in store.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    for path in files:
        if path.name not in ("zarr.json", ".zarray", ".zmetadata"):
            continue
        try:
            most = max(_pieces(json.loads(path.read_bytes())), default=0)
        except (ValueError, RecursionError):
            continue  # zarr will not read it either
        if most > size:
            raise InputError(store, f"{path.relative_to(store)} is damaged", COPY_AGAIN)


def _pieces(told: object) -> Iterator[int]:
    """How many pieces each array has by its metadata, also those of others gathered in one file."""
    if not isinstance(told, dict):
        return
    with contextlib.suppress(ValueError, TypeError, KeyError, ArithmeticError):  # it is no array
        grid = told.get("chunks") or told["chunk_grid"]["configuration"]["chunk_shape"]
        yield math.prod(-(-n // part) for n, part in zip(told["shape"], grid, strict=True))
    for inner in told.values():
        yield from _pieces(inner)


def write_spatialdata(data: ad.AnnData, path: Path) -> None:
    """All slices as one SpatialData store: the table `cells`, and the cells of a sample as circles.

    data: as integrated, obs['sample'], obsm['spatial'] and, where aligned, obsm['spatial_aligned']
    (n × 2 or 3, µm; circles take two). An element has the name of its sample, and so has the
    coordinate system of its own micrometres; the slices of a frame that several share
    (obs['frame'], all without it) lie in the system `aligned`, of several frames in `aligned_` and
    the frame's name. A circle is half as wide as cells lie apart. obs ELEMENT and INSTANCE say
    which circle a cell is. Columns whose names SpatialData does not allow get others.
    """
    import zarr

    samples = data.obs["sample"].astype("category")
    elements = plain_names(samples.cat.categories, taken=[ALIGNED])
    columns = plain_names(data.obs.columns, taken=[ELEMENT, INSTANCE])
    obs = data.obs.rename(columns=columns)
    obs[ELEMENT] = samples.cat.rename_categories(elements)
    obs[INSTANCE] = np.arange(len(obs))
    keys = {"region": list(elements.values()), "region_key": ELEMENT, "instance_key": INSTANCE}
    colours = {f"{old}_colors": f"{new}_colors" for old, new in columns.items()}
    uns = {colours.get(key, key): value for key, value in data.uns.items()}
    uns["spatialdata_attrs"] = keys
    layers = {key: value for key, value in data.layers.items() if key}  # None: X, of anndata 0.13
    table = ad.AnnData(
        data.X, obs=obs, var=data.var, obsm=dict(data.obsm), varm=dict(data.varm), layers=layers,
        uns=uns,
    )  # fmt: skip
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs["spatialdata_attrs"] = {"version": "0.1"}
    with ad.settings.override(allow_write_nullable_strings=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer zarr
        ad.io.write_elem(root.require_group("tables"), "cells", table)
    form = {"spatialdata-encoding-type": "ngff:regions_table", "version": "0.1"}
    root["tables/cells"].attrs.update(form | keys)
    places, aligned = data.obsm["spatial"], data.obsm.get("spatial_aligned")
    shared = _shared_systems(data.obs, elements)
    for sample, element in elements.items():
        rows = np.flatnonzero((samples == sample).to_numpy())
        own, there = (None if p is None else p[rows, :2].astype(float) for p in (places, aligned))
        _write_circles(
            root.create_group(f"shapes/{element}"), element, rows, own, there, shared.get(sample)
        )
    zarr.consolidate_metadata(root.store)


def _shared_systems(obs: pd.DataFrame, elements: dict[str, str]) -> dict[str, str]:
    """The coordinate system that each sample has in common with others; none for one alone."""
    if "frame" not in obs:
        return dict.fromkeys(elements, ALIGNED)
    frames = obs.groupby("sample", observed=True)["frame"].first().astype(str)
    shared = [frame for frame, times in frames.value_counts(sort=False).items() if times > 1]
    names = {frame: f"{ALIGNED}_{elements[frame]}" for frame in shared}
    if len(shared) == 1:
        names = {shared[0]: ALIGNED}
    return {sample: names[frame] for sample, frame in frames.items() if frame in names}


def _write_circles(
    group, element: str, rows: np.ndarray, own: np.ndarray, there, shared: str | None
) -> None:
    """An element: the cells' places (n × 2), and how they lie in a frame that they share."""
    apart = cKDTree(own).query(own, k=2)[0][:, 1]
    radius = float(np.median(apart[np.isfinite(apart)])) / 4 if np.isfinite(apart).any() else 0.0
    group.create_array("coords", data=own)
    group.create_array("radius", data=np.full(len(rows), radius or 1.0))
    group.create_array("Index", data=rows)
    motions = [{"type": "identity", **_systems(element)}]
    if there is not None and shared and (motion := _motion(own, there)) is not None:
        motions.append({"type": "affine", "affine": motion.tolist(), **_systems(shared)})
    group.attrs.update({
        "encoding-type": "ngff:shapes", "axes": ["x", "y"], "coordinateTransformations": motions,
        "spatialdata_attrs": {"version": "0.1", "geos": {"name": "POINT", "type": 0}},
    })  # fmt: skip


def _systems(name: str) -> dict[str, dict]:
    """From an element's own axes to those of a coordinate system."""
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "xy"]
    return {"input": {"name": "xy", "axes": axes}, "output": {"name": name, "axes": axes}}


def _motion(own: np.ndarray, there: np.ndarray) -> np.ndarray | None:
    """The affine motion (2 × 3) between places (n × 2); None where they fix or follow none."""
    padded = np.column_stack([own, np.ones(len(own))])
    found, _, rank, _ = np.linalg.lstsq(padded, there)
    off = np.abs(padded @ found - there).max()
    return found.T if rank == 3 and off <= EXACT * max(np.ptp(there, axis=0).max(), 1) else None
