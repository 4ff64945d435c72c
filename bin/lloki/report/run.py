"""Sections of the report on the run itself: sparsity, training, time, parameters, versions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lloki.propagation.sparsity import QUANTILES
from lloki.report import figure_stages, figures, markup
from lloki.report.markup import Section, absent
from lloki.report.material import Material

STAGES = {
    "prepare_slice": "Slices read and normalised",
    "check_inputs": "Inputs checked against each other",
    "build_graph": "Cell graphs",
    "ot_sparsity": "Target sparsity from the reference",
    "impute": "Feature propagation",
    "denoise": "Denoising",
    "fit_mosaic": "Mosaic model fitted",
    "mosaic_embed": "Mosaic embedding",
    "scgpt_embed": "scGPT embedding",
    "take_embedding": "Embedding that came along",
    "train_cae": "Conditional autoencoder trained",
    "infer_cae": "LLOKI embedding",
    "gather_model": "Model of the run gathered",
    "former_slice": "Slices of the former run",
    "align_plan": "Pairs to align chosen",
    "align_pairs": "Pairs of slices aligned",
    "align": "Slice alignment",
    "integrate": "Slices joined, UMAPs",
    "annotate": "Labels carried over",
    "metagenes": "Metagenes",
    "niche_program": "Niche programs",
    "cluster": "Clusters and their markers",
    "domains": "Tissue domains",
    "complete": "Findings added to the integrated file",
    "join_shared": "Shared genes for other methods",
    "baseline": "Other methods",
    "export_embedding": "Embeddings as tables",
    "benchmark": "Scores",
}


def stage_name(record: Mapping) -> str:
    """What a stage does, in words; its own name where that is not known."""
    stage = str(record.get("stage"))
    return STAGES.get(stage, stage)


def sparsity(material: Material) -> Section:
    """Distribution of the cells' sparsity before and after propagation, and the target."""
    description = (
        "Share of zeros in each cell: as measured, the target that optimal transport takes from "
        "the reference, and after feature propagation. Propagation only adds values, so a cell "
        "denser than its target stays as it is. Boxes: half of the cells; lines: 90 %."
    )
    found = sparsities(material)
    if not found:
        content = absent("sparsity", "No record of the stage ot_sparsity was given.")
    else:
        drawn = figures.png(figure_stages.sparsity_boxes(found), 130)
        content = markup.picture(drawn, "", "Sparsity before, target and after", wide=True)
    return Section("sparsity", "Sparsity", description, content)


def sparsities(material: Material) -> dict[str, dict[str, dict]]:
    """Per sample: summaries of the sparsity as measured, of the target, and after propagation."""
    sources = {
        "measured": ("sparsity_before", "ot_sparsity"),
        "target": ("sparsity_target", "ot_sparsity"),
        "after propagation": ("sparsity_after", "impute"),
    }  # fmt: skip
    found: dict[str, dict[str, dict]] = {}
    for sample in material.samples:
        for state, source in sources.items():
            summary = material.figure(sample, *source)
            if isinstance(summary, dict) and len(summary.get("quantiles", ())) == len(QUANTILES):
                found.setdefault(sample, {})[state] = summary
    return found


def training(material: Material) -> Section:
    """Loss curves."""
    description = "Mean of each loss in every epoch; total is their weighted sum."
    curves = loss_curves(material)
    if not curves:
        content = absent("loss curves", "No history.csv of the autoencoder was given.")
        return Section("training", "Training", description, content)
    colours = dict(zip(curves, figures.PALETTE, strict=False))
    description = markup.legend("", list(colours.items())) + description
    data = {
        name: [[float(x), float(y)] for x, y in zip(epochs, values, strict=True)]
        for name, (epochs, values) in curves.items()
    }
    options = {
        "pconfig": {
            "id": "training_plot", "title": "LLOKI-CAE: losses", "xlab": "epoch", "ylab": "loss",
            "showlegend": False, "logswitch": True, "logswitch_active": True, "x_decimals": False,
            "colors": colours,
        }
    }  # fmt: skip
    return Section("training", "Training", description, data, "linegraph", options)


def loss_curves(material: Material) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every numeric column of history.csv over its epochs."""
    table = material.history
    if table is None or "epoch" not in table:
        return {}
    numeric = table.drop(columns="epoch").select_dtypes("number")
    epochs = table["epoch"].to_numpy()
    return {str(name): (epochs, column.to_numpy()) for name, column in numeric.items()}


def timings(material: Material) -> Section:
    """Time and memory of every stage."""
    description = "Time within the scripts, and the peak memory of the largest run of a stage."
    rows = []
    for records in _by_stage(material).values():
        seconds = [record["seconds"] for record in records if "seconds" in record]
        memory = [record["peak_memory_mb"] for record in records if "peak_memory_mb" in record]
        devices = sorted({str(record["device"]) for record in records if "device" in record})
        rows.append(
            (
                stage_name(records[0]), len(records), f"{sum(seconds):,.1f}" if seconds else None,
                f"{max(seconds):,.1f}" if seconds else None,
                f"{max(memory):,.0f}" if memory else None, devices or ["cpu"],
            )
        )  # fmt: skip
    header = ("stage", "runs", "all runs, s", "longest, s", "memory, MB", "device")
    return Section("timings", "Time and memory", description, markup.table(header, rows))


def _by_stage(material: Material) -> dict[str, list[dict]]:
    """Records by stage, in the order of the pipeline; unknown stages last."""
    order = list(STAGES)
    found: dict[str, list[dict]] = {}
    for record in material.records:
        found.setdefault(str(record.get("stage")), []).append(record)
    ranked = sorted(found, key=lambda n: order.index(n) if n in order else len(order))
    return {name: found[name] for name in ranked}


def parameters(material: Material) -> Section:
    """The run's parameters and what each stage was told."""
    description = "Parameters of the run, and the options with which each stage ran."
    content = ""
    if material.params:
        # run.json keeps them under these names; a plain table of parameters is taken too
        given = material.params.get("parameters", material.params)
        pipeline = material.params.get("pipeline", {})
        rows = [(f"pipeline {name}", value) for name, value in pipeline.items()]
        rows += sorted(given.items())
        content += markup.folded("The run", markup.table(("parameter", "value"), rows))
    for records in _by_stage(material).values():
        options: dict[str, dict[str, None]] = {}
        for record in records:
            for name, value in record.get("parameters", {}).items():
                options.setdefault(name, {})[markup.text(value)] = None
        rows = [
            (f"--{name.replace('_', '-')}", markup.Raw("<br>".join(values)))
            for name, values in options.items()
        ]
        if rows:
            table = markup.table(("option", "value"), rows)
            content += markup.folded(stage_name(records[0]), table)
    content = content or absent("parameters", "No stage recorded any.")
    return Section("parameters", "Parameters", description, content)


def versions(material: Material) -> Section:
    """Every software and its version, and where it ran."""
    description = "Software as the stages found it."
    used: dict[str, dict[str, dict[str, None]]] = {}
    for record in material.records:
        for name, version in record.get("versions", {}).items():
            used.setdefault(name, {}).setdefault(str(version), {})[stage_name(record)] = None
    for process, tools in material.versions.items():
        for name, version in tools.items() if isinstance(tools, Mapping) else [(process, tools)]:
            place = str(process).split(":")[-1]
            used.setdefault(str(name), {}).setdefault(str(version), {})[place] = None
    rows = [
        (name, version if len(found) == 1 else f"{version} ({', '.join(where)})")
        for name, found in sorted(used.items(), key=lambda item: item[0].lower())
        for version, where in found.items()
    ]
    content = markup.table(("software", "version"), rows)
    if not rows:
        content = absent("versions", "No stage recorded any.")
    return Section("versions", "Versions", description, content)


SECTIONS = (sparsity, training, timings, parameters, versions)
