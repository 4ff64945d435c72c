#!/usr/bin/env python3
"""LLOKI-FP as one would write it with SciPy and scikit-learn: dense matrices, whole at once.

The yardstick of benchmarks/propagation.py: the same steps and defaults on the same slice, without
reading or writing files between them. Prints seconds of each step as JSON.
"""

import json
import resource
import sys
import time

import anndata as ad
import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors


def graph(matrix, places, rng):
    space = PCA(50, random_state=0).fit_transform(matrix)
    near = NearestNeighbors(n_neighbors=40, metric="cosine").fit(space)
    edges = near.kneighbors_graph(mode="connectivity")
    edges = edges.maximum(edges.T).tocoo()
    pairs = rng.choice(len(places), (100, 2))
    sigma = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1).mean()
    distance = np.linalg.norm(places[edges.row] - places[edges.col], axis=1)
    edges.data = np.exp(-(distance**2) / (2 * sigma**2))
    weights = edges.tocsr() + sp.eye(len(places))
    root = sp.diags(1 / np.sqrt(np.asarray(weights.sum(axis=1)).ravel()))
    return (root @ weights @ root).tocsr()


def main() -> None:
    data, reference = (ad.read_h5ad(path) for path in sys.argv[1:3])
    rng, seconds, start = np.random.default_rng(0), {}, time.perf_counter()

    def step(name):
        nonlocal start
        now = time.perf_counter()
        seconds[name], start = now - start, now

    observed, places = data.X.toarray(), np.asarray(data.obsm["spatial"])
    weights = graph(observed, places, rng)
    step("graph")
    genes = observed.shape[1]
    before = 1 - (observed > 0).mean(axis=1)
    known = np.sort(1 - (reference.X.toarray() > 0).mean(axis=1))
    target = np.quantile(known, np.argsort(np.argsort(before)) / len(before))
    limits = np.maximum(np.ceil((1 - target) * genes), (observed > 0).sum(axis=1)).astype(int)
    step("targets")
    mask, state = observed > 0, observed
    for _ in range(40):
        hop = weights @ state
        hop[mask] = observed[mask]
        rank = np.where(mask, np.inf, hop)
        order = np.argsort(-rank, axis=1)
        for i, limit in enumerate(limits):
            hop[i, order[i, limit:]] = 0
        change = np.linalg.norm(hop - state) / np.linalg.norm(state)
        state = hop
        if ((state > 0).sum(axis=1) >= limits).all() or change < 1e-4:
            break
    step("impute")
    again = graph(state, places, rng)
    step("graph of the imputed")
    smooth = 0.05 * (again @ state) + 0.95 * state
    smooth[mask] = observed[mask]
    smooth[state == 0] = 0
    sp.csr_matrix(smooth)
    step("denoise")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": seconds, "peak_gb": peak}))


if __name__ == "__main__":
    main()
