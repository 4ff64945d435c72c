#!/usr/bin/env python3
"""Cut the demo data out of the full files: `make_demo.py SOURCE_FOLDER [OUTPUT_FOLDER]`.

Slices: a strip through the whole height of the section, so that it crosses every layer and holds
every coarse cell type. Reference: at most 100 cells of each fine cell type. Nothing else is
changed: all genes, the source's names and labels, raw counts, the source's coordinates.
"""

import sys
from pathlib import Path

import anndata as ad
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
SHEET = {
    "osmfish": ("osmFISH", 1),
    "starmap": ("STARmap", 0.09),
    "xenium": ("Xenium", 1),
}


def main(source: Path, output: Path) -> None:
    for name, (file, strip) in SLICES.items():
        data = ad.read_h5ad(source / file)
        x = data.obsm["spatial"][:, 0]
        kept = np.full(data.n_obs, True) if strip is None else (x >= strip[0]) & (x < strip[1])
        cut = "whole" if strip is None else f"{strip[0]} <= x < {strip[1]}"
        write(data[kept], output / f"{name}.h5ad", cut)
    reference = ad.read_h5ad(source / REFERENCE)
    cut = f"at most {CELLS_A_TYPE} cells of each cell_type, seed {SEED}"
    write(reference[sample(reference.obs["cell_type"])], output / "reference.h5ad", cut)
    rows = [
        (name, f"{name}.h5ad", technology, "", "mouse", unit, "")
        for name, (technology, unit) in SHEET.items()
    ]
    columns = ["sample", "input", "technology", "panel", "organism"]
    columns += ["spatial_unit_um", "reference"]
    pd.DataFrame(rows, columns=columns).to_csv(output / "samplesheet.csv", index=False)


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


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent,
    )
