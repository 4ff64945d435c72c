"""Words of several laboratories: told apart, laid on one another, mapped."""

import numpy as np
import pandas as pd
import pytest

from lloki.annotation import vocabularies
from lloki.support.errors import InputError


def test_sources_that_share_half_of_their_words_are_of_one_vocabulary():
    labels = {
        "a": {"x", "y", "z"}, "b": {"x", "y", "w"}, "c": {"X1", "x", "X2", "X3"}, "d": {"X1", "X2"},
        "none": set(),
    }  # fmt: skip
    assert vocabularies.groups(labels) == [["a", "b"], ["c", "d"]]
    assert vocabularies.groups(labels, 0) == [["a", "b", "c", "d"]]
    assert vocabularies.groups(dict(reversed(labels.items()))) == [["a", "b"], ["c", "d"]]


def test_a_label_lies_on_the_one_that_its_cells_were_given():
    own = np.array([0] * 10 + [1] * 20 + [-1] * 5)
    probability = np.zeros((35, 3))
    probability[:10, 0], probability[:10, 1] = 0.8, 0.2
    probability[10:30, 0], probability[10:30, 2] = 0.4, 0.6
    found = vocabularies.correspondence(own, probability, ["A", "B"], ["p", "q", "r"])
    assert found[["label", "to", "cells"]].to_numpy().tolist() == [
        ["A", "p", 10], ["A", "q", 10], ["B", "r", 20], ["B", "p", 20],
    ]  # fmt: skip
    np.testing.assert_allclose(found["share"], [0.8, 0.2, 0.6, 0.4])
    np.testing.assert_allclose(found["back"], [0.8 / 1.2, 1, 1, 0.4 / 1.2])
    assert found["proposed"].tolist() == [True, False, True, False]


def test_a_proposal_is_a_map(tmp_path):
    table = pd.DataFrame({"label": ["A", "A", "B"], "to": ["p", "q", "r"],
                          "share": [0.8, 0.2, 0.3], "proposed": [True, False, False]})  # fmt: skip
    table.to_csv(tmp_path / "correspondence.csv", index=False)
    pairs = vocabularies.read_pairs(tmp_path / "correspondence.csv", "pairs")
    assert pairs == {"A": "p"}
    labels = np.array(["A", "B", None, "A"], object)
    assert vocabularies.mapped(labels, pairs).tolist() == ["p", "B", None, "p"]


def test_coarse_labels_are_sums_of_fine_ones():
    probability = np.array([[0.5, 0.2, 0.3]])
    found, kinds = vocabularies.coarse(probability, ["L2", "Sst", "L5"], {"L2": "E", "L5": "E"})
    assert kinds == ["E", "Sst"]
    np.testing.assert_allclose(found, [[0.8, 0.2]])


def test_codes_are_places():
    found = vocabularies.codes(np.array(["b", None, "c", "a"], object), ["a", "b"])
    assert found.tolist() == [1, -1, -1, 0]


@pytest.mark.parametrize(("text", "word"), [
    ("label\nA\n", "fewer than two columns"),
    ("label,to\nA,b\nA,c\n", "two labels"),
    ("label,to\nA,\n", "no pair"),
    ("", "not a readable table"),
    ('label,to\n"A,b\n', "not a readable table"),
    (None, "no such file"),
])  # fmt: skip
def test_tables_that_say_nothing_are_refused(tmp_path, text, word):
    if text is not None:
        (tmp_path / "map.csv").write_text(text)
    with pytest.raises(InputError, match=word):
        vocabularies.read_pairs(tmp_path / "map.csv", "a label and its word")
