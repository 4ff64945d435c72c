#!/usr/bin/env python3
"""scVI (Lopez et al. 2018) on all genes of all panels and the references, by scvi-tools.

A gene that a panel lacks is masked: it counts neither in the likelihood of the panel's cells nor in
the shares of genes that make up their totals; the encoder sees zero for it, and the batch.
EPOCHS at most: the package's own rule (400 up to 20,000 cells) takes an hour for 1,000 genes.
"""

from lloki.scores.baselines import baseline, threads

EPOCHS = 60


@baseline("scvi_union", "scvi-tools")
def main(shared, seed):
    """scVI on the counts of all genes, those not measured masked, batch by panel or reference."""
    import logging
    import warnings

    import anndata as ad
    import numpy as np
    import pandas as pd

    from lloki.scores import unions

    union = unions.of(shared.panels, shared.batches, shared.references)
    warnings.simplefilter("ignore")
    import scvi
    import torch

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(threads())
    scvi.settings.seed = seed
    batches = pd.Categorical(union.batches)
    measured = np.array([union.measured[batch] for batch in batches.categories], np.float32)

    class Measured(scvi.distributions.ZeroInflatedNegativeBinomial):
        """Of genes that a cell's panel measures; the log-likelihood of the others is 0."""

        def log_prob(self, value):
            return super().log_prob(value) * self.known

    class OfPanels(scvi.module.VAE):
        """scVI's module, whose shares of genes are among those that a cell's panel measures."""

        def generative(self, *arguments, batch_index, **more):
            found = super().generative(*arguments, batch_index=batch_index, **more)
            px = found["px"]
            known = torch.from_numpy(measured)[batch_index[:, 0].long()]
            share = (px.scale * known).sum(dim=-1, keepdim=True)
            found["px"] = Measured(
                mu=px.mu / share, theta=px.theta, zi_logits=px.zi_logits, scale=px.scale / share
            )
            found["px"].known = known
            return found

    class Model(scvi.model.SCVI):
        _module_cls = OfPanels

    index = [str(number) for number in range(len(batches))]
    data = ad.AnnData(union.counts, pd.DataFrame({"batch": batches}, index))
    filled = np.diff(union.counts.indptr) > 0
    known = data[filled].copy()
    Model.setup_anndata(known, batch_key="batch")
    model = Model(known, encode_covariates=True)
    epochs = min(EPOCHS, scvi.model.get_max_epochs_heuristic(known.n_obs))
    quiet = {"enable_progress_bar": False, "logger": False}
    model.train(max_epochs=epochs, accelerator="cpu", devices=1, **quiet)
    return model.get_latent_representation(data[: len(shared.cells)].copy())


if __name__ == "__main__":
    main()
