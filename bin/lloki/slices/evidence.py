"""What a file really holds, judged by its values: counts or what was made of them, genes, places.

Names and options may be wrong; a matrix that is taken for what it is not goes through every stage
without an error. So each is looked at before it is used, and what is said of it is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.spatial import cKDTree

from lloki.slices.checks import check_coordinates, check_sparse, totals
from lloki.slices.genes import by_symbol
from lloki.slices.source import Source
from lloki.support.errors import InputError

CELLS = 2000  # of a matrix, that are looked at
SAME = 0.01  # spread of the cells' sums (relative) up to which they are one number
MANY = 0.9  # share of different values in a cell, from which they are not made of small counts
LOGGED = 20.0  # log1p of more counts than a cell has
LAYERS = ("counts", "raw_counts", "raw", "X_counts", "umi", "spliced")
NEAR, FAR = 2.0, 100.0  # micrometres between a cell and its nearest: less or more is doubted
TYPES = ("feature_types", "feature_type")
CONTROLS = {  # class: names of its features, where nothing else tells (vendors' documents)
    "negative control": re.compile(
        r"(NegControl|antisense_|Intergenic_|NegPrb\d|Negative[-_]?\d).*"
    ),
    "blank": re.compile(r"blank[-_]?\d+", re.I),
    "codeword without a gene": re.compile(r"(Unassigned|Deprecated)Codeword.*"),
    "system control": re.compile(r"(SystemControl|FalseCode)[-_]?\d+"),
}
PLACES = ("spatial", "X_spatial", "spatial3d")  # keys of obsm
AXES = (  # columns of obs
    ("x_centroid", "y_centroid"), ("center_x", "center_y"),
    ("CenterX_global_px", "CenterY_global_px"), ("x_um", "y_um"), ("X_um", "Y_um"),
    ("spatial_x", "spatial_y"), ("x", "y"), ("X", "Y"),
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What a matrix holds: counts, fractional, logged, linear (never logged), scaled; and why."""

    kind: str
    why: str


def of(matrix: sp.csr_matrix) -> Evidence:
    """What the values of a CSR matrix (n cells × G genes) are."""
    values = matrix.data
    if not len(values):
        return Evidence("counts", "no values")
    if not np.isfinite(values).all():
        return Evidence("damaged", "NaN or infinite values")
    low, high = float(values.min()), float(values.max())
    if low < 0:
        return Evidence("scaled", f"values down to {low:.3g}")
    if (values == np.rint(values)).all():
        return Evidence("counts", f"whole numbers up to {high:.0f}")
    some = matrix[:: max(1, matrix.shape[0] // CELLS)].astype(np.float64)
    some = some[np.diff(some.indptr) > 0]
    total = _one_sum(some)
    if total and high > LOGGED:
        return Evidence("linear", f"every cell adds up to {total:,.0f}")
    if high <= LOGGED:
        before = some.copy()
        before.data = np.expm1(before.data)
        if before := _one_sum(before):
            return Evidence("logged", f"every cell adds up to {before:,.0f} before the logarithm")
        if _varied(some) < MANY:
            return Evidence("logged", f"values up to {high:.3g}, equal ones within cells")
    part = float(values[values != np.rint(values)][0])
    return Evidence("fractional", f"values such as {part:.3g}, up to {high:.3g}")


def _one_sum(matrix: sp.csr_matrix) -> float | None:
    """What all cells add up to, where that is one number."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    mean = float(sums.mean())
    return mean if len(sums) > 1 and sums.std() <= SAME * mean else None


def _varied(matrix: sp.csr_matrix) -> float:
    """Share of different values among those of a cell, in the mean over cells of some values."""
    shares = [
        len(np.unique(row)) / len(row)
        for row in np.split(matrix.data, matrix.indptr[1:-1]) if len(row) >= 5
    ]  # fmt: skip
    return float(np.mean(shares)) if shares else 0.0


def find_counts(
    data: ad.AnnData,
    where: object,
    layer: str | None = None,
    fractional: bool = False,
    widest: bool = False,
) -> tuple[sp.csr_matrix, pd.DataFrame, str]:
    """The raw counts of a slice or reference (CSR float32), their var, and where they were.

    Looked for in LAYERS, X and raw.X by their values; `layer` names a layer, X or raw, which then
    has to hold them. `fractional`: parts of counts will do (proseg, SoupX, Baysor). `widest`: of
    several, the one with the most genes, else the first. InputError that shows the evidence where
    there are none.
    """
    places, seen = _places(data, where, layer), {}
    if widest:
        places = dict(sorted(places.items(), key=lambda place: -place[1][0].shape[1]))
    for name, (matrix, var) in places.items():
        found = of(matrix)
        if found.kind == "counts" or (fractional and found.kind == "fractional"):
            return matrix, var, name
        seen[name] = found
    told = "; ".join(f"{name} {WORDS[found.kind]} ({found.why})" for name, found in seen.items())
    if any(found.kind == "fractional" for found in seen.values()):
        remedy = "give raw counts, or --fractional-counts where a program made parts of them"
    elif any(found.kind == "logged" for found in seen.values()):
        remedy = "give raw counts, or --normalized if they are log-normalised already"
    else:
        remedy = "give raw counts"
    raise InputError(where, f"no raw counts: {told}", remedy)


WORDS = {
    "fractional": "holds values that are not whole counts",
    "logged": "holds values that are not whole counts and look log-normalised",
    "linear": "looks normalised and never logged",
    "scaled": "has negative values, as scaled data",
    "damaged": "cannot be used",
}


def _places(data: ad.AnnData, where: object, layer: str | None) -> dict[str, tuple]:
    """Where counts may be, by name: matrix and var. X is there always."""
    if layer is not None and layer not in ("X", "raw") and layer not in data.layers:
        have = ", ".join(str(name) for name in data.layers if name is not None) or "none"
        raise InputError(where, f"there is no layer {layer!r}", f"it has: {have}")
    if layer == "raw" and data.raw is None:
        raise InputError(where, "it has no raw", "leave the layer out, or name another")
    names = [name for name in LAYERS if name in data.layers] if layer is None else [layer]
    found = {}
    for name in names:
        if name in data.layers:
            found[f"layers[{name!r}]"] = _csr(data.layers[name], where), data.var
    if layer in (None, "X"):
        found["X"] = _csr(data.X, where), data.var
    if layer in (None, "raw") and data.raw is not None:
        found["raw.X"] = _csr(data.raw.X, where), data.raw.var
    return found


def _csr(matrix: object, where: object) -> sp.csr_matrix:
    if matrix is None or 0 in matrix.shape:
        raise InputError(where, "it holds no expression matrix X", "give a slice or a reference")
    matrix = sp.csr_matrix(matrix, dtype=np.float32)
    check_sparse(matrix, where)
    return matrix


def find_normalised(data: ad.AnnData, where: object, layer: str | None = None) -> tuple:
    """The log-normalised values that --normalized promises, their var, where; else InputError."""
    name = layer or "X"
    ((place, (matrix, var)),) = _places(data, where, name).items()
    found = of(matrix)
    if found.kind == "counts":
        raise InputError(where, f"{place} holds raw counts ({found.why})", "leave --normalized out")
    if found.kind == "linear":
        fact = f"{place} {WORDS['linear']} ({found.why})"
        raise InputError(where, fact, "give raw counts, or their log1p")
    return matrix, var, place


def reference_values(data: ad.AnnData, where: object) -> tuple[sp.csr_matrix, pd.DataFrame, str]:
    """What a reference is used by: raw counts, or values after log1p; their var; what was done.

    The first is told from the second by `of`. Of several places the one with the most genes; what
    was normalised and never logged is logged. InputError that shows the evidence otherwise.
    """
    try:
        matrix, var, place = find_counts(data, where, widest=True)
        return matrix, var, f"raw counts of {place}"
    except InputError as error:
        refusal = error
    places = sorted(_places(data, where, None).items(), key=lambda place: -place[1][0].shape[1])
    for place, (matrix, var) in places:
        if of(matrix).kind == "logged":
            return matrix, var, f"log-normalised values of {place}"
    for place, (matrix, var) in places:
        if of(matrix).kind == "linear":
            return (
                sp.csr_matrix(matrix.log1p()),
                var,
                f"{place}, which was never logged, after log1p",
            )
    raise refusal


def split_controls(var: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which features are genes (boolean, G), and the others' columns by class.

    By a column of types where there is one (`feature_types`), else by the vendors' names.
    """
    kinds = next((var[name].astype(str).to_numpy() for name in TYPES if name in var), None)
    if kinds is not None and (kinds == "Gene Expression").any():
        classes = np.where(kinds == "Gene Expression", "", kinds)
    else:
        classes = np.full(len(var), "", dtype=object)
        for kind, names in CONTROLS.items():
            classes[[names.fullmatch(str(name)) is not None for name in var.index]] = kind
    classes = classes.astype(str)
    others = {kind: np.flatnonzero(classes == kind) for kind in np.unique(classes[classes != ""])}
    return classes == "", others


def find_places(data: ad.AnnData, where: object) -> tuple[object, str]:
    """Coordinates as they are (n × 2 or 3, columns by name where they have some), and where."""
    for key in PLACES:
        if key in data.obsm:
            return _by_name(data.obsm[key], where, key), f"obsm[{key!r}]"
    for axes in AXES:
        if all(name in data.obs for name in axes):
            return data.obs[list(axes)].to_numpy(), f"obs {axes[0]}, {axes[1]}"
    have = ", ".join([*data.obsm, *map(str, data.obs.columns)][:12]) or "nothing"
    fact = f"obsm['spatial'] is missing, and no coordinates are elsewhere (it has: {have})"
    raise InputError(where, fact, "put the cells' coordinates there")


def _by_name(values: object, where: object, key: str) -> object:
    """Columns x, y (and z) of a table in this order; other tables are told by their columns."""
    if not isinstance(values, pd.DataFrame):
        return values
    lower = {str(name).lower(): name for name in values.columns}
    axes = [lower[axis] for axis in "xyz" if axis in lower]
    if {"x", "y"} <= set(lower):
        return values[axes].to_numpy()
    if values.shape[1] in (2, 3):
        return values.to_numpy()
    names = ", ".join(map(str, values.columns))
    raise InputError(where, f"obsm[{key!r}] has the columns {names}", "name them x, y (and z)")


def flat(places: np.ndarray) -> np.ndarray:
    """Coordinates without a third column in which all are equal."""
    level = places.shape[1] == 3 and np.ptp(places[:, 2]) == 0
    return places[:, :2] if level else places


def doubts_of_places(places: np.ndarray) -> list[str]:
    """What is odd about coordinates in micrometres (n × 2 or 3), with its remedy."""
    if len(places) < 20:
        return []
    if not np.ptp(places, axis=0).any():
        return ["all cells lie at one point: their graph and alignment say nothing"]
    some = places[np.random.default_rng(0).permutation(len(places))[:CELLS]]
    gaps = cKDTree(places).query(some, k=2)[0][:, 1]
    middle = float(np.median(gaps))
    if middle < NEAR or middle > FAR:
        return [
            f"cells lie {middle:.3g} µm from the nearest (median): are the coordinates pixels, or "
            "of each field of view by itself? (spatial_unit_um sets the unit)"
        ]
    return []


def sift(
    source: Source,
    where: object,
    *,
    layer: str | None = None,
    normalized: bool = False,
    fractional: bool = False,
    keep_controls: bool = False,
) -> Source:
    """The slice with its counts (or, `normalized`, log-normalised values) of genes alone in X.

    layer, fractional: as in `find_counts`. Controls are left out and counted, unless
    `keep_controls`. What was chosen and what is doubted is in the facts and warnings.
    """
    data, warnings = source.data, list(source.warnings)
    if normalized:
        matrix, var, place = find_normalised(data, where, layer)
    else:
        matrix, var, place = find_counts(data, where, layer, fractional)
    if place != "X":
        warnings.append(f"counts are taken from {place}")
    obs, controls = data.obs.copy(), dict(source.controls)
    genes, others = split_controls(var)
    if others and not keep_controls:
        for kind, columns in others.items():
            counts = None if normalized else float(matrix[:, columns].sum(dtype=np.float64))
            controls[kind] = {"features": len(columns), "counts": counts}
        if not normalized:
            obs["control_counts"] = totals(matrix[:, np.flatnonzero(~genes)])
        listed = ", ".join(f"{len(columns)} {kind}" for kind, columns in others.items())
        warnings.append(f"features that are no genes are left out ({listed})")
        if not genes.any():
            raise InputError(where, "it holds no gene, only controls", "give a slice of RNA counts")
        matrix, var = matrix[:, np.flatnonzero(genes)], var[genes]
    elif others:
        warnings.append("control features stay among the genes (--keep-controls)")
    if source.format in ("h5ad", "anndata", "spatialdata"):
        names, matrix, said = by_symbol(var, matrix)
        if said != "as they came":
            warnings.append(f"genes: {said}")
        var = pd.DataFrame(index=names)
    kept = ad.AnnData(matrix, obs=obs, var=var, uns=dict(data.uns))
    places, at = find_places(data, where)
    kept.obsm["spatial"] = flat(check_coordinates(places, where))
    if at != "obsm['spatial']":
        warnings.append(f"coordinates are taken from {at}")
    warnings += doubts_of_places(kept.obsm["spatial"] * source.unit_um)
    facts = {**source.facts, "values": place, "places": at}
    return replace(source, data=kept, controls=controls, facts=facts, warnings=warnings)
