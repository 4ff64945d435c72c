#!/usr/bin/env python3
"""An atlas to try the pipeline on: many large slices, made from a few real ones; and what it took.

    atlas.py --slices 20 --cells 50000 --slice merfish.h5ad ... --reference brain.h5ad ... FOLDER
    nextflow run . --input FOLDER/samplesheet.csv --cell_type_key cell_type_coarse --outdir results
    atlas.py --trace results/pipeline_info/execution_trace_TIME.txt

makes slices of the technologies of the slices given (the demo's, without any), in turn: Xenium and
MERSCOPE as folders of the instrument, others as h5ad. Of several references a slice has the one
with which it shares most genes; slices of a technology may lie on one another. Then a row for each
slice. With --trace: a row for each stage of that run; of two runs, the smaller first, also how each
stage grows, by the cells of all slices.
"""

import csv
import math
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests"), str(Path(__file__).parent)]

from support import demo, trace  # noqa: E402

UNITS = {"STARmap": 0.09}  # micrometres of a pixel


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="results/atlas")
@click.option("--slices", default=4, show_default=True)
@click.option("--cells", default=1000, show_default=True, help="Of each slice.")
@click.option("--slice", "paths", multiple=True, help="h5ad with counts and, in uns, its "
              "technology; repeatable.")  # fmt: skip
@click.option("--reference", "references", multiple=True, help="scRNA-seq h5ad; repeatable.")
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--trace", "traces", multiple=True, type=click.Path(exists=True, path_type=Path),
              help="execution_trace_TIME.txt of a run; repeatable.")  # fmt: skip
@click.option("--growth", default=1.0, help="Cells of the second run for one of the first.")
def main(folder, slices, cells, paths, references, label_key, traces, growth) -> None:
    """Write FOLDER/samplesheet.csv and all that it names, or tell what a run took."""
    if traces:
        print_stages([trace.stages(path) for path in traces], growth)
        return
    make(folder, slices, cells, paths or demo.slices(), references or [demo.path("reference")],
         label_key)  # fmt: skip


def make(folder: Path, slices: int, cells: int, paths, references, label_key: str) -> None:
    import anndata as ad
    from support.enlarged import enlarged, write

    folder.mkdir(parents=True, exist_ok=True)
    genes = {str(Path(path).resolve()): set(ad.read_h5ad(path).var_names) for path in references}
    rows = []
    for number in range(slices):
        real = ad.read_h5ad(paths[number % len(paths)])
        technology = str(real.uns["technology"])
        name = f"{technology.lower()}_{number // len(paths) + 1:02}"
        large = enlarged(real, cells, label_key, seed=number)
        own = set(real.var_names)
        row = {
            "sample": name, **write(large, name, folder), "technology": technology,
            "organism": "mouse", "spatial_unit_um": UNITS.get(technology, 1),
            "reference": max(genes, key=lambda path: len(genes[path] & own)),
            "align_group": technology,
        }  # fmt: skip
        rows.append(row)
        print(f"{name:16} {large.n_obs:9,} × {large.n_vars:5,}  {row['input']}", flush=True)
    with open(folder / "samplesheet.csv", "w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        table.writeheader()
        table.writerows(rows)


def print_stages(runs, growth: float) -> None:
    last = runs[-1]
    print(f"{'stage':24}{'tasks':>6}{'CPU min':>9}{'wall min':>9}{'peak GB':>9}"
          + "  growth" * (len(runs) > 1))  # fmt: skip
    for name, now in last.items():
        grown = ""
        if len(runs) > 1 and runs[0].get(name, {}).get("cpu"):
            grown = f"n^{math.log(now['cpu'] / runs[0][name]['cpu']) / math.log(growth):.2f}"
        print(f"{name:24}{now['tasks']:6}{now['cpu'] / 60:9.1f}{now['wall'] / 60:9.1f}"
              f"{now['gb']:9.2f}  {grown}")  # fmt: skip
    total = {key: sum(now[key] for now in last.values()) for key in ("tasks", "cpu", "wall")}
    print(f"{'all':24}{total['tasks']:6}{total['cpu'] / 60:9.1f}{total['wall'] / 60:9.1f}"
          f"{max(now['gb'] for now in last.values()):9.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
