"""Many slices at once: each given once, each with its own cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import anndata as ad
import h5py
import numpy as np

from lloki.slices import hdf5
from lloki.slices.checks import check_embedding
from lloki.slices.files import ANNDATA, embedder, read_expression, sample_name
from lloki.slices.parts import embedding_blocks, read_cells, read_head
from lloki.support.errors import InputError

WIDTH = {"spatial": "give 2 coordinates a cell in all slices, or 3 in all"}


def by_sample(
    paths: Sequence[str],
    read: Callable[[str], ad.AnnData],
    columns: Sequence[str] = (),
    same_width: Sequence[str] = (),
) -> dict[str, ad.AnnData]:
    """What `read` gives for each path, by sample, in the order of the paths.

    InputError where two files are of one sample, one lacks a column of obs that is asked for, or
    one of obsm `same_width` has not as many columns in all.
    """
    found: dict[str, ad.AnnData] = {}
    for path in paths:
        data = read(path)
        sample = sample_name(data, path)
        if sample in found:
            raise InputError(path, f"sample {sample!r} is given twice", "give each sample once")
        for column in columns:
            if column not in data.obs:
                fact = f"obs has no column {column!r}"
                raise InputError(path, fact, "prepare the slice again (prepare_slice.py)")
        found[sample] = data
        first = next(iter(found.values()))
        for key in same_width:
            check_width(key, path, data.obsm[key].shape[1], paths[0], first.obsm[key].shape[1])
    return found


def check_width(key: str, path: str, here: int, first: str, there: int) -> None:
    """InputError where obsm[key] has not as many columns in a file as in the first one."""
    if here != there:
        fact = f"obsm[{key!r}] has {here} columns, in {first} it has {there}"
        raise InputError(path, fact, WIDTH.get(key, "embed all slices by one model"))


def expression_of(
    paths: Sequence[str],
    embedded: Mapping[str, ad.AnnData],
    read: Callable[[str], ad.AnnData] = read_expression,
) -> dict[str, ad.AnnData]:
    """The slice of each embedded sample, in their order, as `read` gives it.

    InputError unless there is one for each, with the cells of the embedding in their order, and
    none beside.
    """
    found = by_sample(paths, read)
    for path, (sample, data) in zip(paths, found.items(), strict=True):
        if sample not in embedded:
            raise InputError(path, f"no --input is of its sample {sample!r}", "give both or none")
        if not data.obs_names.equals(embedded[sample].obs_names):
            fact = f"its cells are not those of the embedding of {sample!r}, or not in their order"
            raise InputError(path, fact, "give the slice from which the embedding was made")
    for sample in embedded:
        if sample not in found:
            raise InputError(f"--slice of {sample!r}", "it is missing", "give SAMPLE.slice.h5ad")
    return {sample: found[sample] for sample in embedded}


def heads_of_slices(paths: Sequence[str], head: ad.AnnData) -> dict[str, ad.AnnData]:
    """Names of cells and genes of each sample's slice, and in uns['path'] where it is.

    head: of the integrated file. InputError as from `expression_of`.
    """

    def read(path: str) -> ad.AnnData:
        data, _ = read_head(path)
        data.uns["path"] = path
        return data

    rows = head.obs.groupby("sample", observed=True).indices
    return expression_of(paths, {str(sample): head[own] for sample, own in rows.items()}, read)


def token(data: ad.AnnData) -> tuple[str, str]:
    """Technology and panel of a slice: its batch."""
    return str(data.obs["technology"].iloc[0]), str(data.obs["panel"].iloc[0])


def one_embedder(parts: Mapping[str, ad.AnnData]) -> str:
    """The one embedder of all slices; InputError if there are several."""
    names = {sample: embedder(part) for sample, part in parts.items()}
    first, name = next(iter(names.items()))
    for sample, other in names.items():
        if other != name:
            fact = f"it was embedded by {other}, {first} by {name}"
            raise InputError(sample, fact, "embed all slices by one embedder and model")
    return name


def some_embeddings(path: str | Path, key: str, most: int, seed: int = 0) -> np.ndarray:
    """obsm[key] of `most` cells of a file that `read_cells` read, drawn evenly (n × d float32)."""
    with h5py.File(path) as file:
        values = file[f"obsm/{key}"]
        rows = np.sort(np.random.default_rng(seed).permutation(len(values))[:most])
        some = np.asarray(values[rows], dtype=np.float32)
    check_embedding(some, path, key)
    return some


def read_sample(path: str | Path) -> str:
    """The sample of a file that an earlier stage wrote, of which nothing else is read."""
    with hdf5.reading(path, ANNDATA), h5py.File(path) as file:
        if "sample" in file.get("obs", {}):
            return str(ad.io.read_elem(file["obs/sample"])[0])
    raise InputError(path, "obs['sample'] is missing", "prepare it with prepare_slice.py first")


def read_embeddings(
    paths: Sequence[str],
    key: str,
    scratch: BinaryIO,
    columns: Sequence[str] = (),
    more: np.ndarray | None = None,
) -> tuple[dict[str, ad.AnnData], np.memmap]:
    """The cells of all slices without their embeddings, and those as one memory map (n × d).

    Embeddings go into the file `scratch` block by block: memory does not grow with the cells;
    `more` (m × d float32) are the last ones in the map. InputError as from `by_sample`, and where
    embeddings differ in width.
    """
    widths: dict[str, int] = {}

    def read(path: str) -> ad.AnnData:
        data, (_, widths[path]) = read_cells(path, key)
        if widths[path] != widths[paths[0]]:
            raise InputError(
                path, f"its embedding has {widths[path]} numbers, that of {paths[0]} has "
                f"{widths[paths[0]]}", "embed all slices with one model",
            )  # fmt: skip
        for block in embedding_blocks(path, key):
            block.tofile(scratch)
        return data

    found = by_sample(paths, read, columns)
    n = sum(data.n_obs for data in found.values())
    if more is not None:
        more.tofile(scratch)
        n += len(more)
    scratch.flush()
    return found, np.memmap(scratch, np.float32, "r", shape=(n, widths[paths[0]]))
