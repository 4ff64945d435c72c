"""What the readers of instruments' folders of text share: files by name, choices, checks."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.support.errors import InputError

RANGE = re.compile(r"(\d+)(?:-(\d+))?")
AS_WRITTEN = "give the file as the instrument wrote it"
ROUNDED = f"a program that took ids for numbers may have rounded them: {AS_WRITTEN}"
MOST_FOVS = 100_000  # a slide has some hundreds


def find_file(folder: Path, ending: str) -> Path | None:
    """The one file of a folder that ends so, with `.gz` after it or not; None: no such file.

    InputError where there are several.
    """
    found = sorted(
        path for path in Path(folder).iterdir()
        if path.name.removesuffix(".gz").endswith(ending) and not path.name.startswith(".")
    )  # fmt: skip
    if len(found) > 1:
        fact = f"it has {len(found)} files *{ending} ({', '.join(path.name for path in found)})"
        raise InputError(folder, fact, "leave one, or give each a folder of its own")
    return found[0] if found else None


def need_file(folder: Path, ending: str) -> Path:
    """`find_file`; InputError where there is none."""
    found = find_file(folder, ending)
    if found is None:
        raise InputError(folder, f"it has no *{ending} or *{ending}.gz", "copy that file there")
    return found


def parse_fovs(fovs: str | Collection[int] | None, where: object = "fov") -> set[int] | None:
    """Fields of view as numbers, from text such as `1-24 30` (blanks or `;` between); None: all.

    InputError where the text is none of this kind.
    """
    if fovs is None or not isinstance(fovs, str):
        return None if fovs is None else {int(fov) for fov in fovs}
    chosen: set[int] = set()
    parts = re.sub(r"\s*-\s*", "-", fovs).replace(";", " ").split()
    for part in parts:
        match = RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MOST_FOVS:
            raise InputError(where, f"{part!r} is no field of view", "write them as 1-24 30")
        chosen.update(range(first, last + 1))
    return chosen or None


def choose_fovs(found: np.ndarray, wanted: set[int], where: object) -> tuple[np.ndarray, list[str]]:
    """Which cells lie in wanted fields of view (boolean, from the field of each), and warnings.

    InputError where none does.
    """
    chosen = np.isin(found, list(wanted))
    absent = sorted(wanted.difference(np.unique(found).tolist()))
    if not chosen.any():
        fact = f"no cell is in a field of view {spans(absent)}, it has {spans(np.unique(found))}"
        raise InputError(where, fact, "mend the column fov (--fov)")
    return chosen, [f"no cell is in the field of view {spans(absent)}"] if absent else []


def spans(numbers: Sequence[int]) -> str:
    """Ascending numbers as `parse_fovs` reads them: `1-24 30`."""
    numbers = np.asarray(numbers, dtype=np.int64)
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return " ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts if len(p))


def check_counts(values: np.ndarray, where: object, called: str, remedy: str) -> None:
    """InputError unless values are finite, whole and not negative; `called`: what others are."""
    if not np.isfinite(values).all():
        raise InputError(where, "some of its counts are missing or not finite", AS_WRITTEN)
    odd = values[values != np.rint(values)]
    if len(odd):
        raise InputError(where, f"values such as {odd[0]:.4g} are {called}", remedy)
    if (values < 0).any():
        raise InputError(where, "it has negative counts", AS_WRITTEN)


def check_genes(genes: list[str], where: object) -> None:
    """InputError where there are no genes, their names are numbers, or one occurs twice."""
    if not genes:
        raise InputError(where, "it holds no gene", "give a slice of RNA counts")
    if all(gene.isdigit() for gene in genes):
        fact = f"its genes are called {', '.join(genes[:3])}: their names are lost"
        raise InputError(where, fact, "give a table with the genes' names in its header")
    names = pd.Index(genes)
    if not names.is_unique:
        fact = f"gene {names[names.duplicated()][0]!r} occurs more than once"
        raise InputError(where, fact, "leave one column a gene")


def check_places(places: np.ndarray, cells: Sequence[str], where: object) -> None:
    """InputError unless all coordinates (n × 2) are finite."""
    lacking = ~np.isfinite(places).all(axis=1)
    if lacking.any():
        first = cells[int(np.flatnonzero(lacking)[0])]
        fact = f"cell {first!r} has no coordinates ({lacking.sum()} have none)"
        raise InputError(where, fact, AS_WRITTEN)


def split_controls(
    matrix: sp.csr_matrix, names: list[str], controls: Mapping[str, re.Pattern], keep: bool = False
) -> tuple[sp.csr_matrix, list[str], dict[str, dict[str, float]], np.ndarray]:
    """Columns that are genes, their names, controls by class (as in `Source`), control counts.

    matrix: n cells × columns of names; controls: class to the names of its features; keep: they
    stay among the genes. The last is the number of control counts of each cell, float64.
    """
    genes, found = np.ones(len(names), bool), {}
    by_cell = np.zeros(matrix.shape[0])
    for kind, known in controls.items():
        columns = [i for i, name in enumerate(names) if known.fullmatch(name)]
        if columns:
            counts = np.asarray(matrix[:, columns].sum(axis=1, dtype=np.float64)).ravel()
            found[kind] = {"features": len(columns), "counts": float(counts.sum())}
            genes[columns], by_cell = False, by_cell + counts
    if keep:
        return matrix, names, found, by_cell
    if not genes.all():
        matrix = matrix[:, np.flatnonzero(genes)]
    return matrix, [name for name, gene in zip(names, genes, strict=True) if gene], found, by_cell


def whole_or_float(values: np.ndarray) -> np.ndarray:
    """Numbers as int64 where all are whole and float64 holds them exactly."""
    whole = (np.abs(values) < 2**53).all() and (values == np.rint(values)).all()
    return values.astype(np.int64) if whole else values
