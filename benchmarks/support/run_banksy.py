#!/usr/bin/env python3
"""BANKSY for domains (λ 0.8): given.npz in, got.npz out. In its own environment; GPL-3.

given: counts (n × g), places (n × 2), samples (n), numbers, seed. The package's defaults: 15
neighbours, one gradient, 20 components; each sample's matrix by itself, several samples made alike
by Harmony, as the authors' notebooks have it. Leiden at the resolution that the package finds for
so many clusters.
"""

import sys

import anndata as ad
import matplotlib as mpl

mpl.use("Agg")
import harmonypy
import numpy as np
import pandas as pd
from banksy.cluster_methods import run_Leiden_partition
from banksy.embed_banksy import generate_banksy_matrix
from banksy.initialize_banksy import initialize_banksy
from banksy_utils.filter_utils import normalize_total
from banksy_utils.umap_pca import pca_umap

LAMBDA, KEYS = 0.8, ("x", "y", "spatial")
given = np.load(sys.argv[1])
seed, samples = int(given["seed"]), given["samples"]
np.random.seed(seed)  # noqa: NPY002 (what the package draws from)
parts, order = [], []
for sample in np.unique(samples):
    rows = np.flatnonzero(samples == sample)
    obs = pd.DataFrame({"sample": samples[rows]}, index=rows.astype(str))
    data = ad.AnnData(given["counts"][rows].astype(float), obs)
    data.obsm["spatial"] = given["places"][rows]
    data = normalize_total(data)
    found = initialize_banksy(
        data, KEYS, 15, max_m=1, plt_edge_hist=False, plt_nbr_weights=False, plt_theta=False
    )
    parts.append(generate_banksy_matrix(data, found, [LAMBDA], 1, verbose=False)[1])
    order.append(rows)
matrix = ad.concat(parts)
matrix.X = np.nan_to_num(np.asarray(matrix.X))
found = {"scaled_gaussian": {LAMBDA: {"adata": matrix}}}
kept = min(20, *matrix.shape)
pca_umap(found, pca_dims=[kept], add_umap=False, plt_remaining_var=False)
if len(parts) > 1:
    fit = harmonypy.run_harmony(
        matrix.obsm[f"reduced_pc_{kept}"], matrix.obs, "sample", random_state=seed
    )
    space = np.asarray(fit.Z_corr)
    matrix.obsm[f"reduced_pc_{kept}"] = space if len(space) == len(matrix) else space.T
back = np.argsort(np.concatenate(order))
codes = []
for number in given["numbers"]:
    table, _ = run_Leiden_partition(
        found, [], partition_seed=seed, match_labels=False, max_labels=int(number)
    )
    codes.append(np.asarray(table["labels"].iloc[0].dense)[back])
np.savez(sys.argv[2], space=matrix.obsm[f"reduced_pc_{kept}"][back], codes=codes)
