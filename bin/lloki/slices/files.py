"""The one reader and writer of AnnData files; what is wrong with a file is said here."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.slices import evidence, hdf5
from lloki.slices.checks import (
    check_columns,
    check_coordinates,
    check_embedding,
    check_matrix,
    check_names,
    check_sparse,
    totals,
)
from lloki.slices.controls import split_controls
from lloki.slices.genes import match_keys
from lloki.slices.labels import as_text
from lloki.slices.symbols import by_symbol
from lloki.support.errors import InputError

ANNDATA = "AnnData file"


def read_h5ad(path: str | Path, genes: bool = True) -> ad.AnnData:
    """Read an AnnData file; InputError if it is missing, not an AnnData, or names repeat.

    genes: those of genes too; else controls among them may share a name, and are still to be told.
    """
    path = Path(path)
    with hdf5.reading(path, ANNDATA):
        data = ad.read_h5ad(path)
    check_whole(data, path, genes)
    return data


def check_whole(data: ad.AnnData, path: str | Path, genes: bool = True) -> None:
    """InputError where a part of an AnnData is not what it has to be; genes: as in `read_h5ad`."""
    _check_indices(data, path)
    check_cells(data, path, genes)


def _check_indices(data: ad.AnnData, path: Path) -> None:
    """InputError where a sparse matrix points outside itself: SciPy would read foreign memory."""
    raw = [] if data.raw is None else [data.raw.X]
    mappings = (data.layers, data.obsm, data.varm, data.obsp, data.varp)
    for matrix in (data.X, *raw, *(value for mapping in mappings for value in mapping.values())):
        if sp.issparse(matrix):
            check_sparse(matrix, path)


def check_cells(data: ad.AnnData, path: str | Path, genes: bool = True) -> None:
    """InputError where names, columns or notes are not what they have to be."""
    check_names(data, path, genes)
    check_columns(data, path)
    _check_notes(data, path)


def _check_notes(data: ad.AnnData, path: str | Path) -> None:
    """InputError unless uns['lloki'], where it is, holds notes as `record` writes them."""
    notes = data.uns.get("lloki", {})
    stages = ("prepare_slice", "embedding", "align")
    right = isinstance(notes, Mapping) and all(
        isinstance(notes.get(name, {}), Mapping) for name in stages
    )
    if not right:
        raise InputError(path, "uns['lloki'] is not what a stage wrote", "make the file again")


def read_expression(path: str | Path, spatial: bool = False) -> ad.AnnData:
    """Read a file with expression: X becomes CSR float32, checked to be finite and not negative.

    With `spatial`, obsm['spatial'] must hold 2 or 3 finite coordinates a cell (micrometres).
    """
    data = read_h5ad(path)
    data.X = check_matrix(data.X, path)
    if spatial:
        data.obsm["spatial"] = check_coordinates(data.obsm.get("spatial"), path)
    return data


def log_normalise(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Scale each cell to the median total of all cells, then log1p. Cells need a count each."""
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    scaled = sp.diags_array(np.median(totals) / totals) @ counts
    return sp.csr_matrix(scaled.log1p(), dtype=np.float32)


def scale_to_one(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Divide all counts by the largest one."""
    return sp.csr_matrix(counts / counts.data.max(), dtype=np.float32)


NORMALISE = {"median": log_normalise, "maximum": scale_to_one}
NORMALISATION = {"median": "median total, log1p", "maximum": "divided by the maximum"}


def panel_name(technology: str, genes: object) -> str:
    """The default name of a panel: the technology and a hash of its genes, whatever their order."""
    text = "\n".join(sorted(match_keys(genes)))
    return f"{technology}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def prepare(
    data: ad.AnnData,
    where: object,
    *,
    sample: str,
    technology: str,
    panel: str | None = None,
    organism: str | None = None,
    spatial_unit_um: float = 1.0,
    scaling: str = "median",
    normalized: bool = False,
    min_counts: int = 1,
    about: Mapping[str, object] | None = None,
    embedding: str | None = None,
    **notes: object,
) -> ad.AnnData:
    """A slice as every later stage reads it (contract: Slice); decisions go to uns['lloki'].

    X holds what `evidence.sift` left there: counts, or with `normalized` values to take as they
    are. scaling: `median` (to the slice's median total, then log1p) or `maximum` (divided by the
    slice's largest count). Cells of fewer than `min_counts` counts (and of none) are dropped.
    about: more that holds for the whole slice, a column of obs each (text or numbers; None: none).
    embedding: a key of obsm that stays. `notes` are kept with the decisions. `cell_id` in obs, if
    there is one, becomes text. The user's columns `sample`, `technology` and so on stay as
    `sample_given`. InputError if no cell is left.
    """
    coordinates = check_coordinates(data.obsm.get("spatial"), where) * spatial_unit_um
    matrix = check_matrix(data.X, where)
    filled = np.diff(matrix.indptr) > 0
    if not filled.any():
        raise InputError(where, "no cell has any count", "check the file")
    if min_counts > 1 and not normalized:
        filled = totals(matrix) >= min_counts
        if not filled.any():
            fact = f"no cell has {min_counts} counts or more"
            raise InputError(where, fact, "lower --min-counts, or leave this slice out")
    matrix = matrix[filled]
    obs = data.obs.loc[filled].copy()
    obs.index = f"{sample}:" + obs.index.astype(str)
    if "cell_id" in obs:  # joined with other slices' ids, numbers would lose digits
        obs["cell_id"] = as_text(obs["cell_id"])
    panel = panel or panel_name(technology, data.var_names)
    told = {"sample": sample, "technology": technology, "panel": panel, **(about or {})}
    for column, value in told.items():
        if value is None:
            continue
        if column in obs and (obs[column].astype(str) != str(value)).any():
            kept = f"{column}_given"  # the user's own column of this name
            while kept in obs:
                kept += "_given"
            obs[kept] = obs[column]
        obs[column] = value if isinstance(value, float) else pd.Categorical([value] * len(obs))
    prepared = ad.AnnData(
        matrix if normalized else NORMALISE[scaling](matrix),
        obs=obs,
        var=data.var[[]].copy(),
        obsm={"spatial": coordinates[filled]}
        | ({embedding: data.obsm[embedding][filled]} if embedding else {}),
        layers={} if normalized else {"counts": matrix},
    )
    record(
        prepared,
        "prepare_slice",
        source=Path(str(where)).name,
        normalisation="as given" if normalized else NORMALISATION[scaling],
        organism=organism,
        spatial_unit_um=spatial_unit_um,
        cells_read=data.n_obs,
        cells_dropped=int((~filled).sum()),
        **notes,
    )
    return prepared


def read_reference(path: str | Path) -> ad.AnnData:
    """Read an scRNA-seq reference; X becomes log-normalised, genes are called by their symbols.

    What there is of counts is found and used (`evidence.reference_values`); a file of an earlier
    stage is taken as it is. Cells without any count are dropped. uns['lloki_reference'] says what
    was taken, and which names were added up.
    """
    data, counted = read_h5ad(path), False
    if not data.uns.get("lloki", {}).keys() & {"prepare_slice", "reference"}:
        matrix, var, taken = evidence.reference_values(data, path)
        counted = taken.startswith(("raw counts", "parts of counts"))
        genes, others = split_controls(var)
        if not genes.any():
            raise InputError(path, "it holds no gene", "give a reference of RNA")
        matrix, var = matrix[:, np.flatnonzero(genes)], var[genes]
        var, matrix, renamed = by_symbol(var, matrix, logged=not counted)
        if others:
            listed = ", ".join(f"{len(columns)} {kind}" for kind, columns in others.items())
            renamed = f"{renamed}; left out are {listed}, which are no genes"
        data = ad.AnnData(matrix, obs=data.obs, var=pd.DataFrame(index=var))
        data.uns["lloki_reference"] = {"values": taken, "genes": renamed}
    data.X = check_matrix(data.X, path)
    filled = np.diff(data.X.indptr) > 0
    if not filled.any():
        raise InputError(path, "no cell has any count", "check the file")
    data = data[filled].copy()
    if counted:
        data.X = log_normalise(data.X)
    return data


def read_embedding(path: str | Path, *keys: str) -> ad.AnnData:
    """Read a file with obsm[key] for all keys; InputError if one is missing or not finite."""
    data = read_h5ad(path)
    for key in keys:
        if key not in data.obsm:
            raise InputError(path, f"obsm[{key!r}] is missing", "run the stage that makes it first")
        check_embedding(data.obsm[key], path, key)
    return data


def without_expression(data: ad.AnnData) -> ad.AnnData:
    """The cells alone: obs, coordinates and provenance, no genes."""
    keep = {"spatial": data.obsm["spatial"]} if "spatial" in data.obsm else {}
    return ad.AnnData(obs=data.obs.copy(), obsm=keep, uns={"lloki": data.uns.get("lloki", {})})


def sample_name(data: ad.AnnData, path: str | Path) -> str:
    """The sample of a slice that an earlier stage wrote; InputError if there is none."""
    if "sample" not in data.obs:
        raise InputError(path, "obs['sample'] is missing", "prepare it with prepare_slice.py first")
    return str(data.obs["sample"].iloc[0])


def embedder(data: ad.AnnData) -> str:
    """What made obsm['X_lloki_fp']: the embedder's name and its model's hash, or 'unknown'."""
    notes = data.uns.get("lloki", {}).get("embedding", {})
    model = notes.get("model_sha256", notes.get("checkpoint_sha256")) or ""
    return f"{notes.get('embedder', 'unknown')} {str(model)[:8]}".strip()


def record(data: ad.AnnData, stage: str, **decisions: object) -> None:
    """Note in uns['lloki'][stage] what a stage decided (text, numbers, lists of them)."""
    notes = dict(data.uns.get("lloki", {}))
    notes[stage] = {key: value for key, value in decisions.items() if value is not None}
    data.uns["lloki"] = notes


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Within it names are written as plain strings, for older readers too.

    InputError for values that no AnnData holds, such as a note of bytes.
    """
    from anndata._io.specs.registry import IORegistryError

    with ad.settings.override(allow_write_nullable_strings=False):
        try:
            yield
        except IORegistryError as error:
            fact = f"it has values that cannot be written ({str(error).splitlines()[0][:100]})"
            raise InputError(Path(path).name, fact, "make the inputs again") from None


def write_h5ad(data: ad.AnnData, path: str | Path) -> None:
    """Write an AnnData, lightly compressed."""
    with writing(path):
        data.write_h5ad(path, compression="gzip", compression_opts=1)
