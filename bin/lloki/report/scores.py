"""The report's section on how good the embeddings are: UMAPs and scores of every method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lloki.report import figure_scores, figures
from lloki.report.blocks import Note, Section, Shade, Table, absent, picture, shown
from lloki.report.material import Material, once
from lloki.scores import baselines, metrics

HEADINGS = {
    "Means": tuple(metrics.AGGREGATES),
    "Biology conserved": metrics.BIO,
    "Batches mixed": metrics.BATCH,
    "In no mean": (*metrics.EXTRA, "Label transfer F1", "Spatial coherence"),
}


def scores(material: Material) -> Section:
    """UMAPs before and after, and the scores: a row for each method, the best first."""
    found = (material.of_stage("benchmark") or [{}])[0]
    lead = (
        "Is it better than what there was before? Scores go from 0 to 1, higher is better, by the "
        f"definitions of scib-metrics {found.get('scib_metrics', '')}".rstrip()
        + ". Methods are sorted by the two means, the best of a column is bold, shades show the "
        "place between lowest and highest. Rest the mouse on a heading for its meaning."
    )
    blocks = _umaps(material)
    if material.metrics is None or material.metrics.empty:
        blocks.append(absent("scores", "No metrics.csv with scores was given."))
        return Section("metrics", "Scores against other methods", lead, blocks)
    table = score_table(material.metrics)
    blocks.append(score_rows(table))
    blocks += [
        Note(f"{baselines.title(baselines.key(method))} was not run: {reason}")
        for method, reason in (found.get("not_run") or {}).items()
    ]
    if "cells_labelled" in found:
        blocks.append(Note(
            f"{found['cells_scored']:,} of {found['cells']:,} cells scored, "
            f"{found['cells_labelled']:,} of them with a label "
            f"({shown(found.get('label_key'))}); batches are {found.get('batch_key')}."
            + _drawn(found.get("draws", 1), material.metrics)
        ))  # fmt: skip
    blocks += [Note(warning, "doubt") for warning in found.get("labels_apart") or ()]
    blocks += [Note(_shared(record)) for record in material.of_stage("join_shared")]
    folded = {}
    if material.coherence is not None and len(material.coherence):
        folded["Spatial coherence of each slice"] = [coherence_rows(material)]
    return Section("metrics", "Scores against other methods", lead, blocks, folded)


@once
def pictures(material: Material) -> dict[str, Figure]:
    """UMAPs of all embeddings, and the scores as a figure, by file name."""
    drawn = {}
    if material.umaps:
        drawn["umap"] = figures.umap_grid(material.umaps, [material.batches, material.kinds])
    if material.metrics is not None and len(material.metrics):
        table = score_table(material.metrics)
        titled = table.rename(columns=baselines.title)
        aggregates = list(metrics.AGGREGATES)
        drawn["scores"] = figure_scores.score_grid(titled, groups(table), aggregates)
    return drawn


def _umaps(material: Material) -> list:
    """All UMAPs side by side, as they are for print."""
    if not material.umaps:
        return [absent("UMAPs", "The run was asked for none (--umap false, --no-umap).")]
    bys = [material.batches, material.kinds]
    drawn = pictures(material)["umap"]
    words = "PCA on shared genes is what there is before LLOKI, LLOKI-FP is before integration."
    alt = f"UMAPs of {', '.join(material.umaps)} by {bys[0].name} and {bys[1].name}"
    return [picture(drawn, "umap", alt, words, 110)]


def _drawn(draws: int, table: pd.DataFrame) -> str:
    """What is said of scores by samples of the cells."""
    if draws < 2 or "spread" not in table:
        return ""
    most = table.loc[table["spread"].idxmax()] if table["spread"].notna().any() else None
    largest = "" if most is None else f" ({most['spread']:.3f} at most, {most['metric']})"
    return (
        f" So many in each of {draws} samples: scores are means, their standard deviations in "
        f"metrics.csv{largest}."
    )


def _shared(record: dict) -> str:
    empty = sum(record.get("cells_without_shared_genes", {}).values())
    return (
        "Methods that need common genes saw the "
        f"{record['genes_shared']} genes that all slices share; {empty:,} of "
        f"{record['cells']:,} cells have no count in any of them and are scored all the same."
    )


def score_table(table: pd.DataFrame) -> pd.DataFrame:
    """Scores: a row for each metric in the order of HEADINGS, a column for each embedding.

    The embeddings come by the mean of the aggregates, the best first; those without any last.
    """
    wide = table.pivot_table(index="metric", columns="embedding", values="value", sort=False)
    wide = wide.reindex(columns=table["embedding"].unique())
    order = [name for names in HEADINGS.values() for name in names]
    wide = wide.reindex(sorted(wide.index, key=lambda m: order.index(m) if m in order else 99))
    means = wide[wide.index.isin(metrics.AGGREGATES)].mean()
    return wide[means.sort_values(ascending=False, kind="stable", na_position="last").index]


def groups(table: pd.DataFrame) -> dict[str, list[str]]:
    """The metrics of a score table under their headings; a heading without any is left out."""
    known = {heading: [n for n in names if n in table.index] for heading, names in HEADINGS.items()}
    placed = {name for names in known.values() for name in names}
    known["Other"] = [name for name in table.index if name not in placed]
    return {heading: names for heading, names in known.items() if names}


def score_rows(table: pd.DataFrame) -> Table:
    """The scores: a row a method, the means as bars, the others in shades."""
    parts = groups(table)
    names = [name for members in parts.values() for name in members]
    rows = [[baselines.title(key), *(_cell(table, name, key) for name in names)] for key in table]
    spans = [("", 1), *((heading, len(members)) for heading, members in parts.items())]
    return Table("scores", ["method", *names], rows, spans)


def _cell(table: pd.DataFrame, name: str, key: str) -> Shade | None:
    """A score: of the means a bar, of the others its place in the column."""
    value = float(table.loc[name, key])
    if np.isnan(value):
        return None
    best = is_best(table.loc[name], value)
    bar = name in metrics.AGGREGATES
    return Shade(value, None if bar else place(table.loc[name], value), best)


def is_best(values: pd.Series, value: float) -> bool:
    """Whether a score is the highest of its row, as far as three digits show, and not alone."""
    return values.notna().sum() > 1 and values.max() - value < 5e-4


def place(values: pd.Series, value: float) -> float:
    """Where a score lies between the lowest (0) and the highest (1) of its row."""
    spread = values.max() - values.min()
    return float((value - values.min()) / spread) if spread > 0 else 1.0


def coherence_rows(material: Material) -> Table:
    """Spatial coherence: a row for each slice, a column for each embedding."""
    found = material.coherence
    wide = found.pivot_table(index="sample", columns="embedding", values="value", sort=False)
    order = [key for key in score_table(material.metrics) if key in wide]
    values = wide[order].round(2).astype(float).to_numpy().tolist()
    rows = [[sample, *row] for sample, row in zip(wide.index, values, strict=True)]
    return Table("coherence", ["slice", *map(baselines.title, order)], rows)


def sources(keys: Sequence[str]) -> list[str]:
    """What to cite for the methods among these embeddings."""
    table = baselines.methods()
    ran = table[[f"X_{method}" in keys for method in table.index]]
    return list(dict.fromkeys(filter(None, ran["source"])))
