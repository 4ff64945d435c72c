"""What a Xenium instrument wrote (10x Genomics), any version; and a 10x-style h5 beside its cells.

Form: 10x's documents of Xenium Onboard Analysis 1.0 to 4.0, and folders of those versions. It is
told by content, never by version. A bundle holds one region: `cell_feature_matrix.h5` (Cell
Ranger's form: features × cells by cells) or its folder of text, `cells.csv.gz` or
`cells.parquet`, and `experiment.xenium` (JSON), which may be missing.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp

from lloki.slices import hdf5
from lloki.slices.checks import totals
from lloki.slices.source import Source
from lloki.support.errors import COPY_AGAIN, InputError

GENES, PROTEINS = "Gene Expression", "Protein Expression"
UNNAMED = re.compile(r"^(BLANK|NegControl|UnassignedCodeword|DeprecatedCodeword|Intergenic_)", re.I)
NONZEROS = 1 << 22  # values of the matrix that are looked at at once
DISAGREE = 0.01  # share of cells whose totals may differ between matrix and table
CELLS = ("cells.csv.gz", "cells.csv", "cells.parquet")  # core holds nothing that reads parquet
COLUMNS = {  # of the table of cells, and what they are called here
    "transcript_counts": "transcript_counts", "cell_area": "cell_area_um2",
    "nucleus_area": "nucleus_area_um2", "nucleus_count": "nucleus_count",
    "segmentation_method": "segmentation_method",
}  # fmt: skip


def read(folder: Path, keep_controls: bool = False) -> Source:
    """A bundle, genes alone (or with `keep_controls`, proteins never).

    InputError where a part is missing or parts do not fit.
    """
    matrix = next(
        (folder / name for name in ("cell_feature_matrix.h5", "cell_feature_matrix")
         if (folder / name).exists()), None,
    )  # fmt: skip
    if matrix is None:
        fact = "experiment.xenium without cell_feature_matrix.h5"
        raise InputError(folder, fact, "export the whole bundle, or copy that file")
    cells = next((folder / name for name in CELLS if (folder / name).exists()), None)
    if cells is None:
        raise InputError(folder, "it has no cells.csv.gz", "export the whole bundle, or copy it")
    experiment = folder / "experiment.xenium"
    experiment = experiment if experiment.is_file() else None
    return read_files(matrix, cells, experiment, keep_controls)


def read_files(
    matrix: Path, cells: Path, experiment: Path | None = None, keep_controls: bool = False
) -> Source:
    """A matrix (h5 or a folder of text) with its table of cells, as `read` gives a bundle."""
    if matrix.is_dir():
        barcodes, features, counts, controls, by_cell = _read_text(matrix, keep_controls)
    else:
        with hdf5.reading(matrix, "matrix of Cell Ranger's form"), h5py.File(matrix) as file:
            barcodes, features, counts, controls, by_cell = _read_h5(file, matrix, keep_controls)
    genes = (features["shown"] == GENES).to_numpy()
    if not genes.any():
        kinds = ", ".join(controls) or "none"
        raise InputError(matrix, f"it holds no gene, only {kinds}", "give a bundle of RNA")
    warnings: list[str] = []
    names = pd.Index(barcodes)
    if not names.is_unique:
        fact = f"cell {names[names.duplicated()][0]!r} is there twice"
        raise InputError(matrix, fact, COPY_AGAIN)
    table = _read_cells(cells)
    lacking = pd.Index(barcodes).difference(table.index, sort=False)
    if len(lacking):
        fact = f"cell {lacking[0]!r} of {matrix.name} has no row ({len(lacking)} have none)"
        raise InputError(cells, fact, "give the matrix and the cells of one segmentation")
    surplus = len(table) - len(barcodes)
    if surplus:
        warnings.append(f"{surplus} rows of {cells.name} are of no cell in {matrix.name}: left out")
    table = table.loc[barcodes]
    nowhere = table[["x_centroid", "y_centroid"]].isna().any(axis=1)
    if nowhere.any():
        fact = f"cell {table.index[nowhere][0]!r} has no x_centroid or y_centroid"
        raise InputError(cells, f"{fact} ({nowhere.sum()} have none)", COPY_AGAIN)
    obs = pd.DataFrame({"cell_id": barcodes}, index=pd.Index(barcodes))
    for name, ours in COLUMNS.items():
        if name in table:
            obs[ours] = table[name].to_numpy()
    obs["control_counts"] = by_cell
    data = ad.AnnData(counts, obs=obs, var=_genes(features, warnings))
    data.obsm["spatial"] = table[["x_centroid", "y_centroid"]].to_numpy(np.float64)
    if "transcript_counts" in obs:
        own = totals(counts if genes.all() else counts[:, np.flatnonzero(genes)])
        differ = float((own != obs["transcript_counts"].to_numpy(np.float64)).mean())
        if differ > DISAGREE:
            warnings.append(
                f"transcript_counts of {cells.name} differ from the matrix in {differ:.0%} of the "
                "cells: are the two of different segmentations?"
            )
    if not (features["kind"] != "").any():
        warnings.append(f"{matrix.name} does not say which features are genes: told by their names")
    found = [cells, *([experiment] if experiment else [])]
    found += sorted(p for p in matrix.iterdir() if p.is_file()) if matrix.is_dir() else [matrix]
    facts = {"cells_in_table": len(table) + surplus, **_experiment(experiment)}
    return Source(data, "xenium", found, controls=controls, facts=facts, warnings=warnings)


def _read_h5(file: h5py.File, path: Path, keep_controls: bool) -> tuple:
    """Barcodes, features, counts of the genes (CSR), controls by class, control counts by cell."""
    try:
        group = file["matrix"]
        names = {key: _text(group[f"features/{key}"]) for key in ("id", "name")}
        kinds = group["features"].get("feature_type")
        names["kind"] = _text(kinds) if kinds is not None else [""] * len(names["id"])
        barcodes = _text(group["barcodes"])
        shape = tuple(int(n) for n in group["shape"][:])
        pointers = group["indptr"][:].astype(np.int64)
        data, indices = group["data"], group["indices"]
    except KeyError as error:
        fact = f"no matrix of Cell Ranger's form ({error.args[0]})"
        raise InputError(
            path, fact, "give cell_feature_matrix.h5 as the instrument wrote it"
        ) from None
    features = pd.DataFrame(names)
    whole = (
        shape == (len(features), len(barcodes)) and len(pointers) == len(barcodes) + 1
        and pointers[0] == 0 and (np.diff(pointers) >= 0).all() and pointers[-1] == len(indices)
        and len(data) == len(indices)
    )  # fmt: skip
    if not whole:
        raise InputError(path, "its matrix is damaged", COPY_AGAIN)
    sift = _Sift(features, len(barcodes), int(pointers[-1]), keep_controls)
    start = 0
    while start < len(barcodes):
        most = np.searchsorted(pointers, pointers[start] + NONZEROS, side="right") - 1
        stop = min(max(int(most), start + 1), len(barcodes))
        part = slice(int(pointers[start]), int(pointers[stop]))
        columns = indices[part].astype(np.int64)
        if len(columns) and (columns.min() < 0 or columns.max() >= len(features)):
            raise InputError(path, "its matrix is damaged", COPY_AGAIN)
        sift.take(start, np.diff(pointers[start : stop + 1]), columns, data[part])
        start = stop
    return barcodes, *sift.result()


def _read_text(folder: Path, keep_controls: bool) -> tuple:
    """The same from matrix.mtx.gz, barcodes.tsv.gz and features.tsv.gz (also not compressed)."""
    paths = {}
    for name in ("matrix.mtx", "barcodes.tsv", "features.tsv"):
        found = [
            folder / f"{name}{end}" for end in (".gz", "") if (folder / f"{name}{end}").exists()
        ]
        if not found:
            raise InputError(folder, f"it has no {name}.gz", "export the whole bundle, or copy it")
        paths[name] = found[0]
    try:
        tables = [
            pd.read_csv(paths[name], sep="\t", header=None, dtype=str, keep_default_na=False)
            for name in ("barcodes.tsv", "features.tsv")
        ]
        barcodes, features = tables[0][0].tolist(), tables[1].reindex(columns=range(3)).fillna("")
        matrix = _read_market(paths["matrix.mtx"], (len(features), len(barcodes)))
    except (ValueError, ArithmeticError, OSError, EOFError, zlib.error) as error:
        raise InputError(
            folder, f"not a readable matrix ({type(error).__name__})", COPY_AGAIN
        ) from None
    features.columns = ["id", "name", "kind"]
    sift = _Sift(features, len(barcodes), matrix.nnz, keep_controls)
    sift.take(0, np.diff(matrix.indptr), matrix.indices, matrix.data)
    return barcodes, *sift.result()


def _read_market(path: Path, shape: tuple[int, int]) -> sp.csc_array:
    """A matrix of Matrix Market's form (features × cells), once its header is what it has to be."""
    *found, values, form, kind, _ = scipy.io.mminfo(path)
    if tuple(found) != shape:
        fact = f"its matrix is {tuple(found)}, not {shape[0]} features × {shape[1]} cells"
        raise InputError(path, fact, COPY_AGAIN)
    most = hdf5.DEFLATED * path.stat().st_size  # a value takes a byte at least
    if values > most or form != "coordinate" or kind not in ("integer", "real"):
        raise InputError(
            path, f"its matrix is damaged ({values} values, {form}, {kind})", COPY_AGAIN
        )
    return sp.csc_array(scipy.io.mmread(path, spmatrix=False))


class _Sift:
    """Takes the values of all features, cell after cell; keeps the genes', adds up the others'."""

    def __init__(self, features: pd.DataFrame, cells: int, values: int, keep: bool) -> None:
        named = features["kind"] != ""
        if not named.any():
            genes = ~features["name"].str.contains(UNNAMED)
            features = features.assign(shown=np.where(genes, GENES, "named as a control"))
        else:
            genes = features["kind"] == GENES
            features = features.assign(shown=features["kind"])
        self.features, self.genes = features, genes.to_numpy()
        self.keep = keep
        self.kept = (genes | (keep & (features["kind"] != PROTEINS))).to_numpy()
        self.place = np.where(self.kept, np.cumsum(self.kept) - 1, -1).astype(np.int32)
        self.counts = np.zeros(cells, dtype=np.int64)
        self.others = np.zeros(cells, dtype=np.float64)
        self.total = np.zeros(len(features), dtype=np.float64)
        self.columns = np.empty(values, dtype=np.int32)
        self.values = np.empty(values, dtype=np.float32)
        self.used = 0

    def take(self, first: int, lengths: np.ndarray, columns: np.ndarray, values) -> None:
        """Cells from `first` on: how many values each has, their features, the values."""
        values = np.asarray(values, dtype=np.float32)
        gene = self.place[columns]
        kept = gene >= 0
        other = ~self.genes[columns] if self.keep else ~kept
        cell = np.repeat(np.arange(len(lengths)), lengths)
        rows = slice(first, first + len(lengths))
        self.counts[rows] = np.bincount(cell[kept], minlength=len(lengths))
        if other.any():
            self.others[rows] = np.bincount(cell[other], values[other], len(lengths))
            self.total += np.bincount(columns[other], values[other], len(self.total))
        end = self.used + int(kept.sum())
        self.columns[self.used : end], self.values[self.used : end] = gene[kept], values[kept]
        self.used = end

    def result(self) -> tuple:
        """Features that are kept, counts (CSR), controls by class, control counts by cell."""
        size = np.int32 if self.used < 1 << 31 else np.int64  # that of the columns: no copy
        pointers = np.concatenate([[0], np.cumsum(self.counts)]).astype(size)
        shape = len(self.counts), int(self.kept.sum())
        values, columns = self.values[: self.used], self.columns[: self.used]
        counts = sp.csr_matrix((values, columns, pointers), shape=shape)
        counts.sort_indices()
        controls = {}
        for kind, rows in self.features[~self.genes].groupby("shown").groups.items():
            total = float(self.total[np.asarray(rows)].sum())
            controls[str(kind)] = {"features": len(rows), "counts": total}
        return self.features[self.kept], counts, controls, self.others


def _text(values: h5py.Dataset) -> list[str]:
    return _as_text(values[:])


def _as_text(values: Iterable) -> list[str]:
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]


def _genes(features: pd.DataFrame, warnings: list[str]) -> pd.DataFrame:
    """var: genes by name, ids beside; of a repeated name all but the first go by their ids."""
    names, again = features["name"].to_numpy(object), features["name"].duplicated().to_numpy()
    if again.any():
        first = ", ".join(dict.fromkeys(names[again][:5]))
        warnings.append(f"genes of one name go by their ids, but for the first of each ({first})")
        names = np.where(again, features["id"].to_numpy(object), names)
    return pd.DataFrame(
        {"gene_ids": features["id"].to_numpy(str)}, index=pd.Index(names.astype(str))
    )


def _read_cells(path: Path) -> pd.DataFrame:
    """The table of cells by its ids as text, with coordinates."""
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype={"cell_id": str}, keep_default_na=False, na_values=[""],
                                low_memory=False)  # fmt: skip
    except ImportError:
        fact = "it needs pyarrow, which this environment lacks"
        raise InputError(path, fact, "put cells.csv.gz beside it") from None
    except (ValueError, OSError, EOFError, zlib.error) as error:
        fact = f"not a readable table of cells ({type(error).__name__})"
        raise InputError(path, fact, COPY_AGAIN) from None
    for name in ("cell_id", "x_centroid", "y_centroid"):
        if name not in table:
            raise InputError(path, f"it has no column {name!r}", "give cells.csv.gz of the bundle")
    if "segmentation_method" in table:
        table["segmentation_method"] = _as_text(table["segmentation_method"])
    numbers = {"x_centroid", "y_centroid", *COLUMNS} - {"segmentation_method"}
    for name in sorted(numbers & set(table)):
        try:
            table[name] = pd.to_numeric(table[name])
        except (ValueError, TypeError):
            fact = f"column {name!r} holds values that are no numbers"
            raise InputError(path, fact, COPY_AGAIN) from None
    table.index = pd.Index(_as_text(table["cell_id"]))
    if not table.index.is_unique:
        name = table.index[table.index.duplicated()][0]
        raise InputError(path, f"cell {name!r} is there twice", COPY_AGAIN)
    return table


def _experiment(path: Path | None) -> dict[str, object]:
    """What experiment.xenium tells of the run: software, panel, whether cells are others' now."""
    if path is None:
        return {}
    try:
        told = json.loads(path.read_text())
        names = {"analysis_sw_version": "software", "panel_name": "panel_name",
                 "panel_organism": "panel_organism", "region_name": "region_name"}  # fmt: skip
        facts = {ours: str(told[name]) for name, ours in names.items() if told.get(name)}
        return facts | ({"resegmented": True} if "xenium_ranger" in told else {})
    except (ValueError, OSError, AttributeError, RecursionError):
        raise InputError(path, "not readable JSON", "leave it out, or copy it again") from None
