"""Sections of the report on the slices: what went in, quality of their cells, alignment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_alignment, figures
from lloki.report.blocks import Note, Plot, Section, Table, absent, picture
from lloki.report.material import Material, once

GROUPS = 6  # aligned groups with pictures
TITLES = {"sample": "slice", "rmsd": "rmsd, µm", "p": "p by chance", "method": "found by"}
MARKS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of a box


def quality(material: Material) -> Section:
    """Counts, genes and controls of each slice's cells."""
    lead = (
        "What went in, and how much each cell holds. Boxes hold half of the cells, lines 90 %, "
        "colours are technologies. "
        "A slice far below the others of its technology deserves a look."
    )
    head = ("slice", "technology", "panel", "cells", "dropped", "genes of the panel",
            "genes a cell (median)", "counts a cell (median)", "controls", "nonzero")  # fmt: skip
    measures = _measures(material)
    rows = []
    for sample, cells in material.samples.items():
        first = material.data.obs.iloc[cells[0]]
        medians = [
            float(np.median(measures[name][cells])) if name in measures else None
            for name in ("genes", "counts")
        ]
        rows.append((
            sample, str(first["technology"]),
            str(first["panel"]) if "panel" in material.data.obs else None, len(cells),
            material.figure(sample, "cells_dropped", "prepare_slice"),
            material.figure(sample, "genes", "prepare_slice"), *medians,
            _percent(material.number(sample, "control_rate", "prepare_slice")),
            _percent(material.number(sample, "nonzero_fraction", "prepare_slice")),
        ))  # fmt: skip
    plots = [
        _boxes(material, name, values)
        for name, values in measures.items()
        if np.nanmax(values, initial=0) > 0
    ]
    return Section("quality", "Quality of the cells", lead, [*plots, Table("slices", head, rows)])


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"


def _measures(material: Material) -> dict[str, np.ndarray]:
    """Of every cell: genes found, counts, counts of controls."""
    found: dict[str, np.ndarray] = {}
    if material.expression is not None:
        found["genes"] = np.asarray(material.expression.detected, dtype=float)
        if material.expression.counts is not None:
            found["counts"] = np.asarray(material.expression.counts, dtype=float)
    if "control_counts" in material.data.obs:
        found["counts of controls"] = material.data.obs["control_counts"].to_numpy(float)
    return found


def _boxes(material: Material, name: str, values: np.ndarray) -> Plot:
    """A box for each slice, in the colour of its technology: a thin line, a thick one, a point."""
    traces, names = [], []
    for sample, cells in material.samples.items():
        own = values[cells]
        own = own[np.isfinite(own)]
        if not len(own):
            continue
        low, first, middle, third, high = (float(v) for v in np.quantile(own, MARKS))
        shade = material.technology.colours.get(material.technology.values[cells[0]])
        names.append(sample)
        words = f"{sample}: median {middle:,.0f}, half {first:,.0f} to {third:,.0f}"
        common = {"name": sample, "showlegend": False, "hoverinfo": "text", "hovertext": words}
        line = {"color": shade or figures.GREY}
        traces += [
            {**common, "mode": "lines", "x": [low, high], "y": [sample] * 2, "line": line},
            {**common, "mode": "lines", "x": [first, third], "y": [sample] * 2,
             "line": {**line, "width": 14}},
            {**common, "mode": "markers", "x": [middle], "y": [sample],
             "marker": {"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": "white"}}},
        ]  # fmt: skip
    layout = {"xaxis": {"title": {"text": f"{name} a cell"}, "rangemode": "tozero"},
              "yaxis": {"automargin": True, "autorange": "reversed", "type": "category",
                        "tickvals": names, "ticktext": [figures.short(n, 20) for n in names]},
              "height": 110 + 26 * len(names), "hovermode": "closest"}  # fmt: skip
    return Plot(f"quality_{name.replace(' ', '_')}", traces, layout)


def map_colourings(material: Material) -> list[figures.Colouring]:
    """Labels where there are any; clusters too where a slice has none."""
    labels = material.labels
    if labels is None:
        return [material.clusters]
    bare = any((labels.values[cells] == None).all() for cells in material.samples.values())  # noqa: E711
    return [labels, material.clusters] if bare else [labels]


def alignment(material: Material) -> Section:
    """One picture for each group of aligned slices; every pair in a table."""
    lead = (
        "Slices are turned and shifted onto one another by landmarks: cells that are each other's "
        "nearest neighbours in the LLOKI embedding. A motion is taken only if landmarks agree with "
        "it better than by chance. Embedding, labels and clusters do not depend on it."
    )
    table = material.transforms
    if table is None or "spatial_aligned" not in material.data.obsm:
        blocks = [absent("alignment", "No transforms.csv, or no aligned coordinates, were given.")]
        return Section("alignment", "Alignment", lead, blocks)
    if len(material.samples) < 2:
        return Section("alignment", "Alignment", lead, [Note("There is one slice: nothing to do.")])
    groups = overlays(material)
    alone = [own[0] for own in material.frames.values() if len(own) == 1]
    blocks: list = [Note(_words(groups, alone), "good" if groups and not alone else "doubt")]
    shown = zip(groups.items(), pictures(material).items(), strict=True)
    for (frame, (before, _)), (name, drawn) in list(shown)[:GROUPS]:
        words = f"{len(before)} slices in the frame of {frame}: before (centred) and after"
        blocks.append(picture(drawn, name, words, words, 150))
    if len(groups) > GROUPS:
        blocks.append(Note(f"{len(groups) - GROUPS} more groups are in figures/."))
    folded = {"Pairs of slices": [_pairs(table)]}
    if material.alignment_scores is not None and len(material.alignment_scores):
        folded["Against other ways to align"] = alignment_scores(material.alignment_scores)
    return Section("alignment", "Alignment", lead, blocks, folded)


@once
def pictures(material: Material) -> dict[str, Figure]:
    """Slices of one frame over one another, by file name."""
    groups = overlays(material) if len(material.samples) > 1 else {}
    return {
        f"alignment_{frame}" if len(groups) > 1 else "alignment": figure_alignment.together(*sides)
        for frame, sides in groups.items()
    }


def _words(groups: Mapping, alone: list[str]) -> str:
    """Which slices lie together, and which by themselves, in a sentence each."""
    said = [
        f"{shortened(list(before))} lie in the frame of {frame}."
        for frame, (before, _) in groups.items()
    ]
    if alone:
        own = "is not aligned with any other: its coordinates are its own."
        if len(alone) > 1:
            own = "are not aligned with any other: each is shown in its own coordinates, above."
        said.append(f"{shortened(alone)} {own}")
    return " ".join(said)


def shortened(names: list[str], most: int = 8) -> str:
    """Names in a sentence; of many the first ones and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _pairs(table: pd.DataFrame) -> Table:
    moved = table[table["sample"].astype(str) != table["reference"].astype(str)]
    shown = pd.DataFrame({
        "slice": moved["sample"].astype(str), "onto": moved["reference"].astype(str),
        "aligned": moved["method"].astype(str) != "identity",
        "turned by": [turn(row) for row in moved.to_dict("records")],
        **{TITLES.get(name, name): moved[name] for name in
           ("scale", "landmarks", "inliers", "rmsd", "p", "method", "via", "reason")
           if name in moved and moved[name].notna().any()},
    })  # fmt: skip
    shown.loc[~shown["aligned"].astype(bool), "turned by"] = None
    rows = shown.astype(object).where(shown.notna(), None).to_numpy().tolist()
    return Table("alignment", list(shown), rows)


def alignment_scores(table: pd.DataFrame) -> list:
    """LLOKI's alignment beside others, where they were compared (--benchmark_alignment)."""
    shown = table.round(3).astype(object).where(table.notna(), None)
    names = {
        "sample": "slice", "pearson": "Pearson", "label_match": "equal labels", "seconds": "s",
    }  # fmt: skip
    kept = [name for name in shown if shown[name].notna().any()]
    rows = [[row[name] for name in kept] for row in shown.to_dict("records")]
    note = Note(
        "Every cell and the nearest of the other slice. Pearson of their shared genes, each "
        "standardised in its slice; share of equal labels. Random motions are the floor."
    )
    return [note, Table("alignment_scores", [names.get(name, name) for name in kept], rows)]


def overlays(material: Material) -> dict[str, tuple[dict[str, np.ndarray], ...]]:
    """Places by sample, before (centred) and after, of each frame that several slices share."""
    if not material.frames:
        return {}
    before, after = material.data.obsm["spatial"], material.data.obsm["spatial_aligned"]
    samples = material.samples
    return {
        frame: (
            {s: before[samples[s]] - np.nanmean(before[samples[s]], axis=0) for s in members},
            {s: after[samples[s]] for s in members},
        )
        for frame, members in material.frames.items() if len(members) > 1
    }  # fmt: skip


def turn(row: Mapping[str, float]) -> str | None:
    """The rotation of a row of transforms.csv in degrees, with the mirror image if it is one."""
    try:
        r00, r01, r10, r11 = (float(row[name]) for name in ("r00", "r01", "r10", "r11"))
    except (KeyError, ValueError):
        return None
    mirrored = ", mirrored" if r00 * r11 - r01 * r10 < 0 else ""
    return f"{np.degrees(np.arctan2(r10, r00)):.1f}°{mirrored}"
