"""Pairs of kinds of cells: as users name them, and which cells they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lloki.programs.niche_sides import FEWEST
from lloki.slices.labels import as_text
from lloki.support.errors import InputError

ALL = "all"


def check_column(obs: pd.DataFrame, key: str, path: str | Path) -> None:
    """InputError unless obs has the column."""
    if key not in obs:
        have = ", ".join(map(str, obs.columns)) or "none"
        raise InputError(path, f"obs has no column {key!r}", f"it has: {have}")


def pairs_of(given: Sequence[str], kinds: np.ndarray, samples: np.ndarray) -> list[tuple[str, str]]:
    """Pairs of FOCUS and NEIGHBOUR; for `all` those of kinds with FEWEST cells in one slice.

    kinds, samples: of each cell (n), a kind None where not known. InputError for what is no pair.
    """
    found = []
    if ALL in given:
        counts = pd.crosstab(pd.Series(kinds), np.asarray(samples)) >= FEWEST
        enough = sorted(str(kind) for kind in counts.index)
        found = [
            (focus, near) for focus in enough for near in enough
            if focus != near and (counts.loc[focus] & counts.loc[near]).any()
        ]  # fmt: skip
        if not found:
            fact = f"no two kinds have {FEWEST} cells in one slice"
            raise InputError("--niche all", fact, "name pairs")
    for pair in given:
        if pair == ALL:
            continue
        focus, colon, near = (part.strip() for part in pair.partition(":"))
        if not colon or not focus or not near:
            raise InputError("--niche", f"{pair!r} is not FOCUS:NEIGHBOUR", "such as T_NK:B_Plasma")
        if focus == near:
            raise InputError("--niche", f"{focus} is its own neighbour", "name two kinds")
        found.append((focus, near))
    return list(dict.fromkeys(found))


def check_pairs(
    pairs: Sequence[tuple[str, str]], obs: pd.DataFrame, kinds: np.ndarray, path: str | Path
) -> None:
    """InputError where a pair names what no cell is."""
    there = sorted({str(kind) for kind in kinds if kind is not None})
    for focus, near in pairs:
        for kind in (focus, near):
            column, equals, _ = kind.partition("=")
            if kind not in there and not (equals and kind == near):
                raise InputError(path, f"no cell is {kind!r}", f"there are: {', '.join(there)}")
            if kind in there:
                continue
            check_column(obs, column, path)
            if not cells_of(kind, obs, kinds).any():
                values = sorted(set(as_text(obs[column].dropna()).astype(str)))
                fact, remedy = f"no cell is {kind!r}", f"{column} is one of: "
                raise InputError(path, fact, remedy + ", ".join(values[:30]))


def cells_of(kind: str, obs: pd.DataFrame, kinds: np.ndarray) -> np.ndarray:
    """Cells of a kind, or where COLUMN=VALUE holds (n bool)."""
    own = kinds == kind
    if own.any() or "=" not in kind:
        return own
    column, _, value = kind.partition("=")
    return (as_text(obs[column]) == value).to_numpy(bool)
