"""Pictures of more cells than points can show: their colours and numbers, pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

PIXELS = 500  # of the longer side: half a point in a panel of the report
FAINT = 0.35  # opacity of a pixel of a single cell


def draw(axes: Axes, places: np.ndarray, values: np.ndarray, colours: Mapping, grey: str) -> None:
    """Draw cells (n × 2) as an image: a pixel has the mean colour of its cells."""
    image, extent = blend(places, values, colours, grey)
    axes.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="none")


def blend(
    places: np.ndarray, values: np.ndarray, colours: Mapping[str, str], grey: str
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """An image (height × width × 4: red, green, blue, opacity; 0 to 1) of cells, and its extent.

    places: n × 2, finite; values: of each cell; those without a colour are grey, and show where no
    other cell is. The more cells, the less faint, by the logarithm.
    """
    low, sides = places.min(axis=0), np.maximum(np.ptp(places, axis=0), 1e-9)
    across, up = np.maximum(np.ceil(sides / sides.max() * PIXELS), 1).astype(int)
    found = (places - low) / sides * (across, up)
    columns, rows = np.minimum(found.astype(int), (across - 1, up - 1)).T
    codes, kinds = pd.factorize(values)
    palette = np.array([to_rgb(colours.get(kind, grey)) for kind in kinds] + [to_rgb(grey)])
    has_colour = np.array([kind in colours for kind in kinds] + [False])
    pixel = rows * across + columns
    amounts = np.zeros((up * across, len(palette)), dtype=np.int32)
    np.add.at(amounts, (pixel, codes), 1)  # a missing value is -1: the last, grey
    numbers = amounts.sum(axis=1)
    coloured = amounts * has_colour
    amounts = np.where(coloured.any(axis=1)[:, None], coloured, amounts)
    image = np.zeros((up * across, 4))
    filled = numbers > 0
    image[filled, :3] = amounts[filled] @ palette / amounts[filled].sum(axis=1)[:, None]
    many = np.log1p(np.quantile(numbers[filled], 0.95))
    image[filled, 3] = np.minimum(FAINT + (1 - FAINT) * np.log1p(numbers[filled]) / many, 1)
    extent = (low[0], low[0] + sides[0], low[1], low[1] + sides[1])
    return image.reshape(up, across, 4), tuple(map(float, extent))
