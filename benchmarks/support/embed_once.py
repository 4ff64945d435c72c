#!/usr/bin/env python3
"""Embed a slice once, by scgpt itself or by nf-lloki; prints seconds and peak memory as JSON.

usage: embed_once.py package|fp32|bf16 SLICE CHECKPOINT OUTPUT.npy
"""

import json
import resource
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests")]


def main() -> None:
    way, path, folder, output = sys.argv[1:]
    data = ad.read_h5ad(path)
    if way == "package":
        import scgpt_reference

        scgpt_reference.load()
        before, start = time.process_time(), time.perf_counter()
        vectors = scgpt_reference.embed(data, Path(folder))
    else:
        import torch

        from lloki.embedding.scgpt.checkpoint import read_checkpoint
        from lloki.embedding.scgpt.encoder import Encoder, embed
        from lloki.support.device import choose_device

        device = choose_device("auto")
        before, start = time.process_time(), time.perf_counter()
        dtype = torch.bfloat16 if way == "bf16" else torch.float32
        encoder = Encoder(read_checkpoint(folder), list(data.var_names), device, dtype)
        vectors = np.empty((data.n_obs, encoder.dim), dtype=np.float32)
        for rows, part in embed(encoder, sp.csr_matrix(data.X), data.obs_names):
            vectors[rows] = part
    used, wall = time.process_time() - before, time.perf_counter() - start
    np.save(output, vectors)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"cpu_seconds": used, "seconds": wall, "peak_gb": peak}))


if __name__ == "__main__":
    main()
