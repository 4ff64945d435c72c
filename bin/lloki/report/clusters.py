"""The report's section on clusters: what each is, where it is, and the genes that mark it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_clusters, figures, markup
from lloki.report.markup import Section, absent
from lloki.report.material import CLUSTER, Material

TABLES = {  # of the folder clusters/, and columns that they need
    "clusters": ("cluster", "name", "name_share", "cells", "technology", "technology_share",
                 "together", "elsewhere", "flag"),
    "sizes": ("cluster", "sample", "technology", "cells"),
    "markers": ("cluster", "gene", "slices", "auc", "fdr"),
    "markers_by_panel": ("cluster", "gene", "panel", "share", "auc"),
}  # fmt: skip
SURE = 0.05  # FDR of a marker, below
LISTED, DOTS, PANELS = 6, 60, 6  # genes of a row, columns of dots, blocks of them


def clusters(material: Material) -> Section:
    """Clusters: a table, UMAP, maps, shares of the technologies, markers."""
    description = (
        "Leiden clusters of the LLOKI embedding. Each gene is tested in every slice that measured "
        "it (Wilcoxon, ties corrected), the slices' z together by Stouffer; genes are those with "
        "the highest AUC at an FDR below .05, of however few panels. A cluster of one technology "
        "alone is flagged: as biology where its cells lie together in the tissue, as batch where "
        "they are strewn among others."
    )
    found = material.annotation
    if not found.keys() >= TABLES.keys():
        content = absent("clusters", "They are found with --cluster.")
        return Section("clusters", "Clusters", description, content)
    content = _table(found["clusters"], found["markers"])
    drawn = pictures(material)
    if CLUSTER in material.data.obs:
        by = material.clusters
        shown = [
            markup.picture(figures.png(figures.umap_single(places, by), 130), name, f"UMAP: {name}")
            for name, places in list(material.umaps.items())[:1]
        ]
        for sample, cells in material.samples.items():
            one = figures.spatial_single(material.data.obsm["spatial"][cells], by.of(cells))
            shown.append(markup.picture(figures.png(one, 130), sample, f"Clusters in {sample}"))
        content += markup.legend("by cluster", by.entries()) + markup.grid(shown)
    content += "".join(
        markup.picture(figures.png(one, 130), "", name.replace("_", " "), wide=True)
        for name, one in drawn.items()
    )
    return Section("clusters", "Clusters", description, content)


def _table(table: pd.DataFrame, markers: pd.DataFrame) -> str:
    sure = markers[(markers["fdr"] < SURE) & (markers["auc"] > 0.5)]
    best = sure.groupby("cluster")["gene"].apply(lambda genes: ", ".join(genes.head(LISTED)))

    def row(one: Mapping) -> tuple:
        place = None if one["together"] is None else f"{one['together']:.2f}"
        elsewhere = None if one["elsewhere"] is None else f"{one['elsewhere']:.3f}"
        share = None if one["name"] is None else f"{one['name_share']:.2f}"
        return (
            one["cluster"], one["name"], share, one["cells"],
            f"{one['technology']} {one['technology_share']:.0%}", place, elsewhere, one["flag"],
            best.get(one["cluster"]),
        )  # fmt: skip

    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    head = ("cluster", "name", "of its labels", "cells", "most of", "together in space",
            "label elsewhere", "flag",
            "genes")  # fmt: skip
    return markup.table(head, [row(one) for one in rows])


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
