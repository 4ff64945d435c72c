"""What a file really holds, judged by its values: counts or what was made of them, genes.

Names and options may be wrong; a matrix that is taken for what it is not goes through every stage
without an error. So each is looked at before it is used, and what is said of it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.slices.checks import (
    brought_embedding,
    check_coordinates,
    check_sparse,
    check_unique,
    totals,
)
from lloki.slices.controls import split_controls
from lloki.slices.places import doubts_of_places, find_places, flat, overlapping
from lloki.slices.source import Source
from lloki.slices.symbols import by_symbol
from lloki.support.errors import InputError

CELLS = 2000  # of a matrix, that are looked at
SAME = 0.01  # spread of the cells' sums (relative) up to which they are one number
FEW = 20  # cells: of fewer, equal sums say nothing
MOST = 0.9  # share of cells from which all are meant
MANY = 0.9  # share of different values in a cell, from which they are not made of small counts
LOGGED = 20.0  # log1p of more counts than a cell has
WHOLE = 0.2  # share of whole numbers from which values are no logarithms
LAYERS = ("counts", "raw_counts", "raw", "X_counts", "umi")
OPEN = ("h5ad", "anndata", "spatialdata", "tables")  # forms in which anything may stand


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
    some = matrix[:: max(1, matrix.shape[0] // CELLS)].astype(np.float64)
    some = some[np.diff(some.indptr) > 0]
    if (values == np.rint(values)).all():
        if _rounded(some):
            why = f"whole numbers, but every cell adds up to about {_short(_sums(some)[0])}"
            return Evidence("linear", why)
        return Evidence("counts", f"whole numbers up to {high:.0f}")
    before = some.copy()
    before.data = np.expm1(np.minimum(some.data, LOGGED))
    total, spread = _sums(some)
    total_before, spread_before = _sums(before)
    if high <= LOGGED and spread_before <= min(SAME, spread):
        why = f"every cell adds up to {_short(total_before)} before the logarithm"
        return Evidence("logged", why)
    if spread <= SAME:
        return Evidence("linear", f"every cell adds up to {_short(total)}")
    if _multiples(some) > MOST:
        return Evidence("linear", "in each cell all values are multiples of its smallest")
    whole = float((values == np.rint(values)).mean())
    if high <= LOGGED and whole < WHOLE and _varied(some) < MANY:
        return Evidence("logged", f"values up to {high:.3g}, equal ones within cells")
    part = float(values[values != np.rint(values)][0])
    return Evidence("fractional", f"values such as {part:.3g}, up to {high:.3g}")


def _rounded(matrix: sp.csr_matrix) -> bool:
    """Whether whole numbers were normalised and rounded: sums are nearly one, yet differ.

    Those of counts that were drawn down to one total are equal, and most cells have a 1.
    """
    if matrix.shape[0] < FEW or not 0 < _sums(matrix)[1] <= SAME:
        return False
    least = np.minimum.reduceat(matrix.data, matrix.indptr[:-1])
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    most = np.unique(sums, return_counts=True)[1].max() / len(sums)
    return bool(np.median(least) > 1 or most < 0.5)


def _short(total: float) -> str:
    return f"{total:,.0f}" if total >= 100 else f"{total:.3g}"


def _sums(matrix: sp.csr_matrix) -> tuple[float, float]:
    """What cells add up to in the mean, and how far they spread (relative; infinite for one)."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    mean = float(sums.mean()) if len(sums) else 0.0
    return mean, float(sums.std() / mean) if len(sums) > 1 and mean else np.inf


def _multiples(matrix: sp.csr_matrix) -> float:
    """Share of cells whose values are whole multiples of their smallest, which differs by cell."""
    if not matrix.nnz or _whole(matrix.data / matrix.data.min()):  # one number for all cells
        return 0.0
    found = []
    for row in np.split(matrix.data, matrix.indptr[1:-1]):
        times = row / row.min() if len(row) >= 5 else row
        if len(row) >= 5 and times.max() > 1.5:
            found.append(_whole(times))
    return float(np.mean(found)) if len(found) >= FEW else 0.0


def _whole(values: np.ndarray) -> bool:
    """Whether values are whole numbers but for rounding; of large ones that cannot be said."""
    small = values[values < 20]
    return bool((np.abs(small - np.rint(small)) < 0.02).all())


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
    seen, empty = {}, None
    for name, (given, var) in _places(data, where, layer).items():
        matrix = _csr(given, where)
        if not matrix.nnz:
            empty = empty or (matrix, var, name)
            continue
        found = of(matrix)
        if found.kind == "counts" or (fractional and found.kind == "fractional"):
            return matrix, var, name
        seen[name] = found
    if empty and not seen:
        return empty
    told = "; ".join(f"{name} {WORDS[found.kind]} ({found.why})" for name, found in seen.items())
    if any(found.kind == "fractional" for found in seen.values()):
        remedy = "give raw counts, or --fractional-counts where a program made parts of them"
    elif any(found.kind == "logged" for found in seen.values()):
        remedy = "give raw counts, or --normalized if they are log-normalised already"
    else:
        remedy = "give raw counts"
    others = [f"layers[{str(name)!r}]" for name in data.layers if name is not None]
    others = [name for name in others if name not in seen]
    if others and layer is None:
        remedy += f"; or name the layer that has them (counts_layer): there are {', '.join(others)}"
    raise InputError(where, f"no raw counts: {told}", remedy)


WORDS = {
    "fractional": "holds values that are not whole counts",
    "logged": "holds values that are not whole counts and look log-normalised",
    "linear": "looks normalised and never logged",
    "scaled": "has negative values, as scaled data",
    "damaged": "cannot be used",
}


def _places(data: ad.AnnData, where: object, layer: str | None) -> dict[str, tuple]:
    """Where counts may be, by name: matrix as it is, and var.

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
    if not found:
        raise InputError(where, "it holds no expression matrix X", "give a slice or a reference")
    return found


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
        ((place, (given, var)),) = _places(data, where, layer).items()
        matrix = _csr(given, where)
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
    found, kinds = {}, {}
    for place, (given, _) in places:  # one matrix after the other: each may be a copy
        matrix = _csr(given, where)
        if matrix.nnz or len(places) == 1:
            found[place] = of(matrix)
            kinds[place] = found[place].kind
            if (
                kinds[place] == "fractional"
            ):  # logarithms of a part of the genes, or parts of counts
                many = matrix.data.max() > LOGGED
                kinds[place] = "fractional counts" if many else "maybe logged"
    for wanted, said in REFERENCE.items():
        for place, (given, var) in places:
            if kinds.get(place) == wanted:
                matrix = _csr(given, where)
                values = sp.csr_matrix(matrix.log1p()) if wanted == "linear" else matrix
                return values, var, said.format(place)
    told = "; ".join(f"{name} {WORDS[one.kind]} ({one.why})" for name, one in found.items())
    if not found:
        raise InputError(where, "no cell has any count", "check the file")
    raise InputError(where, told, "give raw counts, or their log-normalised values")


def sift(
    source: Source,
    where: object,
    *,
    layer: str | None = None,
    normalized: bool = False,
    fractional: bool = False,
    keep_controls: bool = False,
    embedding: str | None = None,
) -> Source:
    """The slice with its counts (or, `normalized`, log-normalised values) of genes alone in X.

    layer, fractional: as in `find_counts`. Controls are left out and counted, unless
    `keep_controls`. embedding: a key of obsm that stays. What was chosen and what is doubted is in
    the facts and warnings.
    """
    data, warnings = source.data, list(source.warnings)
    if layer and source.format not in OPEN:  # one for all slices may be meant
        warnings.append(f"counts_layer {layer!r} says nothing about files of {source.format}")
        layer = None
    if normalized:
        matrix, var, place = find_normalised(data, where, layer)
    else:
        matrix, var, place = find_counts(data, where, layer, fractional)
    if place != "X":
        what = "log-normalised values" if normalized else "counts"
        warnings.append(f"{what} are taken from {place}")
    obs, controls, facts = data.obs.copy(), dict(source.controls), dict(source.facts)
    genes, others = split_controls(var) if source.format in OPEN else (None, {})
    if genes is not None and not place.startswith("raw"):
        check_unique(var.index[genes], "gene", where)  # controls may share a name
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
    elif others or (controls and keep_controls):
        facts["controls_kept"] = True
        warnings.append("control features stay among the genes (--keep-controls)")
    names, matrix, said = by_symbol(var, matrix, logged=normalized)
    if said != "as they came":
        warnings.append(f"genes: {said}")
    kept = ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=names), uns=dict(data.uns))
    if embedding:
        kept.obsm[embedding] = brought_embedding(data, embedding, where)
    places, at = find_places(data, where)
    kept.obsm["spatial"] = flat(check_coordinates(places, where, at))
    if at != "obsm['spatial']":
        warnings.append(f"coordinates are taken from {at}")
    if "_px" in at and source.unit_from != "as given":
        warnings.append(
            f"{at} are pixels, taken for micrometres: set spatial_unit_um (CosMx: 0.12028)"
        )
    places = kept.obsm["spatial"]
    warnings += overlapping(obs, places) or doubts_of_places(places * source.unit_um)
    facts |= {"values": place, "places": at}
    return replace(source, data=kept, controls=controls, facts=facts, warnings=warnings)
