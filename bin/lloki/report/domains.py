"""The report's section on domains of the tissue, and on labels that lie beside one another."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_clusters, figures
from lloki.report.blocks import Section, Table, absent, picture
from lloki.report.material import Material, once

TABLES = {  # of the folder annotation/, and columns that they need
    "domains": ("domain", "sample", "technology", "cells", "share"),
    "domain_numbers": ("domains", "stability", "chosen"),
    "label_neighbours": ("sample", "label", "neighbour", "z", "log2"),
}
CAPTIONS = {
    "domains_map": "Domains in each slice", "domains_regions": "Regions carried over",
    "domains_shares": "Domains in each technology",
    "domains_label_neighbours": "Labels that are neighbours more (red) or less (blue) often than "
    "if labels changed places within a slice",
}  # fmt: skip
DOMAIN, REGION = "lloki_domain", "lloki_region"  # of obs


def domains(material: Material) -> Section:
    """Domains: maps of all slices, shares, labels; neighbours of labels."""
    lead = (
        "Groups of cells with alike surroundings, the same in every technology: the embeddings "
        "averaged over a cell's 20 and 50 nearest cells, clustered over all slices."
    )
    title = "Tissue domains"
    if "domains" not in material.annotation:
        return Section("domains", title, lead,
                       [absent("domains", "They are found with --domains.")])  # fmt: skip
    drawn = {
        name: picture(one, name, CAPTIONS.get(name, name), CAPTIONS.get(name, ""))
        for name, one in pictures(material).items()
    }
    maps = [drawn.pop(name) for name in ("domains_map", "domains_regions") if name in drawn]
    blocks = [*maps, _table(material.annotation["domains"])]
    return Section("domains", title, lead, blocks, {"Shares, and neighbours": list(drawn.values())})


def _table(table: pd.DataFrame) -> Table:
    """A row a domain: cells, share of each slice, labels."""
    samples = list(dict.fromkeys(table["sample"].astype(str)))
    rows = []
    for domain, own in table.groupby("domain", sort=False):
        shares = own.set_index(own["sample"].astype(str))["share"]
        labels = own["labels"].iloc[0] if "labels" in own else None
        rows.append((
            domain, int(own["cells"].sum()), None if pd.isna(labels) else labels,
            *(f"{shares.get(s, 0):.0%}" for s in samples),
        ))  # fmt: skip
    return Table("domains", ("domain", "cells", "labels", *samples), rows)


@once
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
