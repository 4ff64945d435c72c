"""Slices as tables of text; what is wrong with one is tested on the command, in tests/cli."""

import numpy as np
import pytest

from lloki.slices import tables
from lloki.support.errors import InputError


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_counts_of_a_table_that_no_float_holds_become_infinite(tmp_path):
    (tmp_path / "counts.csv").write_text("cell,A\na,1\nb,1e300\n")
    (tmp_path / "places.csv").write_text("cell,x,y\na,0,0\nb,1,1\n")
    data, _ = tables.read_tables(tmp_path / "counts.csv", tmp_path / "places.csv")
    assert np.isinf(data.X[1, 0])


COUNTS = "cell,fov,A,B,leiden\na,7,1,2,0\nb,8,3,4,1\n"


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        ("cell,y,x", ("a,2,1", "b,4,3"), [[1, 2], [3, 4]]),
        ("id,fov,center_x,center_y,volume", ("a,9,1,2,5", "b,9,3,4,5"), [[1, 2], [3, 4]]),
        ("cell,X,Y,Z", ("b,3,4,6", "a,1,2,5"), [[1, 2, 5], [3, 4, 6]]),
        ("cell,x_centroid,y_centroid,transcript_counts", ("a,1,2,9", "b,3,4,9"), [[1, 2], [3, 4]]),
        ("cell,one,two", ("a,1,2", "b,3,4"), [[1, 2], [3, 4]]),
    ],
)
def test_coordinates_go_by_name_and_what_is_no_gene_is_passed_over(
    tmp_path, header, rows, expected
):
    (tmp_path / "counts.csv").write_text(COUNTS)
    (tmp_path / "places.csv").write_text("\n".join([header, *rows]) + "\n")
    data, said = tables.read_tables(tmp_path / "counts.csv", tmp_path / "places.csv")
    np.testing.assert_array_equal(data.obsm["spatial"], expected)
    assert data.var_names.tolist() == ["A", "B"] and "fov, leiden" in said[0]
    np.testing.assert_array_equal(data.X.toarray(), [[1, 2], [3, 4]])


@pytest.mark.parametrize("header", ["cell,fov,a", "cell,p,q,r,s"])
def test_columns_that_are_no_coordinates_are_not_taken_for_some(tmp_path, header):
    (tmp_path / "counts.csv").write_text(COUNTS)
    numbers = ",1" * (header.count(","))
    (tmp_path / "places.csv").write_text(f"{header}\na{numbers}\nb{numbers}\n")
    with pytest.raises(InputError, match="x"):
        tables.read_tables(tmp_path / "counts.csv", tmp_path / "places.csv")
