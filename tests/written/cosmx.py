"""CosMx folders of both generations, as the public sets and AtoMx have them."""

import gzip

import numpy as np
import pandas as pd

GENES = ["RAMP2", "HLA-DQB1/2", "NEGR1", "CD83"]
CELLS = pd.DataFrame({"fov": [1, 1, 1, 2, 2, 10], "cell_ID": [1, 2, 3, 1, 2, 1]})
RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 40, (6, 8)) * RNG.integers(0, 2, (6, 8))
PLACES, LOCAL = RNG.uniform(0, 90_000, (6, 2)), RNG.integers(0, 4256, (6, 2))
AREA = RNG.integers(1000, 9000, 6)
SHORT = [f"{f}_{c}" for f, c in CELLS.to_numpy()]
LONG = [f"c_3_{f}_{c}" for f, c in CELLS.to_numpy()]
FAILED = [["Pass", "Fail"], ["Pass", "Pass"], ["Fail", "Fail"], *[["Pass", "Pass"]] * 3]


def legacy():
    """exprMat and metadata of the public sets: background as cell 0, no ids, no flags."""
    names = [*GENES, "NegPrb01", "NegPrb02", "NegPrb3", "NegPrb9"]
    counts = pd.concat([CELLS, pd.DataFrame(COUNTS, columns=names)], axis=1)
    background = pd.DataFrame([[f, 0, *[900] * 8] for f in (1, 2, 10)], columns=counts.columns)
    counts = pd.concat([background, counts]).sort_values(["fov", "cell_ID"])
    metadata = CELLS.assign(Area=AREA, AspectRatio=1.1)
    metadata[["CenterX_local_px", "CenterY_local_px"]] = LOCAL
    metadata[["CenterX_global_px", "CenterY_global_px"]] = PLACES
    positions = pd.DataFrame({"fov": [1, 2, 10], "x_global_px": [0, 4256, 8512], "y_global_px": 0})
    return counts, metadata[::-1], positions


def atomx():
    """The same of AtoMx: other names and orders, ids, flags, millimetres."""
    names = [*GENES, "Negative1", "Negative2", "SystemControl1", "SystemControl20"]
    counts = pd.concat([CELLS.assign(cell=LONG), pd.DataFrame(COUNTS, columns=names)], axis=1)
    metadata = pd.DataFrame({"fov": CELLS["fov"], "Area": AREA, "cell_id": LONG})
    metadata[["CenterX_local_px", "CenterY_local_px"]] = LOCAL
    metadata = metadata.assign(assay_type="RNA", version="v6", Run_Tissue_name="a, b", slide_ID=3)
    metadata[["CenterY_global_px", "CenterX_global_px"]] = PLACES[:, ::-1]
    metadata["cell_ID"] = CELLS["cell_ID"]
    metadata["Area.um2"] = AREA * 0.0144
    metadata[["qcFlagsRNACounts", "qcFlagsFOV"]] = FAILED
    metadata["cell"] = LONG
    positions = pd.DataFrame({"FOV": [1, 2, 10], "x_global_px": [0, 5000, 10_000]})
    positions = positions.assign(y_global_px=-5000, x_global_mm=[0, 0.6, 1.2], y_global_mm=0.6)
    return counts, metadata, positions


def write(folder, counts, metadata, positions=None, packed=False):
    folder.mkdir(exist_ok=True)
    tables = {"exprMat": counts, "metadata": metadata, "fov_positions": positions}
    for name, table in tables.items():
        if table is not None:
            text = table.to_csv(index=False, quoting=2).encode()
            path = folder / f"S1_{name}_file.csv{'.gz' * packed}"
            path.write_bytes(gzip.compress(text) if packed else text)
    return folder
