"""Expression imputed from a reference, against the same written out for one cell."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lloki.propagation.graph import principal_components
from lloki.scores import imputed
from lloki.support.errors import InputError

NAMES = [f"Gene{i}" for i in range(60)]


def cells(n, seed, columns, sample):
    """Cells of 3 kinds, each with 20 genes of its own, on these columns; and their kinds."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, n)
    rate = np.where(np.arange(60) // 20 == kinds[:, None], 3.0, 0.4)
    values = sp.csr_matrix(np.log1p(rng.poisson(rate))[:, columns], dtype=np.float32)
    obs = pd.DataFrame({"sample": sample}, index=[f"{sample}:{i}" for i in range(n)])
    var = pd.DataFrame(index=[NAMES[c] for c in columns])
    return ad.AnnData(values, obs=obs, var=var), kinds


@pytest.fixture
def case():
    """A reference and two slices that share no gene with one another."""
    slices = [cells(50, 1, range(0, 60, 2), "a"), cells(40, 2, range(1, 60, 2), "b")]
    return cells(150, 0, range(60), "ref"), slices


def test_kinds_meet_without_a_gene_in_common(case):
    (reference, _), slices = case
    space = imputed.components([part for part, _ in slices], [reference])
    kinds = np.concatenate([kinds for _, kinds in slices])
    assert space.shape == (90, 50)
    means = np.array([[space[rows][kinds[rows] == k].mean(0) for k in range(3)]
                      for rows in (slice(50), slice(50, 90))])  # fmt: skip
    gaps = np.linalg.norm(means[0][:, None] - means[1], axis=2)
    assert (gaps.argmin(axis=1) == [0, 1, 2]).all()
    assert np.diag(gaps).max() < 0.5 * gaps[~np.eye(3, dtype=bool)].min()


def test_a_cell_is_the_mean_of_its_nearest_in_the_reference(case):
    (reference, _), ((part, _), _) = case
    found = imputed.averages(part, reference.X, np.array(NAMES), 0)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    sides = [part.X.toarray(), reference.X[:, ::2].toarray()]
    both = np.concatenate([np.clip((x - x.mean(0)) / x.std(0), -10, 10) for x in sides])
    space = principal_components(sp.csr_matrix(both), 50)
    space /= np.linalg.norm(space, axis=1, keepdims=True)
    near = np.argsort(-(space[50:] @ space[7]))[:30]
    assert set(found[7].indices.tolist()) == set(near.tolist())


def test_several_references_count_as_one_whatever_the_order_of_their_genes(case):
    (reference, _), slices = case
    parts = [part for part, _ in slices]
    halves = [reference[:70].copy(), reference[70:, ::-1].copy()]
    whole = imputed.components(parts, [reference])
    np.testing.assert_allclose(imputed.components(parts, halves), whole, atol=1e-4)


def test_a_slice_with_too_few_genes_of_the_reference_is_refused(case):
    (reference, _), ((part, _), _) = case
    with pytest.raises(InputError, match="a: 4 of its genes are in the references"):
        imputed.components([part[:, :4].copy()], [reference])
