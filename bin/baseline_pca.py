#!/usr/bin/env python3
"""Principal components of the shared genes: what is there before any integration."""

from lloki.baselines import baseline


@baseline("pca")
def main(shared, seed):
    """Principal components of the log-normalised shared genes."""
    from lloki.graph import principal_components

    return principal_components(shared.expression, 50, seed)


if __name__ == "__main__":
    main()
