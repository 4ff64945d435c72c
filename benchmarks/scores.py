#!/usr/bin/env python3
"""Time and memory of the scores of `benchmark.py`, on made-up embeddings.

Cells of 20 types and 5 batches lie about the middles of their types; each embedding shifts the
batches by another amount. Prints seconds of each embedding (the first with compilation) and the
peak memory; with --scib the silhouettes of scib-metrics itself beside ours.
"""

import os
import sys
import time
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))


@click.command()
@click.option("--cells", default=5000, show_default=True)
@click.option("--dims", default=128, show_default=True)
@click.option("--methods", default=2, show_default=True)
@click.option("--scib", is_flag=True, help="Silhouettes by scib-metrics too.")
def main(cells, dims, methods, scib) -> None:
    """Print a row for each embedding."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from lloki.scores import metrics
    from lloki.support import cli

    rng = np.random.default_rng(0)
    labels = np.array([f"type {i}" for i in rng.integers(20, size=cells)], dtype=object)
    batches = np.array([f"batch {i}" for i in rng.integers(5, size=cells)])
    samples = np.array(
        [f"{b} {i}" for b, i in zip(batches, rng.integers(2, size=cells), strict=True)]
    )
    places = rng.uniform(0, 5000, (cells, 2))
    kinds, codes = np.unique(labels.astype(str), return_inverse=True)
    middles = rng.normal(size=(len(kinds), dims))
    shifts = rng.normal(size=(5, dims))[np.unique(batches, return_inverse=True)[1]]
    started = time.perf_counter()
    for number in range(methods):
        space = middles[codes] + rng.normal(size=(cells, dims)) + shifts * number / methods
        space = space.astype(np.float32)
        begun = time.perf_counter()
        found = metrics.evaluate(space, labels, batches, space)
        metrics.spatial_coherence(space, places, samples)
        print(f"embedding {number + 1}: {time.perf_counter() - begun:6.1f} s, "
              f"bio {found['Bio conservation']:.3f}", flush=True)  # fmt: skip
    print(f"all: {time.perf_counter() - started:.1f} s, peak {cli.peak_memory_mb() / 1e3:.2f} GB")
    if scib:
        import scib_metrics

        theirs = scib_metrics.utils.silhouette_samples
        for name, function in (("ours", metrics.silhouettes), ("scib-metrics", theirs)):
            begun = time.perf_counter()
            mean = function(space, labels.astype(str)).mean()
            print(f"silhouettes, {name}: {time.perf_counter() - begun:.1f} s, mean {mean:.6f}")


if __name__ == "__main__":
    main()
