"""Sections of the report on what came out: slices, their maps, alignment."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from lloki.report import figure_alignment, figures, markup
from lloki.report.markup import Section, absent
from lloki.report.material import Material

PICTURES = 12  # of landmarks, and of slices over their references
TRANSFORM_TITLES = {"rmsd": "rmsd, µm", "p": "p by chance"}


def slices(material: Material) -> Section:
    """A table of the slices."""
    obs = material.data.obs
    rows = {}
    for sample, cells in material.samples.items():
        first = obs.iloc[cells[0]]
        rows[sample] = {
            "technology": str(first["technology"]),
            "panel": str(first["panel"]) if "panel" in obs else None,
            "cells": len(cells),
            "dropped": material.figure(sample, "cells_dropped", "prepare_slice"),
            "genes": material.figure(sample, "genes", "prepare_slice"),
            "controls": material.figure(sample, "control_rate", "prepare_slice"),
            "shared": material.figure(sample, "genes_shared", "ot_sparsity"),
            "found": material.figure(sample, "genes_found", "mosaic_embed", "scgpt_embed"),
            "nonzero": material.figure(sample, "nonzero_fraction", "prepare_slice"),
        }
    columns = {
        "technology": ("Technology", None), "panel": ("Panel", None), "cells": ("Cells", "{:,.0f}"),
        "dropped": ("Dropped", "{:,.0f}"), "genes": ("Genes", "{:,.0f}"),
        "controls": ("Controls", "{:.3f}"),
        "shared": ("In reference", "{:,.0f}"),
        "found": ("In model", "{:,.0f}"),
        "nonzero": ("Nonzero", "{:.2f}"),
    }  # fmt: skip
    headers = {
        key: {"title": title, "scale": False, **({"format": form, "min": 0} if form else {})}
        for key, (title, form) in columns.items()
    }
    known = {s: {k: v for k, v in row.items() if v is not None} for s, row in rows.items()}
    options = {
        "headers": headers,
        "pconfig": {
            "id": "slices_table", "title": "Slices", "col1_header": "Slice", "no_violin": True,
            "sort_rows": False,
        },
    }  # fmt: skip
    return Section(
        "slices",
        "Slices",
        "What went in. Dropped: cells of too few counts. Controls: counts of a control feature as "
        "a share of those of a gene. In reference, in model: genes of the panel that the reference "
        "holds, and that the embedder knows. Nonzero: share of values.",
        known,
        "table",
        options,
    )


def maps(material: Material) -> Section:
    """Every slice in space, in the colours of the UMAPs."""
    description = "Every slice in its own coordinates, in the colours of the UMAPs above."
    content = ""
    for by in map_colourings(material):
        pictures = []
        for sample, cells in material.samples.items():
            drawn = figures.spatial_single(material.data.obsm["spatial"][cells], by.of(cells))
            technology = material.technology.values[cells[0]]
            caption = f"{sample} · {technology} · {len(cells):,} cells"
            alt = f"Map of slice {sample}, cells coloured by {by.name}"
            pictures.append(markup.picture(figures.png(drawn, 150), caption, alt))
        content += markup.legend(f"by {by.name}", by.entries()) + markup.grid(pictures)
    return Section("maps", "Slices in space", description, content)


def map_colourings(material: Material) -> list[figures.Colouring]:
    """Labels where there are any; clusters too where a slice has none."""
    labels = material.labels
    if labels is None:
        return [material.clusters]
    bare = any((labels.values[cells] == None).all() for cells in material.samples.values())  # noqa: E711
    return [labels, material.clusters] if bare else [labels]


def alignment(material: Material) -> Section:
    """Each slice over its reference, before and after, and the motion found."""
    description = (
        "All slices over one another, as they came (centred) and after the rotation and shift "
        "found from landmarks: cells that are each other's neighbours in LLOKI space. Lines join "
        "landmarks, at most 200 of a pair; blue ones agree with the motion. Then each slice "
        f"(orange) over the reference of its frame (grey). Of many, {PICTURES} are shown."
    )
    table = material.transforms
    if table is None or "spatial_aligned" not in material.data.obsm:
        content = absent("alignment", "No transforms.csv, or no aligned coordinates, were given.")
        return Section("alignment", "Alignment", description, content)
    moved = table[table["sample"].astype(str) != table["reference"].astype(str)]
    together, pictures = "", []
    if len(material.samples) > 1:
        for frame, sides in overlays(material).items():
            drawn = figures.png(figure_alignment.together(*sides), 150)
            caption = "All slices" if len(sides[0]) == len(material.samples) else f"On {frame}"
            alt = f"{caption} over one another, before and after alignment"
            together += markup.grid([markup.picture(drawn, caption, alt, wide=True)], 1)
        pictures = [
            markup.picture(
                figures.png(figure_alignment.landmark_lines(*lines), 150), caption,
                f"Landmarks of {caption}", wide=True,
            )
            for caption, lines in landmark_pairs(material).items()
        ]  # fmt: skip
    pictures += [
        markup.picture(
            figures.png(figure_alignment.single(*pair), 150), f"{sample} over {reference}",
            f"Slice {sample} over {reference} before and after alignment", wide=True,
        )
        for (sample, reference), pair in aligned_pairs(material).items()
    ]  # fmt: skip
    moved = moved.assign(rotation=[turn(row) for row in moved.to_dict("records")])
    kept = [name for name in moved if not re.fullmatch(r"r\d\d|t[xyz]", name)]
    kept = [name for name in kept if moved[name].notna().any()]
    rows = [[row[name] for name in kept] for row in moved.to_dict("records")]
    titles = [TRANSFORM_TITLES.get(name, name) for name in kept]
    content = together + markup.grid(pictures, 2) + markup.table(titles, rows)
    content += alignment_scores(material.alignment_scores)
    left = moved.loc[moved["method"] == "identity", "sample"].tolist()
    if left:
        content = markup.paragraph(f"Left where they were: {', '.join(left)}.", "missing") + content
    return Section("alignment", "Alignment", description, content)


def alignment_scores(table: pd.DataFrame | None) -> str:
    """LLOKI's alignment beside others, where they were compared (--benchmark_alignment)."""
    if table is None or table.empty:
        return ""
    shown = table.round(3).astype(object).where(table.notna(), None)
    names = {
        "sample": "slice", "pearson": "Pearson", "label_match": "equal labels", "seconds": "s",
    }  # fmt: skip
    kept = [name for name in shown if shown[name].notna().any()]
    rows = [[row[name] for name in kept] for row in shown.to_dict("records")]
    return markup.paragraph(
        "Ways to align compared: every cell and the nearest of the other slice. Pearson of their "
        "shared genes, each standardised in its slice; share of equal labels. Random motions are "
        "the floor.", "note",
    ) + markup.table([names.get(name, name) for name in kept], rows)  # fmt: skip


def overlays(material: Material) -> dict[str, tuple[dict[str, np.ndarray], ...]]:
    """Places by sample, before (centred) and after, of each frame that several slices share.

    With one such frame, or none, all slices are in the picture of before.
    """
    before, after = material.data.obsm["spatial"], material.data.obsm["spatial_aligned"]
    table = material.transforms.astype({"sample": str, "reference": str, "method": str})
    frame = table["frame" if "frame" in table else "reference"].astype(str)
    members = table.groupby(frame, sort=False)["sample"].agg(list)
    shared = {name: inside for name, inside in members.items() if len(inside) > 1}
    samples = material.samples
    centred = {s: before[cells] - before[cells].mean(axis=0) for s, cells in samples.items()}
    if len(shared) < 2:
        ((name, inside),) = shared.items() or [next(iter(members.items()))]
        empty = np.full((1, before.shape[1]), np.nan)
        placed = {s: after[cells] if s in inside else empty for s, cells in samples.items()}
        return {name: (centred, placed)}
    return {
        name: ({s: centred[s] for s in inside}, {s: after[samples[s]] for s in inside})
        for name, inside in shared.items()
    }


def landmark_pairs(material: Material) -> dict[str, tuple[np.ndarray, ...]]:
    """Both slices' places, landmarks (rows) and whether they agree, by the caption of the pair."""
    table, places = material.landmarks, material.data.obsm["spatial"]
    if table is None:
        return {}
    found: dict[str, tuple[np.ndarray, ...]] = {}
    for (sample, reference), rows in table.astype({"sample": str}).groupby(["sample", "reference"]):
        if {sample, reference} <= set(material.samples):
            sides = [material.samples[name] for name in (sample, reference)]
            names = [material.data.obs_names[side] for side in sides]
            pairs = np.column_stack([
                index.get_indexer(rows[key])
                for index, key in zip(names, ("cell", "reference_cell"), strict=True)
            ])  # fmt: skip
            known = (pairs >= 0).all(axis=1)
            agree = rows["inlier"].to_numpy(bool)[known]
            caption = f"{sample} and {reference}" + ("" if agree.any() else " (not aligned)")
            found[caption] = places[sides[0]], places[sides[1]], pairs[known], agree
    best = sorted(found, key=lambda caption: -found[caption][3].sum())
    return {caption: found[caption] for caption in best[:PICTURES]}


def aligned_pairs(material: Material) -> dict[tuple[str, str], tuple[np.ndarray, ...]]:
    """Coordinates by (sample, reference): of the reference, of the sample before and after.

    Before alignment the sample is put over the middle of the reference: frames are arbitrary.
    Samples that were not moved (method identity) are left out.
    """
    before, after = material.data.obsm["spatial"], material.data.obsm["spatial_aligned"]
    pairs = {}
    columns = material.transforms[["sample", "reference", "method"]].astype(str)
    for sample, reference, method in columns.to_numpy():
        if method != "identity" and {sample, reference} <= set(material.samples):
            here, there = material.samples[sample], material.samples[reference]
            centred = before[here] + before[there].mean(axis=0) - before[here].mean(axis=0)
            pairs[sample, reference] = before[there], centred, after[here]
        if len(pairs) == PICTURES:
            break
    return pairs


def turn(row: Mapping[str, float]) -> str | None:
    """The rotation of a row of transforms.csv in degrees, with the mirror image if it is one."""
    try:
        r00, r01, r10, r11 = (float(row[name]) for name in ("r00", "r01", "r10", "r11"))
    except (KeyError, ValueError):
        return None
    mirrored = ", mirrored" if r00 * r11 - r01 * r10 < 0 else ""
    return f"{np.degrees(np.arctan2(r10, r00)):.1f}°{mirrored}"
