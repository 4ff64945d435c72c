#!/usr/bin/env python3
"""CellCharter as its tutorial runs it: given.npz in, got.npz out. In its own environment.

given: counts (n × g), places (n × 2), samples (n), numbers, seed. scVI on the counts, each sample a
batch; means over three rings of a Delaunay graph without its longest links; a Gaussian mixture.
"""

import sys

import anndata as ad
import cellcharter as cc
import numpy as np
import pandas as pd
import scvi
import squidpy as sq
import torch

torch.set_num_threads(1)
given = np.load(sys.argv[1])
seed, counts = int(given["seed"]), given["counts"].astype(np.float32)
scvi.settings.seed = seed
obs = pd.DataFrame({"sample": pd.Categorical(given["samples"])}, np.arange(len(counts)).astype(str))
data = ad.AnnData(counts, obs, obsm={"spatial": given["places"]})
known = data[counts.sum(axis=1) > 0].copy()  # without a count there is no library size to learn
scvi.model.SCVI.setup_anndata(known, batch_key="sample")
model = scvi.model.SCVI(known)
model.train(early_stopping=True, accelerator="cpu", devices=1, enable_progress_bar=False)
data.obsm["X_scVI"] = model.get_latent_representation(data)
sq.gr.spatial_neighbors(data, library_key="sample", coord_type="generic", delaunay=True)
cc.gr.remove_long_links(data)
cc.gr.aggregate_neighbors(data, n_layers=3, use_rep="X_scVI", sample_key="sample")
codes = []
for number in given["numbers"]:
    mixture = cc.tl.Cluster(int(number), random_state=seed, trainer_params={"accelerator": "cpu"})
    mixture.fit(data)
    codes.append(mixture.predict(data).codes)
np.savez(sys.argv[2], space=data.obsm["X_cellcharter"], codes=codes)
