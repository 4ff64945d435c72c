"""Many cells as an image: colours, numbers and places of its pixels."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lloki.report import figure_alignment, figures, raster

COLOURS = {"a": "#ff0000", "b": "#0000ff"}


def test_a_pixel_has_the_mean_colour_of_its_cells_and_grey_lies_below():
    places = np.array([[0, 0], [0, 0], [0, 0], [0, 0], [2, 1], [2, 1], [1, 1]], dtype=float)
    values = np.array(["a", "a", "a", "b", "b", None, "rare"], dtype=object)
    image, extent = raster.blend(places, values, COLOURS, "#c0c0c0")
    assert image.shape == (raster.PIXELS // 2, raster.PIXELS, 4)
    np.testing.assert_allclose(image[0, 0, :3], [0.75, 0, 0.25])
    np.testing.assert_allclose(image[-1, -1, :3], to_rgb("#0000ff"))
    np.testing.assert_allclose(image[-1, image.shape[1] // 2, :3], to_rgb("#c0c0c0"))
    assert (image[..., 3] > 0).sum() == 3
    assert image[0, 0, 3] == 1 > image[-1, -1, 3] > image[-1, image.shape[1] // 2, 3]
    np.testing.assert_allclose(extent, (0, 2, 0, 1), atol=1e-6)


def test_one_place_and_one_line_are_images_too():
    for places in (np.zeros((5, 2)), np.column_stack([np.arange(5.0), np.zeros(5)])):
        image, _ = raster.blend(places, np.array(["a"] * 5, dtype=object), COLOURS, "#c0c0c0")
        assert (image[..., 3] > 0).sum() == len(np.unique(places, axis=0))


def test_a_panel_turns_to_an_image_where_there_are_many(monkeypatch):
    monkeypatch.setattr(figures, "MAX_POINTS", 50)
    rng = np.random.default_rng(0)
    by = figures.colouring("kind", rng.choice(["a", "b"], 60))
    places = rng.normal(size=(60, 2))
    axes = Figure().subplots(1, 2)
    for panel, cells in zip(axes, (50, 60), strict=True):
        figures.spatial_panel(panel, places[:cells], by.of(np.arange(cells)))
    assert (len(axes[0].images), len(axes[1].images)) == (0, 1)
    assert axes[1].get_ylim()[0] > axes[1].get_ylim()[1]  # y downwards, as in images


def test_slices_over_one_another_are_an_image_where_there_are_many(monkeypatch):
    monkeypatch.setattr(figure_alignment, "MAX_POINTS", 50)
    rng = np.random.default_rng(0)
    few, many = ({name: rng.normal(size=(n, 2)) for name in "ab"} for n in (20, 30))
    many["b"][:5] = np.nan  # cells without a place
    drawn = figure_alignment.together(few, few).axes + figure_alignment.together(many, few).axes
    assert [len(axes.images) for axes in drawn] == [0, 0, 1, 0]


def test_the_file_of_many_cells_is_small():
    rng = np.random.default_rng(0)
    by = figures.colouring("kind", rng.choice(["a", "b"], figures.MAX_POINTS + 1))
    drawn = figures.umap_grid({"x": rng.normal(size=(len(by.values), 2))}, [by])
    assert len(figures.files(drawn)[".pdf"]) < 400_000
