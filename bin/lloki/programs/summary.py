"""What a fit says in figures: a row for each metagene, warnings, and the fit as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lloki import __version__
from lloki.programs.metagenes import Fit
from lloki.support.errors import InputError, lacks_memory

FIRM, SHAKY = 0.8, 0.5  # correlation with refits: from where green, from where amber
DEAD = 0.001  # share of the cells that a metagene leads, below which it is dead
RUN_AWAY = 30.0  # size of an affinity
DEFLATED = 1100  # what compression makes smaller at most
PARTS = ("metagenes", "affinity", "noise", "floors", "names", "types")


def reordered(fit: Fit, order: np.ndarray) -> Fit:
    """The same fit with its metagenes in another order."""
    return Fit(
        fit.metagenes[:, order], np.ascontiguousarray(fit.values[:, order]),
        fit.affinity[np.ix_(order, order)], fit.noise, fit.history,
    )  # fmt: skip


def leads(proportions: np.ndarray) -> np.ndarray:
    """Share of the cells in which each metagene is the largest (K)."""
    return np.bincount(proportions.argmax(axis=1), minlength=proportions.shape[1]) / len(
        proportions
    )


def programs(
    names: Sequence[str],
    types: Sequence[str | None],
    proportions: np.ndarray,
    stable: np.ndarray,
    moran: pd.DataFrame,
    genes: pd.DataFrame,
    top: int = 8,
) -> pd.DataFrame:
    """A row for each metagene: type, share of the mixtures, cells led, stability, Moran, genes.

    stable: repeats × K correlations (no rows: not tried); the lamp is green from FIRM, amber from
    SHAKY, else red, by their mean.
    """
    mean = stable.mean(axis=0) if len(stable) else np.full(len(names), np.nan)
    lamps = np.select([np.isnan(mean), mean >= FIRM, mean >= SHAKY], ["", "green", "amber"], "red")
    coherence = moran.groupby("metagene")["I"].median()
    best = {
        name: ", ".join(table["gene"][:top])
        for name, table in genes[genes["z"] > 0].groupby("metagene")
    }
    return pd.DataFrame({
        "metagene": names, "type": types, "share": proportions.mean(axis=0, dtype=np.float64),
        "leads": leads(proportions), "stability": mean, "lamp": lamps,
        "moran": [coherence.get(name, np.nan) for name in names],
        "genes": [best.get(name, "") for name in names],
    })  # fmt: skip


def warnings(fit: Fit, names: Sequence[str]) -> list[str]:
    """What is odd about a fit."""
    found, size = [], float(np.abs(fit.affinity).max())
    if size > RUN_AWAY:
        found.append(f"the affinity grew to {size:.0f}: neighbours were smoothed into one another; "
                     "try a larger lambda")  # fmt: skip
    dead = [name for name, share in zip(names, leads(fit.proportions), strict=True) if share < DEAD]
    if dead:
        found.append(f"{', '.join(dead)}: the largest in less than {DEAD:.1%} of the cells; try "
                     "fewer metagenes")  # fmt: skip
    return found


def write_model(
    path: Path, fit: Fit, floors: np.ndarray, names: Sequence[str], types: Sequence[str | None]
) -> None:
    """What is needed to lay the metagenes on other cells, as an npz file."""
    np.savez_compressed(
        path, metagenes=fit.metagenes, affinity=fit.affinity, noise=fit.noise, floors=floors,
        names=np.array(names, dtype=str), types=np.array([kind or "" for kind in types], dtype=str),
        version=np.array(__version__),
    )  # fmt: skip


def read_model(path: str | Path) -> tuple[Fit, np.ndarray, list[str], list[str | None]]:
    """Fit (without values), floors, names and types of a file of `write_model`.

    InputError where it is none, or its parts do not fit.
    """
    remedy = "give the model.npz that metagenes.py wrote"
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in PARTS}
        m, s, noise, floors = (found[k].astype(np.float64) for k in PARTS[:4])
        g, k = m.shape
        shapes = s.shape == (k, k) and floors.shape == (g,) and noise.shape == ()
        right = shapes and len(found["names"]) == len(found["types"]) == k
        right = right and all(np.isfinite(part).all() for part in (m, s, noise, floors))
        right = right and (m >= 0).all() and noise > 0
    except Exception as error:
        if lacks_memory(error, path, DEFLATED):
            raise
        what = type(error).__name__
        raise InputError(path, f"no model of metagenes ({what})", remedy) from None
    if not right:
        raise InputError(path, "its parts do not fit each other", remedy)
    types = [str(kind) or None for kind in found["types"]]
    fit = Fit(m, np.empty((0, k), np.float32), s, float(noise))
    return fit, floors, [str(name) for name in found["names"]], types
