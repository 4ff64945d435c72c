"""Scores of many embeddings of the same cells, as tables; which cells are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anndata as ad
import numpy as np
import pandas as pd

from lloki.integration.sketch import stratified_sample
from lloki.scores import metrics


def chosen_cells(
    data: ad.AnnData, labels: np.ndarray | None, batches: np.ndarray, most: int | None, seed: int
) -> np.ndarray:
    """Rows of the cells that are scored: all, or `most` of them by slice, batch and label."""
    if not most or most >= data.n_obs:
        return np.arange(data.n_obs)
    slices = data.obs["sample"].astype(str) if "sample" in data.obs else batches
    parts = zip(slices, batches, each(labels, len(batches)), strict=True)
    return stratified_sample(np.array(["\t".join(map(str, p)) for p in parts]), most, seed)


def each(labels: np.ndarray | None, cells: int) -> np.ndarray:
    """The cells' labels, or None for each cell where there are no labels at all."""
    return np.full(cells, None) if labels is None else labels


def of_embeddings(
    data: ad.AnnData,
    keys: Sequence[str],
    labels: np.ndarray | None,
    batches: np.ndarray,
    cells: np.ndarray,
    baseline: str,
    seed: int,
    on_done: Callable[[str], None] = lambda key: None,
) -> dict[str, pd.DataFrame]:
    """`metrics`: every metric of obsm[key] for each key; `coherence`: in space, by slice.

    labels, batches: of all n cells, see `metrics.evaluate`; cells: the rows that count; baseline:
    the obsm key with which PCR comparison compares, where it is there.
    """
    before = data.obsm.get(baseline)
    rows, by_slice = [], []
    for key in keys:
        values = metrics.evaluate(
            data.obsm[key][cells], None if labels is None else labels[cells], batches[cells],
            None if before is None else before[cells], seed,
        )  # fmt: skip
        if "spatial" in data.obsm and "sample" in data.obs:
            samples = data.obs["sample"].astype(str).to_numpy()[cells]
            shares = metrics.spatial_coherence(
                data.obsm[key][cells], data.obsm["spatial"][cells], samples, seed
            )
            by_slice += [(key, sample, share) for sample, share in shares.items()]
            if shares:
                values["Spatial coherence"] = float(np.mean(list(shares.values())))
        rows += [(key, name, group, values[name]) for name, group in metrics.GROUPS.items()
                 if name in values]  # fmt: skip
        on_done(key)
    return {
        "metrics": pd.DataFrame(rows, columns=["embedding", "metric", "group", "value"]),
        "coherence": pd.DataFrame(by_slice, columns=["embedding", "sample", "value"]),
    }
