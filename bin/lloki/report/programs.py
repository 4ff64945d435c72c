"""The report's section on metagenes: what each is, where it is, and its genes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_metagenes, figures, markup
from lloki.report.markup import Raw, Section, absent
from lloki.report.material import Material

TABLES = {  # of the folder metagenes/, and columns that they need
    "programs": ("metagene", "type", "share", "leads", "stability", "lamp", "moran", "genes"),
    "enrichment": ("sample", "type", "metagene", "mean", "share", "auc"),
    "moran": ("sample", "metagene", "I"),
    "markers": ("metagene", "sample", "gene", "share_above", "log2_fold_change"),
    "affinity": ("metagene",),
    "objective": ("phase", "objective"),
    "routes": ("route", "type", "auc"),
    "gene_sets": ("metagene", "set", "auc", "fdr"),
}
NEEDED = ("programs", "moran", "affinity")
MAPPED, DOTTED, GENES = 6, 6, 3  # metagenes with maps, with dots, genes of a slice
ROUTES = ("LLOKI", "shared genes", "each alone")


def metagenes(material: Material) -> Section:
    """Metagenes: a table, and the pictures."""
    description = (
        "Programs that cells of all slices mix. A lamp says how well a metagene comes back from "
        "half of the cells and another start: green from .8, amber from .5 (correlation). Its name "
        "is that of the type with AUC .75 or more in every slice that has it. Share: of all "
        "mixtures; leads: cells in which it is the largest. Lines of the graph join metagenes that "
        "live side by side more than by chance."
    )
    if material.metagenes is None:
        content = absent("metagenes", "Found unasked for up to 200,000 cells, or with --metagenes.")
        return Section("metagenes", "Metagenes", description, content)
    content = _table(material.metagenes["programs"])
    wide = {"metagenes_types", "metagenes_moran", "metagenes_markers"}
    drawn = pictures(material)
    content += markup.grid([
        markup.picture(figures.png(one, 130), "", name.replace("_", " "), wide=name in wide)
        for name, one in drawn.items()
    ], 2)  # fmt: skip
    content += _sets(material.metagenes.get("gene_sets"))
    content += _routes(material.metagenes.get("routes"))
    return Section("metagenes", "Metagenes", description, content)


def _table(programs: pd.DataFrame) -> Raw:
    def lamp(row: Mapping) -> Raw | None:
        shade = figure_metagenes.LAMPS.get(row["lamp"])
        if shade is None:
            return None
        value = f"{row['stability']:.2f}"
        return Raw(f'<span class="lk-key"><i style="background:{shade}"></i>{value}</span>')

    rows = []
    for row in programs.astype(object).where(programs.notna(), None).to_dict("records"):
        rows.append((
            row["metagene"], row["type"], lamp(row), f"{row['share']:.3f}", f"{row['leads']:.3f}",
            None if row["moran"] is None else f"{row['moran']:.2f}", row["genes"],
        ))  # fmt: skip
    head = ("metagene", "type", "stable", "share", "leads", "Moran's I", "genes by loading")
    return markup.table(head, rows)


def _sets(table: pd.DataFrame | None) -> str:
    """The best sets of genes of each metagene."""
    if table is None or table.empty:
        return ""
    rows = [
        (row["metagene"], row["set"], int(row["genes"]), f"{row['auc']:.2f}", f"{row['fdr']:.1e}")
        for row in table[table["fdr"] < 0.05]
        .groupby("metagene", sort=False)
        .head(3)
        .to_dict("records")
    ]
    return markup.paragraph("Sets of genes with higher loadings than others (FDR .05).", "note") + (
        markup.table(("metagene", "set", "genes", "AUC", "FDR"), rows)
    )


def _routes(table: pd.DataFrame | None) -> str:
    """Worst AUC of the best metagene of each type, by route."""
    if table is None or table.empty:
        return ""
    wide = table.pivot_table("auc", "type", "route")
    kept = [route for route in ROUTES if route in wide]
    rows = [
        (kind, *(None if np.isnan(row[r]) else f"{row[r]:.2f}" for r in kept))
        for kind, row in wide.iterrows()
    ]
    said = "AUC of the best metagene of each type in its worst slice, by what was factorised."
    return markup.paragraph(said, "note") + markup.table(("type", *kept), rows)


def pictures(material: Material) -> dict[str, Figure]:
    """All pictures of the metagenes, by file name."""
    found = material.metagenes
    if found is None:
        return {}
    programs, names = found["programs"], found["programs"]["metagene"].astype(str).tolist()
    drawn: dict[str, Figure] = {}
    technology = {s: str(material.technology.values[c[0]]) for s, c in material.samples.items()}
    if len(found.get("enrichment", ())):
        drawn["metagenes_types"] = figure_metagenes.type_map(found["enrichment"], technology)
    affinity = found["affinity"].drop(columns="metagene").to_numpy(float)
    drawn["metagenes_affinity"] = figure_metagenes.affinity_graph(affinity, programs)
    if len(found.get("objective", ())):
        drawn["metagenes_objective"] = figure_metagenes.objective_line(found["objective"])
    drawn["metagenes_moran"] = figure_metagenes.moran_boxes(found["moran"], names)
    if "X_metagenes" in material.data.obsm:
        mixtures = material.data.obsm["X_metagenes"]
        places = {s: material.data.obsm["spatial"][c] for s, c in material.samples.items()}
        for i, name in list(enumerate(names))[:MAPPED]:
            own = {s: mixtures[cells, i] for s, cells in material.samples.items()}
            kind = programs["type"][i]
            title = name if pd.isna(kind) else f"{name}, {kind}"
            drawn[f"metagenes_{name}"] = figure_metagenes.metagene_maps(places, own, title)
    if len(found.get("markers", ())):
        markers = found["markers"]
        shown = {name: _best(markers, name) for name in names[:DOTTED]}
        shown = {name: genes for name, genes in shown.items() if genes}
        if shown:
            samples = [s for s in material.samples if s in set(markers["sample"])]
            drawn["metagenes_markers"] = figure_metagenes.marker_dots(markers, shown, samples)
    return drawn


def _best(markers: pd.DataFrame, name: str) -> list[str]:
    """The first GENES markers of a metagene in every slice, each once."""
    own = markers[markers["metagene"] == name]
    return list(dict.fromkeys(own.groupby("sample", sort=False).head(GENES)["gene"].astype(str)))
