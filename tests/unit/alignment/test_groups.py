"""Groups, references and depths, as the slices' obs say."""

import anndata as ad
import pandas as pd
import pytest

from lloki.alignment import groups
from lloki.support.errors import InputError


def part(cells, **columns):
    return ad.AnnData(obs=pd.DataFrame(columns, index=[str(i) for i in range(cells)]))


PARTS = {
    "a": part(5, align_group="x"), "b": part(9, align_group="x", z=2.5), "c": part(7),
    "d": part(8, align_group=["x"] * 7 + ["y"]), "e": part(2, align_group="x", z="3"),
}  # fmt: skip


def test_a_group_has_its_largest_slice_first():
    assert groups.members(PARTS) == {"x": ["b", "a", "e"], "": ["d", "c"]}


def test_the_reference_is_first_in_its_group_alone():
    assert groups.members(PARTS, "e") == {"x": ["e", "a", "b"], "": ["d", "c"]}
    with pytest.raises(InputError, match="no such sample; choose of a, b"):
        groups.members(PARTS, "z")


def test_depths_are_of_slices_that_have_one():
    assert groups.depths(PARTS) == {"b": 2.5, "e": 3.0}
