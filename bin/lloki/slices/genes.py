"""Gene names across panels, species and spellings."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.support.errors import InputError

# Approved symbols that replaced older ones which panels still carry (HGNC, MGI), upper-cased.
RENAMED = {
    "ADRBK2": "GRK3", "CCDC109B": "MCUB", "CTGF": "CCN2", "CYR61": "CCN1", "FAM134A": "RETREG2",
    "FAM19A1": "TAFA1", "FAM19A2": "TAFA2", "FAM46A": "TENT5A", "FAM49A": "CYRIA",
    "FAM84A": "LRATD1", "FAM84B": "LRATD2", "GUCY1B3": "GUCY1B1", "HN1": "JPT1", "KARS": "KARS1",
    "LARS": "LARS1", "NARS": "NARS1", "NOV": "CCN3", "PTCHD2": "DISP3", "QARS": "QARS1",
    "QK": "QKI", "SELM": "SELENOM", "SEPP1": "SELENOP", "SEPT4": "SEPTIN4", "TMEM2": "CEMIP2",
    "TMEM55A": "PIP4P2", "TWISTNB": "POLR1F", "WARS": "WARS1", "ZNRD1": "POLR1H",
}  # fmt: skip

ENSEMBL = re.compile(r"ENS[A-Z]{0,4}G\d{11}(\.\d+)?(_PAR_Y)?")
IN_R = re.compile(r"X\d|.*\.")  # a name that R may have changed


def match_keys(names: object) -> np.ndarray:
    """Names under which one gene meets itself in another panel: upper case, current symbol."""
    upper = [str(name).strip().upper() for name in names]
    return np.array([RENAMED.get(name, name) for name in upper], dtype=object)


def read_sets(path: str | Path) -> dict[str, list[str]]:
    """Sets of genes of a GMT file: name, description, genes, tabs between; InputError else."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(path, "not a readable text", "give a GMT file") from None
    rows = [line.rstrip().split("\t") for line in lines if line.strip()]
    if not rows or min(map(len, rows)) < 3:
        fact = "a line has no name, description and genes with tabs between"
        raise InputError(path, fact, "give a GMT file")
    return {row[0]: [gene for gene in row[2:] if gene] for row in rows}


def r_form(name: str) -> str:
    """A name as R's data frames have it: dots for hyphens and the like, X before a digit."""
    return re.sub(r"[^A-Za-z0-9_.]", ".", name if not name[:1].isdigit() else f"X{name}")


def _met(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Keys, those that are in R's form by the one key of `others` that would be so in it."""
    known, found = set(others), keys.copy()
    odd = [i for i, key in enumerate(keys) if IN_R.match(key) and key not in known]
    meant: dict[str, list[str]] = {}
    for other in known.difference(keys) if odd else ():
        meant.setdefault(r_form(other), []).append(other)
    for i in odd:
        if len(meant.get(keys[i], [])) == 1:
            found[i] = meant[keys[i]][0]
    return found


def shared(first: object, second: object) -> tuple[np.ndarray, np.ndarray]:
    """Columns of `first` and of `second` that hold the same genes, in the order of `first`.

    Both are sequences of gene names; where a name occurs twice, its first column counts. HLA.A is
    HLA-A where the other side has that.
    """
    keys_first, keys_second = match_keys(first), match_keys(second)
    keys_first, keys_second = _met(keys_first, keys_second), _met(keys_second, keys_first)
    place = {key: i for i, key in reversed(list(enumerate(keys_second)))}
    seen: set[str] = set()
    pairs = []
    for i, key in enumerate(keys_first):
        if key in place and key not in seen:
            seen.add(key)
            pairs.append((i, place[key]))
    index = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return index[:, 0], index[:, 1]


def union(panels: Sequence[Sequence[str]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Genes that any panel holds (G names), and for each panel the place of its columns in them.

    Names are those of the first panel that holds a gene; genes meet as `shared` has them. Where a
    panel holds a gene twice, its first column counts, and the place of the other is -1.
    """
    names: list[str] = []
    places: dict[tuple[str, ...], np.ndarray] = {}
    for panel in dict.fromkeys(tuple(map(str, panel)) for panel in panels):
        known, own = shared(names, panel)
        keys = match_keys(panel)
        place = np.full(len(panel), -1)
        place[own] = known
        new = ~pd.Index(keys).duplicated() & ~np.isin(keys, keys[own])
        place[new] = len(names) + np.arange(new.sum())
        names.extend(np.asarray(panel, dtype=object)[new])
        places[panel] = place
    found = [places[tuple(map(str, panel))] for panel in panels]
    return np.array(names, dtype=object), found


@dataclass(frozen=True)
class Match:
    """How a panel's names meet a vocabulary: symbol found (or None) and rule, a column each."""

    symbols: list[str | None]
    rules: list[str]

    @property
    def found(self) -> list[str]:
        """The symbols found, each once, in the order of their first columns."""
        return list(dict.fromkeys(symbol for symbol in self.symbols if symbol is not None))

    @property
    def merged(self) -> dict[str, list[int]]:
        """The symbols that several columns share, with those columns."""
        columns: dict[str, list[int]] = {}
        for i, symbol in enumerate(self.symbols):
            if symbol is not None:
                columns.setdefault(symbol, []).append(i)
        return {symbol: where for symbol, where in columns.items() if len(where) > 1}

    @property
    def share(self) -> float:
        """Share of the columns that were found."""
        return 1 - self.count("none") / len(self.rules)

    def count(self, rule: str) -> int:
        """Columns that this rule matched: exact, ortholog, case or none."""
        return self.rules.count(rule)


def match_vocabulary(
    names: Collection[str], vocabulary: Collection[str], orthologs: Mapping[str, str] | None = None
) -> Match:
    """Match gene names with a vocabulary: as they are, else by ortholog, else whatever their case.

    `orthologs` gives the human symbol of mouse symbols. The last rule also bridges renamed symbols
    (`RENAMED`) and R's form (HLA.A), and never chooses among several genes: of the symbols that
    differ in case alone it takes the upper-case one, or the only one.
    """
    known = set(vocabulary)
    by_key: dict[str, list[str]] = {}
    for symbol, key in zip(vocabulary, match_keys(vocabulary), strict=True):
        by_key.setdefault(key, []).append(symbol)
    keys = match_keys(names)
    meant = dict(zip(keys, _met(keys, np.array(list(by_key), dtype=object)), strict=True))

    def loosely(name: str) -> str | None:
        key = match_keys([name])[0]
        key = meant.get(key, key)
        candidates = by_key.get(key, [])
        if key in candidates or len(candidates) == 1:
            return key if key in candidates else candidates[0]
        return None

    symbols, rules = [], []
    for name in map(str, names):
        human = (orthologs or {}).get(name)
        symbol, rule = None, "none"
        if name in known:
            symbol, rule = name, "exact"
        elif human is not None and (symbol := human if human in known else loosely(human)):
            rule = "ortholog"
        elif symbol := loosely(name):
            rule = "case"
        symbols.append(symbol)
        rules.append(rule)
    return Match(symbols, rules)


def ensembl_share(names: Collection[str]) -> float:
    """Share of names that are Ensembl gene ids, such as ENSMUSG00000070880."""
    return sum(ENSEMBL.fullmatch(str(name)) is not None for name in names) / max(len(names), 1)


def check_symbols(names: Collection[str], where: object) -> None:
    """InputError where most names are Ensembl ids: panels and vocabularies go by symbols."""
    if ensembl_share(names) > 0.5:
        fact = f"its genes are Ensembl ids such as {names[0]}"
        raise InputError(where, fact, "put gene symbols into var_names and prepare it again")


def collect_columns(matrix: sp.csr_matrix, match: Match) -> sp.csr_matrix:
    """Cells × the symbols found (order of `match.found`); columns of one symbol are added up."""
    place = {symbol: i for i, symbol in enumerate(match.found)}
    kept = [i for i, symbol in enumerate(match.symbols) if symbol is not None]
    target = [place[match.symbols[i]] for i in kept]
    ones = np.ones(len(kept), dtype=matrix.dtype)
    selector = sp.csr_matrix((ones, (kept, target)), shape=(matrix.shape[1], len(place)))
    collected = sp.csr_matrix(matrix @ selector)
    collected.sort_indices()
    return collected


def read_orthologs(path: str | Path) -> dict[str, str]:
    """Mouse symbol to human symbol, from a CSV with the columns mouse and human (also gzipped)."""
    if not Path(path).is_file():
        raise InputError(path, "no such table of orthologs", "check --orthologs")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return dict(zip(table["mouse"], table["human"], strict=True))
    except (ValueError, KeyError, OSError, EOFError, zlib.error):
        fact = "not a table with the columns mouse and human"
        raise InputError(path, fact, "give CSV, also gzipped") from None
