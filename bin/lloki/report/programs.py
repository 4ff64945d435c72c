"""The report's section on metagenes: what each is, where it is, and its genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_metagenes
from lloki.report.blocks import Lamp, Note, Section, Table, absent, picture
from lloki.report.material import Material, once

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
LEVELS = {"green": "good", "amber": "doubt", "red": "bad"}
CAPTIONS = {
    "metagenes_types": "Mean of each metagene in each type, by technology",
    "metagenes_affinity": "Lines join metagenes that live side by side more than by chance",
    "metagenes_moran": "Do neighbours have similar amounts? A point a slice",
    "metagenes_markers": "Genes: size is the share of cells high in the metagene that express them",
    "metagenes_objective": "The fit by iteration",
}
ROUTES = ("LLOKI", "shared genes", "each alone")


def metagenes(material: Material) -> Section:
    """Metagenes: a table, and the pictures."""
    lead = (
        "Programs of genes that cells of all slices mix. The light says how well one comes back "
        "from half of the cells and another start: green from .8, amber from .5 (correlation). Its "
        "name is that of the type that has it in every slice (AUC .75 or more). Share: of all "
        "mixtures; leads: cells in which it is the largest. UMAP and map above show each."
    )
    if material.metagenes is None:
        remedy = "Found unasked for up to 200,000 cells, or with --metagenes."
        return Section("metagenes", "Metagenes", lead, [absent("metagenes", remedy)])
    drawn = {
        name: picture(one, name, CAPTIONS.get(name, name.replace("_", " ")), CAPTIONS.get(name, ""))
        for name, one in pictures(material).items()
    }
    first = [drawn.pop(name) for name in ("metagenes_types",) if name in drawn]
    genes = [drawn.pop(name) for name in ("metagenes_markers",) if name in drawn]
    fit = [drawn.pop(n) for n in ("metagenes_affinity", "metagenes_moran", "metagenes_objective")
           if n in drawn]  # fmt: skip
    folded = {
        "Maps": list(drawn.values()), "Genes of each metagene": genes,
        "Who lives beside whom, and the fit": fit,
        "Sets of genes": _sets(material.metagenes.get("gene_sets")),
        "Against shared genes and single slices": _routes(material.metagenes.get("routes")),
    }  # fmt: skip
    return Section("metagenes", "Metagenes", lead, [_table(material.metagenes["programs"]), *first],
                   {title: blocks for title, blocks in folded.items() if blocks})  # fmt: skip


def _table(programs: pd.DataFrame) -> Table:
    rows = []
    for row in programs.astype(object).where(programs.notna(), None).to_dict("records"):
        level = LEVELS.get(row["lamp"])
        rows.append((
            row["metagene"], row["type"], level and Lamp(level, f"{row['stability']:.2f}"),
            round(row["share"], 3), round(row["leads"], 3),
            None if row["moran"] is None else round(row["moran"], 2), row["genes"],
        ))  # fmt: skip
    head = ("metagene", "type", "stability", "share", "leads", "Moran's I", "genes by loading")
    return Table("metagenes", head, rows)


def _sets(table: pd.DataFrame | None) -> list:
    """The best sets of genes of each metagene."""
    if table is None or table.empty:
        return []
    best = table[table["fdr"] < 0.05].groupby("metagene", sort=False).head(3)
    rows = [
        (row["metagene"], row["set"], int(row["genes"]), round(row["auc"], 2), f"{row['fdr']:.1e}")
        for row in best.to_dict("records")
    ]
    return [
        Note("Sets of genes with higher loadings than others (FDR .05)."),
        Table("gene_sets", ("metagene", "set", "genes", "AUC", "FDR"), rows),
    ]


def _routes(table: pd.DataFrame | None) -> list:
    """Worst AUC of the best metagene of each type, by route."""
    if table is None or table.empty:
        return []
    wide = table.pivot_table("auc", "type", "route")
    kept = [route for route in ROUTES if route in wide]
    rows = [
        (kind, *(None if np.isnan(row[r]) else round(float(row[r]), 2) for r in kept))
        for kind, row in wide.iterrows()
    ]
    said = "AUC of the best metagene of each type in its worst slice, by what was factorised."
    return [Note(said), Table("metagene_routes", ("type", *kept), rows)]


@once
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
