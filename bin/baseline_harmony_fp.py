#!/usr/bin/env python3
"""Harmony (Korsunsky et al. 2019) on LLOKI-FP, by the package harmonypy.

harmonypy is under the GPL: this is a program of its own, in an environment or image of its own.
"""

from lloki.scores.baselines import baseline


@baseline("harmony_fp", "harmonypy")
def main(shared, seed):
    """Harmony on LLOKI-FP, batch by technology and panel; rows of length 1, as LLOKI-FP has."""
    import harmonypy

    from lloki.support.neighbours import unit_rows

    base = shared.embedding
    done = harmonypy.run_harmony(base, shared.cells, ["batch"], random_state=seed, verbose=False)
    return unit_rows(done.Z_corr)


if __name__ == "__main__":
    main()
