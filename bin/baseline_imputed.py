#!/usr/bin/env python3
"""Whole expression of every cell from its nearest cells of the reference; components of that."""

from lloki.scores.baselines import baseline


@baseline("imputed")
def main(shared, seed):
    """Principal components of expression imputed from the reference by nearest neighbours."""
    from lloki.scores import imputed

    return imputed.components(shared.panels, shared.references, seed)


if __name__ == "__main__":
    main()
