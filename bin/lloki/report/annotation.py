"""The report's section on labels carried over: where they are, how sure, how right, whose words."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_annotation, figures, markup
from lloki.report.markup import Raw, Section, absent
from lloki.report.material import Material

TABLES = {  # of the folder annotation/, and columns that they need
    "held_out": ("sample", "hidden", "cells"),
    "reliability": ("sample", "probability", "right", "cells"),
    "correspondence": ("label", "to", "share", "proposed", "vocabulary", "other"),
}
NEEDED = ()
LABEL, PROBABILITY, SOURCE = "lloki_label", "lloki_label_probability", "lloki_label_source"
MAPPED = 12  # slices with maps
PAIRS = 6  # of vocabularies that are drawn
FIGURES = ("accuracy", "macro_f1", "calibration_error", "unknown", "unknown_found")


def labels(material: Material) -> Section:
    """Labels carried over: counts, figures where labels were hidden, pictures."""
    description = (
        "The label that most of the nearest labelled cells have, of references and of labelled "
        "slices; cells with a label of their own keep it. Unknown: farther from the labelled cells "
        "than nearly all held-out cells of known types. Figures are of slices whose labels were "
        "hidden, with their technology: macro F1 weighs types alike; calibration error is how far "
        "probabilities are from the shares of right labels."
    )
    if LABEL not in material.data.obs:
        content = absent("labels", "Give a column of labels: --cell_type_key, --reference_labels.")
        return Section("labels", "Labels carried over", description, content)
    content = _sources(material) + _quality(material.annotation.get("held_out"))
    content += markup.grid([
        markup.picture(figures.png(one, 130), "", name.replace("_", " "),
                       wide=name.startswith(("labels_map", "labels_words")))
        for name, one in pictures(material).items()
    ], 2)  # fmt: skip
    return Section("labels", "Labels carried over", description, content)


def _sources(material: Material) -> Raw:
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
    return markup.table(("slice", "cells", *kinds, "unknown", "commonest labels"), rows)


def _quality(table: pd.DataFrame | None) -> str:
    """Figures of slices whose labels were hidden."""
    if table is None or table.empty:
        said = "No slice has labels that could be hidden: how right these are is not known."
        return markup.paragraph(said, "note")
    kept = [name for name in FIGURES if name in table]
    rows = [
        (row["sample"], row["hidden"], int(row["cells"]),
         *(None if pd.isna(row[name]) else f"{row[name]:.3f}" for name in kept))
        for row in table.to_dict("records")
    ]  # fmt: skip
    return markup.table(
        ("slice", "hidden with it", "cells", *(n.replace("_", " ") for n in kept)), rows
    )


def pictures(material: Material) -> dict[str, Figure]:
    """All pictures of the labels, by file name."""
    found = material.annotation
    if LABEL not in material.data.obs:
        return {}
    data, drawn = material.data, {}
    by = figures.colouring_of(data, LABEL)
    if material.umaps:
        title, places = list(material.umaps.items())[-1]
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
