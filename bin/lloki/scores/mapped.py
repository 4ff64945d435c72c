"""Every cell among those of an scRNA-seq reference, by the genes that its panel shares with it.

StabMap's mapping (Ghazanfar et al., Nature Biotechnology 42, 2024) where the reference is the hub
and shares genes with every slice: its principal components by linear regression on those genes.
"""

from __future__ import annotations

from collections.abc import Sequence

import anndata as ad
import numpy as np
import scipy.sparse as sp

from lloki.embedding.mosaic import standardised
from lloki.integration import joined
from lloki.propagation.graph import principal_components
from lloki.scores import imputed

AXES = 50  # principal components of the reference
RIDGE = 1e-3  # of the mean variance: genes may say the same


def components(
    slices: Sequence[ad.AnnData], references: Sequence[ad.AnnData], seed: int = 0
) -> np.ndarray:
    """The references' principal components of all cells, by regression (n × at most AXES float32).

    slices, references: log-normalised (X CSR); genes are standardised in each slice and in the
    references, several of which count as one, on the genes that all of them have. InputError where
    a slice has too few of those (`imputed.known_genes`).
    """
    names = joined.shared_genes([reference.var_names for reference in references])
    atlas = standardised(joined.shared_expression(references, names))(slice(None))
    scores = principal_components(sp.csr_matrix(atlas), AXES, seed).astype(np.float64)
    return np.concatenate([_mapped(part, atlas, names, scores) for part in slices])


def _mapped(part: ad.AnnData, atlas: np.ndarray, names: np.ndarray, scores: np.ndarray):
    here, there = imputed.known_genes(part, names)
    known = atlas[:, there].astype(np.float64)
    moment = known.T @ known
    moment += RIDGE * np.trace(moment) / len(moment) * np.eye(len(moment))
    weights = np.linalg.solve(moment, known.T @ (scores - scores.mean(axis=0)))
    mapped = standardised(sp.csr_matrix(part.X)[:, here])(slice(None)) @ weights
    return mapped.astype(np.float32)
