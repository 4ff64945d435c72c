"""What stages find of the cells of an integrated file: written apart, and added to a copy of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from lloki.slices import files, parts
from lloki.slices.labels import known_labels
from lloki.support.errors import InputError

CARRIED = "lloki_label"  # of obs


def write(
    path: str | Path,
    cells: pd.Index,
    obs: pd.DataFrame | None = None,
    obsm: Mapping[str, object] | None = None,
    obsp: Mapping[str, object] | None = None,
    uns: Mapping[str, object] | None = None,
) -> None:
    """An AnnData without X: columns, arrays (n × d), graphs (n × n, sparse) of n cells, and notes.

    All in the order of `cells`, which is that of the integrated file.
    """
    table = pd.DataFrame(index=cells) if obs is None else obs.set_axis(cells)
    files.write_h5ad(ad.AnnData(obs=table, obsm=obsm, obsp=obsp, uns=uns), path)


def read(paths: Iterable[str | Path], cells: pd.Index) -> ad.AnnData:
    """What the files that `write` wrote hold, together.

    InputError where one is of other cells, or holds what another one holds.
    """
    found = ad.AnnData(obs=pd.DataFrame(index=cells))
    for path in paths:
        one = files.read_h5ad(path)
        if not one.obs_names.equals(cells):
            fact = "its cells are not those of the integrated file, in their order"
            raise InputError(path, fact, "run the stage that wrote it again")
        for name in ("obs", "obsm", "obsp", "uns"):
            own, all_of_it = getattr(one, name), getattr(found, name)
            for key in own:
                if key in all_of_it:
                    fact = f"{name}[{key!r}] is in another file, too"
                    raise InputError(path, fact, "leave one of them out")
                all_of_it[key] = own[key]
    return found


def labels(path: str | Path | None, key: str | None, obs: pd.DataFrame) -> np.ndarray | None:
    """The label of each cell of an integrated file (n, object), None where it has none.

    Those that annotate.py wrote to `path`, else those of obs[key]; None without either. `Other` and
    `unknown` are none. InputError where the file is of other cells.
    """
    if path:
        found, key = files.read_h5ad(path).obs, CARRIED
        if key not in found or not found.index.equals(obs.index):
            fact = f"it has no obs[{key!r}] of the cells of the integrated file"
            raise InputError(path, fact, "give what annotate.py wrote of these cells")
        obs = found
    return None if key is None else known_labels(obs[key], ("Other", "unknown"))


def add(source: str | Path, target: Path, found: ad.AnnData, notes: Mapping[str, object]) -> None:
    """A copy of an AnnData file with what was found in it, and notes in uns.

    What the source holds by the same name is replaced.
    """
    shutil.copyfile(source, target)
    with h5py.File(target, "a") as file, files.writing(target):
        obs = ad.io.read_elem(file["obs"])
        obs[list(found.obs)] = found.obs
        ad.io.write_elem(file, "obs", obs, dataset_kwargs=parts.LIGHT)
        groups = {"obsm": found.obsm, "obsp": found.obsp, "uns": {**found.uns, **notes}}
        for group, values in groups.items():
            for key, value in values.items():
                ad.io.write_elem(file.require_group(group), key, value, dataset_kwargs=parts.LIGHT)
