#!/usr/bin/env python3
"""Scanorama (Hie et al. 2019) by the package scanorama, with its defaults."""

from lloki.scores.baselines import baseline


@baseline("scanorama", "scanorama")
def main(shared, seed):
    """Scanorama on the log-normalised shared genes, a data set for each technology and panel."""
    import numpy as np
    import scanorama

    names = np.unique(shared.batches)
    rows = [np.flatnonzero((shared.batches == name) & shared.filled) for name in names]
    matrices = [shared.expression[those] for those in rows]
    dimensions = min(scanorama.DIMRED, len(shared.genes) - 1)
    parts, _ = scanorama.integrate(
        matrices, [shared.genes] * len(names), dimred=dimensions, seed=seed, verbose=0
    )
    space = np.zeros((len(shared.cells), parts[0].shape[1]), dtype=np.float32)
    space[np.concatenate(rows)] = np.concatenate(parts)
    return space  # cells without any value: at the origin, as Scanorama's unit rows would have them


if __name__ == "__main__":
    main()
