#!/usr/bin/env python3
"""Harmony (Korsunsky et al. 2019) on expression imputed from the reference, by harmonypy.

harmonypy is under the GPL: this is a program of its own, in an environment or image of its own.
"""

from lloki.scores.baselines import baseline


@baseline("imputed_harmony", "harmonypy")
def main(shared, seed):
    """Harmony on components of expression imputed from the reference, batch by panel."""
    import harmonypy

    from lloki.scores import imputed

    base = imputed.components(shared.panels, shared.references, seed)
    done = harmonypy.run_harmony(base, shared.cells, ["batch"], random_state=seed, verbose=False)
    return done.Z_corr


if __name__ == "__main__":
    main()
