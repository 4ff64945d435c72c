#!/usr/bin/env python3
"""scVI (Lopez et al. 2018) by the package scvi-tools, with its defaults."""

from lloki.scores.baselines import baseline, threads


@baseline("scvi", "scvi-tools")
def main(shared, seed):
    """scVI on the counts of the shared genes, batch by technology and panel."""
    import logging
    import warnings

    import anndata as ad
    import numpy as np
    import pandas as pd

    counts = shared.of_whole_counts()
    warnings.simplefilter("ignore")
    import scvi
    import torch

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(threads())
    scvi.settings.seed = seed
    obs = pd.DataFrame({"batch": pd.Categorical(shared.batches)}, shared.cells["cell"])
    data = ad.AnnData(counts.astype(np.float32), obs, pd.DataFrame(index=shared.genes))
    # without a count there is no library size to learn from; the encoder places the cell anyway
    known = data[shared.filled].copy()
    scvi.model.SCVI.setup_anndata(known, batch_key="batch")
    model = scvi.model.SCVI(known)
    model.train(accelerator="cpu", devices=1, enable_progress_bar=False, logger=False)
    return model.get_latent_representation(data)


if __name__ == "__main__":
    main()
