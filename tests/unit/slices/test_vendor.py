"""What the readers of instruments' folders share."""

import numpy as np
import pytest
import scipy.sparse as sp

from lloki.slices import merscope, vendor
from lloki.support.errors import InputError


@pytest.mark.parametrize(
    ("text", "fovs"),
    [
        ("1-24 30", {*range(1, 25), 30}),
        ("7", {7}),
        ("1 - 3;5", {1, 2, 3, 5}),
        (" 2;2  3-3 ", {2, 3}),
        ("0", {0}),
        ("", None),
        (None, None),
        ([3, np.int64(4)], {3, 4}),
    ],
)
def test_fields_of_view(text, fovs):
    assert vendor.parse_fovs(text) == fovs


@pytest.mark.parametrize("text", ["1,2", "3-1", "all", "-3", "1-", "1-2-3", "1-999999999", "1.5"])
def test_no_fields_of_view(text):
    with pytest.raises(InputError, match="is no field of view; write them as 1-24 30"):
        vendor.parse_fovs(text)


def test_spans_are_what_is_parsed():
    for numbers in ([1, 2, 3, 30], [5], [1, 3, 5, 6]):
        assert vendor.parse_fovs(vendor.spans(numbers)) == set(numbers)
    assert vendor.spans([1, 2, 3, 30]) == "1-3 30" and vendor.spans([]) == ""


def test_fields_of_view_that_hold_no_cell():
    found = np.array([1, 1, 2, 5])
    chosen, warnings = vendor.choose_fovs(found, {1, 5}, "m.csv")
    assert chosen.tolist() == [True, True, False, True] and not warnings
    chosen, warnings = vendor.choose_fovs(found, {2, 3, 4}, "m.csv")
    assert chosen.sum() == 1 and warnings == ["no cell is in the field of view 3-4"]
    with pytest.raises(InputError, match="no cell is in a field of view 9, it has 1-2 5"):
        vendor.choose_fovs(found, {9}, "m.csv")


def test_files_by_the_end_of_their_names(tmp_path):
    assert vendor.find_file(tmp_path, "cell_by_gene.csv") is None
    with pytest.raises(InputError, match=r"it has no \*cell_by_gene.csv or"):
        vendor.need_file(tmp_path, "cell_by_gene.csv")
    for name in ("a_cell_by_gene.csv.gz", "._a_cell_by_gene.csv", "cell_by_gene.csv.md5"):
        (tmp_path / name).touch()
    assert vendor.need_file(tmp_path, "cell_by_gene.csv").name == "a_cell_by_gene.csv.gz"
    (tmp_path / "b_cell_by_gene.csv").touch()
    with pytest.raises(InputError, match=r"2 files \*cell_by_gene.csv \(a_.*, b_"):
        vendor.find_file(tmp_path, "cell_by_gene.csv")


def test_whole_numbers_are_kept_as_such():
    assert vendor.whole_or_float(np.array([1.0, -2.0])).dtype == np.int64
    for values in ([1.5], [1e300], [np.nan, 1.0], [np.inf]):
        assert vendor.whole_or_float(np.array(values)).dtype == np.float64


def test_controls_are_taken_out_and_added_up():
    counts = np.array([[1, 2, 3, 4], [0, 5, 0, 6]])
    matrix, genes, controls, by_cell = vendor.split_controls(
        sp.csr_matrix(counts, dtype=np.float32), ["A", "Blank-1", "B", "blank2"], merscope.CONTROLS
    )
    np.testing.assert_array_equal(matrix.toarray(), counts[:, [0, 2]])
    assert genes == ["A", "B"] and controls == {"Blank": {"features": 2, "counts": 17.0}}
    np.testing.assert_array_equal(by_cell, [6, 11])
