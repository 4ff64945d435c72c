"""Pairs of cells of different batches against plain NumPy, and what they are worth."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from devices import DEVICES
from numpy.linalg import norm

from lloki.embedding import mosaic
from lloki.integration import pairs
from lloki.support import search


def slices_of(seed=0, cells=80, shared=6, axes=4):
    """Two slices of three states; two panels with `shared` genes in common, embeddings of noise."""
    random = np.random.default_rng(seed)
    profiles = random.gamma(1, 2, size=(3, 12 + 12))
    found = []
    for s in range(2):
        state = random.integers(0, 3, cells)
        panel = np.r_[0:shared, 12 * s + shared : 12 * s + 12]
        counts = random.poisson(profiles[state][:, panel])
        genes = [f"G{i}" for i in panel]
        values = sp.csr_matrix(np.log1p(counts), dtype=np.float32)
        embedding = random.normal(size=(cells, axes)).astype(np.float32)
        found.append((embedding, values, genes, state))
    return found


def views_of(slices, k=5, genes=True):
    first, views = 0, []
    for embedding, values, names, _ in slices:
        rows = np.arange(first, first + len(embedding))
        near = pairs.own_neighbors(embedding, np.zeros(len(rows)), k)
        known = pairs.Expression.of(values, names) if genes else None
        views.append(pairs.view(embedding, rows, near, known))
        first += len(rows)
    return views


def unit(values):
    return values / np.maximum(norm(values, axis=1, keepdims=True), 1e-12)


def plain(slices, smooth, genes):
    """The likeness of all cells of two slices, by dense arrays."""
    sides, panels, weights = [], [], []
    for embedding, values, names, _ in slices:
        cosine = unit(embedding) @ unit(embedding).T
        np.fill_diagonal(cosine, -2)
        near = np.argsort(-cosine, axis=1)[:, :smooth]
        share = (np.eye(len(near)) + np.eye(len(near))[near].sum(axis=1)) / (smooth + 1)
        space = share @ embedding
        dense = values.toarray().astype(float)
        deviation = dense.std(axis=0)
        scaled = share @ ((dense - dense.mean(axis=0)) / np.where(deviation > 0, deviation, 1))
        sides.append((unit(space - space.mean(axis=0)), scaled))
        panels.append(list(names))
        moment = np.corrcoef(dense.T)
        weights.append(dict(zip(names, mosaic.gene_weights(moment) ** 2, strict=True)))
    common = [g for g in panels[0] if g in panels[1]]
    likeness = sides[0][0] @ sides[1][0].T
    if genes:
        w = np.array([weights[0][g] * weights[1][g] for g in common])
        a, b = (x[:, [p.index(g) for g in common]] * w
                for (_, x), p in zip(sides, panels, strict=True))  # fmt: skip
        likeness = likeness + unit(a) @ unit(b).T
    return likeness


@pytest.mark.parametrize("genes", [True, False])
def test_pairs_are_those_of_a_plain_computation(genes, k=7):
    slices = slices_of()
    found = pairs.find_pairs(views_of(slices, genes=genes), ["a", "b"], k)
    likeness = plain(slices, 5, genes)
    rows, columns = -np.sort(-likeness, axis=1), -np.sort(-likeness, axis=0)
    near = np.zeros(likeness.shape, dtype=bool)
    half = len(found) // 2  # of anchors in the first slice; then those in the second
    near[tuple(found[:half].T - [[0], [len(likeness)]])] = True
    # within rounding of the k-th, and all that are beyond rounding of the next
    may = (likeness > rows[:, [k - 1]] - 1e-5) & (likeness > columns[k - 1] - 1e-5)
    must = (likeness > rows[:, [k]] + 1e-5) & (likeness > columns[k] + 1e-5)
    assert not (near & ~may).any() and not (must & ~near).any()
    assert near.sum() == len(found) // 2 > 0
    back = found[half:, ::-1]
    np.testing.assert_array_equal(found[:half], back[np.lexsort((back[:, 1], back[:, 0]))])


def test_shared_genes_find_the_states_where_the_embedding_does_not_know_them():
    slices = slices_of()
    state = np.concatenate([s[3] for s in slices])
    right = {}
    for genes in (True, False):
        found = pairs.find_pairs(views_of(slices, 0, genes), ["a", "b"], 7)
        right[genes] = (state[found[:, 0]] == state[found[:, 1]]).mean()
    assert right[True] > 0.6 > 0.45 > right[False]


def test_few_shared_genes_say_nothing():
    slices = slices_of(shared=pairs.FEWEST - 1)
    with_genes, without = (
        pairs.find_pairs(views_of(slices, genes=g), ["a", "b"], 7) for g in (True, False)
    )
    np.testing.assert_array_equal(with_genes, without)


def test_many_shared_genes_count_by_their_leading_axes():
    random = np.random.default_rng(0)
    state = random.integers(0, 4, 120)
    values = sp.csr_matrix(random.poisson(random.gamma(1, 2, (4, 90))[state]), dtype=np.float32)
    names = [f"G{i}" for i in range(90)]
    noise = random.normal(size=(120, 3)).astype(np.float32)
    halves = [(noise[h], values[h], names, state[h]) for h in (slice(0, 60), slice(60, 120))]
    found = pairs.find_pairs(views_of(halves, 0), ["a", "b"], 5)
    assert (state[found[:, 0]] == state[found[:, 1]]).mean() > 0.9


def test_pairs_join_batches_not_slices_of_one_batch():
    slices = slices_of()
    assert len(pairs.find_pairs(views_of(slices), [("T", "p"), ("T", "p")], 7)) == 0
    assert len(pairs.find_pairs(views_of(slices), [("T", "p"), ("T", "q")], 7)) > 0


def test_the_order_of_the_cells_only_renames_the_pairs():
    slices = slices_of(7, axes=12)  # in few axes cells share all near ones: ties but for rounding
    likeness = plain(slices, 10, True)
    for each in (-np.sort(-likeness, axis=1), -np.sort(-likeness.T, axis=1)):
        assert (each[:, 6] - each[:, 7]).min() > 1e-4
    found = {tuple(p) for p in pairs.find_pairs(views_of(slices, 10), ["a", "b"], 7)}
    order = np.random.default_rng(1).permutation(80)
    (e, x, g, s), second = slices
    turned = views_of([(e[order], x[order], g, s[order]), second], 10)
    name = np.concatenate([order, np.arange(80, 160)])
    assert {tuple(p) for p in name[pairs.find_pairs(turned, ["a", "b"], 7)]} == found


def test_an_index_finds_nearly_all_pairs_and_hardly_any_other(monkeypatch):
    random = np.random.default_rng(0)
    centres = random.normal(size=(20, 16))
    cells = [centres[random.integers(0, 20, 1500)] + random.normal(size=(1500, 16))
             for _ in range(2)]  # fmt: skip
    views = [
        pairs.view(c.astype(np.float32), np.arange(1500) + 1500 * i, np.empty((1500, 0), int))
        for i, c in enumerate(cells)
    ]
    exact = {tuple(p) for p in pairs.find_pairs(views, ["a", "b"], 40)}
    monkeypatch.setattr(search, "EXACT_CELLS", 1000)
    found = {tuple(p) for p in pairs.find_pairs(views, ["a", "b"], 40)}
    assert len(found & exact) > 0.98 * len(exact) and len(found - exact) < 0.02 * len(exact)
    assert found != exact  # it was the index that found them
    # one that finds hardly anything is found out

    def poor(base, k, metric, seed, width, query):
        return np.zeros((len(query), k), dtype=int)

    monkeypatch.setattr(search, "_approximate", poor)
    assert {tuple(p) for p in pairs.find_pairs(views, ["a", "b"], 40)} == exact


@pytest.mark.parametrize("device", [None, *DEVICES])
def test_partners_are_the_pairs_of_each_cell_in_order(device):
    gpu = device and torch.device(device)
    random = np.random.default_rng(0)
    slices = np.repeat([0, 1, 2], [40, 50, 60])
    embedding = random.normal(size=(150, 5)).astype(np.float32)
    rows = [np.flatnonzero(slices == s) for s in range(3)]
    near = np.empty((60, 0), int)
    views = [pairs.view(embedding[r], r, near[: len(r)]) for r in rows]
    found = pairs.find_partners(views, ["a", "b", "a"], 6, gpu)
    expected = set()
    for one, two in ((0, 1), (1, 2)):
        likeness = views[one].space @ views[two].space.T
        forward, back = np.argsort(-likeness, 1)[:, :6], np.argsort(-likeness, 0)[:6]
        for i in range(len(rows[one])):
            for j in forward[i]:
                if i in back[:, j]:
                    a, b = int(rows[one][i]), int(rows[two][j])
                    expected |= {(a, b), (b, a)}
    assert found.table().tolist() == [list(pair) for pair in sorted(expected)]
    assert (found.counts() == np.bincount(found.table()[:, 0], minlength=150)).all()
    labels = random.integers(0, 3, 150)
    same = [[a, b] for a, b in sorted(expected) if labels[a] == labels[b]]
    assert found.within(labels).table().tolist() == same


@pytest.mark.parametrize("device", [None, *DEVICES])
def test_neighbours_are_of_the_own_slice_and_not_the_cell(device):
    gpu = device and torch.device(device)
    random = np.random.default_rng(0)
    embedding, slices = random.normal(size=(180, 8)), np.repeat([0, 1], 90)
    near = pairs.own_neighbors(embedding, slices, 10, gpu=gpu)
    assert (slices[near] == slices[:, None]).all()
    assert (near != np.arange(180)[:, None]).all()
    tiny = pairs.own_neighbors(embedding[:3], np.array([0, 0, 1]), 4, gpu=gpu)
    assert tiny.tolist() == [[1] * 4, [0] * 4, [2] * 4]


def test_a_reference_lays_cells_of_two_technologies_together():
    random = np.random.default_rng(0)
    kinds, shift = np.eye(4)[np.arange(200) % 4], 0.6 * random.normal(size=(2, 1, 4))
    reference = unit(kinds - kinds.mean(axis=0)).astype(np.float32)
    views = []
    for b in range(2):
        space = (kinds + shift[b] + 0.5 * random.normal(size=kinds.shape)).astype(np.float32)
        rows, near = np.arange(200) + 200 * b, np.empty((200, 0), int)
        views.append([pairs.view(space, rows, near, None, known) for known in (None, reference)])
    assert [v.space.shape for v in views[0]] == [(200, 4), (200, 8)]
    np.testing.assert_allclose(np.linalg.norm(views[1][1].space[:, 4:], axis=1), 1, rtol=1e-5)
    right = []
    for sides in zip(*views, strict=True):
        first, second = pairs.find_pairs(sides, [0, 1], 20).T
        right.append((first % 4 == second % 4).mean())
    assert right[1] > right[0] + 0.02


def test_a_missing_label_is_no_type():
    partners = pairs.Partners(np.array([0, 2, 3, 4]), np.array([1, 2, 0, 0]))
    kept = partners.within(np.array(["a", "b", ""]))
    assert kept.table().tolist() == [[0, 2], [2, 0]]
    space = np.random.default_rng(0).normal(size=(4, 3))
    found = pairs.hard_negatives(space, np.zeros(4, int), np.array(["a", "b", "", ""]))
    assert found.tolist() == [1, 0, -1, -1]


def test_in_a_small_slice_fewer_neighbours_are_looked_at():
    random = np.random.default_rng(1)
    views = [
        pairs.view(
            random.normal(size=(n, 3)).astype(np.float32),
            np.arange(n) + start,
            np.empty((n, 0), int),
        )
        for n, start in ((500, 0), (600, 500))
    ]
    found = [pairs.find_pairs(views, [0, 1], k).tolist() for k in (19, 20, 21, 80)]
    assert found[1] == found[2] == found[3]  # 500 // 25
    assert len(found[0]) < len(found[1])
