"""LLOKI-FP step by step in memory, with the defaults of the scripts, for benchmarks of quality."""

import numpy as np
import scipy.sparse as sp

from lloki.propagation import graph, propagation, sparsity
from lloki.support import search


def neighbours(matrix, k=40, pcs=50):
    """The k nearest cells in expression, as build_graph.py finds them."""
    space = graph.principal_components(matrix, pcs) if pcs else matrix.toarray()
    return search.find_neighbours(space, k, "cosine", "auto", 0).indices


def build(matrix, places, k=40, sigma=1.0, symmetric=False, pcs=50):
    """The graph of build_graph.py with the weights of propagate.py, a mean over the neighbours.

    sigma: the width as a multiple of the default one; symmetric: weights as Eq. 1 has them.
    """
    width = sigma * graph.mean_pair_distance(places)
    weights = graph.spatial_graph(neighbours(matrix, k, pcs), places, width)
    return weights if symmetric else graph.averaging(weights)


def limits(matrix, reference, fixed=False):
    """Targets by transport to the sparsities of `reference`, or their mean for every cell."""
    targets = sparsity.transport(sparsity.sparsity(matrix), reference)
    if fixed:
        targets = np.full_like(targets, targets.mean())
    return sparsity.max_nonzero(targets, matrix.shape[1])


def impute(matrix, weights, most=None, seed=None):
    """The matrix imputed up to `most` values a cell (None: every gene), with a seed by chance."""
    most = np.full(matrix.shape[0], matrix.shape[1]) if most is None else most
    return propagation.impute(matrix, weights, most, random_seed=seed).matrix


def thinned(counts, keep, seed=0):
    """Counts of which each molecule stays with probability `keep`, without stored zeros."""
    counts = sp.csr_matrix(counts, copy=True)
    counts.data = np.random.default_rng(seed).binomial(counts.data.astype(int), keep)
    counts.eliminate_zeros()
    return counts.astype(np.float32)
