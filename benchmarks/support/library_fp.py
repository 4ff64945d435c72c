#!/usr/bin/env python3
"""LLOKI-FP by the project's library in one process: the counterpart of plain_fp.py."""

import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bin"))

from lloki.propagation import graph, propagation, sparsity
from lloki.slices import files
from lloki.support import search


def build(matrix, places):
    space = graph.principal_components(matrix, 50)
    found = search.find_neighbours(space, 40)
    return graph.spatial_graph(found.indices, places, graph.mean_pair_distance(places))


def main() -> None:
    data = files.read_expression(sys.argv[1], spatial=True)
    reference = files.read_reference(sys.argv[2])
    places, seconds, start = data.obsm["spatial"], {}, time.perf_counter()

    def step(name):
        nonlocal start
        now = time.perf_counter()
        seconds[name], start = now - start, now

    weights = build(data.X, places)
    step("graph")
    target = sparsity.transport(sparsity.sparsity(data.X), sparsity.sparsity(reference.X))
    limits = sparsity.max_nonzero(target, data.n_vars)
    step("targets")
    imputed = propagation.impute(data.X, weights, limits).matrix
    step("impute")
    again = build(imputed, places)
    step("graph of the imputed")
    propagation.denoise(data.X, imputed, again)
    step("denoise")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": seconds, "peak_gb": peak}))


if __name__ == "__main__":
    main()
