"""Large slices made from small real ones, and the forms in which users have them."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from written import merscope, xenium

from .tiled import tiled

GROUPS = 12  # of a slice without labels, whose cells are mixed within them


def enlarged(slice_: ad.AnnData, cells: int, label_key: str, seed: int) -> ad.AnnData:
    """A slice of `cells` cells around those of a real one, as if more of the tissue had been seen.

    Counts as `tiled` draws them, 60 to 100 % of them kept; each cell stands k times around its
    place, all places √k times as far from one another, so that a region stays a region and the
    density is the slice's own; then the slice is turned. Labels are carried.
    """
    rng = np.random.default_rng(seed)
    labelled = label_key in slice_.obs
    kinds = slice_.obs[label_key].astype(str).to_numpy() if labelled else _groups(slice_.X)
    small = ad.AnnData(slice_.X, obs=pd.DataFrame({"cell_type": kinds}, slice_.obs_names))
    small.obsm["spatial"], small.var_names = slice_.obsm["spatial"], slice_.var_names
    large = tiled(small, cells, slice_.n_vars, keep=rng.uniform(0.6, 1), seed=seed)
    large.var_names = slice_.var_names
    large.obs = pd.DataFrame(
        {label_key: large.obs["cell_type"]} if labelled else {}, large.obs_names
    )
    large.obsm["spatial"] = _spread(np.asarray(slice_.obsm["spatial"])[:, :2], cells, rng)
    large.uns["technology"] = slice_.uns["technology"]
    return large


def _groups(counts) -> np.ndarray:
    """Kinds of cells (n text) by their counts."""
    from lloki.propagation.graph import principal_components
    from lloki.support import clusters

    space = principal_components(sp.csr_matrix(counts, dtype=np.float32).log1p(), 10)
    space = np.ascontiguousarray(space - space.mean(axis=0), dtype=np.float32)
    first = clusters.start(space, GROUPS, np.random.default_rng(0))
    return clusters.k_means(space, first, steps=20).astype(str)


def _spread(places: np.ndarray, cells: int, rng: np.random.Generator) -> np.ndarray:
    from scipy.spatial import cKDTree

    scale = np.sqrt(cells / len(places))
    apart = np.median(cKDTree(places).query(places, 2)[0][:, 1])
    found = scale * (places - places.mean(axis=0))[np.arange(cells) % len(places)]
    found += rng.normal(0, scale * apart / 2, found.shape)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return found @ turn.T


def write(slice_: ad.AnnData, name: str, folder: Path) -> dict[str, str]:
    """A slice as its instrument writes it, else as h5ad; its columns of the samplesheet."""
    wanted = {"Xenium": _xenium, "MERSCOPE": _merscope}.get(slice_.uns["technology"])
    if wanted is None:
        slice_.write_h5ad(folder / f"{name}.h5ad", compression="lzf")
        return {"input": f"{name}.h5ad"}
    (folder / name).mkdir(exist_ok=True)
    wanted(slice_, folder / name)
    if slice_.obs.shape[1] == 0:
        return {"input": name}
    slice_.obs.rename_axis("cell_id").to_csv(folder / f"{name}_cells.csv")
    return {"input": name, "cells": f"{name}_cells.csv"}


def _xenium(slice_: ad.AnnData, folder: Path) -> None:
    kinds = ["Gene Expression"] * slice_.n_vars
    genes, counts = list(slice_.var_names), slice_.X.astype(np.int32)
    xenium.write_h5(folder / "cell_feature_matrix.h5", counts, slice_.obs_names, kinds, genes)
    places = {axis: slice_.obsm["spatial"][:, i] for i, axis in enumerate("xy")}
    pd.DataFrame({
        "cell_id": slice_.obs_names,
        **{f"{axis}_centroid": values.round(3) for axis, values in places.items()},
        "transcript_counts": np.asarray(slice_.X.sum(axis=1)).ravel().astype(int),
        "cell_area": 50.0, "nucleus_area": 20.0,
    }).to_csv(folder / "cells.csv.gz", index=False)  # fmt: skip
    (folder / "experiment.xenium").write_text(json.dumps({"num_cells": slice_.n_obs}))


def _merscope(slice_: ad.AnnData, folder: Path) -> None:
    ids = [str(2317032900000100001 + i) for i in range(slice_.n_obs)]
    counts = pd.DataFrame(slice_.X.toarray().astype(np.int32), ids, slice_.var_names)
    places = slice_.obsm["spatial"].round(3)
    cells = pd.DataFrame({
        "EntityID": ids, "fov": np.arange(slice_.n_obs) // 99, "volume": 500.0,
        "center_x": places[:, 0], "center_y": places[:, 1],
    })  # fmt: skip
    merscope.write(folder, counts.rename_axis("cell").to_csv(), cells.to_csv(index=False))
