"""All slices from all sources: what is hidden has no say, and what is told of it holds."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from lloki.annotation import tables, transfer
from lloki.annotation.labelling import Cells, Labelling

LABELS = ["a", "b", "c", "d"]


def made(samples, seed=0, n=150):
    """Cells of four types in a space of 6 dimensions; samples: technology of each."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(99).normal(size=(4, 6))
    codes = np.concatenate([rng.choice(4, n) for _ in samples])
    space = axes[codes] + 0.4 * rng.normal(size=(len(codes), 6))
    sample = np.repeat(np.array(list(samples), object), n)
    technology = np.repeat(np.array(list(samples.values()), object), n)
    return Cells(sample, technology, technology, space, space, {}), codes


def test_labels_reach_a_slice_without_any():
    cells, true = made({"one": "X", "two": "Y", "new": "Z"})
    given = np.where(cells.sample == "new", -1, true)
    found = Labelling(cells, LABELS, given).found("new")
    own = cells.sample == "new"
    assert (found.probability.argmax(axis=1) == true[own]).mean() > 0.95
    np.testing.assert_allclose(found.probability.sum(axis=1), 1)
    assert set(found.source) == {"slices"} and (found.p < 0.05).mean() < 0.1


def test_a_type_that_no_source_has_is_unknown():
    cells, true = made({"one": "X", "two": "Y", "new": "Z"})
    given = np.where((cells.sample == "new") | (true == 3), -1, true)
    found = Labelling(cells, LABELS, given).found("new")
    foreign = true[cells.sample == "new"] == 3
    assert (found.p[foreign] < 0.05).mean() > 0.8
    assert (found.p[~foreign] < 0.05).mean() < 0.15


def test_a_slice_with_a_label_for_every_cell_keeps_them():
    cells, true = made({"one": "X", "two": "Y"})
    found = Labelling(cells, LABELS, true).found("one")
    np.testing.assert_array_equal(found.probability, np.eye(4)[true[cells.sample == "one"]])
    assert np.isnan(found.p).all()


def test_what_is_hidden_has_no_say():
    cells, true = made({"one": "X", "two": "X", "three": "Y"})
    other = true.copy()
    other[cells.sample == "one"] = 0
    said = [Labelling(cells, LABELS, c).said("one", frozenset(["one"])) for c in (true, other)]
    np.testing.assert_array_equal(said[0].probability, said[1].probability)
    assert Labelling(cells, LABELS, true).said("one", frozenset(cells.rows)) is None


@pytest.mark.parametrize(("samples", "technology", "hidden"), [
    ({"a": "X", "b": "X", "c": "Y"}, "X", {"a", "b"}),
    ({"a": "X", "b": "X", "c": "Y"}, "Y", {"a b", "c"}),
    ({"a": "X", "b": "X", "c": "Y"}, "new", {"a b", "c"}),
    ({"a": "X", "b": "X"}, "new", {"a", "b"}),
    ({"a": "X"}, "X", set()),
])  # fmt: skip
def test_slices_of_the_technology_are_held_out_alone_others_by_technology(
    samples, technology, hidden
):
    cells, true = made(samples, n=40)
    found = Labelling(cells, LABELS, true).held_out(technology)
    assert {held.group for held, _ in found} == hidden


def test_slices_of_the_same_panel_weigh_more(monkeypatch):
    cells, true = made({"one": "X", "two": "X", "three": "Y"}, n=30)
    asked = []
    monkeypatch.setattr(transfer, "together", lambda v, w, near: asked.append(w) or v[0].share)
    own = Labelling(cells, LABELS, true, {"atlas": transfer.Atlas(None, None, true)}, None)
    vote = transfer.ask(cells.fp[:30], cells.fp, true, 4)
    monkeypatch.setattr(own, "_ask_reference", lambda sample, name: vote)
    monkeypatch.setattr(own, "_atlas", lambda sample: "atlas")
    own.said("one", frozenset(["one"]))
    own.said("three", frozenset(["three"]))
    first = [transfer.REFERENCE_OF_PANEL, transfer.REFERENCE]
    assert [w[0] for w in asked] == first and [sum(w) for w in asked] == [1, 1]


def test_quality_is_that_of_scikit_learn():
    cells, true = made({"one": "X", "two": "Y", "three": "Z"})
    given = np.where((true == 3) & (cells.sample != "one"), -1, true)  # d is of one slice alone
    carried = tables.carry(Labelling(cells, LABELS, given))
    table, reliability, _ = tables.qualities(carried, 0.05)
    row = table.set_index("sample").loc["one"]
    own = true[:150]
    known = own < 3
    (found,) = [one for _, sample, _, one in carried.hidden if sample == "one"]
    said = found.probability.argmax(axis=1)[known]
    assert row["cells"] == known.sum() and row["uncovered"] == (~known).sum()
    assert row["accuracy"] == pytest.approx(accuracy_score(own[known], said))
    assert row["macro_f1"] == pytest.approx(f1_score(own[known], said, average="macro"))
    assert row["unknown_found"] == pytest.approx((found.p[~known] < 0.05).mean())
    assert reliability.query("sample == 'one'")["cells"].sum() == known.sum()
