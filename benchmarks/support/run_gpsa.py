#!/usr/bin/env python3
"""GPSA as its examples run it: given.npz in, got.npz out. In its own environment.

Both slices are centred and scaled to a box of 10 for it; the fixed slice stays where it is. The
ten genes that vary most, 50 inducing points a slice and in all, EPOCHS steps of Adam.
"""

import sys

import numpy as np
import torch
from gpsa import VariationalGPSA, rbf_kernel

GENES, POINTS, EPOCHS = 10, 50, 300

torch.cholesky = torch.linalg.cholesky  # the name that the package calls is gone from PyTorch
torch.manual_seed(0)
np.random.seed(0)  # noqa: NPY002 (what the package draws from)
torch.set_num_threads(1)
torch.autograd.set_detect_anomaly(False)
given = np.load(sys.argv[1])
values = [given["fixed"].astype(float), given["moving"].astype(float)]
places = [given["fixed_places"], given["moving_places"]]
kept = np.argsort(-np.concatenate(values).var(axis=0))[:GENES]
values = [(v[:, kept] - v[:, kept].mean(0)) / (v[:, kept].std(0) + 1e-9) for v in values]
size = np.ptp(places[0], axis=0).max() / 10
centres = [p.mean(axis=0) for p in places]
scaled = [(p - c) / size for p, c in zip(places, centres, strict=True)]
data = {
    "expression": {
        "spatial_coords": torch.tensor(np.concatenate(scaled), dtype=torch.float32),
        "outputs": torch.tensor(np.concatenate(values), dtype=torch.float32),
        "n_samples_list": [len(v) for v in values],
    }
}
model = VariationalGPSA(
    data, n_spatial_dims=2, m_X_per_view=POINTS, m_G=POINTS, data_init=True, grid_init=False,
    n_latent_gps={"expression": None}, mean_function="identity_fixed",
    kernel_func_warp=rbf_kernel, kernel_func_data=rbf_kernel, fixed_view_idx=0,
)  # fmt: skip
views, counts, _, _ = model.create_view_idx_dict(data)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
where = {"expression": data["expression"]["spatial_coords"]}
for _ in range(EPOCHS):
    model.train()
    means, _, _, samples = model.forward(where, view_idx=views, Ns=counts, S=5)
    loss = model.loss_fn(data, samples)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
moved = means["expression"][views["expression"][1]].detach().numpy()
np.savez(sys.argv[2], moved=moved * size + centres[0])
