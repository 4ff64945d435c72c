#!/usr/bin/env python3
"""Time and memory of LLOKI-FP: both graphs, targets, imputation and denoising, script by script.

The slices are tiles of a real one, noised and thinned to 30 % of its counts, so that there is
something to impute; the reference is the same slice unthinned. Rows of the table: `scripts`, the
five processes of the pipeline with start, reading and writing; `library`, the same steps in one
process; `plain`, a plain SciPy and scikit-learn writing of the method in one process. CPU seconds
are of the whole processes: on a machine with other work they say more than the others.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata as ad
import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support.tiled import tiled  # noqa: E402

SMALL = ((10_000, 500), (20_000, 500))
STAGES = ("graph", "targets", "impute", "graph of the imputed", "denoise")


@click.command()
@click.option("--size", "sizes", multiple=True, help="CELLSxGENES, such as 50000x1000; repeatable.")
@click.option("--slice", "source", default=str(ROOT / "assets/demo/starmap.h5ad"),
              show_default=True)  # fmt: skip
@click.option("--keep", default=0.3, show_default=True, help="Share of the counts that is kept.")
@click.option("--threads", default=2, show_default=True)
@click.option("--peer/--no-peer", default=True, show_default=True)
def main(sizes, source, keep, threads, peer) -> None:
    """Print seconds of every step, and the largest peak memory among them."""
    sizes = [tuple(map(int, s.split("x"))) for s in sizes] or SMALL
    print(f"{'cells':>8}{'genes':>7}  {'program':10}" + "".join(f"{s:>22}" for s in STAGES)
          + f"{'all s':>9}{'CPU s':>9}{'peak GB':>9}", flush=True)  # fmt: skip
    original = ad.read_h5ad(source)
    for cells, genes in sizes:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            make(original, cells, genes, keep, folder)
            row(cells, genes, "scripts", scripts(folder, threads))
            for program in ("library", "plain") if peer else ("library",):
                row(cells, genes, program, in_one(folder, program, threads))


def make(original, cells, genes, keep, folder: Path) -> None:
    """Write raw.h5ad (the prepared slice) and reference.h5ad."""
    from lloki.slices import files

    data = files.prepare(tiled(original, cells, genes, keep), "tiled", sample="s", technology="t")
    files.write_h5ad(data, folder / "s.slice.h5ad")
    files.write_h5ad(tiled(original, min(cells, 5000), genes, 1, 1), folder / "reference.h5ad")


def scripts(folder: Path, threads: int) -> tuple[dict, float, float]:
    """Seconds of each script as a process, with start, reading and writing; CPU s; peak GB."""
    graph = ("build_graph.py", "--input")
    s, g, t, i, a, d = (str(folder / f"s.{x}") for x in (
        "slice.h5ad", "graph.npz", "targets.csv", "imputed.h5ad", "imputed.graph.npz",
        "denoised.h5ad"))  # fmt: skip
    reference = str(folder / "reference.h5ad")
    commands = (
        [*graph, s, "--output", g],
        ["ot_sparsity.py", "--input", s, "--reference", reference, "--output", t],
        ["propagate.py", "impute", "--input", s, "--graph", g, "--targets", t, "--output", i],
        [*graph, i, "--output", a],
        ["propagate.py", "denoise", "--input", s, "--imputed", i, "--graph", a, "--output", d],
    )
    seconds, cpu, peak = {}, 0.0, 0.0
    for stage, (script, *options) in zip(STAGES, commands, strict=True):
        command = [sys.executable, str(ROOT / "bin" / script), *options]
        seconds[stage], more, used, _ = timed(command, threads)
        cpu, peak = cpu + more, max(peak, used)
    return seconds, cpu, peak


def in_one(folder: Path, program: str, threads: int) -> tuple[dict, float, float]:
    """Seconds of each step in one process, files read before; CPU s and peak GB of the process."""
    script = Path(__file__).parent / "support" / f"{program}_fp.py"
    command = [sys.executable, str(script), str(folder / "s.slice.h5ad"),
               str(folder / "reference.h5ad")]  # fmt: skip
    _, cpu, peak, output = timed(command, threads)
    return json.loads(output)["seconds"], cpu, peak


def timed(command: list[str], threads: int) -> tuple[float, float, float, str]:
    """Wall and CPU seconds and peak resident GB of a command, and what it printed."""
    import time

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **dict.fromkeys(names, str(threads))},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    cpu = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - start, cpu, usage.ru_maxrss / 1e6, output


def row(cells: int, genes: int, program: str, result: tuple[dict, float, float]) -> None:
    seconds, cpu, peak = result
    print(f"{cells:>8}{genes:>7}  {program:10}" + "".join(f"{seconds[s]:>22.1f}" for s in STAGES)
          + f"{sum(seconds.values()):>9.1f}{cpu:>9.1f}{peak:>9.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
