"""UMAP and map that a reader explores: the cells' places and colours, packed for the page.

A column of the page is a typed array, gzipped, in base64; the script of the page unpacks it when it
is first looked at. Places are 16 bits a coordinate, values 8 bits, names of cells a text.
"""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lloki.report import colourings, figures, raster, sampling
from lloki.report.colourings import Category, Number
from lloki.report.material import Material

STEPS = 65534  # of a coordinate; one more: no place
SHADES = 254  # of a value; one more: no value
MOST_BYTES = 9_000_000  # of all columns
LISTED = 6  # names in a sentence


@dataclass(frozen=True)
class Explorer:
    """head: what the page's script has to know; columns: packed, by name; note: what is shown."""

    head: Mapping
    columns: Mapping[str, str]
    note: str


def explorer(material: Material) -> Explorer:
    """Places and colours of all cells, or of a fair sample of them."""
    rows = sampling.draw(material.slices_of_cells, material.kinds.values, sampling.MOST)
    columns: dict[str, str] = {}
    size = 0

    def add(name: str, values: np.ndarray | bytes) -> bool:
        """Pack a column, if there is room for it."""
        nonlocal size
        packed = pack(values)
        if columns and size + len(packed) > MOST_BYTES:
            return False
        columns[name], size = packed, size + len(packed)
        return True

    many = len(rows) < material.data.n_obs
    add("map", _places(material, "spatial", rows, material.samples))
    umaps = [{"title": title, **span} for title, span in _umaps(material, rows, many, add)]
    head_colours, left = [], []
    for number, by in enumerate(colourings.offered(material)):
        name = f"colour{number}"
        if add(name, _codes(by, rows)):
            head_colours.append({"column": name, **by.head()})
        else:
            left.append(by.title)
    frames = _frames(material)
    frames = frames if frames and add("aligned", _aligned(material, rows, frames)) else []
    has_names = add("names", "\n".join(map(str, material.data.obs_names[rows])).encode())
    head = {
        "n": len(rows), "umaps": umaps, "colours": head_colours, "names": has_names,
        "slices": [_slice(material, name, many) for name in material.samples],
        "slice": next(c["column"] for c in head_colours if c["key"] == "sample"), "frames": frames,
    }  # fmt: skip
    return Explorer(head, columns, _note(len(rows), material, left))


def pack(values: np.ndarray | bytes) -> str:
    """An array (little-endian) or bytes, gzipped, in base64; the same for the same values."""
    raw = values if isinstance(values, bytes) else values.astype(values.dtype.newbyteorder("<"))
    raw = raw if isinstance(raw, bytes) else raw.tobytes()
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode()


def steps(places: np.ndarray, low: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Places (n × 2) as steps of their span, uint16; those that are nowhere are STEPS + 1."""
    found = np.clip(np.rint((places - low) / sides * STEPS), 0, STEPS)
    return np.where(np.isfinite(found).all(axis=1)[:, None], found, STEPS + 1).astype(np.uint16)


def span(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where places (n × 2) begin, and their sides; what is not finite does not count."""
    whole = places[np.isfinite(places).all(axis=1)]
    if not len(whole):
        return np.zeros(2), np.ones(2)
    return whole.min(axis=0), np.maximum(np.ptp(whole, axis=0), 1e-9)


def _where(places: np.ndarray) -> dict:
    low, sides = span(places)
    return {"low": low.tolist(), "sides": sides.tolist()}


def _places(material: Material, key: str, rows: np.ndarray, groups: Mapping) -> np.ndarray:
    """x of all rows, then y, in steps of the span of the group (slice or frame) that each is in."""
    places = material.data.obsm[key][:, :2].astype(float)
    found = np.full((len(places), 2), STEPS + 1, dtype=np.uint16)
    for cells in groups.values():
        found[cells] = steps(places[cells], *span(places[cells]))
    return found[rows].T.copy()


def _umaps(material: Material, rows: np.ndarray, many: bool, add) -> Iterator[tuple[str, dict]]:
    """LLOKI's own first, as far as there is room."""
    first = sorted(material.umaps, key=lambda title: title != "LLOKI")
    for number, title in enumerate(first):
        places = np.asarray(material.umaps[title], dtype=float)[:, :2]
        name = f"umap{number}"
        if add(name, steps(places[rows], *span(places)).T.copy()):
            behind = {"behind": density(places)} if many and number == 0 else {}
            yield title, {"column": name, **_where(places), **behind}


def _slice(material: Material, name: str, many: bool) -> dict:
    cells = material.samples[name]
    places = material.data.obsm["spatial"][cells][:, :2].astype(float)
    behind = {"behind": density(places)} if many else {}
    technology = str(material.technology.values[cells[0]])
    return {"name": name, "technology": technology, "cells": len(cells), **_where(places), **behind}


def _frames(material: Material) -> list[dict]:
    """Frames that several slices share."""
    places = material.data.obsm.get("spatial_aligned")
    return [
        {"name": name, "slices": members,
         **_where(np.concatenate([places[material.samples[s]] for s in members])[:, :2])}
        for name, members in material.frames.items() if len(members) > 1
    ]  # fmt: skip


def _aligned(material: Material, rows: np.ndarray, frames: Sequence[Mapping]) -> np.ndarray:
    groups = {
        frame["name"]: np.concatenate([material.samples[s] for s in frame["slices"]])
        for frame in frames
    }
    return _places(material, "spatial_aligned", rows, groups)


def _codes(by: Category | Number, rows: np.ndarray) -> np.ndarray:
    """Numbers of names, or shades of values, of these rows."""
    if isinstance(by, Category):
        return by.codes[rows].astype(np.uint8 if len(by.names) < 255 else np.uint16)
    values = np.asarray(by.values, dtype=float)[rows]
    low, high = by.limits
    shade = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * SHADES
    return np.where(np.isfinite(shade), np.rint(shade), SHADES + 1).astype(np.uint8)


def density(places: np.ndarray) -> str:
    """All cells (n × 2) in grey, darker where there are more: the address of a PNG."""
    whole = places[np.isfinite(places).all(axis=1)]
    if not len(whole):
        return ""
    image, _ = raster.blend(whole, np.full(len(whole), "", dtype=object), {}, figures.GREY)
    buffer = io.BytesIO()
    Image.fromarray((image[::-1] * 255).astype(np.uint8)).quantize(64, 2).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _note(shown: int, material: Material, left: Sequence[str]) -> str:
    total = material.data.n_obs
    note = f"All {total:,} cells are shown."
    if shown < total:
        note = (f"{shown:,} of {total:,} cells are shown: equal numbers of each slice, rare types "
                "first. The grey behind is the density of all cells.")  # fmt: skip
    if left:
        names = ", ".join(left[:LISTED]) + (", …" if len(left) > LISTED else "")
        note += f" Left out to keep the page small: {names}."
    return note
