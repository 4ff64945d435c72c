"""What the parts of a slice have to be; what is wrong with one is said here."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.support.errors import COPY_AGAIN, InputError

TEXT = ("string", "empty")
LARGEST = 1e15  # float32 holds sums of squares of this


def check_names(data: ad.AnnData, path: object, genes: bool = True) -> None:
    """InputError if there are no cells, or if cells (or, `genes`, genes) share a name."""
    if data.n_obs == 0:
        raise InputError(path, "it holds no cells", "leave this sample out")
    check_unique(data.obs_names, "cell", path)
    if genes:
        check_unique(data.var_names, "gene", path)


def check_unique(names: pd.Index, what: str, where: object) -> None:
    """InputError if two cells or genes (`what`) share a name."""
    if not names.is_unique:
        name = names[names.duplicated()][0]
        fact = f"{what} name {name!r} occurs more than once"
        raise InputError(where, fact, f"make the {what} names unique")


def check_columns(data: ad.AnnData, path: object) -> None:
    """InputError where a column of obs or var holds neither numbers nor text, nor categories so."""
    for frame, name in ((data.obs, "obs"), (data.var, "var")):
        for key, column in frame.items():
            values = column.cat.categories if hasattr(column, "cat") else column
            known = values.dtype != object or pd.api.types.infer_dtype(values) in TEXT
            if not known:
                fact = f"{name}[{key!r}] holds values that are neither numbers nor text"
                raise InputError(path, fact, "drop or mend that column")


def check_sparse(matrix: sp.spmatrix | sp.sparray, where: object) -> None:
    """InputError unless the indices of a CSR or CSC matrix lie within its shape."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of indices that are no whole numbers
            matrix.check_format(full_check=True)
        if (matrix.indptr[1:] < matrix.indptr[:-1]).any():  # SciPy looks at differences: they wrap
            raise ValueError("row pointers fall")
    except (ValueError, TypeError, AttributeError, UserWarning) as error:
        raise InputError(where, f"a sparse matrix in it is damaged ({error})", COPY_AGAIN) from None


def check_matrix(matrix: object, where: object) -> sp.csr_matrix:
    """The matrix as CSR float32 without stored zeros; InputError on NaN or negative values."""
    if matrix is None or 0 in matrix.shape:
        raise InputError(where, "it holds no expression matrix X", "give a slice or a reference")
    matrix = sp.csr_matrix(matrix, dtype=np.float32)
    check_values(matrix.data, where, "the expression")
    if (matrix.data < 0).any():
        raise InputError(
            where, "the expression has negative values", "give raw counts or log-normalised values"
        )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def totals(matrix: sp.csr_matrix) -> np.ndarray:
    """Sums of the rows of float32 counts, exact up to 2^24, without a copy of the matrix."""
    return matrix @ np.ones(matrix.shape[1], dtype=np.float32)


def check_coordinates(
    coordinates: object, where: object, what: str = "obsm['spatial']"
) -> np.ndarray:
    """Coordinates as float64, n × 2 or n × 3; InputError if missing or not finite.

    what: where they stand, for what is said of them.
    """
    if coordinates is None:
        raise InputError(where, f"{what} is missing", "put the cells' coordinates there")
    try:
        coordinates = np.asarray(coordinates, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(where, f"{what} holds no numbers", "give 2 or 3 columns") from None
    if coordinates.ndim != 2 or coordinates.shape[1] not in (2, 3):
        raise InputError(where, f"{what} has shape {coordinates.shape}", "give 2 or 3 columns")
    check_values(coordinates, where, what)
    return coordinates


def check_values(values: np.ndarray, where: object, what: str) -> None:
    """InputError unless values are finite and so small that float32 holds sums of their squares."""
    most = max(values.max(initial=0), -values.min(initial=0))  # a copy less than of np.abs
    if most <= LARGEST:
        return
    fact = f"values of {most:.3g}" if np.isfinite(values).all() else "NaN or infinite values"
    raise InputError(where, f"{what} has {fact}", "replace them, or drop those cells")


def check_embedding(values: object, where: object, key: str) -> None:
    """InputError unless obsm[key] is an array n × d of numbers that `check_values` takes."""
    numbers = isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.ndim == 2
    if not numbers:
        raise InputError(where, f"obsm[{key!r}] is no array of numbers", "make it again")
    check_values(values, where, f"obsm[{key!r}]")


def brought_embedding(data: object, key: str, where: object) -> np.ndarray:
    """obsm[key] of a slice, an embedding that a user's own model made, as n × d float32, d ≥ 2.

    InputError where it is missing, no numbers, of one column, not finite, or all zero in a cell.
    """
    if key not in data.obsm:
        there = ", ".join(map(str, data.obsm)) or "nothing"
        raise InputError(where, f"obsm has no {key!r} but {there}", "mend --embedding_key")
    values = data.obsm[key]
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy()
    check_embedding(values, where, key)
    if values.shape[1] < 2:
        raise InputError(where, f"obsm[{key!r}] has one column", "give an embedding")
    if empty := int((~values.any(axis=1)).sum()):
        fact = f"obsm[{key!r}] is zero in {empty} of {len(values)} cells"
        raise InputError(where, fact, "embed them, or leave them out")
    return values.astype(np.float32)
