"""Cells mapped onto a reference, against scikit-learn's linear regression."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from lloki.propagation.graph import principal_components
from lloki.scores import mapped
from lloki.support.errors import InputError

NAMES = np.array([f"Gene{i}" for i in range(40)])


def cells(n, seed, columns, sample):
    """Cells whose genes follow two hidden numbers, on these columns; and those numbers."""
    hidden = np.random.default_rng(seed).normal(size=(n, 2))
    loads = np.random.default_rng(99).normal(size=(2, 40))
    noise = np.random.default_rng(seed + 1).normal(size=(n, 40))
    values = np.exp(0.7 * hidden @ loads + 0.3 * noise)[:, columns]
    obs = pd.DataFrame({"sample": sample}, index=[f"{sample}:{i}" for i in range(n)])
    var = pd.DataFrame(index=NAMES[columns])
    return ad.AnnData(sp.csr_matrix(np.log1p(values), dtype=np.float32), obs=obs, var=var), hidden


def scaled(part):
    return np.clip(StandardScaler().fit_transform(part.X.toarray().astype(np.float64)), -10, 10)


def test_scores_of_the_reference_are_regressed_on_the_genes_of_both():
    reference, _ = cells(300, 0, np.arange(40), "ref")
    part, _ = cells(80, 5, np.arange(3, 30, 2), "a")
    scores = principal_components(sp.csr_matrix(scaled(reference).astype(np.float32)), mapped.AXES)
    known = LinearRegression().fit(scaled(reference)[:, 3:30:2], scores - scores.mean(axis=0))
    expected = known.predict(scaled(part))
    found = mapped.components([part], [reference])
    alike = expected @ expected.T  # a component's sign is free
    np.testing.assert_allclose(found @ found.T, alike, atol=0.01 * alike.max())


def test_cells_meet_without_a_gene_in_common():
    reference, _ = cells(300, 0, np.arange(40), "ref")
    (one, first), (two, second) = (
        cells(100, seed, np.arange(seed, 40, 2), str(seed)) for seed in (0, 1)
    )
    space = mapped.components([one, two], [reference])[:, :2]
    fit = LinearRegression().fit(space[:100], first)
    assert fit.score(space[100:], second) > 0.7


def test_a_slice_with_too_few_genes_of_the_reference_is_refused():
    reference, part = cells(50, 0, np.arange(40), "ref")[0], cells(20, 1, np.arange(4), "a")[0]
    with pytest.raises(InputError, match="a: 4 of its genes are in the references"):
        mapped.components([part], [reference])
