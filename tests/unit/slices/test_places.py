"""Where cells are, and what is odd about it; how places are found is in test_evidence."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki.slices import places
from lloki.support.errors import InputError


def test_doubtful_places_are_warned_of_with_the_remedy():
    grid = np.stack(np.meshgrid(np.arange(30), np.arange(30)), axis=-1).reshape(-1, 2) * 12.0
    assert places.doubts_of_places(grid) == []
    for factor in (0.05, 30):
        (said,) = places.doubts_of_places(grid * factor)
        assert "spatial_unit_um" in said
    assert "one point" in places.doubts_of_places(np.zeros((50, 2)))[0]


@pytest.mark.parametrize("step", [14.0, 20.0])
def test_fields_of_view_on_one_another_are_told_without_a_column_of_them(step):
    """Cells keep apart; those of four fields on one another lie as if thrown at random."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(60), np.arange(60)), axis=-1).reshape(-1, 2)
    cells = grid * step + rng.uniform(-0.3, 0.3, grid.shape) * step
    assert places.doubts_of_places(cells) == []
    (said,) = places.doubts_of_places(np.mod(cells, 30 * step))
    assert "on one another" in said and "whole slide" in said


def test_a_third_column_of_obs_and_a_table_of_rows_are_seen():
    obs = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0], "z": [5.0, 6.0]}, index=["a", "b"])
    found, where = places.find_places(ad.AnnData(obs=obs), "f")
    assert found.tolist() == [[1, 3, 5], [2, 4, 6]] and where == "obs x, y, z"
    table = pd.DataFrame({"row": [1.0, 2.0], "col": [3.0, 4.0]}, index=["a", "b"])
    with pytest.raises(InputError, match="has the columns row, col; name them x, y"):
        places.find_places(ad.AnnData(obs=obs[[]], obsm={"spatial": table}), "f")
