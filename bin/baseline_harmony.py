#!/usr/bin/env python3
"""Harmony (Korsunsky et al. 2019) by the package harmonypy.

harmonypy is under the GPL: this is a program of its own, in an environment or image of its own.
"""

from lloki.scores.baselines import baseline


@baseline("harmony", "harmonypy")
def main(shared, seed):
    """Harmony on the principal components of the shared genes, batch by technology and panel."""
    import harmonypy

    from lloki.propagation.graph import principal_components

    base = principal_components(shared.expression, 50, seed)
    done = harmonypy.run_harmony(base, shared.cells, ["batch"], random_state=seed, verbose=False)
    return done.Z_corr  # since 2.1 cells × components; another shape is refused


if __name__ == "__main__":
    main()
