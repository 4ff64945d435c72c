#!/usr/bin/env python3
"""Scanorama (Hie et al. 2019) on LLOKI-FP: its assembly, by the package scanorama."""

from lloki.scores.baselines import baseline


@baseline("scanorama_fp", "scanorama")
def main(shared, seed):
    """Scanorama's assembly of LLOKI-FP, a data set for each technology and panel."""
    import numpy as np
    import scanorama

    np.random.seed(seed)  # noqa: NPY002 - what scanorama draws from
    rows = [np.flatnonzero(shared.batches == name) for name in np.unique(shared.batches)]
    parts = scanorama.assemble([shared.embedding[those] for those in rows], verbose=0)
    space = np.empty_like(shared.embedding)
    space[np.concatenate(rows)] = np.concatenate(parts)
    return space


if __name__ == "__main__":
    main()
