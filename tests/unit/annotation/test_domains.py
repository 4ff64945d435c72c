import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from lloki.annotation import domains


def strips(rng, n, turned=0.0, types=4, dims=12):
    """A slice of three strips with mixtures of types of their own: embedding, places, strips."""
    kinds = rng.normal(size=(types, dims)) if isinstance(types, int) else types
    places = rng.uniform(0, 1, (n, 2))
    strip = (places[:, 0] * 3).astype(int)
    shares = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4]])
    of = np.array([rng.choice(4, p=shares[s]) for s in strip])
    angle = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    return kinds[of] + rng.normal(0, 0.5, (n, dims)), 500 * places @ angle.T, strip


@pytest.fixture(scope="module")
def tissue():
    """Two slices of the same tissue, one turned and with half the cells."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(4, 12))
    parts = [strips(rng, n, turn, kinds) for n, turn in ((900, 0.0), (450, 1.0))]
    space, strip = (np.concatenate([part[i] for part in parts]) for i in (0, 2))
    slices = [(np.arange(900), parts[0][1]), (np.arange(900, 1350), parts[1][1])]
    samples = np.repeat(np.array(["a", "b"], object), (900, 450))
    return space.astype(np.float32), slices, strip, samples


def test_components_are_those_of_sklearn_up_to_sign():
    values = np.random.default_rng(0).normal(size=(200, 9)).astype(np.float32) * np.arange(1, 10)
    found, wanted = domains.components(values, 4), PCA(4).fit_transform(values)
    signs = np.sign((found * wanted).sum(axis=0))
    np.testing.assert_allclose(found * signs, wanted, atol=1e-3)
    assert domains.components(values[:, :2], 4).shape == (200, 2)


def test_surroundings_are_means_over_other_cells_of_the_slice(tissue):
    space, slices, _, _ = tissue
    base = domains.components(space, domains.FIRST)
    blocks = []
    for size in (20, 50):
        means = np.empty_like(base)
        for rows, places in slices:
            near = cKDTree(places).query(places, size + 1)[1][:, 1:]
            means[rows] = base[rows][near].mean(axis=1)
        blocks.append(means / np.sqrt(means.var(axis=0).sum()))
    wanted = PCA(domains.KEPT).fit_transform(np.concatenate(blocks, axis=1))
    wanted /= np.sqrt(wanted.std(axis=0))
    found = domains.surroundings([space], slices)
    np.testing.assert_allclose(np.abs(found[:, :5]), np.abs(wanted[:, :5]), atol=1e-3)


def test_panels_are_brought_together_within_kinds_of_cells():
    rng = np.random.default_rng(0)
    kind, panel = rng.integers(0, 3, 1200), rng.integers(0, 2, 1200)
    space = np.eye(3)[kind] * 9 + rng.normal(0, 0.1, (1200, 3))
    own = rng.normal(size=(1200, 4)).astype(np.float32)
    shift = 5 * rng.normal(size=(3, 2, 4))
    kinds = (np.eye(3) @ rng.normal(size=(3, 4)))[kind]
    given = (own + kinds + shift[kind, panel]).astype("f4")
    found = domains.levelled(given, space, panel)

    def means(values, k):
        return np.stack([values[(kind == k) & (panel == p)].mean(axis=0) for p in (0, 1)])

    for k in range(3):
        before, after = means(given, k), means(found, k)
        assert np.abs(after[0] - after[1]).max() < 0.25 * np.abs(before[0] - before[1]).max()
        np.testing.assert_allclose(after.mean(axis=0), before.mean(axis=0), atol=0.2)
    one = domains.levelled(own, space, np.zeros(1200))
    np.testing.assert_allclose(one, own, atol=1e-5)  # nothing to bring together
    few = np.where(np.arange(1200) < 1, 1, 0)  # one cell of a panel stays nearly as it is
    assert np.abs(domains.levelled(own, space, few) - own)[0].max() < 0.5


def test_two_embeddings_count_alike_whatever_their_units(tissue):
    space, slices, _, _ = tissue
    other = np.random.default_rng(1).normal(size=(len(space), 5)).astype(np.float32)
    found = domains.surroundings([space, other], slices)
    np.testing.assert_allclose(
        domains.surroundings([space, 1000 * other], slices), found, atol=0.01
    )
    means = np.empty_like(other)
    for rows, places in slices:
        means[rows] = other[rows][cKDTree(places).query(places, 21)[1][:, 1:]].mean(axis=1)
    design = np.c_[np.ones(len(found)), found]
    rest = means - design @ np.linalg.lstsq(design, means, rcond=None)[0]
    assert rest.var() < 0.2 * means.var()
    assert np.abs(domains.surroundings([space], slices) - found).max() > 0.1


def test_strips_are_found_in_both_slices_as_the_same_domains(tissue):
    space, slices, strip, _ = tissue
    around = domains.surroundings([space], slices)
    found = domains.domains(around, 3)
    for rows, _ in slices:
        assert adjusted_rand_score(strip[rows], found[rows]) > 0.7
    table = pd.crosstab(strip, found)
    assert set(table.idxmax(axis=1)) == {0, 1, 2}
    assert (np.bincount(found)[:-1] >= np.bincount(found)[1:]).all()
    np.testing.assert_array_equal(found, domains.domains(around, 3))


def test_cells_on_one_another_few_cells_and_one_alone():
    rng = np.random.default_rng(0)
    space = rng.normal(size=(36, 5)).astype(np.float32)
    slices = [(np.arange(30), np.zeros((30, 2))), (np.arange(30, 35), rng.random((5, 2))),
              (np.array([35]), np.zeros((1, 2)))]  # fmt: skip
    around = domains.surroundings([space], slices)
    assert np.isfinite(around).all() and len(around) == 36
    assert domains.domains(around, 4).max() <= 3


def test_the_number_that_holds_is_chosen(tissue):
    space, slices, _, samples = tissue
    around = domains.surroundings([space], slices)
    table = domains.stability(around, samples, range(2, 8))
    assert table["domains"].tolist() == list(range(2, 8))
    assert table["stability"].between(0, 1).all() and domains.choose(table) == 3
    assert domains.stability(around[:6], samples[:6], (2, 3, 4))["domains"].tolist() == [2, 3]
    assert domains.choose(table[:0]) == 1


def test_regions_are_carried_to_slices_that_have_none(tissue):
    space, slices, strip, samples = tissue
    around = domains.surroundings([space], slices)
    regions = np.array(["one", "two", "three"], object)[strip]
    regions[samples == "b"] = None
    regions[:30] = None  # not known in a slice that has some
    found, share = domains.carried(around, regions, samples)
    b = samples == "b"
    truth = np.array(["one", "two", "three"])[strip]
    assert (found[b] == truth[b]).mean() > 0.85
    assert ((share[b] > 0) & (share[b] <= 1)).all() and np.isnan(share[~b]).all()
    assert (found[:30] == None).all() and (found[30:900] == regions[30:900]).all()  # noqa: E711
    nothing = np.full(len(regions), None, dtype=object)
    assert np.isnan(domains.carried(around, nothing, samples)[1]).all()
