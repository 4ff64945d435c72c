#!/usr/bin/env python3
"""Harmony (Korsunsky et al. 2019) on cells mapped onto the reference as by StabMap, by harmonypy.

harmonypy is under the GPL: this is a program of its own, in an environment or image of its own.
"""

from lloki.scores.baselines import baseline


@baseline("mapped_harmony", "harmonypy")
def main(shared, seed):
    """Harmony on the reference's components of all cells by regression, batch by panel."""
    import harmonypy

    from lloki.scores import mapped

    base = mapped.components(shared.panels, shared.references, seed)
    done = harmonypy.run_harmony(base, shared.cells, ["batch"], random_state=seed, verbose=False)
    return done.Z_corr


if __name__ == "__main__":
    main()
