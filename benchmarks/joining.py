#!/usr/bin/env python3
"""Time and memory of what sees all slices: `integrate.py`, then the others, on made-up slices.

Cells of 20 types in slices of two technologies, 100 shared genes and as many own ones as are asked
for, LLOKI of 128 numbers, LLOKI-FP of 40. A row for each size and step: seconds of the processor,
by the clock, peak memory, size of the file. `joining` is without UMAPs, `UMAPs` what they take
beside; `scores` are those of X_lloki against the baseline; `labels`, `clusters` and `domains` are
`annotate.py`, with labels of four slices in five, `cluster.py` and `domains.py`. With `--folder`
files are kept, of one size; then `--skip joining` goes on with those that lie there.
"""

import contextlib
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

BIN = Path(__file__).resolve().parents[1] / "bin"
sys.path.insert(0, str(BIN))

STEPS = "joining UMAPs labels clusters domains scores report".split()
TYPES, GENES, WIDTHS = 20, 100, {"X_lloki": 128, "X_lloki_fp": 40}


@click.command()
@click.option("--cells", multiple=True, default=[20_000], show_default=True)
@click.option("--slices", default=5, show_default=True)
@click.option("--own-genes", default=0, show_default=True, help="Of each technology.")
@click.option("--skip", multiple=True, type=click.Choice(STEPS))
@click.option("--folder", type=click.Path(file_okay=False), help="To keep the files in.")
def main(cells, slices, own_genes, skip, folder) -> None:
    """Print a row for each size and step, and how steps grow from one size to the next."""
    print(
        f"{'cells':>9} {'step':8} {'CPU s':>8} {'wall s':>8} {'peak MB':>8} {'file MB':>7}  growth"
    )
    before: dict[str, tuple[int, float]] = {}
    for size in cells:
        place = contextlib.nullcontext(folder) if folder else tempfile.TemporaryDirectory()
        with place as at:
            for step, (cpu, wall, peak) in _steps(Path(at), size, slices, own_genes, skip):
                growth = ""
                if step in before:
                    smaller, taken = before[step]
                    growth = f"n^{math.log(cpu / taken) / math.log(size / smaller):.2f}"
                before[step] = size, cpu
                size_mb = (Path(at) / "integrated.h5ad").stat().st_size / 1e6
                figures = f"{cpu:8.1f} {wall:8.1f} {peak:8.0f} {size_mb:7.0f}"
                print(f"{size:9,} {step:8} {figures}  {growth}", flush=True)


def _steps(folder: Path, cells: int, slices: int, own_genes: int, skip: tuple[str, ...]):
    """Steps and what they took, one after the other."""
    joined, given = folder / "integrated.h5ad", []
    if "joining" not in skip:
        for number in range(slices):
            given += _write(folder, number, cells // slices, own_genes)
        command = ["integrate.py", *given, "--output", joined]
        alone = _run(*command, "--no-umap")
        yield "joining", alone
    if given and "UMAPs" not in skip:
        whole = _run(*command)
        yield "UMAPs", (whole[0] - alone[0], whole[1] - alone[1], whole[2])
    if "labels" not in skip:
        yield "labels", _run(
            "annotate.py", "--input", joined, "--label-key", "known", "--output", folder / "labels",
            "--cells", folder / "annotate.cells.h5ad",
        )  # fmt: skip
    if "domains" not in skip:
        yield "domains", _run(
            "domains.py", "--input", joined, "--label-key", "type", "--output", folder / "domains",
            "--cells", folder / "domains.cells.h5ad",
        )  # fmt: skip
    if "clusters" not in skip:
        expressed = [x for i in range(slices) for x in ("--slice", folder / f"s{i}.slice.h5ad")]
        yield "clusters", _run(
            "cluster.py", "--input", joined, *expressed, "--label-key", "type", "--output",
            folder / "clusters", "--cells", folder / "cluster.cells.h5ad",
        )  # fmt: skip
    scored = ["benchmark.py", "--input", joined, "--label-key", "type", "--output", folder / "b",
              "--embedding", "X_lloki"]  # fmt: skip
    if "scores" not in skip:
        yield "scores", _run(*scored)
    if "report" not in skip:
        tables = [
            "--metrics",
            folder / "b/metrics.csv",
            "--embeddings",
            folder / "b/embeddings.h5ad",
        ]
        yield "report", _run(
            "report.py", "--input", joined.with_suffix(".json"), "--integrated", joined,
            "--label-key", "type", "--output", folder / "report.html",
            *([] if "scores" in skip else tables),
        )  # fmt: skip


def _write(folder: Path, number: int, cells: int, own_genes: int) -> list[object]:
    """A slice and its embedding; the options that name them."""
    import anndata as ad
    import pandas as pd
    import scipy.sparse as sp

    rng = np.random.default_rng(number)
    codes = rng.integers(TYPES, size=cells)
    names = pd.Index([f"s{number}:{i}" for i in range(cells)])
    obs = pd.DataFrame(
        {
            "sample": pd.Categorical([f"s{number}"] * cells),
            "technology": pd.Categorical([f"T{number % 2}"] * cells),
            "panel": pd.Categorical([f"p{number % 2 if own_genes else ''}"] * cells),
            "type": pd.Categorical([f"type {code}" for code in codes]),
            "known": pd.Categorical([f"type {code}" if number % 5 else None for code in codes]),
        },
        index=names,
    )
    shared = np.random.default_rng(10**6)
    obsm = {"spatial": rng.uniform(0, 1e4, (cells, 2))}
    obsm["spatial_aligned"] = obsm["spatial"] + 5.0
    for key, width in WIDTHS.items():
        middles = shared.normal(size=(TYPES, width)) + 0.3 * rng.normal(size=width)
        obsm[key] = (middles[codes] + rng.normal(size=(cells, width))).astype(np.float32)
    counts = sp.csr_matrix(sp.random_array(
        (cells, GENES + own_genes), density=0.2, format="csr", dtype=np.float32, rng=rng,
        data_sampler=lambda size: rng.geometric(0.5, size=size).astype(np.float32),
    ))  # fmt: skip
    own = [f"T{number % 2} gene{i}" for i in range(own_genes)]
    var = pd.DataFrame(index=[*(f"gene{i}" for i in range(GENES)), *own])
    paths = folder / f"s{number}.lloki.h5ad", folder / f"s{number}.slice.h5ad"
    ad.AnnData(obs=obs, obsm=obsm).write_h5ad(paths[0])
    layers = {"counts": counts}
    ad.AnnData(counts.log1p(), obs=obs, var=var, layers=layers).write_h5ad(paths[1])
    return ["--input", paths[0], "--slice", paths[1]]


def _run(script: str, *arguments: object) -> tuple[float, float, float]:
    """Seconds of the processor and by the clock, and peak MB, of a script of the pipeline."""
    begun = time.perf_counter()
    command = [sys.executable, str(BIN / script), *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{script} ended with {os.waitstatus_to_exitcode(status)}")
    wall = time.perf_counter() - begun
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1e3


if __name__ == "__main__":
    main()
