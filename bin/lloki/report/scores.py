"""Sections of the report on how good the embeddings are: UMAPs and scores of every method."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lloki.report import figures, markup
from lloki.report.markup import Section, absent
from lloki.report.material import Material
from lloki.scores import baselines, metrics

MEANINGS = {
    "Isolated labels": "silhouette of the cell types found in the fewest batches",
    "KMeans NMI": "do K-means clusters match the cell types? (mutual information)",
    "KMeans ARI": "do K-means clusters match the cell types? (pairs of cells)",
    "Silhouette label": "are cell types compact and apart?",
    "cLISI": "is a cell's neighbourhood of one type?",
    "Silhouette batch": "do batches overlap within each type?",
    "Graph connectivity": "is each type one connected piece?",
    "PCR comparison": "how much less variance is due to batches than in PCA?",
    "BRAS": "do batches overlap within each type? (cosine, against all other batches)",
    "iLISI": "does a cell's neighbourhood hold all batches?",
    "kBET": "are neighbourhoods mixed as the whole type is? (acceptance rate of a χ² test)",
    "Label transfer F1": "can each batch be labelled from the others? (15 neighbours)",
    "Spatial coherence": "are neighbours in space close in the embedding too? (0.1 by chance)",
    "Bio conservation": "mean of the five on biology",
    "Batch correction": "mean of the three on batches",
}
HEADINGS = {
    "Means": tuple(metrics.AGGREGATES),
    "Biology conserved": metrics.BIO,
    "Batches mixed": metrics.BATCH,
    "In no mean": (*metrics.EXTRA, "Label transfer F1", "Spatial coherence"),
}


def umaps(material: Material) -> Section:
    """UMAPs: for each embedding one by technology and one by labels or clusters."""
    description = (
        "Each point is a cell. Technologies should mix where cell types agree; types should stay "
        "apart. PCA on the genes that all slices share is what there is before LLOKI; LLOKI-FP is "
        "after feature propagation and embedding, LLOKI after the conditional autoencoder."
    )
    if not material.umaps:
        content = absent("UMAPs", "The run was asked for none (--umap false, --no-umap).")
        return Section("umap", "UMAP", description, content)
    bys = (material.batches, material.labels or material.clusters)
    cards = [
        markup.card(
            title,
            [
                (figures.png(figures.umap_single(where, by), 110), f"UMAP of {title} by {by.name}")
                for by in bys
            ],
        )
        for title, where in material.umaps.items()
    ]
    legends = "".join(
        markup.legend(f"{side}: {by.name}", by.entries())
        for side, by in zip(("left", "right"), bys, strict=True)
    )
    return Section("umap", "UMAP", description, legends + markup.grid(cards, 3))


def scores(material: Material) -> Section:
    """The scores: a row for each method, the best first; the best of a column is marked."""
    found = (material.of_stage("benchmark") or [{}])[0]
    description = (
        "From 0 to 1, higher is better; by the definitions of scib-metrics "
        f"{found.get('scib_metrics', '')}".rstrip()
        + ". Sorted by the two means, the best of a "
        "column is bold. Shades show the place between the lowest and the highest of a column."
    )
    not_run = found.get("not_run") or {}
    if material.metrics is None or material.metrics.empty:
        content = absent("scores", "No metrics.csv with scores was given.")
        return Section("metrics", "Scores", description, content)
    table = score_table(material.metrics)
    content = markup.Raw(score_html(table, not_run))
    if "cells_labelled" in found:
        content += markup.paragraph(
            f"{found['cells_scored']:,} of {found['cells']:,} cells scored, "
            f"{found['cells_labelled']:,} of them with a label "
            f"({markup.text(found.get('label_key'))}); batches are {found.get('batch_key')}."
            + _drawn(found.get("draws", 1), material.metrics),
            "note",
        )
    for warning in found.get("labels_apart") or ():
        content += markup.paragraph(warning, "missing")
    for record in material.of_stage("join_shared"):
        content += markup.paragraph(_shared(record), "note")
    meanings = [(name, MEANINGS.get(name, "")) for name in table.index]
    content += markup.folded("What the scores tell", markup.table(("score", "question"), meanings))
    if material.coherence is not None and len(material.coherence):
        content += markup.folded("Spatial coherence of each slice", coherence_html(material))
    return Section("metrics", "Scores", description, content)


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


def score_html(table: pd.DataFrame, not_run: dict[str, str]) -> str:
    """The scores as a table that scrolls sideways, the names of the methods staying in sight."""
    parts = groups(table)
    head = "<tr><th></th>" + "".join(
        f'<th colspan="{len(names)}">{markup.text(heading)}</th>'
        for heading, names in parts.items()
    )
    ordered = [name for names in parts.values() for name in names]
    starts = {names[0] for names in parts.values()}
    head += "</tr><tr><th>Method</th>" + "".join(
        f'<th{_kind(name, starts)} title="{markup.text(MEANINGS.get(name, ""))}">'
        f"{_breakable(name)}</th>"
        for name in ordered
    )
    body = "".join(
        f"<tr{' class="lk-own"' if key == 'X_lloki' else ''}>"
        f"<th>{markup.text(baselines.title(key))}</th>"
        + "".join(_cell(table, name, key, _kind(name, starts)) for name in ordered)
        + "</tr>"
        for key in table
    )
    body += "".join(
        f'<tr><th>{markup.text(baselines.title(baselines.key(method)))}</th><td colspan="'
        f'{len(ordered)}" class="lk-notrun">not run: {markup.text(reason)}</td></tr>'
        for method, reason in not_run.items()
    )
    return (
        '<div class="lk-scroll"><table class="lk-table lk-scores"><thead>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _breakable(name: str) -> str:
    """A heading whose long words may be broken where the screen is narrow."""
    return re.sub(r"(\w{6})(\w{4,})", "\\1&shy;\\2", markup.text(name))


def _kind(name: str, starts: set[str]) -> str:
    return ' class="lk-first"' if name in starts else ""


def _cell(table: pd.DataFrame, name: str, key: str, kind: str) -> str:
    """A score: the means as a bar, the others on a shade by their place in the column."""
    value = table.loc[name, key]
    if np.isnan(value):
        return f"<td{kind}>–</td>"
    best = is_best(table.loc[name], value)
    if name in metrics.AGGREGATES:
        return f"<td{kind}>{markup.bar(value, best)}</td>"
    return f"<td{kind}>{markup.shade(value, place(table.loc[name], value), best)}</td>"


def is_best(values: pd.Series, value: float) -> bool:
    """Whether a score is the highest of its row, as far as three digits show, and not alone."""
    return values.notna().sum() > 1 and values.max() - value < 5e-4


def place(values: pd.Series, value: float) -> float:
    """Where a score lies between the lowest (0) and the highest (1) of its row."""
    spread = values.max() - values.min()
    return float((value - values.min()) / spread) if spread > 0 else 1.0


def coherence_html(material: Material) -> str:
    """Spatial coherence: a row for each slice, a column for each embedding."""
    found = material.coherence
    wide = found.pivot_table(index="sample", columns="embedding", values="value", sort=False)
    order = [key for key in score_table(material.metrics) if key in wide]
    rows = [
        [sample, *(markup.Raw(f"{value:.2f}") for value in row)]
        for sample, row in zip(wide.index, wide[order].to_numpy(), strict=True)
    ]
    return markup.table(["slice", *map(baselines.title, order)], rows)


def sources(keys: Sequence[str]) -> list[str]:
    """What to cite for the methods among these embeddings."""
    table = baselines.methods()
    ran = table[[f"X_{method}" in keys for method in table.index]]
    return list(dict.fromkeys(filter(None, ran["source"])))
