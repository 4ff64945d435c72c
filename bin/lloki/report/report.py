"""The report's parts: the sections in their order, the run in a sentence, pictures for print.

Every section is made in every report; where its material is missing, it says so.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from lloki.integration.joined import BASELINE
from lloki.report import (
    annotation,
    clusters,
    domains,
    figures,
    niches,
    programs,
    results,
    run,
    scores,
)
from lloki.report.blocks import Section
from lloki.report.material import Material
from lloki.scores import metrics

CITATIONS = (
    "Haber E, Deshpande A, Ma J, Krieger S. Unified integration of spatial transcriptomics across "
    "platforms with LLOKI. Genome Research 35, 2722–2733 (2025). doi:10.1101/gr.280803.125",
    "Luecken MD et al. Benchmarking atlas-level data integration in single-cell genomics. "
    "Nature Methods 19, 41–50 (2022). doi:10.1038/s41592-021-01336-8 (the scores)",
    "McInnes L, Healy J, Melville J. UMAP: Uniform Manifold Approximation and Projection for "
    "Dimension Reduction. arXiv:1802.03426 (2018).",
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


def sections(material: Material) -> list[Section]:
    """All sections in the order of the page, below the verdict and the cells' explorer."""
    return [
        make(material)
        for make in (
            clusters.clusters, annotation.labels, domains.domains, programs.metagenes,
            niches.niches, results.alignment, scores.scores, results.quality, run.propagation,
            run.details,
        )
    ]  # fmt: skip


def sentence(material: Material) -> str:
    """The run in a sentence."""
    n = len(material.samples)
    return (
        f"{n} slice{'s' * (n > 1)} by {', '.join(material.technology.colours)}, "
        f"{material.data.n_obs:,} cells, embedded by {material.embedder}, then brought together "
        "by the conditional autoencoder."
    )


def tiles(material: Material) -> dict[str, object]:
    """The run in a few figures."""
    shared = material.data.uns.get("lloki", {}).get("shared_genes")
    technologies = len(material.technology.colours)
    numbers = {
        "slices" if len(material.samples) > 1 else "slice": len(material.samples),
        "technologies" if technologies > 1 else "technology": technologies,
        "cells": material.data.n_obs,
        "genes in every slice": None if shared is None else len(shared),
    }
    for aggregate in metrics.AGGREGATES:
        values = [material.score(key, aggregate) for key in (BASELINE, "X_lloki")]
        if None not in values:
            numbers[f"{aggregate}, PCA → LLOKI"] = "{:.2f} → {:.2f}".format(*values)
    return numbers


def citations(material: Material) -> list[str]:
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
    return cited


def pictures(material: Material) -> dict[str, Figure]:
    """The report's pictures as whole figures with legends, by file name, for use elsewhere."""
    drawn: dict[str, Figure] = {}
    for by in results.map_colourings(material):
        places = {s: material.data.obsm["spatial"][cells] for s, cells in material.samples.items()}
        parts = {sample: by.of(cells) for sample, cells in material.samples.items()}
        name = f"slices_{'labels' if by is material.labels else 'clusters'}"
        drawn[name] = figures.spatial_grid(places, parts, by)
    for section in (annotation, clusters, domains, programs, niches, results, scores, run):
        drawn |= section.pictures(material)
    return drawn
