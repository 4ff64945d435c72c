"""Slices of known metagenes; what SpiceMix made of real ones, where that lies by the project."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from lloki.programs import metagenes
from lloki.programs.neighbourhood import neighbour_graph

CASES = Path(__file__).parents[2] / "shared/cases/metagenes"
there = pytest.mark.skipif(not CASES.is_dir(), reason="no stored results of SpiceMix")


def stored(name):
    """The input of a stored case as Cells, its file, and its number of metagenes."""
    file = np.load(CASES / f"input_{name}.npz", allow_pickle=True)
    r = len(file["samples"])
    values = [file[f"Y{i}"] for i in range(r)]
    starts = np.cumsum([0, *map(len, values)])
    graphs = [neighbour_graph(file[f"xy{i}"]) for i in range(r)]
    k = 10 if name == "mpfc" else 15
    cells = metagenes.Cells(
        np.concatenate(values), sp.block_diag(graphs, "csr"), starts, np.full(r, 1 / r)
    )
    metagenes.scale(cells.values, starts, k)
    return cells, file, k


def state(name, k, ending, cells):
    """A stored state as a Fit, with the affinity of its end."""
    file = np.load(CASES / f"spicemix_{name}_K{k}_{ending}.npz")
    values = np.concatenate([file[f"X{i}"] for i in range(len(cells.starts) - 1)])
    return metagenes.Fit(file["M"], values, file["Sigma"], float(file["sigma_yx"][0]))


AFFINITY = np.array([
    [-3.0, 1.5, 0.5, 1.0], [1.5, -2.0, -1.0, 1.0], [0.5, -1.0, -2.5, 2.0], [1.0, 1.0, 2.0, -3.5]
])  # fmt: skip


def planted(n=900, slices=2, g=40, k=4, noise=0.02, seed=0, strength=1.0):
    """Cells of a field of known affinity (Gibbs sampling on a lattice), metagenes and mixtures."""
    rng = np.random.default_rng(seed)
    affinity = strength * AFFINITY[:k, :k]
    m = rng.gamma(0.3, size=(g, k)) + 1e-3
    m /= m.sum(axis=0)
    side = int(np.sqrt(n))
    graphs, mixtures = [], []
    for _ in range(slices):
        places = np.stack(np.meshgrid(*[np.arange(side)] * 2), axis=-1).reshape(-1, 2)
        graph = neighbour_graph(places + rng.uniform(-0.2, 0.2, places.shape), "nearest")
        z = rng.dirichlet(np.full(k, 0.3), side**2)
        parity = places.sum(axis=1) % 2
        draws = rng.dirichlet(np.ones(k), 400)  # evenly from the simplex
        for sweep in range(30):
            turn = np.flatnonzero(parity == sweep % 2)
            eta = (graph[turn] @ z) @ affinity
            logits = -eta @ draws.T
            logits += rng.gumbel(size=logits.shape)
            z[turn] = draws[logits.argmax(axis=1)]
        graphs.append(graph)
        mixtures.append(z)
    z = np.concatenate(mixtures)
    sizes = rng.uniform(0.7, 1.3, len(z)) * k
    values = sizes[:, None] * z @ m.T
    values += noise * rng.normal(size=values.shape) * values.mean()
    starts = np.arange(slices + 1) * side**2
    cells = metagenes.Cells(
        np.maximum(values, 1e-6).astype(np.float32), sp.block_diag(graphs, "csr"), starts,
        np.full(slices, 1 / slices),
    )  # fmt: skip
    metagenes.scale(cells.values, starts, k)
    return cells, m, z
