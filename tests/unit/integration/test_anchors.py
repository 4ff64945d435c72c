"""Cells that a model keeps of its slices: what is kept, and that pairs with them are the same."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from lloki.integration import anchors, pairs, training_set
from lloki.integration.pairs import Expression
from lloki.support.errors import InputError

SIZES, TOKENS = [300, 200, 260], [("A", "a"), ("A", "a"), ("B", "b")]
TAKEN = {"neighbors": 10, "pair_neighbors": 8, "pair_smoothing": 6}


def tissue(seed=0, sizes=SIZES, width=12):
    """Embeddings, expression and labels of slices with four kinds of cells, the last one rare."""
    random = np.random.default_rng(seed)
    n = sum(sizes)
    kind = random.choice(4, n, p=[0.4, 0.3, 0.28, 0.02])
    middles = np.random.default_rng(9).normal(size=(4, width))
    embedding = (middles[kind] + 0.3 * random.normal(size=(n, width))).astype(np.float32)
    rates = np.random.default_rng(8).gamma(1, 1, (4, 30))
    counts = np.log1p(random.poisson(rates[kind])).astype(np.float32)
    parts = np.split(counts, np.cumsum(sizes)[:-1])
    genes = [f"g{i}" for i in range(30)]
    return embedding, [Expression.of(sp.csr_matrix(p), genes) for p in parts], kind.astype(str)


def assembled(embedding, genes, sizes=SIZES, batches=(0, 0, 1), **more):
    return training_set.assemble(embedding, sizes, batches, genes, **TAKEN, **more)


def drawn(found, labels=None, samples=("s", "t", "u"), tokens=TOKENS):
    embedding = found.cells.embedding
    return anchors.Anchors(
        found.axes, anchors.draw(embedding, found.views, samples, tokens, labels)
    )


def test_a_new_slice_finds_among_kept_cells_the_pairs_that_it_has_with_the_slices(tmp_path):
    """All cells kept, it is the same but for half precision; read from files, to the bit."""
    old, old_genes, _ = tissue(0)
    new, new_genes, _ = tissue(1, [240])
    kept = drawn(assembled(old, old_genes))
    joined = np.concatenate([new, kept.embedding])
    adapted = assembled(joined, new_genes, [240], [2], known=kept, known_batches=[0, 0, 1])
    whole = assembled(
        np.concatenate([new, old]), [*new_genes, *old_genes], [240, *SIZES], [2, 0, 0, 1]
    )
    wanted = {tuple(p) for p in whole.partners.table() if p[0] < 240}
    found = {tuple(p) for p in adapted.partners.table() if p[0] < 240}
    assert len(wanted) > 500 and len(wanted & found) > 0.99 * len(wanted | found)
    # The kept cells are partners, not anchors, and find no pairs among themselves.
    assert adapted.cells.anchors.tolist() == list(range(240))
    assert all(min(p) < 240 for p in adapted.partners.table())
    assert adapted.cells.batch[240:].tolist() == [0] * 500 + [1] * 260
    assert len(np.unique(adapted.cells.slice)) == 4
    anchors.save(kept, tmp_path)
    read = anchors.load(tmp_path)
    again = assembled(joined, new_genes, [240], [2], known=read, known_batches=[0, 0, 1])
    assert (again.partners.table() == adapted.partners.table()).all()
    assert (read.embedding == kept.embedding).all()


def test_of_a_large_batch_so_many_cells_are_kept(monkeypatch):
    monkeypatch.setattr(anchors, "MOST", 100)
    monkeypatch.setattr(anchors, "GENES", 20)
    embedding, genes, kind = tissue()
    kept = drawn(assembled(embedding, genes), kind)
    assert [part.sample for part in kept.slices] == ["s", "t", "u"]
    sizes = [len(part.embedding) for part in kept.slices]
    assert sizes[0] + sizes[1] == 100 and sizes[2] == 100 and 50 < sizes[0] < 70
    assert len(kept.labels()) == 200 and set(kept.labels()) <= set(kind)
    for part, start in zip(kept.slices, (0, 300, 500), strict=True):
        e = part.view.expression
        assert e.values.shape == (len(part.embedding), 20) and len(e.keys) == 20
        of_slice = genes[(0, 300, 500).index(start)]
        assert e.weights.min() >= np.sort(of_slice.weights)[-20]


def test_wide_embeddings_keep_the_axes_of_the_model(tmp_path):
    embedding, genes, _ = tissue(width=pairs.SEARCH_AXES + 6)
    found = assembled(embedding, genes)
    assert found.axes.shape == (pairs.SEARCH_AXES + 6, pairs.SEARCH_AXES)
    anchors.save(drawn(found), tmp_path)
    kept = anchors.load(tmp_path)
    new, new_genes, _ = tissue(1, [90], pairs.SEARCH_AXES + 6)
    joined = np.concatenate([new, kept.embedding])
    adapted = assembled(joined, new_genes, [90], [2], known=kept, known_batches=[0, 0, 1])
    assert (adapted.axes == found.axes).all()
    assert adapted.views[0].space.shape == (90, pairs.SEARCH_AXES)


def test_slices_without_expression_or_labels_have_none(tmp_path):
    embedding, _, _ = tissue()
    anchors.save(drawn(assembled(embedding, [None] * 3)), tmp_path)
    kept = anchors.load(tmp_path)
    assert kept.labels() is None
    assert all(part.view.expression is None for part in kept.slices)


@pytest.mark.parametrize("fault", ["gone", "cut", "other genes", "no JSON"])
def test_kept_cells_that_cannot_be_read_are_refused(fault, tmp_path):
    embedding, genes, _ = tissue()
    anchors.save(drawn(assembled(embedding, genes)), tmp_path)
    weights, notes = (tmp_path / name for name in anchors.NAMES)
    if fault == "gone":
        weights.unlink()
    elif fault == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif fault == "other genes":
        parts = json.loads(notes.read_text())
        parts[1]["genes"].pop()
        notes.write_text(json.dumps(parts))
    else:
        notes.write_text("[{")
    with pytest.raises(InputError, match="train it again"):
        anchors.load(tmp_path)
