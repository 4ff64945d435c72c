#!/usr/bin/env python3
"""scGPT embeddings: cells per second and memory of nf-lloki and of the package scgpt itself.

A random checkpoint of the official size and layout, random cells with distinct values, one thread.
Rows: the number of expressed genes, `ragged` from a tenth of the panel to all of it. Loading of
the checkpoint counts on both sides; the import of the libraries does not.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata as ad
import click
import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
TOKENS = 60_694  # of the official vocabulary


@click.command()
@click.option("--cells", default=20, show_default=True)
@click.option("--genes", "panels", multiple=True, type=int, default=(250, 1000), show_default=True)
@click.option("--layers", default=12, show_default=True)
def main(cells, panels, layers) -> None:
    """Print a table: cells per CPU-second, ratio to the package, memory, agreement."""
    from scgpt_checkpoint import write_checkpoint

    print(f"{'genes':>12}  {'program':10}{'cells/CPU-s':>12}{'ratio':>8}{'peak GB':>9}"
          f"{'max. diff':>11}{'min. cosine':>13}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        symbols = [f"G{i}" for i in range(TOKENS)]
        checkpoint = write_checkpoint(folder / "model", symbols, layers=layers, d=512, heads=8)
        for genes, ragged in [(g, False) for g in panels] + [(panels[0], True)]:
            path = folder / "s.h5ad"
            cells_of(cells, genes, ragged).write_h5ad(path)
            compare(path, checkpoint, cells, f"{genes}{' ragged' if ragged else ''}", folder)


def cells_of(cells: int, genes: int, ragged: bool) -> ad.AnnData:
    """Cells whose values are all distinct, so that no bin is drawn by chance."""
    rng = np.random.default_rng(0)
    values = rng.permuted(np.tile(np.arange(1, genes + 1, dtype=np.float32), (cells, 1)), axis=1)
    if ragged:
        share = np.linspace(0.1, 1, cells)[:, None]
        values *= rng.random(values.shape) < share
        values[:, 0] = 1
    data = ad.AnnData(sp.csr_matrix(values))
    data.var_names = [f"G{i}" for i in range(genes)]
    return data


def compare(path, checkpoint, cells: int, name: str, folder: Path) -> None:
    truth, base = None, None
    for way in ("package", "fp32", "bf16"):
        figures = once(way, path, checkpoint, folder / f"{way}.npy")
        vectors = np.load(folder / f"{way}.npy").astype(np.float64)
        truth = vectors if truth is None else truth
        speed = cells / figures["cpu_seconds"]
        base = base or speed
        cosine = (truth * vectors).sum(axis=1) / np.linalg.norm(vectors, axis=1)
        difference = np.abs(vectors - truth).max()
        print(f"{name:>12}  {way:10}{speed:>12.2f}{speed / base:>8.2f}{figures['peak_gb']:>9.2f}"
              f"{difference:>11.1e}{cosine.min():>13.5f}", flush=True)  # fmt: skip


def once(way, path, checkpoint, output) -> dict:
    script = Path(__file__).parent / "support" / "embed_once.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), way, str(path), str(checkpoint), str(output)],
        env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
