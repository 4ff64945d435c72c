#!/usr/bin/env python3
"""scANVI of scvi-tools with the settings of its tutorial: run_scanvi.py IN OUT.csv [SPACE.csv].

IN: h5ad with counts in X, obs['batch'] and obs['label'] ('?': none). OUT: probabilities of labels;
SPACE: the cells' 30 latent numbers. Epochs of scVI: as many as its own rule takes for so many cells
(400 up to 20,000), until the evidence on held-out cells no longer rises; of scANVI: 20, with 100
cells of each label in an epoch.
"""

import sys
import warnings

import anndata as ad
import numpy as np

warnings.simplefilter("ignore")
import scvi  # noqa: E402
import torch  # noqa: E402

source, target, *space = sys.argv[1:]
torch.set_num_threads(1)
scvi.settings.seed = 0
data = ad.read_h5ad(source)
filled = np.asarray(data.X.sum(axis=1)).ravel() > 0
known = data[filled].copy()
scvi.model.SCVI.setup_anndata(known, batch_key="batch", labels_key="label")
how = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, "logger": False}
first = scvi.model.SCVI(known, n_layers=2, n_latent=30, gene_likelihood="nb")
first.train(early_stopping=True, **how)
print(first.trainer.current_epoch, "epochs")
model = scvi.model.SCANVI.from_scvi_model(first, "?")
model.train(max_epochs=20, n_samples_per_label=100, **how)
model.predict(data, soft=True).to_csv(target, index=False)
for path in space:
    np.savetxt(path, model.get_latent_representation(data), delimiter=",")
