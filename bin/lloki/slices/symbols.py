"""What a gene is called: the one place that decides it, when slices and references are read.

Symbols for Ensembl ids, without the genome before them, with the hyphens that R made dots. A name
is changed only where the new one is known; `symbols.md` says what the table of them holds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.slices.genes import ENSEMBL, IN_R, ensembl_share, r_form

TABLE = Path(__file__).with_name("symbols.csv.gz")
COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "symbol", "gene_short_name")
GENOME = re.compile(r"(GRCh3[678]|hg18|hg19|hg38|GRCm3[89]|mm9|mm10|mm39)[-_.]+(?=.)", re.I)
HUMAN = ("grch", "hg")
RIKEN = re.compile(r"X(\d{7}[A-Z]\d\dRik)")  # in R's form
AGAIN = re.compile(r"(.+)\.\d+")  # as programs call what has a name that was there before


@functools.cache
def known() -> dict[str, str]:
    """Symbol by Ensembl id of human and mouse genes."""
    table = pd.read_csv(TABLE, dtype=str, keep_default_na=False)
    return dict(zip(table["id"], table["symbol"], strict=True))


@functools.cache
def _known_keys() -> frozenset[str]:
    """Known symbols in upper case."""
    return frozenset(symbol.upper() for symbol in known().values())


@functools.cache
def _known_in_r() -> dict[str, str]:
    """Known symbols that R would write in another way, by that way (no two share one)."""
    return {r_form(symbol): symbol for symbol in known().values() if r_form(symbol) != symbol}


def canonical(names: Sequence[object]) -> tuple[list[str], str]:
    """Names that genes are known by, in the same order, and what was changed ('': nothing).

    A name is left alone where its new one is another gene's of the same file; several of one gene,
    such as two Ensembl ids of a symbol, may come to share a name.
    """
    names, said = list(map(str, names)), []
    for rule, words in (
        (_without_genome, "without the genome before them"),
        (_symbol_of_id, "by symbol, not Ensembl id"),
        (_with_hyphens, "as they were before R"),
    ):
        changed = _changed(names, rule(names))
        if changed:
            place, new = next(iter(changed.items()))
            said.append(f"{len(changed)} {words} ({names[place]} is {new})")
            names = [changed.get(i, name) for i, name in enumerate(names)]
    return names, ", ".join(said)


def _changed(names: list[str], rule: Callable[[str], str | None]) -> dict[int, str]:
    """New names by place, where a rule gives one that nothing else in the file is called."""
    taken = set(names)
    found = ((i, rule(name.strip())) for i, name in enumerate(names))
    return {i: new for i, new in found if new and new not in taken}


def _genomes(names: list[str]) -> list[str]:
    """One genome of each species, human or mouse, that stand before names."""
    hits = sorted({hit[1] for name in names if (hit := GENOME.match(name))})
    return list({hit.lower().startswith(HUMAN): hit for hit in hits}.values())


def _without_genome(names: list[str]) -> Callable[[str], str | None]:
    """GRCh38_CD3E is CD3E: where most names are so or the rest is known, and of one species."""
    one = len(_genomes(names)) == 1
    most = sum(GENOME.match(name) is not None for name in names) > len(names) / 2

    def rule(name: str) -> str | None:
        rest = GENOME.sub("", name, count=1) if one and GENOME.match(name) else None
        return rest if rest and (most or _is_known(rest)) else None

    return rule


def _is_known(name: str) -> bool:
    known_so = name.upper() in _known_keys() or name in _known_in_r()
    return known_so or ENSEMBL.fullmatch(name) is not None


def _symbol_of_id(names: list[str]) -> Callable[[str], str | None]:
    """ENSG00000198851.10 is CD3E; an id that has no symbol goes without its version."""

    def rule(name: str) -> str | None:
        if not ENSEMBL.fullmatch(name):
            return None
        bare = name.split(".")[0].split("_")[0]
        new = known().get(bare, bare)
        return None if new == name else new

    return rule


def _with_hyphens(names: list[str]) -> Callable[[str], str | None]:
    """HLA.A is HLA-A, X0610010K14Rik is 0610010K14Rik: what R's data frames make of symbols.

    Not where the dotted name is a symbol (Tex19.1), or a number after a name of the same file.
    """
    there = set(names)

    def rule(name: str) -> str | None:
        if clone := RIKEN.fullmatch(name):
            return clone[1]
        if not IN_R.match(name) or name.upper() in _known_keys():
            return None
        again = AGAIN.fullmatch(name)
        return None if again and again[1] in there else _known_in_r().get(name)

    return rule


def by_symbol(
    var: pd.DataFrame, matrix: sp.csr_matrix, logged: bool = False
) -> tuple[pd.Index, sp.csr_matrix, str]:
    """Genes by symbol: names (G), the matrix in their columns (n × G CSR), what was done, in words.

    Ensembl ids give way to the symbols in a column of var (CELLxGENE's and 10x's names) where there
    is one, then all go by `canonical`. Columns of one name are added up; `logged`: as they were
    before log1p.
    """
    names, said = list(map(str, var.index)), []
    column = next((name for name in COLUMNS if name in var), None)
    if column is not None and ensembl_share(names) > 0.5:
        symbols = var[column].astype(object).where(var[column].notna(), "").astype(str)
        names = [s if s.strip() else name for s, name in zip(symbols, names, strict=True)]
        said.append(f"symbols of var[{column!r}] for Ensembl ids")
    names, changed = canonical(names)
    if changed:
        said.append(changed)
    if len(genomes := _genomes(names)) > 1:
        said.append(f"of two species, with the genome before them ({', '.join(genomes)})")
    index = pd.Index(names)
    if not index.is_unique:
        said.append(f"{int(index.duplicated().sum())} of a name again added up")
        index, matrix = add_up(index, matrix, logged)
    return index, matrix, "; ".join(said) or "as they came"


def add_up(
    names: pd.Index, matrix: sp.csr_matrix, logged: bool = False
) -> tuple[pd.Index, sp.csr_matrix]:
    """Each name once, in the order of their first columns, and the sums of their columns (CSR).

    `logged`: sums are those before log1p. Columns of names that come once keep their values.
    """
    unique, again = names.unique(), names.duplicated(keep=False)
    place = unique.get_indexer(names)
    once, several = (matrix[:, np.flatnonzero(these)] for these in (~again, again))
    once = once @ _selector(place[~again], len(unique), matrix.dtype)
    several = several.expm1() if logged else several
    several = several @ _selector(place[again], len(unique), matrix.dtype)
    both = once + (several.log1p() if logged else several)
    return unique, sp.csr_matrix(both, dtype=matrix.dtype)


def _selector(place: np.ndarray, width: int, dtype: np.dtype) -> sp.csr_matrix:
    """Takes each column to its place."""
    ones, columns = np.ones(len(place), dtype), np.arange(len(place))
    return sp.csr_matrix((ones, (columns, place)), shape=(len(place), width))
