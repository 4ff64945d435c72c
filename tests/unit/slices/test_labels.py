"""Which labels say what a cell is."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki.slices import labels
from lloki.support.errors import InputError

NOBODY_KNOWS = ["", " ", "unknown", "Unknown", "Unassigned", "NA", "None", "N/A", "nan", "<NA>"]


@pytest.mark.parametrize("dtype", ["category", object])
def test_words_for_no_label_are_none(dtype):
    values = ["Neuron", " Glia ", None, np.nan, "Other", *NOBODY_KNOWS]
    known = labels.known_labels(pd.Series(values, dtype=dtype), ("Other",)).tolist()
    assert known == ["Neuron", "Glia", *[None] * (3 + len(NOBODY_KNOWS))]
    assert labels.known_labels(pd.Series([1, 2])).tolist() == ["1", "2"]
    assert labels.known_labels(pd.Series([np.nan, np.nan])).tolist() == [None, None]


def test_a_reference_has_labels_or_is_refused():
    obs = pd.DataFrame({"type": ["a", "Other", "NA"], "none": ["", "NA", "Other"]}, list("xyz"))
    data = ad.AnnData(obs=obs)
    assert labels.reference_labels(data, "f", "type").tolist() == ["a", None, None]
    with pytest.raises(InputError, match="f: obs has no column 'nope'; it has: type, none"):
        labels.reference_labels(data, "f", "nope")
    with pytest.raises(InputError, match="holds no label"):
        labels.reference_labels(data, "f", "none")


@pytest.mark.parametrize("dtype", ["category", object])
def test_they_are_counted_by_word(dtype):
    values = pd.Series(["Neuron", "NA", None, "unknown", "NA"], dtype=dtype)
    assert labels.unlabelled(values) == {"NA": 2, "unknown": 1}
    assert labels.unlabelled(pd.Series(["Neuron", None], dtype=dtype)) == {}


def test_numbers_are_the_same_labels_whether_some_are_missing_or_not():
    whole, holed = pd.Series([0, 1, 1]), pd.Series([0.0, np.nan, 1.0])
    assert labels.known_labels(whole).tolist() == ["0", "1", "1"]
    assert labels.known_labels(holed).tolist() == ["0", None, "1"]


def test_slices_without_labels_have_those_carried_over():
    obs = pd.DataFrame({"sample": list("aabb"), "kind": ["x", None, None, None],
                        "carried": ["y", "y", "y", "unknown"]})  # fmt: skip
    assert labels.completed_labels(obs, "kind", "carried").tolist() == ["x", None, "y", None]
    assert labels.completed_labels(obs, "kind", "none").tolist() == ["x", None, None, None]
