#!/usr/bin/env python3
"""moscot's AlignmentProblem with its defaults: given.npz in, got.npz out. In its own environment.

given: expression of the shared genes of the moving and the fixed slice, and their coordinates.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
import anndata as ad
import numpy as np
import pandas as pd
from moscot.problems.space import AlignmentProblem

given = np.load(sys.argv[1])
names = np.repeat(["moving", "fixed"], [len(given["moving"]), len(given["fixed"])])
data = ad.AnnData(
    np.concatenate([given["moving"], given["fixed"]]).astype(np.float32),
    obs=pd.DataFrame({"slice": pd.Categorical(names)}, index=np.arange(len(names)).astype(str)),
    obsm={"spatial": np.concatenate([given["moving_places"], given["fixed_places"]])},
)
problem = AlignmentProblem(adata=data)
problem = problem.prepare(batch_key="slice", policy="star", reference="fixed")
problem = problem.solve()
problem.align(mode="affine", key_added="turned")  # about the origin: it says nothing of the shift
problem.align(mode="warp", key_added="warped")
turned, warped = (data.obsm[key][names == "moving"] for key in ("turned", "warped"))
np.savez(sys.argv[2], moved=turned - turned.mean(axis=0) + warped.mean(axis=0))
