"""Votes of near cells, against scikit-learn's classifier and an explicit random walk."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.neighbors import KNeighborsClassifier

from lloki.annotation import transfer
from lloki.embedding import mosaic


@pytest.fixture
def spaces():
    """400 labelled cells of three types around directions, some without label; 90 that ask."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(3, 8))
    codes = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    base = axes[codes] + rng.normal(size=(400, 8))
    true = rng.integers(0, 3, 90)
    codes[:20] = -1
    return axes[true] + rng.normal(size=(90, 8)), base, codes, true


def test_the_label_of_most_votes_is_that_of_scikit_learn(spaces):
    query, base, codes, _ = spaces
    known = codes >= 0
    counts = np.bincount(codes[known])

    found = transfer.ask(query, base, codes, 4)
    model = KNeighborsClassifier(transfer.NEIGHBOURS, metric="cosine", algorithm="brute")
    model.fit(base[known], codes[known])
    votes = model.predict_proba(query) * counts**-transfer.RARE
    np.testing.assert_array_equal(found.share[:, :3], votes >= votes.max(axis=1, keepdims=True))
    assert (found.share[:, 3] == 0).all()
    distances, _ = model.kneighbors(query)
    np.testing.assert_allclose(found.distance, distances[:, -1], atol=1e-5)


def test_equal_votes_share(monkeypatch):
    monkeypatch.setattr(transfer, "NEIGHBOURS", 4)
    base = np.repeat(np.eye(3)[:2], 2, axis=0)
    found = transfer.ask(np.ones((1, 3)), base, np.array([0, 0, 2, 2]), 3)
    np.testing.assert_allclose(found.share, [[0.5, 0, 0.5]])


def test_without_a_labelled_cell_nothing_can_be_asked():
    with pytest.raises(ValueError, match="no cell has a label"):
        transfer.ask(np.ones((2, 3)), np.ones((4, 3)), np.full(4, -1), 2)


def test_of_very_many_cells_rare_labels_keep_all_of_theirs(monkeypatch, spaces):
    query, base, codes, _ = spaces
    monkeypatch.setattr(transfer, "SOURCE_CELLS", 150)
    asked = []
    monkeypatch.setattr(transfer, "find_neighbours", lambda b, *a, **k: asked.append(b) or stop())
    with pytest.raises(StopIteration):
        transfer.ask(query, base, codes, 3)
    counts = np.bincount(codes[codes >= 0])
    most = max(m for m in range(1, 400) if np.minimum(counts, m).sum() <= 150)
    assert len(asked[0]) == np.minimum(counts, most).sum() and counts.min() <= most


def stop():
    raise StopIteration


def test_averaging_is_a_random_walk_with_restart():
    rng = np.random.default_rng(1)
    near = np.array([rng.choice(np.delete(np.arange(30), i), 5, False) for i in range(30)])
    values = rng.random((30, 3))
    walk = np.zeros((30, 30))
    walk[np.arange(30)[:, None], near] = 1 / 5
    stay, expected = transfer.STAY, values
    for _ in range(transfer.ROUNDS):
        expected = stay * values + (1 - stay) * walk @ expected
    np.testing.assert_allclose(transfer.averaged(values, near), expected)
    np.testing.assert_array_equal(transfer.averaged(values, near[:, :0]), values)


def test_averaging_mends_what_single_cells_say_wrongly():
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, 150)
    near = transfer.own_neighbours(np.eye(3)[true] + 0.1 * rng.normal(size=(150, 3)))
    said = np.where(rng.random(150) < 0.3, rng.integers(0, 3, 150), true)
    vote = transfer.Votes(np.eye(3)[said], np.zeros(150))
    found = transfer.together([vote, vote], [0.7, 0.3], near)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (said == true).mean() < 0.9 and (found.argmax(axis=1) == true).all()


def test_a_reference_is_seen_through_a_panel():
    rng = np.random.default_rng(2)
    expression = sp.csr_matrix(rng.poisson(1, (60, 40)).astype(np.float32))
    symbols = np.array([f"G{i}" for i in range(40)])
    keys, columns = mosaic.gene_columns(symbols)
    model = mosaic.fit([keys], [mosaic.correlations(expression[:, columns])], 5, 3)
    atlas = transfer.Atlas(expression, symbols, np.zeros(60, int))
    panel = [*symbols[5:25], "Other1"]
    expected = mosaic.embed(model, expression[:, 5:25], symbols[5:25])
    np.testing.assert_allclose(transfer.through_panel(model, atlas, panel), expected)
    assert transfer.through_panel(model, atlas, symbols[:9]) is None


def test_entropy_is_that_of_equal_shares_at_most():
    probability = np.array([[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]])
    np.testing.assert_allclose(transfer.entropy(probability), [0, 1, np.log(2) / np.log(3)])
    assert transfer.entropy(np.ones((2, 1))).tolist() == [0, 0]
