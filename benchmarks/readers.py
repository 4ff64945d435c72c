#!/usr/bin/env python3
"""Time and memory of reading what instruments write, beside pandas (whole tables) and scanpy.

Made up, in a temporary folder: a slide of CosMx in the form of AtoMx (exprMat as plain text, and
gzipped), a region of MERSCOPE and a Xenium bundle. Of the tables about 7 % of the counts are not
zero, and 2,000 rows come again and again; cells of Xenium hold 140 values each. Each reader is a
process of its own. Its seconds do not count the imports, its peak memory does; `counts` is the sum
of the matrix that it gives, controls left out.
"""

import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bin"))
ROWS, CONTROLS, PER_FOV = 2000, 20, 500


@click.command()
@click.option("--cosmx", default="50000x1000", show_default=True, help="CELLSxGENES.")
@click.option("--merscope", default="100000x500", show_default=True, help="CELLSxGENES.")
@click.option("--xenium", default="300000x5000", show_default=True, help="CELLSxGENES.")
@click.option("--one", nargs=2, hidden=True, help="A reader and a folder: what each process does.")
def main(cosmx, merscope, xenium, one) -> None:
    """Print a row for each folder and reader."""
    if one:
        print(json.dumps(measure(*one)))
        return
    print(f"{'folder':12}{'size':>14}{'MB':>7}  {'reader':10}{'seconds':>9}{'CPU s':>8}"
          f"{'peak MB':>9}{'counts':>14}", flush=True)  # fmt: skip
    for name, (write, size, readers) in {
        "CosMx": (write_cosmx, cosmx, ("lloki cosmx", "pandas cosmx")),
        "CosMx, gzip": (write_cosmx_gz, cosmx, ("lloki cosmx", "pandas cosmx")),
        "MERSCOPE": (write_merscope, merscope, ("lloki merscope", "pandas merscope")),
        "Xenium": (write_xenium, xenium, ("lloki xenium", "scanpy xenium")),
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), *map(int, size.split("x")))
            large = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
            for reader in readers:
                found = in_one(reader, folder)
                print(
                    f"{name:24}{size:>14}{large:>7.0f}  {reader.split()[0]:14}{found}", flush=True
                )


def in_one(reader: str, folder: str) -> str:
    """The cells of the table, of a reader in a process of its own."""
    command = [sys.executable, __file__, "--one", reader, folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"  failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
    found = json.loads(done.stdout)
    return "{seconds:>9.1f}{cpu:>8.1f}{peak:>9.0f}{counts:>14.0f}".format(**found)


def measure(reader: str, folder: str) -> dict:
    """Wall and CPU seconds of a reader, peak resident MB of this process, the sum of the counts."""
    read = READERS[reader]()
    start, used = time.perf_counter(), time.process_time()
    matrix = read(Path(folder))
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"seconds": wall, "cpu": cpu, "peak": peak, "counts": matrix.sum(dtype=np.float64)}


def lloki_cosmx():
    from lloki.slices import cosmx

    return lambda folder: cosmx.read(folder).data.X


def lloki_merscope():
    from lloki.slices import merscope

    return lambda folder: merscope.read(folder).data.X


def pandas_cosmx():
    """Both tables whole, joined, controls and ids off, one sparse matrix."""
    import anndata  # noqa: F401  as much memory of imports as ours
    import pandas as pd
    import scipy.sparse as sp

    def read(folder):
        counts, cells = (
            pd.read_csv(next(folder.glob(f"*_{name}_file.csv*"))).set_index(["fov", "cell_ID"])
            for name in ("exprMat", "metadata")
        )
        genes = counts.loc[cells.index].filter(regex="^(?!Negative|SystemControl|cell)")
        return sp.csr_matrix(genes.to_numpy(np.float32))

    return read


def pandas_merscope():
    import anndata  # noqa: F401
    import pandas as pd
    import scipy.sparse as sp

    def read(folder):
        counts = pd.read_csv(folder / "cell_by_gene.csv", index_col=0, dtype={0: str})
        cells = pd.read_csv(folder / "cell_metadata.csv", index_col=0, dtype={0: str})
        genes = counts.loc[counts.index.intersection(cells.index)].filter(regex="^(?!Blank-)")
        return sp.csr_matrix(genes.to_numpy(np.float32))

    return read


def lloki_xenium():
    from lloki.slices import xenium

    return lambda folder: xenium.read(folder).data.X


def scanpy_xenium():
    """The matrix by scanpy, genes alone, with the table of cells by pandas."""
    import pandas as pd
    import scanpy

    def read(folder):
        data = scanpy.read_10x_h5(folder / "cell_feature_matrix.h5", gex_only=True)
        cells = pd.read_csv(folder / "cells.csv.gz", dtype={"cell_id": str}).set_index("cell_id")
        data.obsm["spatial"] = cells.loc[data.obs_names, ["x_centroid", "y_centroid"]].to_numpy()
        return data.X

    return read


READERS = {
    "lloki cosmx": lloki_cosmx, "pandas cosmx": pandas_cosmx,
    "lloki merscope": lloki_merscope, "pandas merscope": pandas_merscope,
    "lloki xenium": lloki_xenium, "scanpy xenium": scanpy_xenium,
}  # fmt: skip


def rows_of_counts(columns: int) -> list[str]:
    """ROWS rows of counts as text: genes differ widely in their means."""
    rng = np.random.default_rng(0)
    means = rng.gamma(0.25, 0.6, columns)
    return [",".join(map(str, row)) for row in rng.poisson(means, (ROWS, columns)).tolist()]


def write_cosmx(folder: Path, cells: int, genes: int, opened=open, end: str = "") -> None:
    names = [f"G{i}" for i in range(genes)]
    names += [f"Negative{i}" for i in range(CONTROLS // 2)]
    names += [f"SystemControl{i}" for i in range(CONTROLS // 2)]
    counts = rows_of_counts(len(names))
    places = np.random.default_rng(1).uniform(0, 4256, (cells, 2)).round(1)
    with opened(folder / f"S_exprMat_file.csv{end}", "wt") as file:
        file.write(",".join(["fov", "cell_ID", *names]) + "\n")
        for i in range(cells):
            file.write(f"{i // PER_FOV + 1},{i % PER_FOV + 1},{counts[i % ROWS]}\n")
    with opened(folder / f"S_metadata_file.csv{end}", "wt") as file:
        file.write("fov,Area,CenterX_local_px,CenterY_local_px,Mean.DAPI,cell_id,assay_type,"
                   "CenterX_global_px,CenterY_global_px,cell_ID,qcFlagsFOV,cell\n")  # fmt: skip
        for i, (x, y) in enumerate(places):
            fov, cell = i // PER_FOV + 1, i % PER_FOV + 1
            name = f'"c_1_{fov}_{cell}"'
            file.write(f'{fov},5986,{x:.0f},{y:.0f},563,{name},"RNA",{x + 4256 * fov:.1f},{y},'
                       f'{cell},"Pass",{name}\n')  # fmt: skip


def write_cosmx_gz(folder: Path, cells: int, genes: int) -> None:
    write_cosmx(folder, cells, genes, gzip.open, ".gz")


def write_merscope(folder: Path, cells: int, genes: int) -> None:
    names = [f"G{i}" for i in range(genes)] + [f"Blank-{i}" for i in range(CONTROLS)]
    counts, first = rows_of_counts(len(names)), 2317032900000100001
    places = np.random.default_rng(1).uniform(0, 9000, (cells, 2)).tolist()
    with open(folder / "cell_by_gene.csv", "w") as file:
        file.write(",".join(["cell", *names]) + "\n")
        for i in range(cells):
            file.write(f"{first + i},{counts[i % ROWS]}\n")
    with open(folder / "cell_metadata.csv", "w") as file:
        file.write("EntityID,fov,volume,center_x,center_y,min_x,min_y,max_x,max_y,solidity\n")
        for i, (x, y) in reversed(list(enumerate(places))):
            box = f"{x - 5},{y - 5},{x + 5},{y + 5}"
            file.write(f"{first + i},{i // 99},{700 + x},{x},{y},{box},0.98\n")


def write_xenium(folder: Path, cells: int, genes: int, a_cell: int = 140) -> None:
    """A bundle whose cells hold `a_cell` values each, of genes and a fifth as many controls."""
    import h5py
    import pandas as pd

    rng = np.random.default_rng(0)
    features = genes + genes // 5
    columns = np.sort(rng.integers(0, features, (cells, a_cell), dtype=np.int32), axis=1)
    ids = np.array([f"{i:08x}-1" for i in range(cells)], "S")
    kinds = ["Gene Expression"] * genes + ["Negative Control Probe"] * (features - genes)
    with h5py.File(folder / "cell_feature_matrix.h5", "w") as file:
        packed = {"compression": "gzip", "compression_opts": 4, "chunks": (80_000,)}
        file.create_dataset("matrix/indices", data=columns.ravel().astype(np.int64), **packed)
        ones = rng.poisson(0.4, columns.size).astype(np.int32) + 1
        file.create_dataset("matrix/data", data=ones, **packed)
        file["matrix/indptr"] = np.arange(0, columns.size + 1, a_cell, dtype=np.int64)
        file["matrix/shape"] = np.array([features, cells], dtype=np.int32)
        file["matrix/barcodes"] = ids
        for key in ("id", "name"):
            file[f"matrix/features/{key}"] = np.array([f"Gene{i}" for i in range(features)], "S")
        file["matrix/features/feature_type"] = np.array(kinds, "S")
        file["matrix/features/genome"] = np.array(["GRCh38"] * features, "S")
    table = pd.DataFrame({
        "cell_id": ids.astype(str), "x_centroid": rng.uniform(0, 9e3, cells).round(3),
        "y_centroid": rng.uniform(0, 9e3, cells).round(3),
        "transcript_counts": np.where(columns < genes, ones.reshape(columns.shape), 0).sum(axis=1),
        "cell_area": 50.0, "nucleus_area": 20.0,
    })  # fmt: skip
    table.to_csv(folder / "cells.csv.gz", index=False)


if __name__ == "__main__":
    main()
