"""The pictures of the alignment: slices before and after, and the landmarks between two."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lloki.report import raster
from lloki.report.figures import GREY, MAX_POINTS, PALETTE, STYLE, map_panel, point_size, short


@rc_context(STYLE)
def single(reference: np.ndarray, before: np.ndarray, after: np.ndarray) -> Figure:
    """A slice over its reference (grey), where it lay and where alignment put it."""
    drawn = Figure(figsize=(4.8, 2.6), layout="constrained")
    for axes, places, title in zip(
        drawn.subplots(1, 2), (before, after), ("before", "after"), strict=True
    ):
        both = np.concatenate([reference[:, :2], places[:, :2]])
        size = point_size(len(both))
        axes.scatter(*reference[:, :2].T, c=GREY, s=size, linewidths=0, rasterized=True)
        axes.scatter(*places[:, :2].T, c=PALETTE[3], s=size, linewidths=0, rasterized=True)
        map_panel(axes, both)
        axes.set_title(title)
    return drawn


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
    handles = [
        Line2D([], [], marker="o", ls="", ms=6, color=colour, label=short(name))
        for name, colour in colours.items()
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return drawn


@rc_context(STYLE)
def landmark_lines(
    moving: np.ndarray, fixed: np.ndarray, pairs: np.ndarray, inliers: np.ndarray
) -> Figure:
    """Two slices side by side, a line for each landmark (rows of both; m × 2).

    Lines of landmarks that agree with the motion are coloured, the others grey.
    """
    drawn = Figure(figsize=(4.8, 2.9), layout="constrained")
    axes = drawn.add_subplot()
    moving, fixed = (where[:, :2] - where[:, :2].min(axis=0) for where in (moving, fixed))
    fixed = fixed + np.array([np.ptp(moving[:, 0]) + 0.15 * np.ptp(fixed[:, 0]), 0])
    both = np.concatenate([moving, fixed])
    axes.scatter(*both.T, c=GREY, s=point_size(len(both)), linewidths=0, rasterized=True)
    for chosen, colour, alpha in ((~inliers, "#9aa0a6", 0.25), (inliers, PALETTE[0], 0.45)):
        ends = np.stack([moving[pairs[chosen, 0]], fixed[pairs[chosen, 1]]])
        axes.plot(*ends.transpose(2, 0, 1), color=colour, lw=0.5, alpha=alpha, rasterized=True)
    map_panel(axes, both)
    return drawn
