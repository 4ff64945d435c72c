#!/usr/bin/env python3
"""SpiceMix as its main.py runs it: given.npz in, got.npz out. In its own environment.

The package's folder is the third argument. Its reader asks NumPy for what that no longer has, so
values and edges are put in place of what it would read; the start is from given clusters.
"""

import sys
import time

import numpy as np

sys.path.insert(0, sys.argv[3])
import torch
from model import SpiceMix

torch.set_num_threads(1)
given = np.load(sys.argv[1])
k, plain, bound = (int(given[name]) for name in ("k", "plain", "bound"))
slices = range(int(given["slices"]))
np.random.seed(0)  # noqa: NPY002 (what the package draws from)
context = {"device": "cpu", "dtype": torch.float64}
model = SpiceMix(
    K=k, lambda_Sigma_x_inv=1e-4, power_Sigma_x_inv=2, repli_list=list(slices), context=context,
    context_Y=context,
)  # fmt: skip
values = [given[f"values{r}"].astype(float) for r in slices]
model.Ns, model.Gs = zip(*(y.shape for y in values), strict=True)
model.GG = max(model.Gs)
model.Ys = [torch.tensor(k * y / y.sum(1).mean(), **context) for y in values]
model.Es = []
for r in slices:
    around = [[] for _ in range(model.Ns[r])]
    for u, v in given[f"edges{r}"]:
        around[u].append(int(v))
        around[v].append(int(u))
    model.Es.append(around)
model.Es_isempty = [sum(map(len, around)) == 0 for around in model.Es]
labels = [given[f"labels{r}"] for r in slices]
start = time.process_time()
model.initialize(method="precomputed clusters", precomputed_clusters=labels)
for _ in range(plain):
    model.estimate_weights(iiter=-1, use_spatial=[False] * len(slices))
    model.estimate_parameters(iiter=-1, use_spatial=[False] * len(slices))
middle = time.process_time()
plain_m, plain_noise = model.M.numpy().copy(), model.sigma_yxs[0]
model.initialize_Sigma_x_inv()
for _ in range(bound):
    model.estimate_parameters(iiter=-1, use_spatial=[True] * len(slices))
    model.estimate_weights(iiter=-1, use_spatial=[True] * len(slices))
end = time.process_time()
np.savez(
    sys.argv[2], metagenes=model.M.numpy(), affinity=model.Sigma_x_inv.detach().numpy(),
    noise=model.sigma_yxs[0], plain_metagenes=plain_m, plain_noise=plain_noise,
    seconds=[middle - start, end - middle],
)  # fmt: skip
