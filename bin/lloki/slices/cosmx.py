"""What a CosMx instrument wrote (NanoString, Bruker): the flat files of one slide.

Form: NanoString's documents of the flat files that AtoMx exports and of its public data sets of
2022 and 2023, and folders of both. `*_exprMat_file.csv` has the counts, cells × features,
`*_metadata_file.csv` the cells' places, `*_fov_positions_file.csv` those of the fields of view;
their columns are told by name, for the order differs. A cell's number is unique within its field
of view only; number 0 is what lies in no cell. Coordinates are global pixels: local ones would put
all fields of view on top of each other. What a pixel is in micrometres depends on the instrument;
napari-cosmx, the vendor's viewer, has the sizes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki.slices import fields, vendor
from lloki.slices.dense import read_columns, read_dense, read_header
from lloki.slices.source import Source
from lloki.support.errors import InputError

# how the names of the files end
COUNTS, METADATA, POSITIONS = "exprMat_file.csv", "metadata_file.csv", "fov_positions_file.csv"
CONTROLS = {
    "negative probe": re.compile(r"(NegPrb|Negative)\d+"),
    "system control": re.compile(r"(SystemControl|FalseCode)\d+"),
}
NO_GENES = {"", "cell", "cell_id", "slide", "slide_id", "run_tissue_name"}  # in small letters
CELL_ID = re.compile(r"c_\d+_\d+_\d+")
X, Y = "CenterX_global_px", "CenterY_global_px"
LOCAL = ("CenterX_local_px", "CenterY_local_px")
PIXEL_UM, WIDE_PIXEL_UM, FIELD_PX = 0.12028, 0.18, 4256  # a wider field is the first instrument's
PLAUSIBLE_UM = 0.05, 0.5
PROTEIN = "protein intensities, not RNA counts"
LEAVE_OUT = "leave this slide out"


def read(
    folder: Path,
    fov: str | Collection[int] | None = None,
    unit_um: float | None = None,
    keep_controls: bool = False,
) -> Source:
    """The slide in a folder, genes alone (or with `keep_controls`); coordinates in global pixels.

    fov: fields of view to take, numbers or text such as `1-24 30`; None: all. unit_um: micrometres
    in a pixel, where the caller knows; else it is told by the files. obs: `cell_id` (as in the
    metadata, `c_<slide>_<fov>_<cell>`, else `<fov>_<cell>`), `fov`, `control_counts`,
    `cell_area_um2`, and from AtoMx `qc_flags` (those that a cell failed, `;` between),
    `Run_Tissue_name`, `slide_ID`. InputError where a file is missing or there twice, where the two
    do not fit, a cell is there twice, values are no whole counts, or coordinates are missing.
    """
    counts, metadata = (vendor.need_file(folder, ending) for ending in (COUNTS, METADATA))
    positions = vendor.find_file(folder, POSITIONS)
    return read_files(counts, metadata, positions, fov, unit_um, keep_controls)


def read_files(
    counts: Path,
    metadata: Path,
    positions: Path | None = None,
    fov: str | Collection[int] | None = None,
    unit_um: float | None = None,
    keep_controls: bool = False,
) -> Source:
    """The slide in two or three files, as `read` gives it."""
    wanted = vendor.parse_fovs(fov)
    table, facts = _read_metadata(metadata)
    unit, unit_from, warnings = _pixel(table, positions, unit_um)
    if wanted is not None:
        chosen, more = vendor.choose_fovs(table["fov"].to_numpy(), wanted, metadata)
        table, warnings = table[chosen], warnings + more
    matrix, names, keys = _read_counts(counts, wanted, facts)
    matrix, genes, controls, by_cell = vendor.split_controls(matrix, names, CONTROLS, keep_controls)
    vendor.check_genes(genes, counts)
    row = _rows(table, keys, counts, metadata)
    kept = row >= 0
    lacking = int((~kept).sum())
    facts["cells_without_metadata"] = lacking
    facts["metadata_without_counts"] = len(table) - (len(keys) - lacking)
    if lacking:
        warnings.append(f"{lacking} cells of {counts.name} are not in {metadata.name}: left out")
        matrix, by_cell, row = matrix[np.flatnonzero(kept)], by_cell[kept], row[kept]
    if facts["rows_without_values"]:
        n = facts["rows_without_values"]
        warnings.append(f"{n} rows of {counts.name} have no values: left out")
    table = table.iloc[row]
    obs = _cells(table, unit)
    obs["control_counts"] = by_cell
    places = table[[X, Y]].to_numpy(np.float64)
    vendor.check_places(places, obs.index, metadata)
    facts["fovs"] = vendor.spans(np.unique(obs["fov"]))
    if "qc_flags" in obs:
        failed = obs["qc_flags"].str.split(";").explode().value_counts()
        facts["qc_failed"] = {str(k): int(n) for k, n in failed.items() if k}
    data = ad.AnnData(
        matrix, obs=obs, var=pd.DataFrame(index=pd.Index(genes)), obsm={"spatial": places}
    )
    files = [counts, metadata, *([positions] if positions else [])]
    return Source(data, "cosmx", files, unit, unit_from, controls, facts, warnings)


def _read_metadata(path: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    """The cells' rows, `fov` and `cell_ID` whole numbers; what the file says of the slide."""
    names, _ = read_header(path)
    place = _fov_first(names)
    for name in ("fov", "cell_ID", X, Y):
        if name not in place:
            fact = f"it has no column {name!r} (it has {', '.join(names[:30])})"
            raise InputError(path, fact, vendor.AS_WRITTEN)
    flags = [name for name in names if name.startswith("qcFlags")]
    texts = ["fov", "cell_ID", "cell", "cell_id", "assay_type", "version", "Panel", "slide_ID",
             "Run_Tissue_name", *flags]  # fmt: skip
    numbers = [X, Y, *LOCAL, "Area", "Area.um2"]
    table = read_columns(
        path, *({name: place[name] for name in some if name in place} for some in (texts, numbers))
    )
    facts: dict[str, object] = {}
    for name, ours in (("assay_type", "assay"), ("version", "software"), ("Panel", "panel_name")):
        if name in table and (told := sorted(set(table[name]) - {""})):
            facts[ours] = ", ".join(told)
    assay = str(facts.get("assay", "")).casefold()
    if "protein" in assay and "rna" not in assay:
        raise InputError(path, f"its assay_type is {facts['assay']}: {PROTEIN}", LEAVE_OUT)
    known = ~(fields.missing(table["fov"]) & fields.missing(table["cell_ID"]))
    table = table[known].reset_index(drop=True)
    for name in ("fov", "cell_ID"):
        table[name] = _whole(table[name].to_numpy(), path, name)
    return table, facts


def _fov_first(names: list[str]) -> dict[str, int]:
    """Where each name stands first; the field of view is `fov` however it is written."""
    place = {name: i for i, name in reversed(list(enumerate(names)))}
    fov = next((i for i, name in enumerate(names) if name.casefold() == "fov"), None)
    return place if fov is None else {**place, "fov": fov}


def _whole(words: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Text as int64; InputError where it is no whole number."""
    values = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce").to_numpy(np.float64)
    wrong = ~((values >= 0) & (values < 2**31) & (values == np.floor(values)))
    if wrong.any():
        word = words[int(np.flatnonzero(wrong)[0])]
        fact = f"column {name!r} has {word!r}, which is no number of one"
        raise InputError(path, fact, vendor.AS_WRITTEN)
    return values.astype(np.int64)


def _read_counts(path: Path, wanted: set[int] | None, facts: dict[str, object]):
    """Counts of the cells (CSR), names of the features, fov and cell_ID as one number; facts."""
    names, _ = read_header(path)
    place = _fov_first(names)
    for name in ("fov", "cell_ID"):
        if name not in place:
            fact = f"it has no column {name!r} (it begins with {', '.join(names[:5])})"
            raise InputError(path, fact, vendor.AS_WRITTEN)
    ids = [place["fov"], place["cell_ID"]]
    facts |= {"cells_in_table": 0, "background_rows": 0, "rows_without_values": 0}

    def keep(words: list[np.ndarray]) -> np.ndarray:
        """Cells that are wanted; not what lies in none."""
        named = ~(fields.missing(words[0]) & fields.missing(words[1]))
        facts["rows_without_values"] += int((~named).sum())
        fov, cell = (
            _whole(np.where(named, word, "0"), path, name)
            for word, name in zip(words, ("fov", "cell_ID"), strict=True)
        )
        background = named & (cell == 0)
        facts["background_rows"] += int(background.sum())
        facts["cells_in_table"] += int((named & ~background).sum())
        return named & ~background & (True if wanted is None else np.isin(fov, list(wanted)))

    dense = read_dense(
        path, ids, keep=keep, skip_empty=True,
        without=[i for i, name in enumerate(names) if name.casefold() in NO_GENES],
        check=lambda values: vendor.check_counts(values, path, PROTEIN, LEAVE_OUT),
    )  # fmt: skip
    facts["rows_without_values"] += dense.empty
    keys = _key(*(_whole(word, path, "") for word in dense.ids))
    return dense.matrix, dense.columns, keys


def _key(fov: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """One number for a cell of a field of view."""
    return fov << 32 | cell


def _rows(table: pd.DataFrame, keys: np.ndarray, counts: Path, metadata: Path) -> np.ndarray:
    """The row of each cell in the metadata, -1: none; InputError if cells repeat or none fits."""
    known = _key(table["fov"].to_numpy(), table["cell_ID"].to_numpy())
    for these, path in ((keys, counts), (known, metadata)):
        index = pd.Index(these)
        if not index.is_unique:
            key = int(index[index.duplicated()][0])
            fact = f"cell {key & (2**32 - 1)} of field of view {key >> 32} is there more than once"
            raise InputError(path, fact, "give one slide a folder, as the instrument wrote it")
    rows = pd.Index(known).get_indexer(keys)
    if not (rows >= 0).any():
        fact = f"none of its cells is in {counts.name}"
        raise InputError(metadata, fact, "give the files of one slide and segmentation")
    return rows


def _cells(table: pd.DataFrame, unit: float) -> pd.DataFrame:
    """obs of the cells."""
    ids = table["fov"].astype(str) + "_" + table["cell_ID"].astype(str)
    for name in ("cell", "cell_id"):
        if name in table and table[name].str.fullmatch(CELL_ID).all() and table[name].is_unique:
            ids = table[name]
            break
    obs = pd.DataFrame({"cell_id": ids.to_numpy(str), "fov": table["fov"].to_numpy()})
    obs.index = pd.Index(obs["cell_id"].to_numpy(str))
    if "Area.um2" in table and table["Area.um2"].notna().all():
        obs["cell_area_um2"] = table["Area.um2"].to_numpy()
    elif "Area" in table:
        obs["cell_area_um2"] = table["Area"].to_numpy() * unit**2
    flags = [name for name in table if name.startswith("qcFlags")]
    if flags:
        failed = [table[name].str.casefold().eq("fail").to_numpy() for name in flags]
        obs["qc_flags"] = [
            ";".join(name for name, fail in zip(flags, row, strict=True) if fail)
            for row in zip(*failed, strict=True)
        ]
    for name in ("Run_Tissue_name", "slide_ID"):
        if name in table:
            obs[name] = table[name].to_numpy(str)
    return obs


def _pixel(
    table: pd.DataFrame, positions: Path | None, unit_um: float | None
) -> tuple[float, str, list[str]]:
    """Micrometres in a pixel, how they are known, and warnings."""
    if unit_um is not None:
        return unit_um, "as given", []
    warnings = []
    if positions is not None:
        found = _pixel_of_positions(positions)
        if found is not None and PLAUSIBLE_UM[0] < found < PLAUSIBLE_UM[1]:
            return found, f"mm and pixels of {positions.name}", []
        if found is not None:
            warnings.append(f"{positions.name} has {found:.4g} µm in a pixel: not used")
    local = table[[name for name in LOCAL if name in table]].to_numpy()
    if (local > FIELD_PX).any():
        reason = f"a field of view of more than {FIELD_PX} pixels, as the first instrument has"
        return WIDE_PIXEL_UM, reason, warnings
    warnings.append(
        f"nothing in the files tells the size of a pixel: {PIXEL_UM} µm are taken "
        "(spatial_unit_um sets another)"
    )
    return PIXEL_UM, "the usual size, nothing in the files tells it", warnings


def _pixel_of_positions(path: Path) -> float | None:
    """µm/px by how far fields of view lie apart in mm and in pixels; None: the file has not both.

    By their differences, since the two may count from different places; of one field alone there
    are none.
    """
    names = [name.casefold() for name in read_header(path)[0]]
    wanted = [f"{axis}_global_{unit}" for unit in ("mm", "px") for axis in "xy"]
    if not set(wanted) <= set(names):
        return None
    table = read_columns(path, {}, {name: names.index(name) for name in wanted})
    mm, px = (table[wanted[i : i + 2]].to_numpy() for i in (0, 2))
    mm, px = (np.abs(np.diff(np.vstack([values, values[:1]]), axis=0)) for values in (mm, px))
    far = np.isfinite(mm) & (px > 1000)
    return float(np.median(1000 * mm[far] / px[far])) if far.any() else None
