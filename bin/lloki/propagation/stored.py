"""Graphs and targets as files, checked against the very slice that they were made from."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.slices.checks import check_sparse
from lloki.support.errors import InputError

REMEDY = "make it from this very slice"


def write_graph(graph: sp.csr_matrix, path: str | Path) -> None:
    """Write a graph (n × n CSR). Deflating would save a third and take fifty times as long."""
    sp.save_npz(path, graph, compressed=False)


def read_graph(path: str | Path, data: ad.AnnData, source: str) -> sp.csr_matrix:
    """The graph (n × n CSR float32, finite, not negative) of the n cells of `data`.

    source: the file of `data`. InputError where the graph is damaged or of other cells.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        loaded = sp.load_npz(path)
        check_sparse(loaded, path)
        graph = sp.csr_matrix(loaded, dtype=np.float32)
    except InputError:
        raise
    except Exception as error:
        fact = f"not a readable sparse matrix ({type(error).__name__})"
        raise InputError(path, fact, "make it with build_graph.py") from None
    if graph.shape != (data.n_obs, data.n_obs):
        fact = f"the graph has shape {graph.shape}, but {source} holds {data.n_obs} cells"
        raise InputError(path, fact, "build the graph from this very file")
    if not np.isfinite(graph.data).all() or (graph.data < 0).any():
        raise InputError(path, "weights are negative or not finite", "make it with build_graph.py")
    return graph


def write_targets(table: pd.DataFrame, cells: pd.Index, path: str | Path) -> None:
    """Write a row for each cell, its name first; `max_nonzero` is what is read again."""
    table.set_index(cells.rename("cell_id")).to_csv(path)


def read_targets(path: str | Path, data: ad.AnnData, source: str) -> np.ndarray:
    """N_max of each cell of `data` (n int64, Eq. 4), from the table of ot_sparsity.py.

    source: the file of `data`. InputError where the table is not of these cells and genes.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        table = pd.read_csv(path, dtype={"cell_id": str}, keep_default_na=False)
        cells, limits = table["cell_id"], table["max_nonzero"]
    except (KeyError, ValueError) as error:
        raise InputError(path, f"not a table of targets ({error})", "use ot_sparsity.py") from None
    check_same_names(data.obs_names, cells, "cells", path, source)
    if limits.dtype != np.int64 or not limits.between(0, data.n_vars).all():
        fact = f"max_nonzero is not a whole number from 0 to {data.n_vars} in every row"
        raise InputError(path, fact, f"{REMEDY} with ot_sparsity.py")
    return limits.to_numpy()


def check_same_names(
    wanted: pd.Index, found: pd.Index | pd.Series, what: str, path: str | Path, source: str
) -> None:
    """InputError unless `found`, of the file `path`, are the names of `source` in their order."""
    if len(wanted) != len(found) or not (wanted == found).all():
        raise InputError(path, f"its {what} are not those of {source}, in the same order", REMEDY)
