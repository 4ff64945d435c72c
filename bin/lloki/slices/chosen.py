"""A table of cells, as a viewer or a lab writes it: which to take, and what it says of them.

The first column names the cells as the instrument does; any other is a label or a number of each,
such as the groups that Xenium Explorer exports (`cell_id,group`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from pathlib import Path

import anndata as ad
import pandas as pd

from lloki.slices import fields
from lloki.slices.dense import IDS
from lloki.slices.labels import as_text
from lloki.support.errors import InputError

EXACT = 2**53  # float64 holds whole numbers below this


def choose(
    data: ad.AnnData, path: str | Path, labels: Collection[str] = ()
) -> tuple[ad.AnnData, list[str]]:
    """The cells of a slice that a table names, its other columns in their obs, and warnings.

    The table is CSV or TSV (also `;` between, also gzipped); lines that begin with # do not count.
    Its names are those of obs['cell_id'], else of the cells, in the column of such a name (IDS), or
    else in the first column. A first line that names no cell is a header; without one a table has
    names alone. Columns of text, and those of `labels`, become categories, NaN where a value is
    missing; numbers stay numbers, where float64 holds them. A column that obs has already comes as
    `<name>_given`. InputError where the table cannot be read, names no cell of the slice, says two
    things of one, or counts its rows where it should name cells.
    """
    rows, warnings = _rows(path), []
    header, column, ids = _names(rows, data, path)
    if header is not None:
        rows = rows[1:]
        if len(header) > 1 and header[column] and header[column].casefold() not in IDS:
            warnings.append(f"{path}: the line {','.join(header)[:60]!r} is taken for its header")
    rows = [row for row in rows if len(row) > column and row[column]]
    names = pd.Index([row[column] for row in rows])
    there = ids.isin(names)
    if not there.any():
        first = f"{names[0]!r}, not {ids[0]!r}" if len(names) else "it names none"
        fact = f"none of its {len(names)} cells is in the slice ({first})"
        raise InputError(path, fact, "name cells as the instrument does")
    if lost := len(names.unique().difference(ids)):
        warnings.append(f"{lost} of the cells that {path} names are not there")
    chosen = data[there].copy()
    if header is None and max(map(len, rows)) > 1:
        warnings.append(f"{path} has no header: only the names of its cells are taken")
    elif header is not None and len(header) > 1:
        table = _columns(header, rows, column, path, labels).reindex(ids[there])
        warnings += _join(chosen.obs, table, path)
    return chosen, warnings


def _names(rows: list[list[str]], data: ad.AnnData, path) -> tuple[list[str] | None, int, pd.Index]:
    """The header (None: there is none), the column of the cells' names, and the slice's own."""
    known = [data.obs_names]
    if "cell_id" in data.obs:
        own = pd.Index(as_text(data.obs["cell_id"]))
        known = [own, *known] if own.is_unique else known
    first = rows[0]
    everywhere = set().union(*map(set, known))
    header = first if len(rows) > 1 and (not first[0] or first[0] not in everywhere) else None
    if header is not None and len(rows[1]) == len(header) + 1:
        header = ["", *header]  # R leaves out the name of the first
    order = [0]
    if header is not None:
        named = [i for i, name in enumerate(header) if name.casefold() in IDS]
        order = list(dict.fromkeys([*named, *range(len(header))]))
    body = rows if header is None else rows[1:]
    found = [
        (sum(len(row) > i and row[i] in cells for row in body), i, ids)
        for ids, cells in ((ids, set(ids)) for ids in known) for i in order
    ]  # fmt: skip
    hits, column, ids = max(found, key=lambda one: one[0])
    counted = [row[0] for row in body] == [str(i) for i in range(len(body))]
    if header is not None and column == 0 and not header[0] and counted and hits < len(body):
        fact = "its first column has no name and counts the rows"
        raise InputError(path, fact, "name the cells in a column cell_id")
    return header, column, ids


def _rows(path: str | Path) -> list[list[str]]:
    """The fields of all lines that have a name first; InputError where there is none."""
    with fields.open_table(path) as file:
        content = file.read()
    try:
        lines = re.split(r"\r\n|\r|\n", content.decode("utf-8-sig"))
        lines = [line for line in lines if line.strip() and not line.lstrip('"').startswith("#")]
        first = next((line for line in lines[:2] if re.search("[\t,;]", line)), "")
        between = max("\t,;", key=first.count)
        decimal = re.compile(r"[-+]?\d*,\d+") if between == ";" else None  # a comma for a point
        found = [
            [
                field.strip().replace(",", ".")
                if decimal and decimal.fullmatch(field.strip())
                else field.strip()
                for field in row
            ]
            for row in csv.reader(lines, delimiter=between, strict=True)
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise fields.unreadable(path, error, "give CSV") from None
    if b"\0" in content:
        raise fields.unreadable(path, "it is no text", "give CSV")
    found = [row for row in found if any(row)]
    if not any(row[0] for row in found):
        raise InputError(path, "it names no cells", "cell names come first")
    return found


def _columns(header: list[str], rows: list[list[str]], column: int, path, labels) -> pd.DataFrame:
    """Columns that have a name, but for that of the cells: categories or numbers, by cell."""
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            fact = f"row {number} has {len(row)} fields, the header {len(header)}"
            raise InputError(path, fact, "mend that row")
    repeated = [name for i, name in enumerate(header) if name and name in header[:i]]
    if repeated:
        raise InputError(path, f"column {repeated[0]!r} is there twice", "leave one")
    kept = [i for i, name in enumerate(header) if name and i != column]
    table = pd.DataFrame(rows)[[column, *kept]].drop_duplicates()
    names = table.pop(column)
    if names.duplicated().any():
        fact = f"it says two things of cell {names[names.duplicated()].iloc[0]!r}"
        raise InputError(path, fact, "leave one row a cell")
    columns = {header[i]: _typed(table[i], header[i] in labels) for i in kept}
    return pd.DataFrame(columns).set_axis(pd.Index(names))


def _typed(words: pd.Series, label: bool) -> pd.Series:
    """Numbers where all that is there is one, else categories; what is missing is NaN."""
    words = words.where(~fields.missing(words.to_numpy()))
    numbers = pd.to_numeric(words, errors="coerce")
    whole = words.notna().any() and (numbers.notna() == words.notna()).all()
    if whole and not label and numbers.abs().max() < EXACT:
        return numbers
    return words.astype("category")


def _join(obs: pd.DataFrame, table: pd.DataFrame, path: str | Path) -> list[str]:
    """Put the columns of a table, whose rows are those of obs, into obs; lines for the user."""
    said = []
    for name in table:
        ours, why = name.replace("/", "_"), "has a '/', which HDF5 takes for a path"
        if ours in obs:
            ours, why = f"{ours}_given", "is there already"
        if ours != name:
            said.append(f"column {name!r} of {path} {why}: kept as {ours!r}")
        if ours in obs or ours == "_index" or not ours.strip("."):
            raise InputError(path, f"column {name!r} cannot be kept", "give it another name")
        values = table[name]
        values = values.cat.remove_unused_categories() if hasattr(values, "cat") else values
        obs[ours] = values.array
    return said
