"""Slices as tables of text; what is wrong with one is tested on the command, in tests/cli."""

import numpy as np
import pytest

from lloki.slices import tables


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_counts_of_a_table_that_no_float_holds_become_infinite(tmp_path):
    (tmp_path / "counts.csv").write_text("cell,A\na,1\nb,1e300\n")
    (tmp_path / "places.csv").write_text("cell,x,y\na,0,0\nb,1,1\n")
    data = tables.read_tables(tmp_path / "counts.csv", tmp_path / "places.csv")
    assert np.isinf(data.X[1, 0])
