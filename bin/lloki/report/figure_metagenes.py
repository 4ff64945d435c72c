"""The pictures of the metagenes: types, places, genes, Moran's I, who lives beside whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lloki.report.figures import GREY, INK, MAX_POINTS, PALETTE, STYLE, map_panel, point_size, short

LAMPS = {"green": "#009e73", "amber": "#e69f00", "red": "#d55e00"}
PIXELS = 300  # of a map's longer side, of more cells than points can show


@rc_context(STYLE)
def type_map(enrichment: pd.DataFrame, technology: Mapping[str, str]) -> Figure:
    """Mean of each metagene in each type: a row a type, a column a metagene and technology.

    enrichment: columns sample, type, metagene, mean, share; technology: of each sample. A type's
    mean over all its cells; white where a technology has no such type.
    """
    table = enrichment.assign(
        technology=enrichment["sample"].map(technology),
        value=enrichment["mean"] * enrichment["share"],
    )
    techs = list(dict.fromkeys(technology.values()))
    names = list(dict.fromkeys(table["metagene"]))
    wide = table.pivot_table("value", "type", ["metagene", "technology"], aggfunc="mean")
    wide = wide.reindex(columns=pd.MultiIndex.from_product([names, techs]))
    drawn = Figure(
        figsize=(2.2 + 0.16 * wide.shape[1], 1.3 + 0.28 * len(wide)), layout="constrained"
    )
    axes = drawn.add_subplot()
    image = axes.pcolormesh(wide.to_numpy(), cmap="Blues", vmin=0)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(wide)) + 0.5, [short(str(name)) for name in wide.index])
    middles = np.arange(len(names)) * len(techs) + len(techs) / 2
    axes.set_xticks(middles, names, rotation=90 if len(names) > 20 else 0)
    for i in range(1, len(names)):
        axes.axvline(i * len(techs), color="white", lw=2)
    axes.tick_params(length=0)
    axes.set_xlabel(f"in each: {', '.join(techs)}")
    drawn.colorbar(image, ax=axes, label="mean mixture", shrink=0.8)
    return drawn


@rc_context(STYLE)
def moran_boxes(moran: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Moran's I of each metagene over the slices: a box, and a point a slice."""
    drawn = Figure(figsize=(1.5 + 0.42 * len(names), 2.8), layout="constrained")
    axes = drawn.add_subplot()
    values = [moran.loc[moran["metagene"] == name, "I"].dropna().to_numpy() for name in names]
    axes.boxplot(values, showfliers=False, medianprops={"color": INK}, widths=0.6)
    for i, own in enumerate(values):
        axes.plot(np.full(len(own), i + 1), own, ".", color=PALETTE[0], ms=5)
    axes.set_xticks(np.arange(len(names)) + 1, names, rotation=90 if len(names) > 20 else 0)
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set_ylabel("Moran's I")
    return drawn


@rc_context(STYLE)
def objective_line(history: pd.DataFrame) -> Figure:
    """The objective by iteration; it steps where the field begins, and as the affinity moves."""
    drawn = Figure(figsize=(4.2, 2.6), layout="constrained")
    axes = drawn.add_subplot()
    plain = int((history["phase"] == "plain").sum())
    axes.plot(np.arange(len(history)) + 1, history["objective"], color=PALETTE[0])
    axes.axvline(plain + 0.5, color=GREY, lw=1)
    axes.annotate("with field", (plain + 1, history["objective"].max()), va="top", size=8)
    axes.set(xlabel="iteration", ylabel="objective")
    return drawn


@rc_context(STYLE)
def affinity_graph(affinity: np.ndarray, programs: pd.DataFrame, most: int = 20) -> Figure:
    """Metagenes on a circle; lines join those that live side by side more than by chance.

    affinity: K × K, negative: side by side; programs: columns metagene, type, share, lamp. The
    strongest negative entries between two metagenes are drawn, `most` of them; the size of a dot is
    the metagene's share.
    """
    k = len(affinity)
    angle = 2 * np.pi * np.arange(k) / k + np.pi / 2
    places = np.column_stack([np.cos(angle), np.sin(angle)])
    drawn = Figure(figsize=(5.4, 4.6), layout="constrained")
    axes = drawn.add_subplot()
    first, second = np.triu_indices(k, 1)
    values = affinity[first, second]
    strongest = [i for i in np.argsort(values)[:most] if values[i] < 0]
    for i in strongest:
        weight = values[i] / values[strongest[0]]
        axes.plot(*places[[first[i], second[i]]].T, color=PALETTE[0], lw=0.5 + 3.5 * weight,
                  alpha=0.25 + 0.6 * weight, solid_capstyle="round", zorder=1)  # fmt: skip
    shades = [LAMPS.get(str(lamp), PALETTE[5]) for lamp in programs["lamp"]]
    sizes = 60 + 2500 * programs["share"].to_numpy(float)
    axes.scatter(*places.T, s=sizes, c=shades, zorder=2, edgecolors="white")
    for (x, y), name, kind in zip(places, programs["metagene"], programs["type"], strict=True):
        text = name if pd.isna(kind) else f"{name}\n{short(str(kind), 16)}"
        side = "left" if x > 0.1 else "right" if x < -0.1 else "center"
        axes.text(1.2 * x, 1.17 * y, text, ha=side, va="center", size=8, linespacing=0.95)
    axes.set(xlim=(-1.9, 1.9), ylim=(-1.35, 1.35), aspect="equal")
    axes.set_axis_off()
    return drawn


@rc_context(STYLE)
def metagene_maps(
    places: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray], title: str
) -> Figure:
    """One metagene in all slices (title: n × 2 and n): the darker, the more of it."""
    n = len(places)
    columns = min(n, 4)
    rows = -(-n // columns)
    drawn = Figure(figsize=(2.6 * columns, 2.6 * rows + 0.3), layout="constrained")
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    top = max(float(np.quantile(v, 0.99)) for v in values.values()) or 1.0
    for axes, sample in zip(grid, places, strict=False):
        _map(axes, places[sample][:, :2], values[sample], top)
        axes.set_title(short(sample, 24), size=8)
    for axes in grid[n:]:
        axes.set_axis_off()
    drawn.suptitle(title, size=10)
    return drawn


def _map(axes: Axes, places: np.ndarray, values: np.ndarray, top: float) -> None:
    if len(places) > MAX_POINTS:
        sides = np.maximum(np.ptp(places, axis=0), 1e-9)
        bins = np.maximum(np.ceil(sides / sides.max() * PIXELS), 1).astype(int)
        sums, x, y = np.histogram2d(*places.T, bins=bins, weights=values)
        counts = np.histogram2d(*places.T, bins=(x, y))[0]
        with np.errstate(invalid="ignore"):
            axes.pcolormesh(x, y, (sums / counts).T, cmap="magma_r", vmin=0, vmax=top,
                            rasterized=True)  # fmt: skip
    else:
        order = np.argsort(values, kind="stable")
        axes.scatter(*places[order].T, c=values[order], cmap="magma_r", vmin=0, vmax=top,
                     s=point_size(len(places), 2.4), linewidths=0, rasterized=True)  # fmt: skip
    map_panel(axes, places)


@rc_context(STYLE)
def marker_dots(markers: pd.DataFrame, genes: Mapping[str, Sequence[str]], samples: Sequence[str]):
    """Markers of metagenes: a row a gene, a column a slice; no dot where it was not measured.

    markers: columns metagene, sample, gene, share_above, log2_fold_change; genes: of each metagene.
    Size: share of the cells high in the metagene that express the gene; colour: fold change.
    """
    rows = [(name, gene) for name, own in genes.items() for gene in own]
    place = {row: i for i, row in enumerate(rows)}
    column = {sample: i for i, sample in enumerate(samples)}
    drawn = Figure(figsize=(2.6 + 0.5 * len(samples), 1.4 + 0.19 * len(rows)), layout="constrained")
    axes = drawn.add_subplot()
    keys = list(zip(markers["metagene"], markers["gene"], strict=True))
    shown = markers[[key in place for key in keys]]
    y = [place[key] for key in keys if key in place]
    x = shown["sample"].map(column)
    dots = axes.scatter(x, y, s=4 + 60 * shown["share_above"], c=shown["log2_fold_change"],
                        cmap="Reds", vmin=0, vmax=4, edgecolors=GREY, linewidths=0.3)  # fmt: skip
    axes.set_yticks(range(len(rows)), [gene for _, gene in rows], size=7)
    axes.set_xticks(range(len(samples)), [short(s, 16) for s in samples], rotation=45, ha="right")
    axes.set(xlim=(-0.6, len(samples) - 0.4), ylim=(len(rows) - 0.4, -0.6))
    start = 0
    for name, own in genes.items():
        axes.text(len(samples) - 0.3, start + (len(own) - 1) / 2, name, va="center", size=8)
        start += len(own)
        axes.axhline(start - 0.5, color=GREY, lw=0.6)
    drawn.colorbar(dots, ax=axes, label="log2 fold change", shrink=0.6, pad=0.16)
    return drawn
