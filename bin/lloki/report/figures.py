"""The pictures of the benchmark and the report. No display is needed: figures are drawn by Agg."""

from __future__ import annotations

import hashlib
import io
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from lloki.report import raster
from lloki.slices.labels import known_labels

# Okabe and Ito's seven colours, then ones chosen greedily for the largest least CIEDE2000 distance
# to all before them, under normal, protanopic, deuteranopic and tritanopic vision (Machado 2009).
PALETTE = (
    "#0072b2 #e69f00 #009e73 #d55e00 #cc79a7 #56b4e9 #f0e442 #553344 #aadd99 #8877ff #993377 "
    "#776644 #0000cc #334411 #aaaa66 #442277 #ddbbdd #226655 #8800ff #778844 #cc11bb #990022 "
    "#996688 #aabb99"
).split()
FIRST = 16  # of them are hardly less far apart than the first eight, whichever the vision
GREY = "#c4c8cc"
UNKNOWN = "not labelled"
INK = "#2b2f36"
STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.edgecolor": "#9aa0a6", "axes.labelcolor": INK,
    "text.color": INK, "xtick.color": INK, "ytick.color": INK, "font.family": "DejaVu Sans",
    "pdf.fonttype": 42,
}  # fmt: skip
PNG_COLOURS = 256
PRINT_DPI = 200
RENDERED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # of figures: bytes by format
UMAP_COLUMNS = 5
MAX_POINTS = 100_000  # more than these hide one another in a panel


@dataclass(frozen=True)
class Colouring:
    """One way to colour cells: a name, a value a cell (None: unknown), a colour a value."""

    name: str
    values: np.ndarray
    colours: Mapping[str, str]

    def of(self, cells: np.ndarray) -> Colouring:
        """The same colours for a part of the cells."""
        return Colouring(self.name, self.values[cells], self.colours)

    def entries(self) -> list[tuple[str, str]]:
        """What a legend says: name and colour, and grey for what has no colour of its own."""
        left = sum(value not in self.colours for value in set(self.values) - {None})
        entries = list(self.colours.items())
        if left:
            entries.append((f"{left} rarer", GREY))
        if any(value is None for value in self.values):
            entries.append((UNKNOWN, GREY))
        return entries


def named_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour of PALETTE for each name (24 at most), which hangs on the name: no two share one.

    Every name wants every colour, how much says a hash of both; the strongest wish is granted, then
    the strongest of what is left. So another name takes a colour from one that had it only where it
    wants it more, and no colour is told by how many cells there are. FIRST colours go first.
    """
    wishes = sorted(
        (place >= FIRST, hashlib.sha256(f"{name}/{shade}".encode()).digest(), name, shade)
        for name in names
        for place, shade in enumerate(PALETTE)
    )
    granted: dict[str, str] = {}
    for _, _, name, shade in wishes:
        if name not in granted and shade not in granted.values():
            granted[name] = shade
    return granted


def colouring(name: str, values: Sequence[str | None]) -> Colouring:
    """Colours by name for the values, the commonest first; beyond the palette rare ones: grey."""
    values = np.asarray(values, dtype=object)
    counts = pd.Series(values).value_counts()  # ties in order of appearance
    ranked = sorted(counts.index, key=lambda value: (-counts[value], str(value)))
    ranked = ranked[: len(PALETTE)]
    shades = named_colours([str(value) for value in ranked])
    return Colouring(name, values, {value: shades[str(value)] for value in ranked})


def colouring_of(data: ad.AnnData, key: str) -> Colouring:
    """Colours for a column of obs: those that uns keeps for it (`<key>_colors`), else new ones."""
    by = colouring(key, known_labels(data.obs[key]))
    kept = data.uns.get(f"{key}_colors")
    if kept is None or not hasattr(data.obs[key], "cat"):
        return by
    categories = data.obs[key].cat.categories.astype(str).str.strip()
    if len(categories) != len(kept):
        return by
    stored = {name: str(shade) for name, shade in zip(categories, kept, strict=True)}
    counts = pd.Series(by.values).value_counts()
    ranked = sorted(counts.index, key=lambda value: (-counts[value], str(value)))
    return Colouring(key, by.values, {v: stored[v] for v in ranked if stored[v] != GREY})


def category_colours(column: pd.Series) -> list[str]:
    """A colour for each category, in their order, as scanpy keeps them in uns; rare ones grey."""
    by = colouring(str(column.name), known_labels(column))
    return [by.colours.get(str(name).strip(), GREY) for name in column.cat.categories]


def colours_of_all(obs: pd.DataFrame) -> dict[str, list[str]]:
    """`category_colours` of each categorical column, by the name under which scanpy looks."""
    named = obs.select_dtypes("category").columns.difference(["cell_id"])
    return {f"{name}_colors": category_colours(obs[name]) for name in named}


def point_size(cells: int, inches: float = 3.4) -> float:
    """Area of a point (square points) so that so many of them fill about a third of a panel."""
    return float(np.clip((72 * inches) ** 2 / max(cells, 1) * 0.35, 0.25, 12))


def points(axes: Axes, places: np.ndarray, by: Colouring, size: float | None = None) -> None:
    """Draw cells (n × 2) in their colours; grey ones below, the others in a fixed random order.

    A cell without a place (NaN) is left out. More than MAX_POINTS are drawn as an image.
    """
    axes.set(xticks=[], yticks=[])
    placed = np.isfinite(places[:, :2]).all(axis=1)
    places, by = places[placed], by.of(placed)
    if len(places) > MAX_POINTS:
        raster.draw(axes, places[:, :2], by.values, by.colours, GREY)
        return
    shade = np.array([by.colours.get(value, GREY) for value in by.values], dtype=object)
    order = np.random.default_rng(0).permutation(len(places))
    order = order[np.argsort(shade[order] != GREY, kind="stable")]
    size = size or point_size(len(places))
    axes.scatter(
        *places[order, :2].T, c=shade[order].tolist(), s=size, linewidths=0, rasterized=True
    )


def scale_bar(axes: Axes, places: np.ndarray) -> None:
    """A bar of a round length in micrometres below the cells, at most a third of their width.

    For a narrow slice it may be longer than that, up to a sixth of the height.
    """
    width, height = np.ptp(places[:, :2], axis=0) + 1e-9
    most = max(width / 3, height / 6)
    unit = 10 ** np.floor(np.log10(most))
    length = unit * max(step for step in (1, 2, 5) if step * unit <= most)
    text = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    left, low = places[:, 0].min(), places[:, 1].max() + 0.06 * max(width, height)
    axes.plot([left, left + length], [low, low], color=INK, lw=2.5, solid_capstyle="butt")
    axes.annotate(text, (left + length, low), (4, 0), textcoords="offset points", va="center")


def spatial_panel(axes: Axes, places: np.ndarray, by: Colouring) -> None:
    """One slice."""
    sides = np.ptp(places[:, :2], axis=0) + 1e-9
    filled = max(sides.min() / sides.max(), 0.2)  # a narrow slice covers little of the panel
    points(axes, places, by, point_size(len(places)) * filled)
    map_panel(axes, places)


def map_panel(axes: Axes, places: np.ndarray) -> None:
    """Equal scales, y downwards as in images, a scale bar for these cells in place of axes."""
    scale_bar(axes, places)
    axes.set_aspect("equal", anchor="N")
    axes.invert_yaxis()
    axes.set_axis_off()


@rc_context(STYLE)
def umap_grid(places: Mapping[str, np.ndarray], bys: Sequence[Colouring]) -> Figure:
    """UMAPs: a column for each embedding (title: n × 2), a row for each colouring, legends.

    Beyond five embeddings the rows begin again below.
    """
    columns = min(len(places), UMAP_COLUMNS)
    bands = [list(places)[i : i + columns] for i in range(0, len(places), columns)]
    legend = max(_legend_width(by) for by in bys)
    rows = len(bys) * len(bands)
    drawn = Figure(figsize=(2.6 * columns + legend, 2.75 * rows), layout="constrained")
    ratios = [2.6] * columns + [legend]
    grid = drawn.subplots(rows, columns + 1, squeeze=False, width_ratios=ratios)
    for axes in grid.ravel():
        axes.set_axis_off()
    for band, titles in enumerate(bands):
        for row, by in zip(grid[band * len(bys) :], bys, strict=False):
            for axes, title in zip(row, titles, strict=False):
                axes.set_axis_on()
                points(axes, places[title], by)
            if band == 0:
                _legend(row[-1], by)
        for axes, title in zip(grid[band * len(bys)], titles, strict=False):
            axes.set_title(title)
    return drawn


@rc_context(STYLE)
def spatial_grid(
    places: Mapping[str, np.ndarray], bys: Mapping[str, Colouring], legend: Colouring
) -> Figure:
    """Slices (title: n × 2) in rows of four or fewer, all in the colours of one legend."""
    n = len(places)
    columns = min(n, 4)
    rows = -(-n // columns)
    width = _legend_width(legend)
    drawn = Figure(figsize=(3.2 * columns + width, 3.3 * rows), layout="constrained")
    maps, side = drawn.subfigures(1, 2, width_ratios=[3.2 * columns, width])
    grid = maps.subplots(rows, columns, squeeze=False).ravel()
    for axes, title in zip(grid, places, strict=False):
        spatial_panel(axes, places[title], bys[title])
        axes.set_title(title)
    for axes in grid[n:]:
        axes.set_axis_off()
    _legend(side.subplots(), legend)
    return drawn


def short(text: str, limit: int = 34) -> str:
    """A text that a legend has room for."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _legend_columns(by: Colouring) -> int:
    return 1 if len(by.entries()) <= 13 else 2


def _legend_width(by: Colouring) -> float:
    """Inches that the legend takes."""
    longest = max((len(short(name)) for name, _ in by.entries()), default=0)
    return max(_legend_columns(by) * (0.45 + 0.075 * longest), 0.2 + 0.09 * len(by.name))


def _legend(axes: Axes, by: Colouring) -> None:
    """A legend that fills an empty panel."""
    axes.set_axis_off()
    handles = [
        Line2D([], [], marker="o", ls="", ms=6, color=colour, label=short(name))
        for name, colour in by.entries()
    ]
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0, 0.5), ncols=_legend_columns(by),
        frameon=False, title=by.name, alignment="left", handletextpad=0.2, columnspacing=0.8,
        borderaxespad=0,
    )  # fmt: skip


def png(drawn: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG with at most 256 colours, a third of the size of a full one.

    The colours are chosen for coverage, not by how common they are: those of rare cells stay.
    """
    small = io.BytesIO()
    image = Image.open(io.BytesIO(rendered(drawn, "png"))).convert("RGB")
    image = image.resize([round(side * dpi / PRINT_DPI) for side in image.size], reducing_gap=3)
    fewer = image.quantize(PNG_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    fewer.save(small, "png", optimize=True)
    return small.getvalue()


def files(drawn: Figure) -> dict[str, bytes]:
    """The figure for use elsewhere: suffix and content of a PNG and of a PDF with real text."""
    return {f".{kind}": rendered(drawn, kind) for kind in ("png", "pdf")}


@rc_context(STYLE)
def rendered(drawn: Figure, kind: str) -> bytes:
    """The figure in a format, drawn once, however often it is asked for."""
    known = RENDERED.setdefault(drawn, {})
    if kind not in known:
        buffer = io.BytesIO()
        # no date within: the same figure gives the same file
        metadata = {"CreationDate": None} if kind == "pdf" else None
        drawn.savefig(buffer, format=kind, dpi=PRINT_DPI, facecolor="white", metadata=metadata)
        known[kind] = buffer.getvalue()
    return known[kind]
