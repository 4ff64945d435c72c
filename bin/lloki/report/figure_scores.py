"""The scores of all methods as a picture, in the manner of scib: shades, bars for the means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lloki.report.figures import INK, PALETTE, STYLE

SHADES = LinearSegmentedColormap.from_list("shades", ["#f4f8fb", "#9bcbe6"])
ROW, COLUMN, NAME = 0.34, 0.74, 1.9  # inches


@rc_context(STYLE)
def score_grid(
    table: pd.DataFrame, groups: Mapping[str, Sequence[str]], bars: Sequence[str]
) -> Figure:
    """Scores as a grid: a row for each column of `table` (a method, titled), groups of its metrics.

    table: metrics × methods, NaN where there is none; groups: the metrics by heading, in order;
    bars: those drawn as bars of 0 to 1, the others as shades between lowest and highest.
    """
    names = [name for members in groups.values() for name in members]
    left = _places(groups)
    width, height = NAME + left[-1] + COLUMN + 0.2, 1.25 + ROW * table.shape[1]
    drawn = Figure(figsize=(width, height))
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-NAME, width - NAME), ylim=(table.shape[1] * ROW + 0.1, -1.15))
    axes.set_axis_off()
    for row, method in enumerate(table):
        middle = (row + 0.5) * ROW
        own = method == "LLOKI"
        axes.text(-0.1, middle, method, ha="right", va="center", weight="bold" if own else "normal")
        for name, x in zip(names, left, strict=True):
            _score(axes, table.loc[name], table.loc[name, method], x, row * ROW, name in bars)
    for name, x in zip(names, left, strict=True):
        axes.text(x + COLUMN / 2, -0.08, name.replace(" ", "\n"), ha="center", va="bottom",
                  size=7.5, linespacing=1)  # fmt: skip
    for heading, members in groups.items():
        first, last = left[names.index(members[0])], left[names.index(members[-1])] + COLUMN
        axes.plot([first, last], [-0.68, -0.68], color="#9aa0a6", lw=1)
        axes.text(first, -0.75, heading, ha="left", va="bottom", weight="bold")
    return drawn


def _places(groups: Mapping[str, Sequence[str]]) -> list[float]:
    """Where each column begins: groups stand a little apart."""
    places, x = [], 0.0
    for members in groups.values():
        places += [x + COLUMN * i for i in range(len(members))]
        x += COLUMN * len(members) + 0.18
    return places


def _score(axes, values: pd.Series, value: float, x: float, y: float, bar: bool) -> None:
    middle = y + ROW / 2
    if np.isnan(value):
        axes.text(x + COLUMN / 2, middle, "–", ha="center", va="center", color="#9aa0a6")
        return
    spread = values.max() - values.min()
    best = values.notna().sum() > 1 and values.max() - value < 5e-4
    if bar:
        full = COLUMN - 0.06
        axes.add_patch(Rectangle((x + 0.03, y + 0.05), full, ROW - 0.1, color="#f0f2f4", lw=0))
        shade = PALETTE[5] if best else "#bcd9ea"
        share = full * float(np.clip(value, 0, 1))
        axes.add_patch(Rectangle((x + 0.03, y + 0.05), share, ROW - 0.1, color=shade, lw=0))
    else:
        colour = SHADES((value - values.min()) / spread if spread > 0 else 1.0)
        axes.add_patch(
            Rectangle((x + 0.02, y + 0.02), COLUMN - 0.04, ROW - 0.04, color=colour, lw=0)
        )
    axes.text(x + COLUMN / 2, middle, f"{value:.2f}", ha="center", va="center", color=INK,
              weight="bold" if best else "normal")  # fmt: skip
