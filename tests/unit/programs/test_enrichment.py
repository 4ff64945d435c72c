"""Types against metagenes, by hand and by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lloki.programs import enrichment


@pytest.fixture
def slice():
    """Three types, each with a metagene of its own; some unlabelled, one type too rare."""
    rng = np.random.default_rng(0)
    labels = np.array(["a"] * 60 + ["b"] * 40 + ["c"] * 30 + ["rare"] * 5 + [None] * 20, object)
    z = rng.dirichlet(np.ones(4), len(labels)).astype(np.float32)
    for i, kind in enumerate("abc"):
        z[labels == kind, i] += 1
    z[::3, 3] = 1e-10
    return z / z.sum(axis=1, keepdims=True), labels


def test_auc_is_that_of_scikit_learn(slice):
    z, labels = slice
    found = enrichment.type_auc(z, labels)
    assert found.index.tolist() == ["a", "b", "c"]
    known = labels != None  # noqa: E711
    for kind in "abc":
        for k in range(4):
            expected = roc_auc_score(labels[known] == kind, z[known, k])
            assert found.loc[kind, k] == pytest.approx(expected)


def test_the_table_has_means_where_there_and_shares(slice):
    z, labels = slice
    table = enrichment.enrichment("s", z, labels, ["M1", "M2", "M3", "M4"])
    row = table[(table["type"] == "a") & (table["metagene"] == "M4")].iloc[0]
    own = z[labels == "a", 3]
    assert row["share"] == pytest.approx((own > 1e-3).mean()) and row["cells"] == 60
    assert row["mean"] == pytest.approx(own[own > 1e-3].mean())
    assert len(table) == 12 and set(table["sample"]) == {"s"}


def test_the_order_is_by_enrichment_in_the_worst_slice():
    first = pd.DataFrame([[0.9, 0.5, 0.8], [0.4, 0.6, 0.95]], ["a", "b"], range(3))
    second = pd.DataFrame([[0.7, 0.5, 0.8]], ["a"], range(3))
    worst = enrichment.worst_auc([first, second])
    assert worst.loc["a"].tolist() == [0.7, 0.5, 0.8]
    order, names = enrichment.order_and_names(worst, np.ones((1, 3)))
    assert order.tolist() == [2, 0, 1] and names == ["b", None, None]


def test_without_labels_the_commonest_come_first():
    z = np.array([[0.1, 0.6, 0.3], [0.2, 0.5, 0.3]])
    empty = enrichment.type_auc(z, np.array([None, None], object))
    assert empty.shape == (0, 3)
    order, names = enrichment.order_and_names(enrichment.worst_auc([]), z)
    assert order.tolist() == [1, 2, 0] and names == [None] * 3
    assert enrichment.enrichment("s", z, np.array([None, None], object), list("abc")).empty


def test_slices_alone_are_mapped_by_their_signatures(slice):
    z, labels = slice
    turned = z[:, [2, 0, 1, 3]]
    bare = np.full(len(labels), None, object)
    parts = {"x": (z, labels), "y": (turned, labels), "bare": (z, bare)}
    found = enrichment.mapping(parts, "x")
    assert found["y"][0].tolist() == [1, 2, 0, 3] and found["y"][1].min() > 0.999
    assert np.isnan(found["bare"][1]).all()


def test_a_signature_is_a_correlation_with_the_type(slice):
    z, labels = slice
    found = enrichment.signatures(z, labels, ["a", "b"])
    expected = np.corrcoef(z[:, 2], labels == "b")[0, 1]
    assert found[1, 2] == pytest.approx(expected)
