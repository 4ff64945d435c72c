"""The pictures of clusters and domains: shares of technologies, markers by panel, neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from lloki.report.figures import GREY, STYLE, short

GAP = "#eeeeee"  # where a panel lacks a gene
LABELLED = 0.06  # share of a technology from which a cluster's bar bears its name


@rc_context(STYLE)
def shares(sizes: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """A bar for each technology, made of its clusters.

    sizes: columns cluster, technology, cells; colours: of clusters, the others are grey.
    """
    wide = sizes.pivot_table("cells", "technology", "cluster", aggfunc="sum", sort=False)
    wide = wide.div(wide.sum(axis=1), axis=0)
    drawn = Figure(figsize=(9, 0.9 + 0.4 * len(wide)), layout="constrained")
    axes = drawn.add_subplot()
    left = np.zeros(len(wide))
    for cluster in wide:
        width = wide[cluster].to_numpy()
        axes.barh(range(len(wide)), width, 0.75, left, color=colours.get(cluster, GREY),
                  edgecolor="white", linewidth=0.5)  # fmt: skip
        for row in np.flatnonzero(width > LABELLED):
            axes.text(left[row] + width[row] / 2, row, cluster, ha="center", va="center", size=7,
                      bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip
        left += width
    axes.set_yticks(range(len(wide)), [short(str(name), 24) for name in wide.index])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the technology's cells")
    return drawn


@rc_context(STYLE)
def marker_dots(markers: pd.DataFrame, genes: Sequence[str], clusters: Sequence[str]) -> Figure:
    """Genes in clusters, a block for each panel: a column a gene, grey where the panel lacks it.

    markers: columns panel, cluster, gene, share, auc. Size: share of the cluster's cells that
    express the gene; colour: the chance that one of them has more of it than another cell.
    """
    panels = list(dict.fromkeys(markers["panel"]))
    column = {gene: i for i, gene in enumerate(genes)}
    row = {cluster: i for i, cluster in enumerate(clusters)}
    tall = 0.35 + 0.15 * len(clusters)
    size = 2.2 + 0.15 * len(genes), 1.1 + tall * len(panels)
    drawn = Figure(figsize=size, layout="constrained")
    blocks = drawn.subplots(len(panels), 1, sharex=True, squeeze=False).ravel()
    for axes, panel in zip(blocks, panels, strict=True):
        own = markers[(markers["panel"] == panel) & markers["gene"].isin(genes)]
        for gap in set(range(len(genes))) - set(own["gene"].map(column)):
            axes.axvspan(gap - 0.5, gap + 0.5, color=GAP, lw=0)
        dots = axes.scatter(
            own["gene"].map(column), own["cluster"].map(row), s=2 + 42 * own["share"],
            c=own["auc"], cmap="RdBu_r", vmin=0, vmax=1, edgecolors=GREY, linewidths=0.3,
        )  # fmt: skip
        axes.set_yticks(range(len(clusters)), clusters, size=6)
        axes.set(xlim=(-0.5, len(genes) - 0.5), ylim=(len(clusters) - 0.5, -0.5))
        axes.set_title(short(str(panel), 40), size=8, loc="left")
        axes.tick_params(length=0)
    blocks[-1].set_xticks(range(len(genes)), genes, rotation=90, size=6)
    drawn.colorbar(dots, ax=list(blocks), label="AUC", shrink=min(0.8, 2 / size[1]))
    return drawn


@rc_context(STYLE)
def neighbour_map(table: pd.DataFrame) -> Figure:
    """Labels by labels: how much more often they are neighbours than by chance, slices together.

    table: columns sample, label, neighbour, log2, z; its rows of the sample `all`. Colour: log2 of
    edges over those expected, cut at 2; a dot where |z| is above 3.
    """
    table = table[table["sample"] == "all"]
    value, z = (table.pivot_table(c, "label", "neighbour", sort=False) for c in ("log2", "z"))
    z = z.reindex_like(value)
    side = 1.6 + 0.28 * len(value)
    drawn = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = drawn.add_subplot()
    image = axes.imshow(value, cmap="RdBu_r", vmin=-2, vmax=2)
    row, column = np.nonzero(np.abs(z.to_numpy()) > 3)
    axes.scatter(column, row, s=5, color="black")
    names = [short(str(name), 22) for name in value.index]
    axes.set_xticks(range(len(names)), names, rotation=90, size=7)
    axes.set_yticks(range(len(names)), names, size=7)
    axes.tick_params(length=0)
    drawn.colorbar(image, label="log2 of edges over expected", shrink=0.7)
    return drawn
