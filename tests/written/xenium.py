"""Xenium bundles in the vendor's form."""

import gzip

import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp

KINDS = ["Gene Expression"] * 6 + ["Negative Control Probe"] * 2 + ["Blank Codeword"]
NAMES = ["Gad1", "Slc17a7", "Sst", "Pvalb", "Vip", "Aqp4", "NegControlProbe_1", "NegControlProbe_2",
         "BLANK_0070"]  # fmt: skip


def counts(cells=40):
    rng = np.random.default_rng(0)
    return rng.poisson(1.5, (cells, len(NAMES)))


def write_h5(path, values, ids, kinds=KINDS, names=NAMES, number=np.int32):
    """Cell Ranger's form: features × cells, by cells; text as bytes."""
    matrix = sp.csc_matrix(values.T)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(matrix, key).astype(number)
        group["shape"] = np.array(matrix.shape, dtype=np.int32)
        group["barcodes"] = np.array(ids, dtype="S")
        features = group.create_group("features")
        features["id"] = np.array([f"ENSMUSG{i:011d}" for i in range(len(names))], dtype="S")
        features["name"] = np.array(names, dtype="S")
        if kinds:
            features["feature_type"] = np.array(kinds, dtype="S")


def write_text(folder, values, ids):
    folder.mkdir()
    with gzip.open(folder / "matrix.mtx.gz", "wb") as file:
        scipy.io.mmwrite(file, sp.coo_matrix(values.T))
    lines = [
        f"ENSMUSG{i:011d}\t{n}\t{k}\n" for i, (n, k) in enumerate(zip(NAMES, KINDS, strict=True))
    ]
    with gzip.open(folder / "features.tsv.gz", "wt") as file:
        file.writelines(lines)
    with gzip.open(folder / "barcodes.tsv.gz", "wt") as file:
        file.writelines(f"{name}\n" for name in ids)


def table(values, ids):
    cells = pd.DataFrame({
        "cell_id": ids, "x_centroid": np.arange(len(ids)) * 10.5, "y_centroid": 7.25,
        "transcript_counts": values[:, :6].sum(axis=1), "control_probe_counts": 0,
        "cell_area": 55.5, "nucleus_area": 20.0, "nucleus_count": 1,
    })  # fmt: skip
    return cells


def text_ids(cells=40):
    """Ids as from XOA 1.3 on."""
    return [f"aaaabb{chr(97 + i // 16)}{chr(97 + i % 16)}-1" for i in range(cells)]
