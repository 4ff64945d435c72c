"""The report's sections: what the stages recorded, the scores and pictures, as MultiQC takes them.

Every section is there in every report; where its material is missing, it says so.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from lloki.integration.joined import BASELINE
from lloki.report import (
    annotation,
    clusters,
    domains,
    figure_alignment,
    figure_scores,
    figure_stages,
    figures,
    markup,
    niches,
    programs,
    results,
    run,
    scores,
)
from lloki.report.markup import Section
from lloki.report.material import Material
from lloki.scores import baselines, metrics

CITATIONS = (
    "Haber E, Deshpande A, Ma J, Krieger S. Unified integration of spatial transcriptomics across "
    "platforms with LLOKI. Genome Research 35, 2722–2733 (2025). doi:10.1101/gr.280803.125",
    "Luecken MD et al. Benchmarking atlas-level data integration in single-cell genomics. "
    "Nature Methods 19, 41–50 (2022). doi:10.1038/s41592-021-01336-8 (the scores)",
    "McInnes L, Healy J, Melville J. UMAP: Uniform Manifold Approximation and Projection for "
    "Dimension Reduction. arXiv:1802.03426 (2018).",
    "Ewels P, Magnusson M, Lundin S, Käller M. MultiQC: summarize analysis results for multiple "
    "tools and samples in a single report. Bioinformatics 32, 3047–3048 (2016). "
    "doi:10.1093/bioinformatics/btw354",
    "Di Tommaso P et al. Nextflow enables reproducible computational workflows. "
    "Nature Biotechnology 35, 316–319 (2017). doi:10.1038/nbt.3820",
)
SCGPT = (
    "Cui H et al. scGPT: toward building a foundation model for single-cell multi-omics using "
    "generative AI. Nature Methods 21, 1470–1480 (2024). doi:10.1038/s41592-024-02201-0"
)
SPICEMIX = (
    "Chidester B, Zhou T, Alam S, Ma J. SpiceMix enables integrative single-cell spatial modeling "
    "of cell identity. Nature Genetics 55, 78–88 (2023). doi:10.1038/s41588-022-01256-z"
)
LEIDEN = (
    "Traag VA, Waltman L, van Eck NJ. From Louvain to Leiden: guaranteeing well-connected "
    "communities. Scientific Reports 9, 5233 (2019). doi:10.1038/s41598-019-41695-z"
)
STYLE = Path(__file__).with_name("report.css")


def sections(material: Material) -> list[Section]:
    """All sections in the order of the page."""
    return [
        make(material)
        for make in (
            summary, warnings, results.slices, scores.scores, scores.umaps,
            results.maps, annotation.labels, clusters.clusters, domains.domains,
            programs.metagenes, niches.niches, results.alignment, *run.SECTIONS, citations,
        )
    ]  # fmt: skip


def summary(material: Material) -> Section:
    """The run in a sentence and eight figures."""
    technologies = list(material.technology.colours)
    n, cells = len(material.samples), material.data.n_obs
    sentence = (
        f"{n} slice{'s' * (n > 1)} by {', '.join(technologies)}; {cells:,} cells. "
        f"Each cell was embedded by {material.embedder}; the conditional autoencoder then "
        " brought the slices together."
    )
    shared = material.data.uns.get("lloki", {}).get("shared_genes")
    numbers = {
        f"slice{'s' * (n > 1)}": n,
        "technology" if len(technologies) == 1 else "technologies": len(technologies),
        "cells": cells,
        "genes in every slice": None if shared is None else len(shared),
    }  # fmt: skip
    for aggregate in metrics.AGGREGATES:
        values = [_score(material, key, aggregate) for key in (BASELINE, "X_lloki")]
        if None not in values:
            numbers[f"{aggregate.lower()}, PCA → LLOKI"] = "{:.2f} → {:.2f}".format(*values)
    style = f"<style>{STYLE.read_text()}</style>"
    content = style + markup.paragraph(sentence, "lead") + markup.tiles(numbers)
    return Section("summary", "Summary", "", content)


def _score(material: Material, embedding: str, metric: str) -> float | None:
    if material.metrics is None:
        return None
    table = material.metrics
    found = table[(table["embedding"] == embedding) & (table["metric"] == metric)]["value"]
    return float(found.iloc[0]) if len(found) else None


def warnings(material: Material) -> Section:
    """Every warning of every stage."""
    rows = [
        (run.stage_name(record), record.get("sample"), warning)
        for record in material.records
        for warning in record.get("warnings", [])
    ]
    if rows:
        content = markup.table(("stage", "slice", "warning"), rows)
    else:
        content = markup.paragraph("No stage warned of anything.", "good")
    return Section("warnings", f"Warnings ({len(rows)})", "What the stages found odd.", content)


def citations(material: Material) -> Section:
    """What to cite."""
    cited = list(CITATIONS)
    if str(material.data.uns.get("lloki", {}).get("embedder", "")).startswith("scgpt"):
        cited.insert(1, SCGPT)
    if "clusters" in material.annotation:
        cited.append(LEIDEN)
    if material.metagenes is not None:
        cited.append(SPICEMIX)
    if material.metrics is not None:
        cited += scores.sources(set(material.metrics["embedding"]))
    items = "".join(f"<li>{markup.text(item)}</li>" for item in cited)
    content = f'<ul class="lk-list">{items}</ul>'
    return Section("citations", "How to cite", "", content)


def pictures(material: Material) -> dict[str, Figure]:
    """The report's pictures as whole figures with legends, by file name, for use elsewhere."""
    drawn: dict[str, Figure] = {}
    if material.umaps:
        colours = [material.batches, material.labels or material.clusters]
        drawn["umap"] = figures.umap_grid(material.umaps, colours)
    for by in results.map_colourings(material):
        places = {s: material.data.obsm["spatial"][cells] for s, cells in material.samples.items()}
        parts = {sample: by.of(cells) for sample, cells in material.samples.items()}
        name = f"slices_{'labels' if by is material.labels else 'clusters'}"
        drawn[name] = figures.spatial_grid(places, parts, by)
    if material.transforms is not None and "spatial_aligned" in material.data.obsm:
        if len(material.samples) > 1:
            frames = results.overlays(material)
            for frame, sides in frames.items():
                name = f"alignment_{frame}" if len(frames) > 1 else "alignment"
                drawn[name] = figure_alignment.together(*sides)
        for (sample, reference), pair in results.aligned_pairs(material).items():
            drawn[f"alignment_{sample}_{reference}"] = figure_alignment.single(*pair)
    for section in (annotation, clusters, domains, programs, niches):
        drawn |= section.pictures(material)
    if found := run.sparsities(material):
        drawn["sparsity"] = figure_stages.sparsity_boxes(found)
    if curves := run.loss_curves(material):
        drawn["training"] = figure_stages.loss_curves(curves)
    if material.metrics is not None and len(material.metrics):
        table = scores.score_table(material.metrics)
        parts = scores.groups(table)
        titled = table.rename(columns=baselines.title)
        drawn["scores"] = figure_scores.score_grid(titled, parts, list(metrics.AGGREGATES))
    return drawn
