"""The report's section on labels carried over: where they are, how sure, how right, whose words."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lloki.integration.joined import NAMES
from lloki.report import figure_annotation, figures
from lloki.report.blocks import Note, Section, Table, absent, picture
from lloki.report.material import Material, once

TABLES = {  # of the folder annotation/, and columns that they need
    "held_out": ("sample", "hidden", "cells"),
    "reliability": ("sample", "probability", "right", "cells"),
    "correspondence": ("label", "to", "share", "proposed", "vocabulary", "other"),
}
NEEDED = ()
LABEL, PROBABILITY, SOURCE = "lloki_label", "lloki_label_probability", "lloki_label_source"
MAPPED = 12  # slices with maps
PAIRS = 6  # of vocabularies that are drawn
CAPTIONS = {
    "labels_probability": "How probable carried-over labels are; grey cells were labelled already",
    "labels_reliability": "Are probabilities right? On the line they are; below it, too high",
    "labels_map": "Labels in each slice",
}
WORDS = {"given": "labelled already", "slices": "from other slices"}
TITLES = {"accuracy": "right", "macro_f1": "macro F1", "unknown_found": "unknown ones found"}
FIGURES = ("accuracy", "macro_f1", "calibration_error", "unknown", "unknown_found")


def labels(material: Material) -> Section:
    """Labels carried over: counts, figures where labels were hidden, pictures."""
    lead = (
        "Each cell gets the label that most of its nearest labelled cells have, of references and "
        "of labelled slices; a cell with a label of its own keeps it. Cells farther from the "
        "labelled ones than nearly all cells of known types are unknown."
    )
    title = "Labels carried over"
    if LABEL not in material.data.obs:
        remedy = "Give a column of labels: --cell_type_key, --reference_labels."
        return Section("labels", title, lead, [absent("labels", remedy)])
    drawn = {
        name: picture(one, name, CAPTIONS.get(name, name), CAPTIONS.get(name, ""))
        for name, one in pictures(material).items()
    }
    folded = {"How right the labels are": _quality(material.annotation.get("held_out"))}
    sure = [drawn[n] for n in ("labels_probability", "labels_reliability") if n in drawn]
    folded["How right the labels are"] += sure
    words = [one for name, one in drawn.items() if name.startswith("labels_words")]
    if words:
        folded["Which label lies on which, between vocabularies"] = words
    folded["Maps of all slices"] = [drawn["labels_map"]]
    return Section("labels", title, lead, [_sources(material)], folded)


def _sources(material: Material) -> Table:
    """Of each slice: cells by the source of their label, unknown ones, the commonest labels."""
    obs = material.data.obs
    kinds = [str(kind) for kind in obs[SOURCE].cat.categories]
    rows = []
    for sample, cells in material.samples.items():
        own = obs.iloc[cells]
        common = own[LABEL].value_counts().head(4).index.astype(str)
        unknown = (own[LABEL].astype(str) == "unknown").mean()
        counts = [int((own[SOURCE].astype(str) == kind).sum()) for kind in kinds]
        rows.append((sample, len(own), *counts, f"{unknown:.1%}", ", ".join(common)))
    head = ("slice", "cells", *(WORDS.get(kind, f"from {kind}") for kind in kinds), "unknown",
            "commonest labels")  # fmt: skip
    return Table("labels", head, rows)


def _quality(table: pd.DataFrame | None) -> list:
    """Figures of slices whose labels were hidden."""
    if table is None or table.empty:
        said = "No slice has labels that could be hidden: how right these are is not known."
        return [Note(said, "doubt")]
    kept = [name for name in FIGURES if name in table]
    rows = [
        (row["sample"], row["hidden"], int(row["cells"]),
         *(None if pd.isna(row[name]) else round(row[name], 3) for name in kept))
        for row in table.to_dict("records")
    ]  # fmt: skip
    said = (
        "The labels of a slice, and of others of its technology, were hidden and found again: the "
        "share that was right, the same with rare types weighed as much as common ones (macro F1), "
        "and how far probabilities are from the shares of right labels (calibration error)."
    )
    head = ("slice", "hidden with it", "cells", *(TITLES.get(n, n.replace("_", " ")) for n in kept))
    return [Note(said), Table("held_out", head, rows)]


@once
def pictures(material: Material) -> dict[str, Figure]:
    """All pictures of the labels, by file name."""
    found = material.annotation
    if LABEL not in material.data.obs:
        return {}
    data, drawn = material.data, {}
    by = figures.colouring_of(data, LABEL)
    if material.umaps:
        title = NAMES["X_lloki"]
        title = title if title in material.umaps else list(material.umaps)[-1]
        places = material.umaps[title]
        drawn["labels_umap"] = figures.umap_grid({title: places}, [by])
        given = (data.obs[SOURCE].astype(str) == "given").to_numpy()
        sure = np.where(given, np.nan, data.obs[PROBABILITY].to_numpy(float))
        if not given.all():
            drawn["labels_probability"] = figure_annotation.confidence(places, sure)
    if len(found.get("reliability", ())):
        drawn["labels_reliability"] = figure_annotation.reliability(found["reliability"])
    some = dict(list(material.samples.items())[:MAPPED])
    places = {s: data.obsm["spatial"][cells] for s, cells in some.items()}
    parts = {s: by.of(cells) for s, cells in some.items()}
    drawn["labels_map"] = figures.spatial_grid(places, parts, by)
    words = found.get("correspondence")
    if words is not None and len(words):
        pairs = list(words.groupby(["vocabulary", "other"], sort=False))
        pairs.sort(key=lambda pair: -pair[1]["proposed"].sum())
        for number, ((own, other), table) in enumerate(pairs[:PAIRS], 1):
            title = f"{figures.short(own)} on {figures.short(other)}"
            drawn[f"labels_words_{number}"] = figure_annotation.correspondence(table, title)
    return drawn
