"""Focus cells of slices with different panels, as the procedure takes them."""

import numpy as np
import pytest
from niche_slices import SYMBOLS, made_up

from lloki.programs import niche_field, niche_genes, niche_sides


@pytest.fixture
def tissues():
    found = []
    for name, genes in (("a", range(60)), ("b", range(5, 60))):
        counts, labels, places, _ = made_up(ord(name), 600)
        counts = counts[:, list(genes)]
        found.append(niche_sides.tissue(
            name, "T", name, places, counts, [SYMBOLS[g].lower() for g in genes], labels == "F",
            {"B": labels == "B", "west": places[:, 0] < 500},
        ))  # fmt: skip
    return found


def clusters_of(tissues):
    return {one.name: np.arange(len(one.focus)) % 3 for one in tissues}


def test_genes_have_one_place_in_all_slices(tissues):
    sides, union, genes = niche_sides.sides_of(tissues, clusters_of(tissues), "B", k=30)
    assert list(union) == sorted(union)
    for side, one in zip(sides, tissues, strict=True):
        own = genes[side.name]
        assert set(union[side.tested]) == set(own.keys[own.own])
        assert set(union[side.measured]) == set(union) & set(own.keys)
        assert side.levels.shape == (len(one.focus), len(side.measured))
        column = list(own.keys).index(union[side.measured[2]])
        plain = niche_genes.standard(own.levels[:, [column]].toarray())
        np.testing.assert_allclose(side.levels[:, [2]], plain, atol=1e-5)
    assert "G0" in union[sides[0].measured] and "G0" not in union[sides[1].measured]


def test_the_field_is_a_share_or_nearness(tissues):
    clusters, one = clusters_of(tissues), tissues[0]
    sides, *_ = niche_sides.sides_of(tissues, clusters, "B", k=30)
    share, reach = niche_field.share_near(one.places, one.neighbours["B"], one.focus, 30)
    np.testing.assert_array_equal(sides[0].values, share)
    assert sides[0].radius == reach
    sides, *_ = niche_sides.sides_of(tissues, clusters, "B", measure="distance")
    far = niche_field.distance_to(one.places, one.neighbours["B"], one.focus)
    np.testing.assert_allclose(np.expm1(-sides[0].values), far)


def test_a_domain_may_hold_focus_cells_whose_genes_are_not_the_neighbours(tissues):
    one = tissues[0]
    counts, labels, places, _ = made_up(ord("a"), 600)
    rest = (places[:, 0] < 500) & (labels != "F")
    means = niche_genes.side_means(counts, {"x": rest})["x"]
    np.testing.assert_allclose(one.means["near west"], means)


def test_wanted_genes_are_taken_as_they_are(tissues):
    _, union, _ = niche_sides.sides_of(tissues, clusters_of(tissues), "B", wanted={"G9", "NONE"})
    assert list(union) == ["G9", "NONE"]


def test_a_slice_with_too_few_cells_says_so(tissues):
    assert niche_sides.lacks(tissues[0], "B") is None
    said = niche_sides.lacks(tissues[0], "B", 10_000)
    assert "focus cells and" in said and said.endswith("neighbour cells, fewer than 10000")
