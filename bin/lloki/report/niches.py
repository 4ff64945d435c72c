"""The report's section on niche programs: what was asked, what stands, and what chance gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lloki.integration.joined import umap_key
from lloki.report import figure_niches
from lloki.report.annotation import LABEL
from lloki.report.blocks import Lamp, Section, Table, absent, picture
from lloki.report.material import Material, once
from lloki.slices.labels import as_text, completed_labels

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
CAPTIONS = {
    "null": "What moved fields give (grey) and what was found (line); score by distance",
    "genes": "Genes of the program in each slice",
    "map": "Focus cells by their score, neighbours in grey",
    "umap": "UMAP of the focus cells",
}
SHOWN = 3  # pairs with pictures


@dataclass(frozen=True)
class Niche:
    """One pair: its folder's name, the figures of program.json, its tables by name."""

    name: str
    record: Mapping
    tables: Mapping[str, pd.DataFrame]


def niches(material: Material) -> Section:
    """Niche programs: a table of all pairs, and pictures of the first ones."""
    lead = (
        "Genes of one kind of cell that go with how much of another is around it. r: correlation "
        "of the program's score with the share (or nearness) of neighbours, where clusters and "
        "genes come from other parts of the tissue than the cells that are scored. p: the same on "
        "fields moved over the slices; q: corrected for the number of pairs. Naive r, where all is "
        "chosen and correlated in the same cells, is above zero by chance alone."
    )
    title = "Niche programs"
    if material.niches is None:
        remedy = "They are found with --niche FOCUS:NEIGHBOUR."
        return Section("niches", title, lead, [absent("niche programs", remedy)])
    if material.niches_table.empty:
        remedy = "No slice has enough cells of the kinds that were asked for (50 of each)."
        return Section("niches", title, lead, [absent("niche programs", remedy)])
    drawn, folded = pictures(material), {}
    for niche in material.niches[:SHOWN]:
        verdict = str(niche.record["verdict"])
        named = f"{niche.record['focus']} near {niche.record['neighbour']}"
        folded[f"{named}: {verdict}"] = [
            *(picture(drawn[name], name, f"{named}: {CAPTIONS[kind]}", CAPTIONS[kind])
              for kind in CAPTIONS if (name := f"niche_{niche.name}_{kind}") in drawn),
            _genes(niche),
        ]  # fmt: skip
    return Section("niches", title, lead, [_pairs(material.niches_table)], folded)


def _pairs(table: pd.DataFrame) -> Table:
    rows = [
        (
            f"{row['focus']} near {row['neighbour']}",
            Lamp("good", "found") if row["found"] else Lamp("", "not above chance"),
            round(row["r"], 2), float(f"{row['p']:.2g}"), float(f"{row['q']:.2g}"),
            round(row["naive_r"], 2), row["cells"], row["slices"],
        )
        for row in table.to_dict("records")
    ]  # fmt: skip
    return Table("niches", ("pair", "program", "r", "p", "q", "naive r", "cells", "slices"), rows)


def _genes(niche: Niche) -> Table:
    """The first genes each way, with how many slices measured them."""
    genes = niche.tables["genes"]
    rows = [
        (gene, way, int(n), round(float(r), 2), float(f"{fdr:.2g}"))
        for way in ("up", "down")
        for gene, n, r, fdr in genes.loc[
            genes["direction"] == way, ["gene", "slices", "r", "fdr"]
        ].head(figure_niches.GENES).itertuples(index=False)
    ]  # fmt: skip
    return Table(f"niche_{niche.name}_genes", ("gene", "direction", "slices", "r", "FDR"), rows)


@once
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
    key = niche.record["label_key"]
    kinds = completed_labels(obs, key, LABEL) if key in obs else np.full(len(obs), None)
    near = kinds == kind
    column, _, value = kind.partition("=")
    if not near.any() and column in obs:
        near = (as_text(obs[column]) == value).to_numpy(bool)
    spatial = material.data.obsm["spatial"][:, :2]
    found = {}
    for sample, own in cells.groupby("sample", sort=False).indices.items():
        whole = material.samples[str(sample)]
        found[str(sample)] = (
            spatial[whole[near[whole]]], spatial[rows[own]], cells["score"].to_numpy(float)[own]
        )  # fmt: skip
    return found
