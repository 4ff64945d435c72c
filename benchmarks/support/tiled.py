"""Large slices made from small real ones: tiles of noised cells, side by side."""

from __future__ import annotations

import anndata as ad
import numpy as np
import scipy.sparse as sp

NOISE_SHARE = 0.3  # of a tile's cell that comes from another cell of its type


def tiled(slice_: ad.AnnData, cells: int, genes: int, keep: float = 1.0, seed: int = 0):
    """A slice of `cells` × `genes` from one with counts and obs['cell_type'].

    Each cell is drawn from Poisson counts around a real cell mixed with another of its type, so
    that no two are equal; further genes repeat the panel with counts of their own. Tiles lie side
    by side in space, in micrometres. `keep` scales all counts. Returns CSR float32 counts.
    """
    rng = np.random.default_rng(seed)
    counts = sp.csr_matrix(slice_.X, dtype=np.float32)
    labels = slice_.obs["cell_type"].astype(str).to_numpy()
    source = np.arange(cells) % counts.shape[0]
    partner = np.empty(cells, dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        those = labels[source] == label
        partner[those] = rng.choice(members, those.sum())
    mean = (1 - NOISE_SHARE) * counts[source] + NOISE_SHARE * counts[partner]
    blocks = []
    for first in range(0, genes, counts.shape[1]):
        block = sp.csr_matrix(mean[:, : genes - first])
        block.data = rng.poisson(keep * block.data).astype(np.float32)
        block.eliminate_zeros()
        blocks.append(block)
    place = np.asarray(slice_.obsm["spatial"], dtype=np.float64)[:, :2]
    tile = np.arange(cells) // counts.shape[0]
    width = int(np.ceil(np.sqrt(tile.max() + 1)))
    offset = np.column_stack([tile % width, tile // width]) * np.ptp(place, axis=0)
    names = [f"{name}.{i // counts.shape[1]}" for i, name in enumerate(
        np.resize(slice_.var_names.to_numpy(), genes))]  # fmt: skip
    data = ad.AnnData(sp.hstack(blocks, format="csr"), obs={"cell_type": labels[source]})
    data.var_names = names
    data.obs_names = [f"c{i}" for i in range(cells)]
    data.obsm["spatial"] = place[source] - place.min(axis=0) + offset
    return data
