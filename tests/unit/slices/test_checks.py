"""What coordinates, columns and sparse matrices have to be."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lloki.slices import checks
from lloki.support.errors import InputError


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


def frame(values) -> ad.AnnData:
    return ad.AnnData(obs=pd.DataFrame({"kind": values}, ["a", "b"]))


@pytest.mark.parametrize(
    "values",
    [[1, 2], [0.5, np.nan], [True, False], ["x", "y"], pd.array(["x", None], dtype=object),
     pd.array([None, None], dtype=object), pd.Categorical(["x", None]), pd.Categorical([3, 4])],
)  # fmt: skip
def test_columns_of_numbers_text_and_categories_pass(values):
    checks.check_columns(frame(values), "a.h5ad")


@pytest.mark.parametrize(
    "values",
    [pd.array([("x",), ("y",)], dtype=object), pd.Categorical([("x",), ("y",)]),
     pd.array(["x", 3], dtype=object)],
)  # fmt: skip
def test_columns_of_anything_else_are_refused(values):
    with pytest.raises(InputError, match=r"obs\['kind'\] holds values that are neither"):
        checks.check_columns(frame(values), "a.h5ad")


def test_row_pointers_that_wrap_are_damage():
    matrix = sp.csr_matrix(np.eye(3, dtype=np.float32))
    matrix.indptr[-1] = -(2**31)
    with pytest.raises(InputError, match="is damaged"):
        checks.check_sparse(matrix, "a.h5ad")


@pytest.mark.filterwarnings("error")
def test_indices_that_are_no_whole_numbers_are_damage():
    matrix = sp.csr_matrix(np.eye(3, dtype=np.float32))
    matrix.indptr = matrix.indptr.astype(np.float64)
    with pytest.raises(InputError, match="a sparse matrix in it is damaged"):
        checks.check_sparse(matrix, "a.h5ad")
