"""The pictures of a niche program: what chance gives, genes, places, the cells' UMAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lloki.report.figures import (
    GREY,
    INK,
    MAX_POINTS,
    PALETTE,
    STYLE,
    Colouring,
    map_panel,
    point_size,
    points,
    short,
)  # fmt: skip

SCALE = {"cmap": "RdBu_r", "vmin": -2, "vmax": 2}  # of scores, in standard deviations
CHANGE = {"cmap": "RdBu_r", "vmin": -2, "vmax": 2}  # of genes, log2
GENES = 12  # up, and down


@rc_context(STYLE)
def null_histograms(
    nulls: Mapping[str, Sequence[float]], found: Mapping[str, float], bands: pd.DataFrame
) -> Figure:
    """What moved fields give and what the field as it is gives; the score by distance.

    nulls, found: correlations by title; bands: columns sample, from_um, to_um, score, sem.
    """
    drawn = Figure(figsize=(9.6, 2.7), layout="constrained")
    panels = drawn.subplots(1, 3)
    ends = np.concatenate([np.concatenate([list(n), [found[t]]]) for t, n in nulls.items()])
    low, high = ends.min() - 0.03, ends.max() + 0.03
    for axes, (title, null) in zip(panels, nulls.items(), strict=False):
        axes.hist(null, np.linspace(low, high, 30), color=GREY)
        axes.axvline(found[title], color=PALETTE[3], lw=2)
        axes.axvline(0, color=INK, lw=0.6, ls=":")
        reached = (1 + np.sum(np.asarray(null) >= found[title])) / (1 + len(null))
        axes.set_title(f"{title}: r {found[title]:.2f}, p {reached:.2g}")
        axes.set(xlabel="correlation, moved fields (grey)", yticks=[])
    _bands(panels[2], bands)
    return drawn


def _bands(axes: Axes, bands: pd.DataFrame) -> None:
    ends = sorted(set(zip(bands["from_um"], bands["to_um"], strict=True)))
    names = [f"{a:g}–{b:g}" if np.isfinite(b) else f"≥{a:g}" for a, b in ends]
    starts = sorted(set(bands["from_um"]))
    samples = list(dict.fromkeys(bands["sample"]))
    for i, sample in enumerate(samples):
        own = bands[bands["sample"] == sample]
        x = [starts.index(start) for start in own["from_um"]]
        axes.errorbar(x, own["score"], own["sem"].fillna(0), fmt="o-", ms=4, lw=1,
                      color=PALETTE[i % len(PALETTE)], label=short(sample, 16))  # fmt: skip
    axes.axhline(0, color=INK, lw=0.6, ls=":")
    axes.set_xticks(range(len(starts)), names)
    axes.set(xlabel="µm to the nearest neighbour cell", title="score by distance")
    if len(samples) <= 8:
        axes.legend(fontsize=7, frameon=False)


def best_genes(genes: pd.DataFrame, most: int = GENES) -> list[str]:
    """Names of the first genes up, then of the first ones down."""
    up, down = (genes[genes["direction"] == way]["gene"][:most].tolist() for way in ("up", "down"))
    return up + down


@rc_context(STYLE)
def gene_dots(by_slice: pd.DataFrame, genes: Sequence[str], samples: Mapping[str, str]) -> Figure:
    """Genes of the program: a row a gene, a column a slice; a cross where guarded, else no dot.

    by_slice: columns gene, sample, change, share_group, guarded; samples: name to show of each.
    """
    row = {gene: i for i, gene in enumerate(genes)}
    column = {sample: i for i, sample in enumerate(samples)}
    table = by_slice[by_slice["gene"].isin(row) & by_slice["sample"].isin(column)]
    drawn = Figure(figsize=(2.8 + 0.55 * len(column), 1.4 + 0.19 * len(row)), layout="constrained")
    axes = drawn.add_subplot()
    there = table[table["change"].notna()]
    dots = axes.scatter(
        there["sample"].map(column), there["gene"].map(row), s=4 + 70 * there["share_group"],
        c=there["change"], edgecolors=GREY, linewidths=0.3, **CHANGE,
    )  # fmt: skip
    left = table[table["guarded"].astype(bool)]
    axes.plot(left["sample"].map(column), left["gene"].map(row), "x", color=GREY, ms=4)
    axes.set_yticks(range(len(row)), list(row), size=7)
    names = [short(text, 22) for text in samples.values()]
    axes.set_xticks(range(len(column)), names, rotation=45, ha="right")
    axes.set(xlim=(-0.6, len(column) - 0.4), ylim=(len(row) - 0.4, -0.6))
    drawn.colorbar(dots, ax=axes, label="log2 fold change, group / others", shrink=0.6)
    return drawn


@rc_context(STYLE)
def score_maps(slices: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Focus cells by their score, neighbours in grey: places of neighbours, of focus, scores."""
    n = len(slices)
    columns = min(n, 4)
    rows = -(-n // columns)
    drawn = Figure(figsize=(3.2 * columns + 0.7, 3.2 * rows), layout="constrained")
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axes, (sample, (near, focus, scores)) in zip(grid, slices.items(), strict=False):
        both = np.concatenate([near, focus])
        size = point_size(len(both), 2.8)
        some = slice(None, None, max(1, len(near) // MAX_POINTS))
        axes.scatter(*near[some].T, c=GREY, s=size, linewidths=0, rasterized=True)
        order = np.argsort(np.abs(scores), kind="stable")[-MAX_POINTS:]
        dots = axes.scatter(*focus[order].T, c=scores[order], s=1.6 * size, linewidths=0,
                            rasterized=True, **SCALE)  # fmt: skip
        map_panel(axes, both)
        axes.set_title(short(sample, 24), size=8)
    for axes in grid[n:]:
        axes.set_axis_off()
    drawn.colorbar(dots, ax=list(grid), label="score (cross-fitted)", shrink=0.6, panchor=False)
    return drawn


@rc_context(STYLE)
def focus_umaps(places: np.ndarray, technology: Colouring, field: np.ndarray, group: np.ndarray):
    """UMAP of the focus cells by technology, by how much is around them, and by group."""
    drawn = Figure(figsize=(9.6, 3.2), layout="constrained")
    panels = drawn.subplots(1, 3)
    points(panels[0], places, technology)
    for name, colour in technology.entries():
        panels[0].plot([], [], "o", color=colour, ms=5, label=short(str(name), 18))
    panels[0].legend(fontsize=7, frameon=False, loc="best", handletextpad=0.2)
    panels[0].set_title("technology")
    order = np.random.default_rng(0).permutation(len(places))[:MAX_POINTS]
    shades = panels[1].scatter(*places[order].T, c=field[order], cmap="viridis",
                               s=point_size(len(order)), linewidths=0, rasterized=True)  # fmt: skip
    drawn.colorbar(shades, ax=panels[1], shrink=0.7)
    panels[1].set_title("around each cell")
    colours = {"near": PALETTE[3], "others": GREY}
    named = np.where(group, "near", "others").astype(object)
    points(panels[2], places, Colouring("group", named, colours))
    panels[2].set_title("group (clusters that lie near)")
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    return drawn
