"""A linear map for each batch that lays its cells where their partners in other batches lie.

A panel says much of some directions of an embedding and little of others, so that the embeddings of
two batches are not only shifted but stretched and turned. The map is a ridge regression, held near
the identity, of the partners' mean embedding on a cell's own; the autoencoder starts from it.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from lloki.integration.pairs import Partners
from lloki.support.storage import take

CELLS = 5_000  # of a batch that the regression is made on


def level(
    embedding: np.ndarray, batch: np.ndarray, partners: Partners, strength: float
) -> np.ndarray:
    """What is added to a cell's embedding e, as e times the map of its batch (b × d × d float32).

    embedding: n × d, also a memory map; batch: of the first cells, m numbers from 0 on;
    strength: of the ridge, in mean variances of a dimension. A batch without pairs, or whose
    pairs do not vary, has zeros.
    """
    d, counts = embedding.shape[1], partners.counts()[: len(batch)]
    maps = np.zeros((batch.max() + 1, d, d), dtype=np.float32)
    for b in range(len(maps)):
        rows = np.flatnonzero((batch == b) & (counts > 0))
        rows = rows[:: max(1, -(-len(rows) // CELLS))]
        if len(rows) <= 1:
            continue
        own = np.asarray(take(embedding, rows), dtype=np.float64)
        others = _partners_mean(embedding, partners, rows)
        own, others = own - own.mean(axis=0), others - others.mean(axis=0)
        spread = np.square(own).sum(), np.square(others).sum()
        if min(spread) > 0:
            others *= np.sqrt(spread[0] / spread[1])  # means of many vary less than cells do
            ridge = strength * spread[0] / d * np.eye(d)
            maps[b] = np.linalg.solve(own.T @ own + ridge, own.T @ others + ridge) - np.eye(d)
    return maps


def _partners_mean(embedding: np.ndarray, partners: Partners, rows: np.ndarray) -> np.ndarray:
    """Mean embedding of the partners of some cells (rows × d)."""
    counts = partners.counts()[rows]
    cells = [partners.cells[partners.first[row] : partners.first[row + 1]] for row in rows]
    used, places = np.unique(np.concatenate(cells), return_inverse=True)
    starts, shape = np.concatenate([[0], np.cumsum(counts)]), (len(rows), len(used))
    share = sp.csr_matrix((np.repeat(1 / counts, counts), places, starts), shape=shape)
    return share @ np.asarray(take(embedding, used), dtype=np.float64)
