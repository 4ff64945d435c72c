"""Counts of slices and references on every gene that a slice measures, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anndata as ad
import numpy as np
import scipy.sparse as sp

from lloki.embedding import reference
from lloki.integration import joined
from lloki.slices import genes
from lloki.support.errors import InputError


@dataclass(frozen=True)
class Union:
    """n cells of slices, then m of references, on G genes: all that any slice measures.

    counts: (n + m) × G CSR float32, 0 where not measured; batches: the batch of each cell (text);
    measured: batch to G bool.
    """

    counts: sp.csr_matrix
    batches: np.ndarray
    measured: dict[str, np.ndarray]


def of(
    slices: Sequence[ad.AnnData], batches: np.ndarray, references: Sequence[ad.AnnData]
) -> Union:
    """Of prepared slices (layers['counts']) and log-normalised references (X CSR).

    batches: of each cell of the slices. Of a reference's cell the smallest value is taken for one
    molecule. InputError where a slice came without counts.
    """
    names, places = joined.genes_of([part.var_names for part in slices])
    starts = np.cumsum([0, *(part.n_obs for part in slices)])[:-1]
    panels, codes, parts = [*batches[starts]], [*batches], []
    for part in slices:
        if "counts" not in part.layers:
            fact = "it was given as normalised already, without counts"
            raise InputError(part.obs["sample"].iloc[0], fact, "leave this method out")
        parts.append(sp.csr_matrix(part.layers["counts"]))
    for number, atlas in enumerate(references):
        known, own = genes.shared(names, atlas.var_names)
        places.append(np.full(atlas.n_vars, -1))
        places[-1][own] = known
        parts.append(molecules(reference.some(atlas.X, len(references))))
        panels.append(f"reference {number + 1}")
        codes += panels[-1:] * parts[-1].shape[0]
    pairs = zip(parts, places, strict=True)
    counts = sp.csr_matrix(sp.vstack([joined.spread(*pair, len(names)) for pair in pairs]))
    table, _ = joined.measured(names, places, panels)
    return Union(counts, np.array(codes), {name: table[name].to_numpy() for name in table})


def molecules(logged: sp.csr_matrix) -> sp.csr_matrix:
    """Whole counts of log-normalised cells, where the smallest value of a cell is one molecule."""
    found = sp.csr_matrix(logged.expm1())
    least = np.ones(found.shape[0])
    filled = np.diff(found.indptr) > 0
    least[filled] = np.minimum.reduceat(found.data, found.indptr[:-1][filled])
    found.data = np.rint(found.data / np.repeat(least, np.diff(found.indptr)))
    return found
