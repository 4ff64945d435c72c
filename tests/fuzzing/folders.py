"""A slice in every form that an instrument or a lab writes, small: seeds for the readers."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp

CONTROLS = {"NegControlProbe_1": "Negative Control Probe", "BLANK_0070": "Blank Codeword"}
PARQUET = importlib.util.find_spec("pyarrow") is not None


def write_all(data: ad.AnnData, folder: Path) -> None:
    """Every form of a slice (raw counts, labels, coordinates in micrometres) into a folder."""
    write_xenium(data, folder / "xenium")
    write_xenium_text(data, folder / "xenium_text")
    write_merscope(data, folder / "merscope")
    write_cosmx(data, folder / "cosmx")
    write_stores(data, folder)
    write_open(data, folder / "open.h5ad")
    labels = data.obs.assign(score=np.linspace(0, 1, data.n_obs), number=10**18 + 7)
    text = "#A lasso\n#Area: 5\n" + labels.to_csv(index_label="cell_id")
    (folder / "groups.csv").write_text(text)


def with_controls(data: ad.AnnData) -> np.ndarray:
    """Counts of genes and controls, int64, cells × features."""
    return np.hstack([data.X.toarray().astype(int), np.ones((data.n_obs, len(CONTROLS)), int)])


def cells_of(data: ad.AnnData) -> pd.DataFrame:
    """Xenium's table of cells, in another order than the matrix."""
    x, y = data.obsm["spatial"].T
    return pd.DataFrame({
        "cell_id": data.obs_names, "x_centroid": x, "y_centroid": y,
        "transcript_counts": np.asarray(data.X.sum(axis=1)).ravel(), "control_probe_counts": 1,
        "cell_area": 55.5, "nucleus_area": 20.0, "segmentation_method": "by nucleus",
    })[::-1]  # fmt: skip


def write_xenium(data: ad.AnnData, folder: Path) -> None:
    folder.mkdir()
    matrix = sp.csc_matrix(with_controls(data).T)
    names = [*data.var_names, *CONTROLS]
    kinds = ["Gene Expression"] * data.n_vars + list(CONTROLS.values())
    with h5py.File(folder / "cell_feature_matrix.h5", "w") as file:
        for key in ("data", "indices", "indptr"):
            file.create_dataset(f"matrix/{key}", data=getattr(matrix, key), compression=4)
        file["matrix/shape"] = np.array(matrix.shape, np.int32)
        file["matrix/barcodes"] = data.obs_names.to_numpy("S")
        file["matrix/features/id"] = np.array([f"ENSMUSG{i:011d}" for i in range(len(names))], "S")
        file["matrix/features/name"] = np.array(names, "S")
        file["matrix/features/feature_type"] = np.array(kinds, "S")
    cells_of(data).to_csv(folder / "cells.csv.gz", index=False)
    told = {"analysis_sw_version": "xenium-3.0", "panel_name": "brain", "num_cells": data.n_obs}
    (folder / "experiment.xenium").write_text(json.dumps(told))


def write_xenium_text(data: ad.AnnData, folder: Path) -> None:
    """The matrix as text, the cells as parquet where it can be written."""
    inside = folder / "cell_feature_matrix"
    inside.mkdir(parents=True)
    with gzip.open(inside / "matrix.mtx.gz", "wb") as file:
        scipy.io.mmwrite(file, sp.coo_matrix(with_controls(data).T))
    kinds = [*[(name, "Gene Expression") for name in data.var_names], *CONTROLS.items()]
    with gzip.open(inside / "features.tsv.gz", "wt") as file:
        file.writelines(f"ENSMUSG{i:011d}\t{n}\t{k}\n" for i, (n, k) in enumerate(kinds))
    with gzip.open(inside / "barcodes.tsv.gz", "wt") as file:
        file.writelines(f"{name}\n" for name in data.obs_names)
    if PARQUET:
        cells_of(data).to_parquet(folder / "cells.parquet", index=False)
    else:
        cells_of(data).to_csv(folder / "cells.csv", index=False)


def write_merscope(data: ad.AnnData, folder: Path) -> None:
    """A region after version 232, in a run of one region; ids of 19 digits."""
    region = folder / "region_0"
    region.mkdir(parents=True)
    ids = [str(2317032900022100080 + i) for i in range(data.n_obs)]
    counts = pd.DataFrame(data.X.toarray().astype(int), ids, data.var_names)
    counts["Blank-1"] = 1
    counts.rename_axis("cell")[::-1].to_csv(region / "cell_by_gene.csv")
    x, y = data.obsm["spatial"].T
    cells = pd.DataFrame({"EntityID": ids, "fov": np.arange(data.n_obs) // 20, "volume": 9.5,
                          "center_x": x, "center_y": y, "transcript_count": ""})  # fmt: skip
    cells.to_csv(region / "cell_metadata.csv", index=False)


def write_cosmx(data: ad.AnnData, folder: Path) -> None:
    """A slide as AtoMx exports it, the counts gzipped, with background and flags."""
    folder.mkdir()
    cells = pd.DataFrame({"fov": np.arange(data.n_obs) // 20 + 1})
    cells["cell_ID"] = np.arange(data.n_obs) % 20 + 1
    ids = [f"c_1_{fov}_{cell}" for fov, cell in cells.to_numpy()]
    counts = pd.DataFrame(data.X.toarray().astype(int), columns=data.var_names)
    counts = pd.concat([cells.assign(cell=ids), counts.assign(Negative1=1)], axis=1)
    counts.loc[len(counts)] = [1, 0, "c_1_1_0", *[9] * (data.n_vars + 1)]
    counts.to_csv(folder / "S1_exprMat_file.csv.gz", index=False)
    x, y = data.obsm["spatial"].T / 0.12
    table = cells.assign(
        Area=900, CenterX_global_px=x, CenterY_global_px=y, CenterX_local_px=5, CenterY_local_px=5,
        assay_type="RNA", version="v6", Run_Tissue_name="a, b", slide_ID=1, cell=ids,
        qcFlagsRNACounts="Pass",
    )  # fmt: skip
    table.to_csv(folder / "S1_metadata_file.csv", index=False)
    places = pd.DataFrame({"FOV": sorted(set(cells["fov"]))})
    places["x_global_px"], places["y_global_px"] = places["FOV"] * 5000, 5000
    places["x_global_mm"], places["y_global_mm"] = places["FOV"] * 0.6, 0.6
    places.to_csv(folder / "S1_fov_positions_file.csv", index=False)


def write_stores(data: ad.AnnData, folder: Path) -> None:
    """An AnnData as zarr of version 3, and as the table of a SpatialData, of version 2."""
    with ad.settings.override(zarr_write_format=3):
        data.write_zarr(folder / "store.zarr")
    table = folder / "spatial.zarr/tables/table"
    with ad.settings.override(zarr_write_format=2):
        data.write_zarr(table)
    (folder / "spatial.zarr/.zgroup").write_text('{"zarr_format": 2}')


def write_open(data: ad.AnnData, path: Path) -> None:
    """As labs keep it: X logged, counts in a layer, in raw too, places in obs, Ensembl ids."""
    names = [f"ENSMUSG{i:011d}" for i in range(data.n_vars)]
    var = pd.DataFrame({"feature_name": data.var_names.astype(str)}, index=names)
    counts = data.X.copy()
    logged = ad.AnnData(data.X.log1p(), obs=data.obs.copy(), var=var, layers={"raw": counts})
    logged.raw = ad.AnnData(counts, obs=data.obs[[]], var=var)
    logged.obs["x_centroid"], logged.obs["y_centroid"] = data.obsm["spatial"].T
    logged.write_h5ad(path)
