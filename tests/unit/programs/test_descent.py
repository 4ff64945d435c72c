import numpy as np
import pytest
import torch
from devices import DEVICES
from scipy.optimize import lsq_linear

from lloki.programs import descent


@pytest.fixture
def problem():
    """Start, target, precision and hold of 300 cells and 5 metagenes."""
    rng = np.random.default_rng(0)
    loads = rng.random((20, 5))
    target = loads.T @ (loads @ rng.gamma(0.5, size=(5, 300)) + rng.normal(0, 0.2, (20, 300)))
    hold = rng.choice([0, 0.5], 300)
    given = np.full((5, 300), 0.2), target, loads.T @ loads, hold
    return [np.ascontiguousarray(a, dtype=np.float32) for a in given]


def test_it_ends_at_the_least_of_each_cell(problem):
    _, target, precision, hold = problem
    found = descent.descend(*problem, sweeps=2000)
    for cell in range(0, 300, 10):
        q = precision + hold[cell] * np.eye(5)
        root = np.linalg.cholesky(q).T
        best = lsq_linear(root, np.linalg.solve(root.T, target[:, cell]), (0, np.inf))
        np.testing.assert_allclose(found[:, cell], best.x, atol=2e-3)
    assert (found >= np.float32(descent.LEAST)).all()


def test_a_cell_does_not_depend_on_the_others(problem):
    whole = descent.descend(*problem, sweeps=40)
    x, target, precision, hold = problem
    few = descent.descend(x[:, :7], target[:, :7], precision, hold[:7], 40)
    np.testing.assert_allclose(few, whole[:, :7], atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sweeps", [3, 40])
def test_pytorch_finds_what_numpy_finds(problem, device, sweeps):
    wanted = descent.descend(*problem, sweeps)
    found = descent.descend(*problem, sweeps, torch.device(device))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
