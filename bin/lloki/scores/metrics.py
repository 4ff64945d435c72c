"""How well an embedding keeps biology apart and mixes batches: scib-metrics' eight, and more.

The definitions are those of scib-metrics 0.6. Silhouettes and principal component regression are
computed here (in blocks, in closed form where there is one); K-means, LISI, kBET and graph
connectivity are its own functions on exact neighbours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from lloki.integration.joined import neighbour_table
from lloki.scores.silhouette import widths as silhouettes
from lloki.support import clusters
from lloki.support.neighbours import nearest

BIO = ("Isolated labels", "KMeans NMI", "KMeans ARI", "Silhouette label", "cLISI")
BATCH = ("Silhouette batch", "Graph connectivity", "PCR comparison")
EXTRA = ("BRAS", "iLISI", "kBET")  # of batches too, but in no aggregate
AGGREGATES = {"Bio conservation": BIO, "Batch correction": BATCH}
GROUPS = {
    **dict.fromkeys(BIO, "bio"),
    **dict.fromkeys(BATCH, "batch"),
    **dict.fromkeys(EXTRA, "extra"),
    "Label transfer F1": "transfer",
    "Spatial coherence": "space",
    **dict.fromkeys(AGGREGATES, "aggregate"),
}
LISI_NEIGHBOURS = 90  # with the cell itself, as scib-metrics' Benchmarker has it
KBET_NEIGHBOURS = 50
KMEANS_STEPS = 300
GRAPH_NEIGHBOURS = 15
TRANSFER_NEIGHBOURS = 15
SPATIAL_NEIGHBOURS = 10
CLOSE = 0.1  # close in an embedding: among the nearest tenth of the slice
COMPARED = 1000  # cells of a slice that say where its nearest tenth ends


def isolated_labels(widths: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    """Mean scaled silhouette of the labels that occur in the fewest batches, each counted once.

    widths: the cells' silhouettes. Where all labels are in all batches, every label counts.
    """
    table = pd.DataFrame({"label": labels, "batch": batches, "width": (widths + 1) / 2})
    spread = table.groupby("label")["batch"].nunique()
    scores = table.groupby("label")["width"].mean()
    return float(scores[spread == spread.min()].mean())


def silhouette_batch(
    space: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray,
    metric: str = "euclidean",
    between: str = "nearest",
) -> float:
    """1 − |silhouette of the batches| within each label, averaged over labels (scIB).

    With cosine distances to all other cells (`mean_other`) this is BRAS. Labels that one batch
    alone holds, or every cell with its own batch, do not count; NaN if none is left.
    """
    scores = []
    for label in np.unique(labels):
        cells = labels == label
        if 1 < len(np.unique(batches[cells])) < cells.sum():
            found = silhouettes(space[cells], batches[cells], metric, between)
            scores.append(np.mean(1 - np.abs(found)))
    return float(np.mean(scores)) if scores else np.nan


def batch_variance(space: np.ndarray, batches: np.ndarray) -> float:
    """Share of the variance of an embedding that the batches explain (0 to 1).

    Principal component regression weighs each component's R² by its variance; over all components
    that is the between-batch sum of squares over the total one, in any basis.
    """
    centred = np.asarray(space, dtype=np.float64) - np.mean(space, axis=0, dtype=np.float64)
    means = pd.DataFrame(centred).groupby(np.asarray(batches)).agg("mean")
    sizes = pd.Series(batches).value_counts().reindex(means.index).to_numpy()
    total = (centred**2).sum()
    return float((sizes[:, None] * means.to_numpy() ** 2).sum() / total) if total else 0.0


def pcr_comparison(before: np.ndarray, after: np.ndarray, batches: np.ndarray) -> float:
    """By how much integration lowered the share of variance due to batches (0 to 1; NaN if 0)."""
    share = batch_variance(before, batches)
    return max(0.0, (share - batch_variance(after, batches)) / share) if share else np.nan


def label_transfer(space: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    """Macro F1 of labels carried from the other batches to each batch, averaged over batches.

    Majority of the 15 nearest cells by cosine among all other batches. Only cells whose label
    occurs in the other batches count. NaN if there are none.
    """
    scores = [label_transfer_to(space, labels, batches == b) for b in np.unique(batches)]
    scores = [score for score in scores if np.isfinite(score)]
    return float(np.mean(scores)) if scores else np.nan


def label_transfer_to(space: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> float:
    """Macro F1 of labels carried to the cells that are `asked` (n booleans) from all others.

    As `label_transfer` does it for one batch. NaN if no label of the others occurs among them.
    """
    from sklearn.metrics import f1_score

    kinds, codes = np.unique(labels, return_inverse=True)
    known = ~asked
    asked = asked & np.isin(codes, codes[known])
    if not asked.any():
        return np.nan
    found, _ = nearest(space[asked], space[known], TRANSFER_NEIGHBOURS)
    votes = np.zeros((len(found), len(kinds)), dtype=np.int64)
    for column in codes[known][found].T:
        votes[np.arange(len(found)), column] += 1
    truth = codes[asked]
    return float(f1_score(truth, votes.argmax(axis=1), labels=np.unique(truth), average="macro"))


def spatial_coherence(
    space: np.ndarray,
    places: np.ndarray,
    samples: np.ndarray,
    seed: int = 0,
    asked: np.ndarray | None = None,
) -> dict[str, float]:
    """Share of the cells' spatial neighbours that are close in the embedding too, for each slice.

    space: n × d; places: n × 2 or 3; samples: the slice of each cell; asked: rows of the cells that
    count (sorted; None: all), whose neighbours are among all cells. Of each cell the 10 nearest
    in space are looked at; one is close if it is nearer by Euclidean distance than nine tenths of
    the slice's cells (of 1,000 of them, drawn by `seed`, where there are more). By chance: 0.1.
    Slices of fewer than 20 cells are left out.
    """
    shares = {}
    for sample in dict.fromkeys(samples.tolist()):
        cells = np.flatnonzero(samples == sample)
        if len(cells) < 2 * SPATIAL_NEIGHBOURS:
            continue
        here = np.asarray(space[cells], dtype=np.float64)
        own = np.arange(len(cells))
        if asked is not None:
            own = np.flatnonzero(np.isin(cells, asked, assume_unique=True))
            if not len(own):
                continue
        around = places[cells]
        found, _ = nearest(around[own], around, SPATIAL_NEIGHBOURS, "euclidean", own)
        beside = np.zeros((len(cells), SPATIAL_NEIGHBOURS), dtype=np.int64)
        beside[own] = found
        drawn = np.random.default_rng(seed).permutation(len(cells))[:COMPARED]
        hits = 0
        for rows in np.array_split(own, -(-len(own) // 1000)):
            gaps = np.linalg.norm(here[beside[rows]] - here[rows][:, None], axis=2)
            others = _distances(here[rows], here[drawn])
            others[rows[:, None] == drawn] = np.nan  # a cell is no neighbour of its own
            hits += (gaps <= np.nanquantile(others, CLOSE, axis=1)[:, None]).sum()
        shares[str(sample)] = float(hits / found.size)
    return shares


def _distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(rows, others)


def neighbours(space: np.ndarray, seed: int = 0):
    """The 90 nearest cells of each cell, the cell itself first, as scib-metrics takes them."""
    from scib_metrics.nearest_neighbors import NeighborsResults

    indices, distances = neighbour_table(space, LISI_NEIGHBOURS, seed)
    return NeighborsResults(indices=indices, distances=distances)


def evaluate(
    space: np.ndarray,
    labels: np.ndarray | None,
    batches: np.ndarray,
    before: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """All metrics of one embedding that can be had, by name; see GROUPS for what they tell.

    space: n × d; labels: n, None in place of an unknown one (or None: no labels at all); batches:
    n; before: n × p, the unintegrated space for PCR comparison. Metrics of labels look at labelled
    cells alone. Without labels: PCR comparison and iLISI. Undefined metrics are left out, and an
    aggregate (the plain mean of its metrics) is given only when none of its metrics is missing.
    """
    space, batches = np.asarray(space, dtype=np.float32), np.asarray(batches)
    several = len(np.unique(batches)) > 1
    values: dict[str, float] = {}
    if labels is not None:
        known = np.array([label is not None for label in labels])
        values |= _labelled(space[known], np.asarray(labels[known], str), batches[known], seed)
    elif several:
        from scib_metrics import ilisi_knn

        values["iLISI"] = ilisi_knn(neighbours(space, seed), batches)
    if several and before is not None:
        values["PCR comparison"] = pcr_comparison(before, space, batches)
    return finite(values)


def finite(values: dict[str, float]) -> dict[str, float]:
    """The metrics that are numbers, with the aggregates that are whole, in the order of GROUPS."""
    values = {name: float(v) for name, v in values.items() if np.isfinite(v)}
    for aggregate, parts in AGGREGATES.items():
        if all(part in values for part in parts):
            values[aggregate] = float(np.mean([values[part] for part in parts]))
    return {name: values[name] for name in GROUPS if name in values}


def _labelled(
    space: np.ndarray, labels: np.ndarray, batches: np.ndarray, seed: int
) -> dict[str, float]:
    """The metrics that need labels; those between batches only where there are several."""
    import scib_metrics

    found = neighbours(space, seed)
    widths = silhouettes(space, labels)
    nmi, ari = kmeans_agreement(space, labels)
    values = {
        "Isolated labels": isolated_labels(widths, labels, batches),
        "KMeans NMI": nmi,
        "KMeans ARI": ari,
        "Silhouette label": (widths.mean() + 1) / 2,
        "cLISI": scib_metrics.clisi_knn(found, labels),
    }
    if len(np.unique(batches)) > 1:
        values["Silhouette batch"] = silhouette_batch(space, labels, batches)
        near = found.subset_neighbors(min(GRAPH_NEIGHBOURS, found.n_neighbors))
        values["Graph connectivity"] = scib_metrics.graph_connectivity(near, labels)
        values["BRAS"] = silhouette_batch(space, labels, batches, "cosine", "mean_other")
        values["iLISI"] = scib_metrics.ilisi_knn(found, batches)
        values["kBET"] = kbet(found, batches, labels)
        values["Label transfer F1"] = label_transfer(space, labels, batches)
    return values


def kmeans_agreement(space: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mutual information (NMI) and Rand index (ARI) of labels and as many K-means clusters.

    What scib-metrics' nmi_ari_cluster_labels_kmeans gives, in a twentieth of the time: the same
    start, the same steps, none after nothing moves any more.
    """
    import jax
    from scib_metrics.utils import _kmeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    space = np.array(space, dtype=np.float32, order="C")
    tolerance = np.mean(np.var(space, axis=0)) * 1e-4
    space -= space.mean(axis=0)
    key = jax.random.split(jax.random.key(0), 1)[0]
    k = len(np.unique(labels))
    start = np.asarray(_kmeans._initialize_plus_plus(space, k, key))
    found = clusters.k_means(space, start, KMEANS_STEPS, tolerance)
    return normalized_mutual_info_score(labels, found), adjusted_rand_score(labels, found)


def kbet(found, batches: np.ndarray, labels: np.ndarray) -> float:
    """scib-metrics' kBET acceptance rate, averaged over labels; NaN where it cannot be had."""
    import logging
    import warnings

    import scib_metrics

    logging.getLogger("scib_metrics").setLevel(logging.WARNING)  # not a line for each small label
    near = found.subset_neighbors(min(KBET_NEIGHBOURS, found.n_neighbors))
    try:
        with warnings.catch_warnings(), _exact_diffusion_maps():
            warnings.simplefilter("ignore")  # a label of one batch alone has none
            return float(scib_metrics.kbet_per_label(near, batches, labels))
    except Exception:  # its diffusion maps fail on some graphs, each time in another way
        return np.nan


@contextlib.contextmanager
def _exact_diffusion_maps() -> Iterator[None]:
    """Within it scib-metrics' diffusion maps start from one vector and have exact neighbours.

    It gives SciPy's Lanczos iterations no seed, and kBET moved by 0.03 between two runs; its
    approximate search takes longer on a label's cells than the exact one, and has no seed either.
    Its test is compiled anew for each label, and small products are slower by several threads: both
    took most of the time.
    """
    from unittest import mock

    import scib_metrics.metrics._kbet as test
    import scib_metrics.nearest_neighbors as search
    import scipy.sparse.linalg as linalg

    eigsh = linalg.eigsh

    def started(matrix, *given, **options):
        options["v0"] = np.random.default_rng(0).standard_normal(matrix.shape[0])
        with threadpool_limits(1, "blas"):
            return eigsh(matrix, *given, **options)

    def exact(space, n_neighbors, **_):
        indices, distances = neighbour_table(space, n_neighbors)
        return search.NeighborsResults(indices=indices, distances=distances)

    with (
        mock.patch.object(linalg, "eigsh", started),
        mock.patch.object(search, "pynndescent", exact),
        mock.patch.object(test, "_kbet", batch_test),
    ):
        yield


def batch_test(near: np.ndarray, batches: np.ndarray, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """χ² of the batches among each cell's neighbours against those of all cells, and its p.

    near: batches of the neighbours (n × k, numbers below `kinds`); batches: of the cells, n.
    """
    from scipy.special import chdtrc

    cells = len(near)
    codes = near + kinds * np.arange(cells)[:, None]
    observed = np.bincount(codes.ravel(), minlength=cells * kinds).reshape(cells, kinds)
    expected = np.bincount(batches, minlength=kinds) / cells * near.shape[1]
    statistic = ((observed - expected) ** 2 / expected).sum(axis=1)
    return statistic, chdtrc(kinds - 1, statistic)
