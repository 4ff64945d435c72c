"""The report's section on niche programs: what was asked, what stands, and what chance gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lloki.integration.joined import umap_key
from lloki.report import figure_niches, figures, markup
from lloki.report.markup import Raw, Section, absent
from lloki.report.material import Material
from lloki.slices.labels import as_text

TABLES = {  # of the folder of a pair, and columns that they need
    "cells": ("cell", "sample", "field", "group", "score"),
    "genes": ("gene", "direction", "weight", "r", "fdr", "slices"),
    "genes_by_slice": ("gene", "sample", "change", "share_group", "guarded"),
    "bands": ("sample", "from_um", "to_um", "score", "sem"),
}
PAIRS = (
    "focus",
    "neighbour",
    "cells",
    "slices",
    "r",
    "p",
    "q",
    "naive_r",
    "found",
    "verdict",
    "folder",
)
FIGURES = ("focus", "neighbour", "r", "naive_r", "null", "naive_null", "slices", "label_key")
SHOWN = 3  # pairs with pictures


@dataclass(frozen=True)
class Niche:
    """One pair: its folder's name, the figures of program.json, its tables by name."""

    name: str
    record: Mapping
    tables: Mapping[str, pd.DataFrame]


def niches(material: Material) -> Section:
    """Niche programs: a table of all pairs, and pictures of the first ones."""
    description = (
        "Genes of one kind of cell that go with how much of another is around it. r: correlation "
        "of the program's score with the share (or nearness) of neighbours, cross-fitted: clusters "
        "and genes come from other parts of the tissue than the cells that are scored. p: the "
        "whole procedure again on fields moved over the slices; q: corrected for the number of "
        "pairs. Naive: the paper's way, all chosen and correlated in the same cells; by chance "
        "alone it is above zero."
    )
    title = "Niche programs"
    if material.niches is None:
        content = absent("niche programs", "They are found with --niche FOCUS:NEIGHBOUR.")
        return Section("niches", title, description, content)
    content = _pairs(material.niches_table)
    for niche in material.niches[:SHOWN]:
        drawn = _pictures(material, niche)
        content += markup.paragraph(niche.record["verdict"], "lead") + _genes(niche.tables["genes"])
        wide = ("null", "umap", "map")
        content += markup.grid([
            markup.picture(figures.png(one, 130), "", f"{niche.name} {kind}", wide=kind in wide)
            for kind, one in drawn.items()
        ], 2)  # fmt: skip
    return Section("niches", title, description, content)


def _pairs(table: pd.DataFrame) -> Raw:
    rows = []
    for row in table.to_dict("records"):
        shade = "#009e73" if row["found"] else figures.GREY
        word = "found" if row["found"] else "not above chance"
        lamp = Raw(f'<span class="lk-key"><i style="background:{shade}"></i>{word}</span>')
        rows.append((
            f"{row['focus']} near {row['neighbour']}", lamp, f"{row['r']:.2f}", f"{row['p']:.2g}",
            f"{row['q']:.2g}", f"{row['naive_r']:.2f}", row["cells"], row["slices"],
        ))  # fmt: skip
    head = ("pair", "program", "r", "p", "q", "naive r", "cells", "slices")
    shown = markup.table(head, rows[:12])
    rest = markup.table(head, rows[12:])
    return shown + (markup.folded(f"{len(rows) - 12} more pairs", rest) if rows[12:] else "")


def _genes(genes: pd.DataFrame) -> str:
    """The first genes each way, with how many slices measured them."""
    lines = []
    for way in ("up", "down"):
        own = genes[genes["direction"] == way][: figure_niches.GENES]
        listed = (
            f"{gene} ({int(n)} slice{'s' * (n > 1)}, r {r:.2f}, FDR {fdr:.2g})"
            for gene, n, r, fdr in zip(
                own["gene"], own["slices"], own["r"], own["fdr"], strict=True
            )
        )
        lines.append((way, ", ".join(listed) or None))
    return markup.table(("direction", "genes: slices that measured, r with the field"), lines)


def pictures(material: Material) -> dict[str, Figure]:
    """All pictures of the first pairs, by file name."""
    return {
        f"niche_{niche.name}_{kind}": drawn
        for niche in (material.niches or [])[:SHOWN]
        for kind, drawn in _pictures(material, niche).items()
    }


def _pictures(material: Material, niche: Niche) -> dict[str, Figure]:
    record, tables = niche.record, niche.tables
    drawn: dict[str, Figure] = {}
    nulls = {"naive": record["naive_null"], "cross-fitted": record["null"]}
    found = {"naive": record["naive_r"], "cross-fitted": record["r"]}
    drawn["null"] = figure_niches.null_histograms(nulls, found, tables["bands"])
    genes = figure_niches.best_genes(tables["genes"])
    if genes:
        names = {one["sample"]: one["sample"] for one in record["slices"]}
        drawn["genes"] = figure_niches.gene_dots(tables["genes_by_slice"], genes, names)
    cells = tables["cells"]
    rows = material.data.obs_names.get_indexer(cells["cell"].astype(str))
    cells, rows = cells[rows >= 0], rows[rows >= 0]
    if len(rows):
        drawn["map"] = figure_niches.score_maps(places(material, niche, cells, rows))
        key = umap_key("X_lloki")
        if key in material.data.obsm:
            drawn["umap"] = figure_niches.focus_umaps(
                material.data.obsm[key][rows], material.technology.of(rows),
                cells["field"].to_numpy(float), cells["group"].to_numpy(bool),
            )  # fmt: skip
    return drawn


def places(material: Material, niche: Niche, cells: pd.DataFrame, rows: np.ndarray) -> dict:
    """Places of neighbours, places and scores of the focus cells, of each slice."""
    kind, obs = str(niche.record["neighbour"]), material.data.obs
    column, value = niche.record["label_key"], kind
    if column not in obs or not (as_text(obs[column]) == kind).any():
        column, _, value = kind.partition("=")
    near = (
        (as_text(obs[column]) == value).to_numpy(bool) if column in obs
        else np.zeros(len(obs), bool)
    )  # fmt: skip
    spatial = material.data.obsm["spatial"][:, :2]
    found = {}
    for sample, own in cells.groupby("sample", sort=False).indices.items():
        whole = material.samples[str(sample)]
        found[str(sample)] = (
            spatial[whole[near[whole]]], spatial[rows[own]], cells["score"].to_numpy(float)[own]
        )  # fmt: skip
    return found
