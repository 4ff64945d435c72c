"""Slices to align, and pairs that were aligned, as files: what one task found, for the next."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np

from lloki.alignment.joint import Pair
from lloki.alignment.pairwise import Alignment
from lloki.alignment.rigid import Motion
from lloki.slices.checks import check_coordinates
from lloki.slices.files import read_embedding
from lloki.support.errors import InputError

TEXT = ("method", "reason")
NUMBERS = ("rmsd", "tolerance", "score", "p")
ARRAYS = ("pairs", "inliers", "chance")


def read_slice(path: str | Path) -> ad.AnnData:
    """A slice that was integrated: obsm['X_lloki'], and coordinates that are sound."""
    part = read_embedding(path, "X_lloki")
    part.obsm["spatial"] = check_coordinates(part.obsm.get("spatial"), path)
    return part


def write_pairs(pairs: Sequence[Pair], path: str | Path) -> None:
    """Write aligned pairs (npz without pickles); what `read_pairs` gives is equal to the bit."""
    arrays: dict[str, np.ndarray] = {}
    told = []
    for i, pair in enumerate(pairs):
        fit = pair.fit
        told.append({"moving": pair.moving, "fixed": pair.fixed,
                     **{name: getattr(fit, name) for name in TEXT}})  # fmt: skip
        arrays[f"{i}_source"] = pair.source
        arrays[f"{i}_rotation"], arrays[f"{i}_translation"] = (
            fit.motion.rotation,
            fit.motion.translation,
        )
        arrays[f"{i}_numbers"] = np.array(
            [fit.motion.scale, *(getattr(fit, n) for n in NUMBERS)], float
        )
        for name in ARRAYS:
            arrays[f"{i}_{name}"] = getattr(fit, name)
    with Path(path).open("wb") as file:
        np.savez(file, told=np.array(json.dumps(told)), **arrays)


def read_pairs(path: str | Path) -> list[Pair]:
    """Pairs that `write_pairs` wrote; InputError where the file is none."""
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [_pair(stored, i, one) for i, one in enumerate(json.loads(str(stored["told"])))]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        fact = f"not a readable file of aligned pairs ({type(error).__name__})"
        raise InputError(path, fact, "make it with align_pairs.py") from None


def _pair(stored, i: int, told: dict) -> Pair:
    scale, *numbers = stored[f"{i}_numbers"].tolist()
    motion = Motion(stored[f"{i}_rotation"], stored[f"{i}_translation"], scale)
    arrays = {name: stored[f"{i}_{name}"] for name in ARRAYS}
    known = dict(zip(NUMBERS, numbers, strict=True)) | {name: str(told[name]) for name in TEXT}
    fit = Alignment(motion=motion, **known, **arrays)
    return Pair(str(told["moving"]), str(told["fixed"]), fit, stored[f"{i}_source"])
