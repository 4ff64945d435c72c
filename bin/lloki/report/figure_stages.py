"""The pictures of what stages did: sparsity before and after, losses of the training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lloki.report.figures import PALETTE, STYLE, short


@rc_context(STYLE)
def sparsity_boxes(summaries: Mapping[str, Mapping[str, dict]]) -> Figure:
    """Distributions of the cells' sparsity: a row for each sample, a box for each state.

    summaries[sample][state] has five quantiles (5, 25, 50, 75, 95 %) and the mean.
    """
    states = list(dict.fromkeys(state for found in summaries.values() for state in found))
    drawn = Figure(figsize=(5.2, 0.9 + (0.22 * len(states) + 0.12) * len(summaries)),
                   layout="constrained")  # fmt: skip
    axes = drawn.add_subplot()
    step = len(states) + 0.8
    for row, found in enumerate(summaries.values()):
        for state, summary in found.items():
            low, first, middle, third, high = summary["quantiles"]
            place, colour = row * step + states.index(state), PALETTE[states.index(state)]
            axes.plot([low, high], [place, place], color=colour, lw=1.2, zorder=1)
            axes.barh(place, third - first, 0.7, first, color=colour, zorder=2)
            axes.plot([middle] * 2, [place - 0.35, place + 0.35], color="white", lw=1.6, zorder=3)
            if third - first < 1e-3:  # a box without width would not be seen
                axes.plot(middle, place, "s", color=colour, ms=5, zorder=3)
    axes.set_yticks([row * step + (len(states) - 1) / 2 for row in range(len(summaries))],
                    [short(sample) for sample in summaries])  # fmt: skip
    axes.set(xlabel="share of the panel's genes that are zero in a cell", xlim=(-0.01, 1.01))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(summaries) * step - 0.8, -1)
    axes.grid(axis="x", color="#e3e6e8", zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [Patch(color=colour, label=state) for colour, state in zip(PALETTE, states)]  # noqa: B905
    drawn.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return drawn


@rc_context(STYLE)
def loss_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Losses (name: epochs, values) on a logarithmic scale where all are positive."""
    drawn = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = drawn.add_subplot()
    for (name, (epochs, values)), colour in zip(curves.items(), PALETTE, strict=False):
        axes.plot(epochs, values, label=name, color=colour, lw=1.6)
    if all((values > 0).all() for _, values in curves.values()):
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel="loss")
    axes.grid(color="#e3e6e8")
    axes.spines[["top", "right"]].set_visible(False)
    drawn.legend(loc="outside right upper", frameon=False)
    return drawn
