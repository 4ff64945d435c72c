#!/usr/bin/env python3
"""Cut the demo data out of the full files: `make_demo.py SOURCE_FOLDER [OUTPUT_FOLDER]`.

Slices: a strip through the whole height of the section, so that it crosses every layer and holds
every coarse cell type. Reference: at most 100 cells of each fine cell type. Nothing else is
changed: all genes, the source's labels, raw counts, the source's coordinates. The Xenium slice is
written as the instrument writes a region, with its labels in a table beside it. STARmap, whole, is
for tests; for the demo its cells are dealt out to two slices with panels of their own, the second
turned, moved and without labels, so that there is a truth for alignment and labels.
"""

import json
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

CELLS_A_TYPE = 100
SEED = 0
# Name in the demo: the source's file, and the strip kept (its first coordinate, from and below).
SLICES = {
    "osmfish": ("mouse_cortex/osmfish_ssp.h5ad", (900, 1200)),
    "starmap": ("mouse_cortex/starmap_visp_1020.h5ad", None),
    "xenium": ("mouse_hippocampus/xenium_hip.h5ad", (4450, 4800)),
}
REFERENCE = "mouse_cortex/ref_scrna_mop_10x.h5ad"
LABELS = ["cell_type", "cell_type_coarse", "region"]
TURN, SHIFT = 130.0, (20_000.0, 4_000.0)  # of starmap_b: degrees, then pixels
SHEET = [  # sample, input, technology, organism, spatial_unit_um, cells
    ("osmfish", "osmfish.h5ad", "osmFISH", "mouse", 1.0, ""),
    ("starmap_a", "starmap_a.h5ad", "STARmap", "mouse", 0.09, ""),
    ("starmap_b", "starmap_b.h5ad", "STARmap", "mouse", 0.09, ""),
    ("xenium", "xenium", "Xenium", "mouse", "", "xenium_cells.csv"),
]
COLUMNS = ["sample", "input", "technology", "organism", "spatial_unit_um", "cells"]


def main(source: Path, output: Path) -> None:
    for name, (file, strip) in SLICES.items():
        data = ad.read_h5ad(source / file)
        x = data.obsm["spatial"][:, 0]
        kept = np.full(data.n_obs, True) if strip is None else (x >= strip[0]) & (x < strip[1])
        cut = "whole" if strip is None else f"{strip[0]} <= x < {strip[1]}"
        if name == "xenium":
            write_xenium(data[kept], output / name, output / "xenium_cells.csv", cut)
        else:
            write(data[kept], output / f"{name}.h5ad", cut)
    deal_out(output)
    reference = ad.read_h5ad(source / REFERENCE)
    cut = f"at most {CELLS_A_TYPE} cells of each cell_type, seed {SEED}"
    write(reference[sample(reference.obs["cell_type"])], output / "reference.h5ad", cut)
    pd.DataFrame(SHEET, columns=COLUMNS).to_csv(output / "samplesheet.csv", index=False)


def deal_out(folder: Path) -> None:
    """Write starmap_a and starmap_b: each cell of STARmap in one of them, genes of others in both.

    Of the genes that neither osmFISH nor Xenium has, each is in one of the two panels.
    """
    whole = ad.read_h5ad(folder / "starmap.h5ad")
    with h5py.File(folder / "xenium/cell_feature_matrix.h5") as file:
        others = set(file["matrix/features/name"].asstr()[:])
    others |= set(ad.read_h5ad(folder / "osmfish.h5ad").var_names)
    both = whole.var_names.str.casefold().isin([name.casefold() for name in others])
    rng = np.random.default_rng(SEED)
    cells, genes = rng.permutation(whole.n_obs) % 2, rng.permutation(whole.n_vars) % 2
    for number, letter in enumerate("ab"):
        half = whole[cells == number, both | (genes == number)].copy()
        cut = f"half {letter} of the cells and of the genes that only STARmap has, seed {SEED}"
        if letter == "b":
            angle = np.deg2rad(TURN)
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            half.obsm["spatial"] = (half.obsm["spatial"] @ turn + SHIFT).astype(np.float32)
            half.obs = half.obs[[]]
            cut += f"; turned by {TURN:.0f} degrees, moved by {SHIFT} pixels, labels left out"
        write(half, folder / f"starmap_{letter}.h5ad", cut)


def sample(labels: pd.Series) -> np.ndarray:
    """Positions of at most CELLS_A_TYPE cells of each label, in the order of the file."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    rank = labels.iloc[order].groupby(labels.iloc[order], observed=True).cumcount()
    return np.sort(order[rank.to_numpy() < CELLS_A_TYPE])


def write(data: ad.AnnData, path: Path, cut: str) -> None:
    """Write counts, labels, coordinates and provenance, as small as gzip makes them."""
    obs = data.obs[[label for label in LABELS if label in data.obs]].copy()
    for label in obs:
        obs[label] = obs[label].cat.remove_unused_categories()
    small = ad.AnnData(
        sp.csr_matrix(data.X, dtype=np.float32),
        obs=obs,
        var=data.var[[]],
        obsm={"spatial": data.obsm["spatial"]} if "spatial" in data.obsm else {},
        uns={**data.uns, "cut": cut},
    )
    small.write_h5ad(path, compression="gzip", compression_opts=9)


def write_xenium(data: ad.AnnData, folder: Path, labels: Path, cut: str) -> None:
    """Write a region in the instrument's form, and the cells' labels by their ids.

    What the source does not have (control features, areas, Ensembl ids) is not there either;
    transcript_counts are the totals of the matrix.
    """
    folder.mkdir(exist_ok=True)
    ids = [cell_id(int(name.removeprefix("xe_"))) for name in data.obs_names]
    counts = sp.csc_matrix(data.X.T.astype(np.int32))  # features × cells
    with h5py.File(folder / "cell_feature_matrix.h5", "w") as file:
        for key in ("data", "indices", "indptr"):
            values = getattr(counts, key).astype(np.int32)
            file.create_dataset(
                f"matrix/{key}", data=values, compression=9, shuffle=True, chunks=values.shape
            )
        file["matrix/shape"] = np.array(counts.shape, np.int32)
        names = data.var_names.to_numpy("S")
        kinds = np.full(len(names), b"Gene Expression")
        texts = {"barcodes": np.array(ids, "S"), "features/id": names, "features/name": names}
        for key, text in {**texts, "features/feature_type": kinds}.items():
            file.create_dataset(f"matrix/{key}", data=text, compression=9)
    x, y = data.obsm["spatial"].astype(float).T  # with all digits of float32
    totals = np.asarray(counts.sum(axis=0)).ravel()
    cells = pd.DataFrame(
        {"cell_id": ids, "x_centroid": x, "y_centroid": y, "transcript_counts": totals}
    )
    gzipped = {"method": "gzip", "compresslevel": 9, "mtime": 0}
    cells.to_csv(folder / "cells.csv.gz", index=False, compression=gzipped)
    told = {"num_cells": len(ids), "panel_organism": data.uns["species"]}
    told["source"] = {key: str(value) for key, value in sorted(data.uns.items())} | {"cut": cut}
    (folder / "experiment.xenium").write_text(json.dumps(told, indent=1) + "\n")
    table = data.obs[[label for label in LABELS if label in data.obs]]
    table.set_axis(pd.Index(ids, name="cell_id")).to_csv(labels)


def cell_id(number: int, dataset: int = 1) -> str:
    """A cell's number as the instrument writes it: 8 letters, a to p for the hexadecimal digits."""
    return "".join(chr(ord("a") + int(digit, 16)) for digit in f"{number:08x}") + f"-{dataset}"


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent,
    )
