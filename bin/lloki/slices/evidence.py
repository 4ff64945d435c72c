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
from lloki.slices.genes import SYMBOLS, by_symbol
from lloki.slices.source import Source
from lloki.support.errors import InputError

CELLS = 2000  # of a matrix, that are looked at
SAME = 0.01  # spread of the cells' sums (relative) up to which they are one number
MANY = 0.9  # share of different values in a cell, from which they are not made of small counts
LOGGED = 20.0  # log1p of more counts than a cell has
WHOLE = 0.2  # share of whole numbers from which values are no logarithms
LAYERS = ("counts", "raw_counts", "raw", "X_counts", "umi")
NEAR, FAR = 2.0, 100.0  # micrometres between a cell and its nearest: less or more is doubted
TYPES = ("feature_types", "feature_type")
GENES = "Gene Expression"
OPEN = ("h5ad", "anndata", "spatialdata", "tables")  # forms in which anything may stand
CONTROLS = {  # class: names of its features, where nothing else tells (vendors' documents)
    "negative control": re.compile(
        r"(NegControl|antisense[-_.]|Intergenic[-_.]|NegPrb\d|Negative[-_. ]?\d"
        r"|Negative[-_. ]?Control).*", re.I
    ),
    "blank": re.compile(r"blank[-_.]?\d+", re.I),
    "codeword without a gene": re.compile(r"(Unassigned|Deprecated)[-_. ]?Codeword.*", re.I),
    "system control": re.compile(r"(SystemControl|FalseCode)[-_.]?\d+", re.I),
}  # fmt: skip
WHOLE_SLIDE = ("global", "spatial_fov")  # keys of obsm beside one of each field of view by itself
PLACES = (*WHOLE_SLIDE, "spatial", "X_spatial", "spatial3d")  # keys of obsm
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
    before = some.copy()
    before.data = np.expm1(np.minimum(some.data, LOGGED))
    total, spread = _sums(some)
    total_before, spread_before = _sums(before)
    if high <= LOGGED and spread_before <= min(SAME, spread):
        why = f"every cell adds up to {_short(total_before)} before the logarithm"
        return Evidence("logged", why)
    if spread <= SAME:
        return Evidence("linear", f"every cell adds up to {_short(total)}")
    whole = float((values == np.rint(values)).mean())
    if high <= LOGGED and whole < WHOLE and _varied(some) < MANY:
        return Evidence("logged", f"values up to {high:.3g}, equal ones within cells")
    part = float(values[values != np.rint(values)][0])
    return Evidence("fractional", f"values such as {part:.3g}, up to {high:.3g}")


def _short(total: float) -> str:
    return f"{total:,.0f}" if total >= 100 else f"{total:.3g}"


def _sums(matrix: sp.csr_matrix) -> tuple[float, float]:
    """What cells add up to in the mean, and how far they spread (relative; infinite for one)."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    mean = float(sums.mean()) if len(sums) else 0.0
    return mean, float(sums.std() / mean) if len(sums) > 1 and mean else np.inf


def _varied(matrix: sp.csr_matrix) -> float:
    """Share of different values among those of a cell, in the mean over cells of some values."""
    shares = [
        len(np.unique(row)) / len(row)
        for row in np.split(matrix.data, matrix.indptr[1:-1]) if len(row) >= 5
    ]  # fmt: skip
    return float(np.mean(shares)) if shares else 0.0


def find_counts(
    data: ad.AnnData, where: object, layer: str | None = None, fractional: bool = False
) -> tuple[sp.csr_matrix, pd.DataFrame, str]:
    """The raw counts of a slice (CSR float32), their var, and where they were.

    Looked for in LAYERS, X and raw.X by their values, in this order; `layer` names a layer, X or
    raw, which then has to hold them. `fractional`: parts of counts will do (proseg, SoupX, Baysor).
    InputError that shows the evidence where there are none.
    """
    seen = {}
    for name, (matrix, var) in _places(data, where, layer).items():
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
    """Where counts may be, by name: matrix and var; empty ones are left out where there are others.

    With a layer that is one place: the layer of that name, else X or raw.
    """
    layers = [str(name) for name in data.layers if name is not None]
    raw = {} if data.raw is None else {"raw.X": (data.raw.X, data.raw.var)}
    whole = {} if data.X is None else {"X": (data.X, data.var)}
    if layer is None:
        names = [name for name in LAYERS if name in layers]
        found = {f"layers[{name!r}]": (data.layers[name], data.var) for name in names}
        found |= whole | raw
    elif layer in layers:
        found = {f"layers[{layer!r}]": (data.layers[layer], data.var)}
    elif layer in ("X", "raw"):
        found = whole if layer == "X" else raw
        if not found:
            raise InputError(where, f"it has no {layer}", "leave the layer out, or name another")
    else:
        have = ", ".join(layers) or "none"
        raise InputError(where, f"there is no layer {layer!r}", f"it has: {have}")
    found = {name: (_csr(matrix, where), var) for name, (matrix, var) in found.items()}
    filled = {name: place for name, place in found.items() if place[0].nnz}
    if not found:
        raise InputError(where, "it holds no expression matrix X", "give a slice or a reference")
    return filled or found


def _csr(matrix: object, where: object) -> sp.csr_matrix:
    if matrix is None or 0 in matrix.shape:
        raise InputError(where, "it holds no expression matrix X", "give a slice or a reference")
    matrix = sp.csr_matrix(matrix, dtype=np.float32)
    check_sparse(matrix, where)
    if not matrix.data.all():
        matrix = matrix.copy()  # what was given stays as it is
        matrix.eliminate_zeros()
    return matrix


def find_normalised(data: ad.AnnData, where: object, layer: str | None = None) -> tuple:
    """The log-normalised values that --normalized promises, their var, where; else InputError."""
    if layer is None:
        matrix, var, place = _csr(data.X, where), data.var, "X"
    else:
        ((place, (matrix, var)),) = _places(data, where, layer).items()
    found = of(matrix)
    if found.kind == "counts":
        raise InputError(where, f"{place} holds raw counts ({found.why})", "leave --normalized out")
    if found.kind == "linear" or (found.kind == "fractional" and matrix.data.max() > LOGGED):
        fact = f"{place} {WORDS['linear']} ({found.why})"
        raise InputError(where, fact, "give raw counts, or their log1p")
    return matrix, var, place


REFERENCE = {  # what a reference is used by, the best first, and how that is said
    "counts": "raw counts of {}",
    "logged": "log-normalised values of {}",
    "fractional counts": "parts of counts of {}",
    "maybe logged": "values of {} as they are: too small for counts, taken for logarithms",
    "linear": "{}, which was never logged, after log1p",
}


def reference_values(data: ad.AnnData, where: object) -> tuple[sp.csr_matrix, pd.DataFrame, str]:
    """What a reference is used by: raw counts, or values after log1p; their var; what was done.

    The first is told from the second by `of`. Of several places the one with the most genes; what
    was normalised and never logged is logged. InputError that shows the evidence otherwise.
    """
    places = sorted(_places(data, where, None).items(), key=lambda place: -place[1][0].shape[1])
    kinds = {place: of(matrix) for place, (matrix, _) in places}
    for wanted, said in REFERENCE.items():
        for place, (matrix, var) in places:
            high = matrix.data.max(initial=0)
            kind = kinds[place].kind
            if kind == "fractional":  # logarithms of a part of the genes, or parts of counts
                kind = "fractional counts" if high > LOGGED else "maybe logged"
            if kind == wanted:
                values = sp.csr_matrix(matrix.log1p()) if kind == "linear" else matrix
                return values, var, said.format(place)
    told = "; ".join(f"{name} {WORDS[found.kind]} ({found.why})" for name, found in kinds.items())
    raise InputError(where, told, "give raw counts, or their log-normalised values")


def split_controls(var: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which features are genes (boolean, G), and the others' columns by class.

    By a column of types where there is one (`feature_types`), else by the vendors' names.
    """
    kinds = next((var[name].astype(object) for name in TYPES if name in var), None)
    classes = np.full(len(var), "", dtype=object)
    if kinds is not None and (kinds == GENES).any():
        other = kinds.notna().to_numpy() & (kinds != GENES).to_numpy()
        classes[other] = kinds[other].astype(str)
    if (classes == "").all():  # no types, or all of one: as files that were read and written again
        names = [str(name) for name in var.index]
        symbol = next((var[name].astype(str) for name in SYMBOLS if name in var), names)
        for kind, known in CONTROLS.items():
            hits = [
                any(known.fullmatch(text) for text in pair)
                for pair in zip(names, symbol, strict=True)
            ]
            classes[hits] = kind
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
    layer = layer if source.format in OPEN else None  # an instrument's files have none
    if normalized:
        matrix, var, place = find_normalised(data, where, layer)
    else:
        matrix, var, place = find_counts(data, where, layer, fractional)
    if place != "X":
        warnings.append(f"counts are taken from {place}")
    obs, controls = data.obs.copy(), dict(source.controls)
    genes, others = split_controls(var) if source.format in OPEN else (None, {})
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
    if source.format in OPEN and source.format != "tables":
        names, matrix, said = by_symbol(var, matrix)
        if said != "as they came":
            warnings.append(f"genes: {said}")
        var = pd.DataFrame(index=names)
    kept = ad.AnnData(matrix, obs=obs, var=var, uns=dict(data.uns))
    places, at = find_places(data, where)
    kept.obsm["spatial"] = flat(check_coordinates(places, where))
    if at != "obsm['spatial']":
        warnings.append(f"coordinates are taken from {at}")
    if "_px" in at and source.unit_from != "as given":
        warnings.append(
            f"{at} are pixels, taken for micrometres: set spatial_unit_um (CosMx: 0.12028)"
        )
    warnings += overlapping(obs, kept.obsm["spatial"])
    warnings += doubts_of_places(kept.obsm["spatial"] * source.unit_um)
    facts = {**source.facts, "values": place, "places": at}
    return replace(source, data=kept, controls=controls, facts=facts, warnings=warnings)


def overlapping(obs: pd.DataFrame, places: np.ndarray) -> list[str]:
    """A warning where the fields of view (a column `fov`) lie on one another.

    Judged by the middles of the fields: two within a tenth of a field's extent are one place.
    """
    if "fov" not in obs or not 1 < obs["fov"].nunique() < len(obs) / 5:
        return []
    table = pd.DataFrame(places[:, :2], columns=["x", "y"]).groupby(
        obs["fov"].astype(str).to_numpy()
    )
    middles, extents = (table.max() + table.min()) / 2, table.max() - table.min()
    reach = 0.1 * float(extents.to_numpy().max(axis=1).mean())
    near = cKDTree(middles.to_numpy()).query(middles.to_numpy(), k=2)[0][:, 1]
    if np.mean(near < reach) < 0.5:
        return []
    return [
        "fields of view lie on one another: the coordinates are of each field by itself; give "
        "those of the whole slide"
    ]
