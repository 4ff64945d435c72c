"""The report's section on domains of the tissue, and on labels that lie beside one another."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_clusters, figures, markup
from lloki.report.markup import Section, absent
from lloki.report.material import Material

TABLES = {  # of the folder annotation/, and columns that they need
    "domains": ("domain", "sample", "technology", "cells", "share"),
    "domain_numbers": ("domains", "stability", "chosen"),
    "label_neighbours": ("sample", "label", "neighbour", "z", "log2"),
}
DOMAIN, REGION = "lloki_domain", "lloki_region"  # of obs


def domains(material: Material) -> Section:
    """Domains: maps of all slices, shares, labels; neighbours of labels."""
    description = (
        "Groups of cells with alike surroundings: the embedding averaged over a cell's 20 and 50 "
        "nearest cells, clustered over all slices, so that a domain is the same in every "
        "technology. Below, labels that are neighbours more (red) or less (blue) often than if "
        "labels changed places within a slice."
    )
    found = material.annotation
    if "domains" not in found:
        content = absent("domains", "They are found with --domains.")
        return Section("domains", "Tissue domains", description, content)
    content = _table(found["domains"])
    content += "".join(
        markup.picture(figures.png(one, 130), "", name.replace("_", " "), wide=True)
        for name, one in pictures(material).items()
    )
    return Section("domains", "Tissue domains", description, content)


def _table(table: pd.DataFrame) -> str:
    """A row a domain: cells, share of each slice, labels."""
    samples = list(dict.fromkeys(table["sample"].astype(str)))
    rows = []
    for domain, own in table.groupby("domain", sort=False):
        shares = own.set_index(own["sample"].astype(str))["share"]
        labels = own["labels"].iloc[0] if "labels" in own else None
        rows.append((
            domain, int(own["cells"].sum()), *(f"{shares.get(s, 0):.0%}" for s in samples),
            None if pd.isna(labels) else labels,
        ))  # fmt: skip
    return markup.table(("domain", "cells", *samples, "labels"), rows)


def pictures(material: Material) -> dict[str, Figure]:
    """The pictures of the domains that no other section has, by file name."""
    found = material.annotation
    if "domains" not in found:
        return {}
    colours, drawn = {}, {}
    spatial = material.data.obsm["spatial"]
    places = {sample: spatial[cells] for sample, cells in material.samples.items()}
    for key, name in ((DOMAIN, "domains_map"), (REGION, "domains_regions")):
        if key in material.data.obs:
            by = figures.colouring_of(material.data, key)
            parts = {sample: by.of(cells) for sample, cells in material.samples.items()}
            drawn[name] = figures.spatial_grid(places, parts, by)
            colours = colours or by.colours
    sizes = found["domains"].rename(columns={"domain": "cluster"})
    drawn["domains_shares"] = figure_clusters.shares(sizes, colours)
    if len(found.get("label_neighbours", ())):
        drawn["domains_label_neighbours"] = figure_clusters.neighbour_map(found["label_neighbours"])
    return drawn
