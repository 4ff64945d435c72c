#!/usr/bin/env python3
"""Correction by mutual nearest neighbours (Haghverdi et al. 2018) on LLOKI-FP, written anew."""

from lloki.scores.baselines import baseline


@baseline("mnn_fp")
def main(shared, seed):
    """LLOKI-FP corrected by mutual nearest neighbours, batch by batch. It draws nothing."""
    from lloki.scores import mnn

    return mnn.correct(shared.embedding, shared.batches)


if __name__ == "__main__":
    main()
