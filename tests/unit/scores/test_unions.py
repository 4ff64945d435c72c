"""Counts of slices and references on all genes, and which of them were measured."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lloki.scores import unions
from lloki.slices.files import log_normalise
from lloki.support.errors import InputError


def part(sample, counts, names):
    """A slice with these counts (n × g)."""
    counts = sp.csr_matrix(np.array(counts, dtype=np.float32))
    obs = pd.DataFrame({"sample": sample}, index=[f"{sample}:{i}" for i in range(counts.shape[0])])
    data = ad.AnnData(log_normalise(counts), obs=obs, var=pd.DataFrame(index=names))
    data.layers["counts"] = counts
    return data


@pytest.fixture
def slices():
    return [
        part("a", [[1, 2, 0], [0, 1, 3]], ["Gad1", "Sst", "Vip"]),
        part("b", [[4, 1]], ["Vip", "Pvalb"]),
    ]


@pytest.fixture
def reference():
    return part("r", [[1, 7, 0, 2], [0, 1, 5, 1]], ["Pvalb", "Acta2", "Gad1", "Vip"])


def test_counts_lie_at_their_genes_and_the_rest_is_not_measured(slices, reference):
    union = unions.of(slices, np.array(["A", "A", "B"]), [reference])
    # genes: Gad1, Sst, Vip, Pvalb; Acta2, which no slice measures, is left out
    np.testing.assert_array_equal(
        union.counts.toarray(),
        [[1, 2, 0, 0], [0, 1, 3, 0], [0, 0, 4, 1], [0, 0, 2, 1], [5, 0, 1, 0]],
    )
    assert list(union.batches) == ["A", "A", "B", "reference 1", "reference 1"]
    known = {name: own.astype(int).tolist() for name, own in union.measured.items()}
    assert known == {"A": [1, 1, 1, 0], "B": [0, 0, 1, 1], "reference 1": [1, 0, 1, 1]}


def test_a_batch_has_measured_what_all_of_its_slices_have(slices):
    union = unions.of(slices, np.array(["A", "A", "A"]), [])
    assert union.measured["A"].tolist() == [False, False, True, False]


def test_molecules_are_found_again_after_log_normalisation():
    counts = np.random.default_rng(0).poisson(0.6, (200, 30)).astype(np.float32)
    counts[:, 0] += 1
    counts[5] = [1, *[0] * 29]
    found = unions.molecules(log_normalise(sp.csr_matrix(counts)))
    np.testing.assert_array_equal(found.toarray(), counts)
    empty = sp.csr_matrix(([0.5], ([1], [2])), shape=(3, 4))
    assert unions.molecules(empty).toarray()[1].tolist() == [0, 0, 1, 0]


def test_a_slice_without_counts_is_refused(slices, reference):
    del slices[1].layers["counts"]
    with pytest.raises(InputError, match="b: it was given as normalised already"):
        unions.of(slices, np.array(["A", "A", "B"]), [reference])
