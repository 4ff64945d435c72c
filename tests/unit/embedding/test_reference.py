import numpy as np
import pytest
import scipy.sparse as sp

from lloki.embedding import mosaic, reference
from lloki.support.errors import InputError


def test_cells_of_references_are_centred_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "CELLS", 60)
    random, genes = np.random.default_rng(0), [f"g{i}" for i in range(12)]
    matrix = sp.csr_matrix(random.poisson(2, (100, 12)).astype(np.float32))
    datasets = mosaic.Datasets()
    datasets.add("one", matrix, genes)
    model = datasets.fit(4)
    part = reference.some(matrix, 2)
    assert part.shape == (30, 12) and reference.some(matrix[:20], 2).shape == (20, 12)
    found = reference.embed(model, [(part, genes), (part + part, genes)])
    assert found.shape == (60, 4) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    space = mosaic.embed(model, part, genes)
    space -= space.mean(axis=0)
    space /= np.linalg.norm(space, axis=1, keepdims=True)
    np.testing.assert_allclose(found[:30], space, atol=1e-5)
    assert reference.load(tmp_path) is None
    reference.save(found, tmp_path)
    np.testing.assert_array_equal(reference.load(tmp_path), found)


def test_damaged_cells_are_refused(tmp_path):
    (tmp_path / reference.NAME).write_bytes(b"no numbers")
    with pytest.raises(InputError, match="cannot be read"):
        reference.load(tmp_path)
