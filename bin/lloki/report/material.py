"""What a report is made of: the stages' records, the joined cells, the tables, the colours."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import anndata as ad
import numpy as np
import pandas as pd

from lloki.integration.joined import NAMES, umap_key
from lloki.report import figures
from lloki.scores import baselines
from lloki.slices import parts
from lloki.slices.genes import match_keys
from lloki.support.clusters import assign

EMBEDDERS = {
    "mosaic": "the mosaic model (factor analysis of this run's own data; no pretrained weights)",
    "scgpt": "scGPT, a pretrained transformer",
}
CLUSTER = "lloki_cluster"  # of obs
CLUSTERS = 12
DRAWN = 50_000  # cells of which clusters are found


@dataclass(frozen=True)
class Material:
    """All that a report is made of; only the stages' records and the cells are always there."""

    records: Sequence[dict]
    data: ad.AnnData
    metrics: pd.DataFrame | None = None
    coherence: pd.DataFrame | None = None
    embeddings: ad.AnnData | None = None
    history: pd.DataFrame | None = None
    transforms: pd.DataFrame | None = None
    alignment_scores: pd.DataFrame | None = None
    metagenes: Mapping[str, pd.DataFrame] | None = None
    niches: Sequence | None = None  # of report.niches.Niche, in the order of the table
    niches_table: pd.DataFrame | None = None
    annotation: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    expression: parts.Expression | None = None  # of some genes
    index: Sequence[Mapping] = ()  # published files: slice, stage, file
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    label_key: str | None = None
    command: str = ""  # of the run
    made: dict = field(default_factory=dict, repr=False, compare=False)  # by `once`

    def of_stage(self, *stages: str) -> list[dict]:
        """The records of these stages."""
        return [record for record in self.records if record.get("stage") in stages]

    def figure(self, sample: str, key: str, *stages: str) -> object:
        """A figure that a stage recorded for a sample, or None."""
        for record in self.of_stage(*stages):
            if record.get("sample") == sample and key in record:
                return record[key]
        return None

    def number(self, sample: str, key: str, *stages: str) -> float | None:
        """A number that a stage recorded for a sample, or None."""
        found = self.figure(sample, key, *stages)
        is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
        return found if is_number and found == found else None

    @property
    def parameters(self) -> Mapping[str, object]:
        """Parameters of the run, as run.json keeps them, or a plain table of them."""
        given = self.params.get("parameters", self.params)
        return given if isinstance(given, Mapping) else {}

    def score(self, embedding: str, metric: str) -> float | None:
        """A score of an embedding, or None."""
        if self.metrics is None:
            return None
        table = self.metrics
        found = table[(table["embedding"] == embedding) & (table["metric"] == metric)]["value"]
        return float(found.iloc[0]) if found.notna().any() else None

    def shared_genes(self, sample: str) -> dict[str, int]:
        """Genes that a slice shares with each of the others, as far as the stages recorded them."""
        genes = {
            name: set(match_keys(found)) for name in self.samples
            if isinstance(found := self.figure(name, "gene_names", "prepare_slice"), list)
        }  # fmt: skip
        own = genes.pop(sample, None)
        return {} if own is None else {name: len(own & other) for name, other in genes.items()}

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """Positions of the cells of each sample, in the order of the file."""
        column = self.data.obs["sample"].astype(str).to_numpy()
        return {name: np.flatnonzero(column == name) for name in dict.fromkeys(column)}

    @cached_property
    def slices_of_cells(self) -> np.ndarray:
        """The slice of each cell."""
        return self.data.obs["sample"].astype(str).to_numpy()

    @cached_property
    def frames(self) -> dict[str, list[str]]:
        """Slices by the frame that their aligned coordinates are in."""
        if self.transforms is None or "spatial_aligned" not in self.data.obsm:
            return {}
        table = self.transforms.astype({"sample": str, "reference": str, "method": str})
        if "frame" in table:
            frame = table["frame"].astype(str)
        else:  # one that was not moved is its own
            frame = table["reference"].where(table["method"] != "identity", table["sample"])
        members = table[table["sample"].isin(self.samples)].groupby(frame, sort=False)
        found = {str(name): {str(name), *own["sample"]} for name, own in members}
        return {name: [s for s in self.samples if s in own] for name, own in found.items()}

    @cached_property
    def technology(self) -> figures.Colouring:
        """Cells by technology."""
        return figures.colouring_of(self.data, "technology")

    @cached_property
    def batches(self) -> figures.Colouring:
        """Cells by technology, or by slice where all are of one technology."""
        if len(self.technology.colours) > 1:
            return self.technology
        by = figures.colouring_of(self.data, "sample")
        return figures.Colouring("slice", by.values, by.colours)

    @cached_property
    def labels(self) -> figures.Colouring | None:
        """Cells by label, or None without labels."""
        if self.label_key is None:
            return None
        by = figures.colouring_of(self.data, self.label_key)
        return by if set(by.values) - {None} else None

    @cached_property
    def clusters(self) -> figures.Colouring:
        """Cells by cluster; without clusters by K-means of the embedding, of many by a draw."""
        if CLUSTER in self.data.obs:
            by = figures.colouring_of(self.data, CLUSTER)
            return figures.Colouring("LLOKI cluster", by.values, by.colours)
        from sklearn.cluster import KMeans

        space = self.data.obsm["X_lloki"]
        clusters = KMeans(min(CLUSTERS, len(space)), n_init=3, random_state=0)
        if len(space) > DRAWN:
            drawn = np.random.default_rng(0).choice(len(space), DRAWN, replace=False)
            found = assign(space, clusters.fit(space[np.sort(drawn)]).cluster_centers_)[0]
        else:
            found = clusters.fit_predict(space)
        ranked = pd.Series(found).value_counts().index
        names = {cluster: f"cluster {place + 1}" for place, cluster in enumerate(ranked)}
        return figures.colouring("LLOKI cluster", [names[cluster] for cluster in found])

    @cached_property
    def kinds(self) -> figures.Colouring:
        """Cells by what they are: by label where there are labels, else by cluster."""
        return self.labels or self.clusters

    @cached_property
    def umaps(self) -> dict[str, np.ndarray]:
        """UMAPs of the embeddings that have one, by title: the run's own, then other methods."""
        others = [] if self.metrics is None else self.metrics["embedding"].unique()
        places = {}
        for key in dict.fromkeys([*NAMES, *others]):
            for data in filter(None, (self.data, self.embeddings)):
                if umap_key(key) in data.obsm:
                    places.setdefault(baselines.title(key), data.obsm[umap_key(key)])
        return places

    @cached_property
    def embedder(self) -> str:
        """Which embedder made the embedding, in plain words."""
        name = str(self.data.uns.get("lloki", {}).get("embedder", "unknown"))
        checkpoint = next((r["checkpoint"] for r in self.records if "checkpoint" in r), None)
        words = EMBEDDERS.get(
            name, "an embedder that the file does not name" if name == "unknown" else name
        )
        return f"{words} (checkpoint {checkpoint})" if checkpoint else words


def once(make: Callable[[Material], dict]) -> Callable[[Material], dict]:
    """Keep what a function makes of a material: pictures are for the page and for print."""

    @functools.wraps(make)
    def kept(material: Material) -> dict:
        if make not in material.made:
            material.made[make] = make(material)
        return material.made[make]

    return kept
