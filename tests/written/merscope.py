"""MERSCOPE folders of both generations, as the instrument and vpt write them."""

import gzip

import numpy as np

GENES, BLANKS = ["Comt", "Ldha", "Blank", "Pck1"], ["Blank-1", "Blank-12"]
CELLS = 7
OLD = [f"{103327291694389284070574461648020091166 + i}" for i in range(CELLS)]
NEW = [f"{2317032900000100001 + i}" for i in range(CELLS)]  # no float64 tells them apart
RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 40, (CELLS, 6)) * RNG.integers(0, 2, (CELLS, 6))
PLACES, VOLUMES = RNG.normal(0, 1000, (CELLS, 2)), RNG.uniform(50, 900, CELLS)
FOVS = np.array([0, 0, 1, 1, 1, 2, 2])


def csv(header, rows):
    return "".join(",".join(map(str, row)) + "\n" for row in [header, *rows])


def old():
    """Both tables as before version 232: ids without a name."""
    counts = csv(["", *GENES, *BLANKS], [[i, *row] for i, row in zip(OLD, COUNTS, strict=True)])
    header = ["", *"fov volume center_x center_y min_x max_x min_y max_y".split()]
    boxes = [[x - 5, x + 5, y - 5, y + 5] for x, y in PLACES]
    rows = zip(OLD, FOVS, VOLUMES, PLACES, boxes, strict=True)
    return counts, csv(header, [[i, f, v, *p, *b] for i, f, v, p, b in rows])


def new(order=slice(None, None, -1)):
    """Both tables as vpt writes them: 0.0, a blank line, empty columns, two orders."""
    rows = [[i, *row] for i, row in zip(NEW, COUNTS.astype(float), strict=True)]
    counts = csv(["cell", *GENES, *BLANKS], rows).replace("\n", "\n\n", 1)
    header = ["EntityID", *"fov volume center_x center_y min_x min_y max_x max_y".split()]
    header += "anisotropy transcript_count solidity DAPI_raw DAPI_high_pass".split()
    rows = zip(NEW, VOLUMES, PLACES, strict=True)
    rows = [[i, "", v, *p, *[-1.5] * 5, "", 0.9, 7, 8.5] for i, v, p in rows]
    return counts, csv(header, rows[order])


def write(folder, counts, metadata, prefix="", packed=False):
    folder.mkdir(exist_ok=True)
    for name, text in (("cell_by_gene.csv", counts), ("cell_metadata.csv", metadata)):
        path = folder / f"{prefix}{name}{'.gz' * packed}"
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return folder
