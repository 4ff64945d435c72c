"""The picture of the alignment: slices of one frame over one another, before and after."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lloki.report import raster
from lloki.report.figures import GREY, MAX_POINTS, PALETTE, STYLE, map_panel, point_size, short


@rc_context(STYLE)
def together(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> Figure:
    """All slices (sample: n × 2) over one another, each in its colour, before and after."""
    drawn = Figure(figsize=(8.4, 4), layout="constrained")
    colours = dict(zip(before, PALETTE * len(before), strict=False))
    for axes, places, title in zip(
        drawn.subplots(1, 2), (before, after), ("before", "after"), strict=True
    ):
        every = np.concatenate([where[:, :2] for where in places.values()])
        placed = np.isfinite(every).all(axis=1)
        if placed.sum() > MAX_POINTS:
            names = np.repeat(list(places), [len(where) for where in places.values()])
            raster.draw(axes, every[placed], names[placed], colours, GREY)
        else:
            size = point_size(placed.sum(), 3)
            for name, where in places.items():
                axes.scatter(
                    *where[:, :2].T, c=colours[name], s=size, alpha=0.7, linewidths=0,
                    rasterized=True,
                )  # fmt: skip
        map_panel(axes, every[placed])
        axes.set_title(title)
    if len(colours) > len(PALETTE):  # colours come twice, and tell nothing
        return drawn
    handles = [
        Line2D([], [], marker="o", ls="", ms=6, color=colour, label=short(name, 24))
        for name, colour in colours.items()
    ]
    longest = max(min(len(name), 24) for name in colours)
    columns = max(1, int(8.4 / (0.5 + 0.09 * longest)))
    drawn.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    return drawn
