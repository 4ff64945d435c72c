"""The field of neighbours by brute force; moves, blocks and buffers by what they promise."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from lloki.programs import niche_field


@pytest.fixture
def slice():
    rng = np.random.default_rng(0)
    return rng.random((300, 2)) * [100, 80], rng.random(300) < 0.3, np.arange(0, 300, 3)


@pytest.mark.parametrize("k", [1, 20, 299, 5000])
def test_share_and_reach_are_those_of_brute_force(slice, k):
    places, neighbour, focus = slice
    found, reach = niche_field.share_near(places, neighbour, focus, k)
    gaps = cdist(places[focus], places)
    gaps[np.arange(len(focus)), focus] = np.inf
    order = np.argsort(gaps, axis=1)[:, : min(k, 299)]
    np.testing.assert_allclose(found, neighbour[order].mean(axis=1))
    last = np.take_along_axis(gaps, order[:, -1:], axis=1)
    assert reach == pytest.approx(np.median(last))


def test_a_cell_is_not_around_itself_on_a_heap_of_cells():
    places = np.zeros((10, 2))
    neighbour = np.arange(10) < 3
    found, _ = niche_field.share_near(places, neighbour, np.arange(10), 9)
    np.testing.assert_allclose(found[:3], 2 / 9)
    np.testing.assert_allclose(found[3:], 3 / 9)


def test_distance_is_to_another_cell(slice):
    places, neighbour, focus = slice
    found = niche_field.distance_to(places, neighbour, focus)
    gaps = cdist(places[focus], places)
    gaps[np.arange(len(focus)), focus] = np.inf
    np.testing.assert_allclose(found, gaps[:, neighbour].min(axis=1))
    alone = np.zeros(300, bool)
    alone[0] = True
    assert niche_field.distance_to(places, alone, np.array([0]))[0] == np.inf


def test_moved_places_stay_in_the_box_and_keep_most_neighbours(slice):
    places = slice[0]
    before = np.sort(cdist(places, places), axis=1)[:, 1]
    for seed in range(8):
        after = niche_field.moved(places, np.random.default_rng(seed))
        assert (after >= places.min(axis=0) - 1e-9).all() and (
            after <= places.max(axis=0) + 1e-9
        ).all()
        assert np.abs(after - places).max() > 1
        now = np.sort(cdist(after, after), axis=1)[:, 1]
        if seed and (after[:, 0].std() - places[:, 0].std()) < 0:
            continue
        assert np.median(now) == pytest.approx(np.median(before), rel=0.3)


def test_a_long_slice_is_not_turned():
    places = np.random.default_rng(0).random((200, 2)) * [1000, 10]
    for seed in range(20):
        after = niche_field.moved(places, np.random.default_rng(seed))
        steps = np.unique(np.round((after[:, 0] - places[:, 0]) % 1000, 6))
        mirrored = np.unique(np.round((after[:, 0] + places[:, 0]) % 1000, 6))
        assert min(len(steps), len(mirrored)) < 10  # shifted, or mirrored and shifted


def test_fields_are_the_values_of_the_nearest_cell(slice):
    places, _, focus = slice
    values = np.random.default_rng(1).random(len(focus))
    found = niche_field.fields(values, places[focus], [None, np.random.default_rng(5)])
    np.testing.assert_allclose(found[:, 0], values, rtol=1e-6)
    after = niche_field.moved(places[focus], np.random.default_rng(5))
    near = cdist(after, places[focus]).argmin(axis=1)
    np.testing.assert_allclose(found[:, 1], values[near], rtol=1e-6)


def test_ranks_are_centred(slice):
    values = np.random.default_rng(1).integers(0, 5, (50, 3)).astype(float)
    found = niche_field.ranked(values)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found[:, 1], (rankdata(values[:, 1]) - 0.5) / 50 - 0.5, atol=1e-6)


@pytest.mark.parametrize("count", [2, 5])
def test_blocks_are_even_compact_and_of_the_places_alone(slice, count):
    places = slice[0]
    found = niche_field.blocks(places, count)
    sizes = np.bincount(found, minlength=count)
    assert sizes.max() - sizes.min() <= 2 and len(sizes) == count
    within = np.mean([places[found == b].std(axis=0).mean() for b in range(count)])
    assert within < 0.75 * places.std(axis=0).mean()
    order = np.random.default_rng(2).permutation(300)
    np.testing.assert_array_equal(niche_field.blocks(places[order], count), found[order])


def test_the_buffer_is_kept(slice):
    places = slice[0]
    out = niche_field.blocks(places, 5) == 2
    train = niche_field.beyond(places, out, 7.0)
    gaps = cdist(places, places[out]).min(axis=1)
    np.testing.assert_array_equal(train, gaps > 7)
    assert niche_field.beyond(places, np.zeros(300, bool), 7.0).all()
