"""The mosaic model against a plain computation over the cells."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from lloki.embedding import mosaic
from lloki.support.errors import InputError


def panels_and_matrices(seed=0, cells=(60, 50, 40)):
    """Three data sets over 12 genes with panels that overlap in a chain, from two factors."""
    random = np.random.default_rng(seed)
    loadings = random.normal(size=(12, 2))
    panels = [np.arange(0, 8), np.arange(4, 12), np.arange(2, 9)]
    names = np.array([f"G{i:02d}" for i in range(12)])
    data = []
    for n, panel in zip(cells, panels, strict=True):
        values = random.normal(size=(n, 2)) @ loadings[panel].T + 4
        values += 0.3 * random.normal(size=values.shape)
        data.append((names[panel], sp.csr_matrix(np.maximum(values, 0), dtype=np.float32)))
    return data


def standardise(matrix):
    dense = matrix.toarray().astype(np.float64)
    scale = dense.std(axis=0)
    dense = (dense - dense.mean(axis=0)) / np.where(scale > 0, scale, 1)
    return np.clip(dense, -10, 10)


def over_cells(data, rank, rounds, ridge):
    """Expectation maximisation written over cells, one cell and one gene at a time."""
    genes = sorted(set(np.concatenate([names for names, _ in data])))
    place = [np.array([genes.index(g) for g in names]) for names, _ in data]
    cells = [standardise(matrix) for _, matrix in data]
    values, vectors = np.linalg.eigh(cells[0].T @ cells[0] / len(cells[0]))
    start = np.argsort(values)[::-1][:rank]
    w = np.zeros((len(genes), rank))
    w[place[0]] = vectors[:, start] * np.sqrt(values[start])
    gain, noise = [np.ones(len(p)) for p in place], [(x**2).mean(axis=0) for x in cells]
    for _ in range(rounds):
        means, squares = [], []
        for p, x, a, v in zip(place, cells, gain, noise, strict=True):
            left = np.linalg.inv(np.eye(rank) + (w[p] * a[:, None]).T @ (w[p] * (a / v)[:, None]))
            z = np.array([left @ (w[p].T @ (a / v * row)) for row in x])
            means.append(z)
            squares.append(np.mean([np.outer(row, row) for row in z], axis=0) + left)
        for g in range(len(genes)):
            gram, cross = ridge * np.eye(rank), np.zeros(rank)
            for p, x, a, v, z, zz in zip(place, cells, gain, noise, means, squares, strict=True):
                for i in np.flatnonzero(p == g):
                    gram += a[i] ** 2 / v[i] * zz
                    cross += a[i] / v[i] * (z.T @ x[:, i]) / len(z)
            w[g] = np.linalg.solve(gram, cross)
        for p, x, a, v, z, zz in zip(place, cells, gain, noise, means, squares, strict=True):
            for i, g in enumerate(p):
                predicted, spread = np.mean(z @ w[g] * x[:, i]), w[g] @ zz @ w[g]
                a[i] = np.clip((predicted + 1) / (spread + 1), 0.2, 2)
                square = np.mean(x[:, i] ** 2)
                v[i] = max(square - 2 * a[i] * predicted + a[i] ** 2 * spread, 0.05)
    return np.array(genes), w, means


def fitted(data, rank, rounds, ridge):
    moments = [mosaic.correlations(x) for _, x in data]
    return mosaic.fit([names for names, _ in data], moments, rank, rounds, ridge)


def test_fit_from_correlations_is_the_computation_over_cells():
    data = panels_and_matrices()
    model = fitted(data, 3, 6, 0.7)
    genes, expected, _ = over_cells(data, 3, 6, 0.7)
    assert model.genes.tolist() == genes.tolist()
    # The sign of an axis is free.
    signs = np.sign((model.loadings * expected).sum(axis=0))
    np.testing.assert_allclose(model.loadings * signs, expected, atol=2e-4)


def test_embedding_is_the_posterior_mean_with_unit_rows_for_any_order_of_genes():
    data = panels_and_matrices()
    model = fitted(data, 2, 200, 0.01)
    names, matrix = data[1]
    found = mosaic.embed(model, matrix, names)
    z = over_cells(data, 2, 200, 0.01)[2][1] * np.sqrt(np.linalg.norm(model.loadings, axis=0))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    signs = np.sign((found * z).sum(axis=0))
    assert (found * z * signs).sum(axis=1).min() > 0.99
    turned = mosaic.embed(model, matrix[:, ::-1].tocsr(), [n.lower() for n in names[::-1]])
    np.testing.assert_allclose(turned, found, atol=1e-5)


def test_a_gene_that_is_noise_in_one_slice_hardly_moves_its_cells():
    data = panels_and_matrices(cells=(400, 300, 300))
    names, matrix = data[1]
    model = fitted(data, 2, 25, 0.1)
    random, before = np.random.default_rng(5), mosaic.embed(model, matrix, names)
    dense = matrix.toarray()
    dense[:, 3] = random.permutation(dense[:, 3])
    clean = np.delete(np.arange(len(names)), 3)
    without = mosaic.embed(model, matrix[:, clean], names[clean])
    noisy = mosaic.embed(model, sp.csr_matrix(dense), names)
    assert (without * before).sum(axis=1).mean() > 0.95
    assert (noisy * without).sum(axis=1).mean() > 0.98


def test_a_silent_gene_says_nothing():
    data = panels_and_matrices()
    model = fitted(data, 2, 25, 0.1)
    names, matrix = data[1]
    dense = matrix.toarray()
    dense[:, 2] = 0
    silent = mosaic.embed(model, sp.csr_matrix(dense), names)
    left = np.delete(np.arange(len(names)), 2)
    np.testing.assert_allclose(silent, mosaic.embed(model, matrix[:, left], names[left]), atol=1e-5)


def test_factors_of_cells_meet_across_panels_that_share_few_genes():
    """Cells of one state but of two panels are nearer than cells of two states in one panel."""
    random = np.random.default_rng(3)
    loadings, state = random.normal(size=(30, 2)), random.integers(0, 2, 200)
    centres = np.array([[2.0, -1.0], [-2.0, 1.0]])[state] + 0.2 * random.normal(size=(200, 2))
    values = np.maximum(centres @ loadings.T + 5, 0) + 0.1 * random.normal(size=(200, 30)) ** 2
    names = np.array([f"G{i:02d}" for i in range(30)])
    parts = [(names[:18], values[:100, :18]), (names[14:], values[100:, 14:])]
    parts = [(n, sp.csr_matrix(v, dtype=np.float32)) for n, v in parts]
    model = mosaic.fit([n for n, _ in parts], [mosaic.correlations(v) for _, v in parts], 2)
    first, second = (mosaic.embed(model, v, n) for n, v in parts)
    similar = first @ second.T
    same = state[:100, None] == state[None, 100:]
    assert similar[same].mean() > 0.8 > -0.5 > similar[~same].mean()


@pytest.mark.parametrize("cells", [1, 2])
def test_a_wide_panel_on_a_few_cells_leaves_the_embedding_of_others_alone(cells):
    random = np.random.default_rng(1)
    names = np.array([f"G{i:03d}" for i in range(90)])
    values = np.maximum(random.normal(size=(300, 4)) @ random.normal(size=(4, 90)), 0)
    slices_ = [(names[:30], values[:150, :30]), (names[20:50], values[150:, 20:50])]
    few = (names, values[:cells])

    def embedded(parts):
        parts = [(n, sp.csr_matrix(v, dtype=np.float32)) for n, v in parts]
        order = mosaic.starting_order([v.shape for _, v in parts])
        moments = [mosaic.correlations(parts[d][1]) for d in order]
        sizes = [parts[d][1].shape[0] for d in order]
        model = mosaic.fit([parts[d][0] for d in order], moments, 4, cells=sizes)
        return mosaic.embed(model, parts[0][1], parts[0][0])

    alone, beside = embedded(slices_), embedded([*slices_, few])
    near = [np.argsort(-space @ space.T, axis=1)[:, 1:16] for space in (alone, beside)]
    kept = [len(set(a) & set(b)) / 15 for a, b in zip(*near, strict=True)]
    assert np.mean(kept) > 0.8


@pytest.mark.parametrize("genes", [60, 600])
def test_noisy_genes_weigh_less(genes):
    random = np.random.default_rng(0)
    values = random.normal(size=(900, genes))
    half = genes // 2
    values[:, :half] += 2 * random.normal(size=(900, 3)) @ random.normal(size=(3, half))
    weights = mosaic.gene_weights(np.corrcoef(values.T))
    assert np.mean(weights**2) == pytest.approx(1)
    assert weights[:half].mean() > 1.1 * weights[half:].mean()
    assert (mosaic.gene_weights(np.eye(2)) == 1).all()


def test_a_data_set_without_any_link_is_named():
    data = panels_and_matrices()
    alone = np.array(["OTHER1", "OTHER2"])
    moments = [mosaic.correlations(x) for _, x in data] + [np.eye(2)]
    with pytest.raises(mosaic.UnlinkedError) as caught:
        mosaic.fit([n for n, _ in data] + [alone], moments, 2)
    assert caught.value.place == 3


def test_correlations_do_not_depend_on_the_blocks(monkeypatch):
    _, matrix = panels_and_matrices()[0]
    whole = mosaic.correlations(matrix)
    monkeypatch.setattr(mosaic, "ROWS", 7)
    np.testing.assert_allclose(mosaic.correlations(matrix), whole, atol=1e-6)
    np.testing.assert_allclose(np.diag(whole), 1, atol=1e-4)


def test_a_model_comes_back_from_its_folder(tmp_path):
    data = panels_and_matrices()
    model = mosaic.fit([n for n, _ in data], [mosaic.correlations(x) for _, x in data], 3)
    mosaic.save(model, tmp_path, seed=0)
    again = mosaic.load(tmp_path)
    assert (again.loadings == model.loadings).all() and (again.genes == model.genes).all()
    config = json.loads((tmp_path / "config.json").read_text())
    for broken in ({**config, "ridge": None}, {**config, "genes": ["a"]}):
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(InputError, match=r"damaged|1 genes for"):
            mosaic.load(tmp_path)
    del config["form"]  # as models of ridge regressions were stored
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="by another version"):
        mosaic.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "form": mosaic.FORM}))
    (tmp_path / "loadings.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="damaged"):
        mosaic.load(tmp_path)
