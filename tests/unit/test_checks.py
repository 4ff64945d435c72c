"""What coordinates and sparse matrices have to be."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lloki import checks
from lloki.cli import InputError


@pytest.mark.parametrize(
    ("spatial", "words"),
    [
        (None, "is missing"),
        (np.ones(3), "shape"),
        (np.ones((3, 1)), "shape \\(3, 1\\)"),
        (np.ones((3, 4)), "shape \\(3, 4\\)"),
        (np.array([[1, 2], [np.nan, 1], [1, 1]]), "NaN or infinite"),
        (np.array([[1, 2], [-1e200, 1], [1, 1]]), "values of 1e"),
        (np.array([["a", "b"]] * 3), "no numbers"),
    ],
)
def test_coordinates_that_are_none(spatial, words):
    with pytest.raises(InputError, match=words):
        checks.check_coordinates(spatial, "in.h5ad")


def test_coordinates_in_space_and_of_any_number_type():
    found = checks.check_coordinates(pd.DataFrame(np.ones((3, 3), dtype=np.int32)), "in.h5ad")
    assert found.shape == (3, 3) and found.dtype == np.float64


@pytest.mark.filterwarnings("error")
def test_indices_that_are_no_whole_numbers_are_damage():
    matrix = sp.csr_matrix(np.eye(3, dtype=np.float32))
    matrix.indptr = matrix.indptr.astype(np.float64)
    with pytest.raises(InputError, match="a sparse matrix in it is damaged"):
        checks.check_sparse(matrix, "a.h5ad")
