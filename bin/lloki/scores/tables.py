"""Scores of many embeddings of the same cells, as tables; which cells are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anndata as ad
import numpy as np
import pandas as pd

from lloki.integration.sketch import stratified_sample
from lloki.scores import metrics

DRAWS = 3  # samples, where not all cells are scored


def draws(
    data: ad.AnnData, labels: np.ndarray | None, batches: np.ndarray, most: int, seed: int
) -> list[np.ndarray]:
    """Rows of the cells that are scored: all, or those of DRAWS samples of `most` of them.

    A sample is in proportion to slices, batches and labels.
    """
    if most >= data.n_obs:
        return [np.arange(data.n_obs)]
    slices = data.obs["sample"].astype(str) if "sample" in data.obs else batches
    parts = zip(slices, batches, each(labels, len(batches)), strict=True)
    strata = pd.factorize(np.array(["\t".join(map(str, p)) for p in parts]))[0]
    return [stratified_sample(strata, most, seed + number) for number in range(DRAWS)]


def each(labels: np.ndarray | None, cells: int) -> np.ndarray:
    """The cells' labels, or None for each cell where there are no labels at all."""
    return np.full(cells, None) if labels is None else labels


def of_embeddings(
    data: ad.AnnData,
    keys: Sequence[str],
    labels: np.ndarray | None,
    batches: np.ndarray,
    cells: Sequence[np.ndarray],
    baseline: str,
    seed: int,
    on_done: Callable[[str], None] = lambda key: None,
) -> dict[str, pd.DataFrame]:
    """`metrics`: every metric of obsm[key] for each key; `coherence`: in space, by slice.

    labels, batches: of all n cells, see `metrics.evaluate`; cells: the rows that count, of each
    draw; baseline: the obsm key with which PCR comparison compares, where it is there. A value is
    the mean over the draws that have it, `spread` its standard deviation (NaN for one draw).
    """
    rows, by_slice = [], []
    for key in keys:
        for chosen in cells:
            values, shares = _of_draw(data, key, labels, batches, chosen, baseline, seed)
            rows += [(key, name, group, values[name]) for name, group in metrics.GROUPS.items()
                     if name in values]  # fmt: skip
            by_slice += [(key, sample, share) for sample, share in shares.items()]
        on_done(key)
    table = pd.DataFrame(rows, columns=["embedding", "metric", "group", "value"])
    found = table.groupby(["embedding", "metric", "group"], sort=False)["value"]
    coherence = pd.DataFrame(by_slice, columns=["embedding", "sample", "value"])
    return {
        "metrics": found.agg(value="mean", spread="std").reset_index(),
        "coherence": coherence.groupby(["embedding", "sample"], sort=False, as_index=False).mean(),
    }


def _of_draw(
    data: ad.AnnData,
    key: str,
    labels: np.ndarray | None,
    batches: np.ndarray,
    cells: np.ndarray,
    baseline: str,
    seed: int,
) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of an embedding by some cells, and its coherence in space by slice."""
    before = data.obsm.get(baseline)
    values = metrics.evaluate(
        data.obsm[key][cells], None if labels is None else labels[cells], batches[cells],
        None if before is None else before[cells], seed,
    )  # fmt: skip
    shares = {}
    if "spatial" in data.obsm and "sample" in data.obs:
        samples = data.obs["sample"].astype(str).to_numpy()
        shares = metrics.spatial_coherence(
            data.obsm[key], data.obsm["spatial"], samples, seed, cells
        )
        if shares:
            values["Spatial coherence"] = float(np.mean(list(shares.values())))
    return values, shares
