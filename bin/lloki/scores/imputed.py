"""Whole expression of every cell from its nearest cells of an scRNA-seq reference."""

from __future__ import annotations

from collections.abc import Sequence

import anndata as ad
import numpy as np
import scipy.sparse as sp

from lloki.embedding.mosaic import standardised
from lloki.integration import joined
from lloki.propagation.graph import principal_components
from lloki.slices import genes
from lloki.support.errors import InputError
from lloki.support.neighbours import nearest

NEIGHBOURS = 30  # cells of the reference that a cell is the mean of
AXES = 50  # principal components on which they are looked for, and those of the result
GENES = 2000  # of the reference, those of the largest variance
FEWEST = 5  # genes that a slice has in common with the references


def components(
    slices: Sequence[ad.AnnData], references: Sequence[ad.AnnData], seed: int = 0
) -> np.ndarray:
    """Principal components of the imputed expression of all cells (n × at most AXES float32).

    slices, references: log-normalised (X CSR). Several references count as one, on the genes that
    all of them have. InputError where a slice has fewer than FEWEST of those.
    """
    names = joined.shared_genes([reference.var_names for reference in references])
    atlas = joined.shared_expression(references, names)
    mean = np.asarray(atlas.mean(axis=0)).ravel()
    variance = np.asarray(atlas.multiply(atlas).mean(axis=0)).ravel() - mean**2
    varying = np.sort(np.argsort(-variance, kind="stable")[:GENES])
    whole = atlas[:, varying]
    imputed = [averages(part, atlas, names, seed) @ whole for part in slices]
    return principal_components(sp.csr_matrix(sp.vstack(imputed)), AXES, seed)


def averages(part: ad.AnnData, atlas: sp.csr_matrix, names: np.ndarray, seed: int) -> sp.csr_matrix:
    """Weights that make a cell the mean of its nearest in the reference (n × m CSR float32).

    Near is by cosine on principal components of the genes of both, each standardised on its own
    side. part: a slice of n cells; atlas: m cells × G genes of these names.
    """
    here, there = known_genes(part, names)
    sides = [sp.csr_matrix(part.X)[:, here], atlas[:, there]]
    both = np.concatenate([standardised(side)(slice(None)) for side in sides])
    space = principal_components(sp.csr_matrix(both), AXES, seed)
    near, _ = nearest(space[: part.n_obs], space[part.n_obs :], NEIGHBOURS)
    weights = np.full(near.size, 1 / near.shape[1], dtype=np.float32)
    starts = np.arange(0, near.size + 1, near.shape[1])
    return sp.csr_matrix((weights, near.ravel(), starts), shape=(part.n_obs, atlas.shape[0]))


def known_genes(part: ad.AnnData, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of a slice's genes that are among these of the references, and theirs.

    InputError where they are fewer than FEWEST.
    """
    here, there = genes.shared(part.var_names, names)
    if len(here) < FEWEST:
        fact = f"{len(here)} of its genes are in the references"
        raise InputError(part.obs["sample"].iloc[0], fact, f"this method needs {FEWEST}")
    return here, there
