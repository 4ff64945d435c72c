"""The pictures of labels carried over: how sure they are, how right, which lie on which."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from lloki.report.figures import GREY, PALETTE, STYLE, point_size, short

MOST = 45  # labels on a side of a table of correspondence


@rc_context(STYLE)
def confidence(places: np.ndarray, probability: np.ndarray) -> Figure:
    """A UMAP (n × 2) by the probability of each cell's label (n); grey: its own label."""
    drawn = Figure(figsize=(4.2, 3.4), layout="constrained")
    axes = drawn.add_subplot()
    sure = np.isfinite(probability)
    size = point_size(len(places))
    axes.scatter(*places[~sure].T, s=size, c=GREY, marker="s", lw=0, rasterized=True)
    image = axes.scatter(*places[sure].T, s=size, c=probability[sure], cmap="viridis", vmin=0,
                         vmax=1, marker="s", lw=0, rasterized=True)  # fmt: skip
    axes.set_axis_off()
    drawn.colorbar(image, ax=axes, label="probability of the label", shrink=0.8)
    return drawn


@rc_context(STYLE)
def reliability(table: pd.DataFrame) -> Figure:
    """Share of right labels by their probability, a line a slice whose labels were hidden.

    table: columns sample, probability, right, cells.
    """
    drawn = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = drawn.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, lw=1)
    for place, (sample, own) in enumerate(table.groupby("sample", sort=False)):
        some = own[own["cells"] >= 10]
        shade = PALETTE[place % len(PALETTE)]
        axes.plot(some["probability"], some["right"], ".-", color=shade, label=short(str(sample)))
    axes.set(xlabel="probability of the label", ylabel="share of labels that are right")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    if table["sample"].nunique() <= 12:
        axes.legend(frameon=False, fontsize=7, loc="upper left")
    return drawn


@rc_context(STYLE)
def correspondence(table: pd.DataFrame, title: str) -> Figure:
    """Share of each label's cells (rows) that lies on each label of another vocabulary (columns).

    table: columns label, to, share, proposed; proposed pairs have a frame. The first MOST labels.
    """
    wide = table.pivot_table("share", "label", "to", aggfunc="max").fillna(0).iloc[:MOST, :MOST]
    order = wide.to_numpy().argmax(axis=0).argsort(kind="stable")
    wide = wide.iloc[:, order]
    drawn = Figure(figsize=(2.4 + 0.2 * wide.shape[1], 1.8 + 0.2 * len(wide)), layout="constrained")
    axes = drawn.add_subplot()
    image = axes.pcolormesh(wide.to_numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(wide)) + 0.5, [short(str(n), 24) for n in wide.index], size=6)
    axes.set_xticks(np.arange(wide.shape[1]) + 0.5, [short(str(n), 24) for n in wide], size=6,
                    rotation=90)  # fmt: skip
    for row in table[table["proposed"]].itertuples():
        if row.label in wide.index and row.to in wide:
            place = wide.columns.get_loc(row.to), wide.index.get_loc(row.label)
            axes.add_patch(_frame(place))
    axes.tick_params(length=0)
    axes.set_title(title)
    drawn.colorbar(image, ax=axes, label="share of the label's cells", shrink=0.7)
    return drawn


def _frame(place):
    from matplotlib.patches import Rectangle

    return Rectangle(place, 1, 1, fill=False, ec=PALETTE[1], lw=1.2)
