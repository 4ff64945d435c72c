"""The report's section on clusters: what each is, where it is, and the genes that mark it."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_clusters
from lloki.report.blocks import Section, Table, absent, picture
from lloki.report.material import CLUSTER, Material, once

TABLES = {  # of the folder clusters/, and columns that they need
    "clusters": ("cluster", "name", "name_share", "cells", "technology", "technology_share",
                 "together", "elsewhere", "flag"),
    "sizes": ("cluster", "sample", "technology", "cells"),
    "markers": ("cluster", "gene", "slices", "auc", "fdr"),
    "markers_by_panel": ("cluster", "gene", "panel", "share", "auc"),
}  # fmt: skip
SURE = 0.05  # FDR of a marker, below
CAPTIONS = {
    "clusters_markers": "Markers in each panel: size is the share of cells that express the gene, "
    "grey a gene that the panel lacks",
    "clusters_shares": "Clusters in each technology",
}
LISTED, DOTS, PANELS = 6, 60, 6  # genes of a row, columns of dots, blocks of them


def clusters(material: Material) -> Section:
    """Clusters: a table, shares of the technologies, markers."""
    lead = (
        "Groups of like cells over all slices (Leiden, on the LLOKI embedding), and the genes that "
        "mark them, each tested in every slice that measured it. A cluster of one technology alone "
        "is flagged: as biology where its cells lie together in the tissue, as batch where they "
        "are strewn among others. UMAP and map above colour cells by cluster."
    )
    found = material.annotation
    if not found.keys() >= TABLES.keys():
        return Section("clusters", "Clusters and their genes", lead,
                       [absent("clusters", "They are found with --cluster.")])  # fmt: skip
    drawn = pictures(material)
    blocks = [_table(found["clusters"], found["markers"])]
    blocks += [
        picture(drawn[name], name, alt, alt, 130) for name, alt in CAPTIONS.items() if name in drawn
    ]
    return Section("clusters", "Clusters and their genes", lead, blocks)


def _table(table: pd.DataFrame, markers: pd.DataFrame) -> Table:
    sure = markers[(markers["fdr"] < SURE) & (markers["auc"] > 0.5)]
    best = sure.groupby("cluster")["gene"].apply(lambda genes: ", ".join(genes.head(LISTED)))
    rows = [
        (
            one["cluster"], one["name"], _rounded(one["name_share"], 2), one["cells"],
            f"{one['technology']} {one['technology_share']:.0%}", _rounded(one["together"], 2),
            _rounded(one["elsewhere"], 3), one["flag"], best.get(one["cluster"]),
        )
        for one in table.astype(object).where(table.notna(), None).to_dict("records")
    ]  # fmt: skip
    head = ("cluster", "name", "share of its labels", "cells", "most of", "together in space",
            "label elsewhere", "flag", "genes")  # fmt: skip
    if not table["flag"].notna().any():
        head, rows = [h for h in head if h != "flag"], [(*row[:7], row[8]) for row in rows]
    return Table("clusters", head, rows)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


@once
def pictures(material: Material) -> dict[str, Figure]:
    """The pictures of the clusters that no other section has, by file name."""
    found = material.annotation
    if not found.keys() >= TABLES.keys():
        return {}
    names = found["clusters"]["cluster"].astype(str).tolist()
    colours = material.clusters.colours if CLUSTER in material.data.obs else {}
    drawn = {"clusters_shares": figure_clusters.shares(found["sizes"], colours)}
    dots = found["markers_by_panel"]
    if len(dots):
        kept = dots[dots["panel"].isin(dots["panel"].value_counts().index[:PANELS])]
        order = found["markers"][found["markers"]["gene"].isin(kept["gene"])]
        order = order[(order["fdr"] < SURE) & (order["auc"] > 0.5)]
        most = max(1, DOTS // len(names))
        genes = list(dict.fromkeys(order.groupby("cluster", sort=False).head(most)["gene"]))
        drawn["clusters_markers"] = figure_clusters.marker_dots(kept, genes[:DOTS], names)
    return drawn
