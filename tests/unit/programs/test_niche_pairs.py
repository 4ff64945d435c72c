"""Pairs as users name them, and the cells that they mean."""

import numpy as np
import pandas as pd
import pytest

from lloki.programs import niche_pairs
from lloki.support.errors import InputError

KINDS = np.array(["T"] * 60 + ["B"] * 70 + ["M"] * 20 + [None] * 50 + ["T"] * 10, dtype=object)
SAMPLES = np.array(["a"] * 200 + ["b"] * 10)
OBS = pd.DataFrame({"domain": np.repeat([1.0, 2.0], 105)})


def test_pairs_are_taken_as_they_are_named_and_once():
    found = niche_pairs.pairs_of(["T:B", " B : T ", "T:B", "T:domain=2"], KINDS, SAMPLES)
    assert found == [("T", "B"), ("B", "T"), ("T", "domain=2")]
    assert niche_pairs.pairs_of(["all", "M:T"], KINDS, SAMPLES) == [
        ("B", "T"), ("T", "B"), ("M", "T"),
    ]  # fmt: skip


@pytest.mark.parametrize("given", ["T", "T:", ":B", "T:T"])
def test_what_is_no_pair_is_refused(given):
    with pytest.raises(InputError):
        niche_pairs.pairs_of([given], KINDS, SAMPLES)


def test_all_needs_two_kinds_in_one_slice():
    with pytest.raises(InputError, match="no two kinds"):
        niche_pairs.pairs_of(["all"], KINDS[:60], SAMPLES[:60])


def test_cells_of_a_kind_and_of_a_column():
    np.testing.assert_array_equal(niche_pairs.cells_of("T", OBS, KINDS), KINDS == "T")
    np.testing.assert_array_equal(niche_pairs.cells_of("domain=2", OBS, KINDS), OBS["domain"] == 2)
    odd = np.where(KINDS == "T", "T=1", KINDS)
    np.testing.assert_array_equal(niche_pairs.cells_of("T=1", OBS, odd), KINDS == "T")


def test_a_pair_of_nothing_is_refused():
    niche_pairs.check_pairs([("T", "domain=2")], OBS, KINDS, "f")
    for pair, said in (
        (("X", "T"), "there are: B, M, T"), (("T", "domain=3"), "one of: 1, 2"),
        (("domain=2", "T"), "there are"), (("T", "zone=1"), "no column 'zone'"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            niche_pairs.check_pairs([pair], OBS, KINDS, "f")
