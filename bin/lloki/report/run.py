"""Sections of the report on the run itself: propagation, training, time, parameters, versions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lloki.propagation.sparsity import QUANTILES
from lloki.report import figure_stages, figures
from lloki.report.blocks import Link, Note, Plot, Section, Table, absent, picture, shown
from lloki.report.material import Material, once

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


def propagation(material: Material) -> Section:
    """Distribution of the cells' sparsity before and after propagation, and the target."""
    lead = (
        "Share of zeros in each cell: as measured, the target that the reference sets, and after "
        "feature propagation. Propagation only adds values: a cell denser than its target stays as "
        "it is. Boxes hold half of the cells, lines 90 %."
    )
    found = sparsities(material)
    if not found:
        blocks = [absent("sparsity", "No record of the stage ot_sparsity was given.")]
        return Section("sparsity", "Propagation", lead, blocks)
    rows = []
    for sample in material.samples:
        seen = [
            None if share is None else f"{share:.1%}"
            for state in ("before", "target", "after")
            for share in [material.number(sample, f"nonzero_fraction_{state}", "impute")]
        ]
        imputed = material.number(sample, "values_imputed", "impute")
        if imputed is not None:
            rows.append((sample, *seen, imputed, "yes" if imputed else "no: denser already"))
    head = ("slice", "nonzero, measured", "in the reference", "after", "values added", "changed")
    blocks = [Table("propagation", head, rows)] if rows else []
    boxes = picture(
        pictures(material)["sparsity"],
        "sparsity",
        "Sparsity of each slice before, target and after",
    )
    return Section("sparsity", "Propagation", lead, blocks, {"Sparsity of the cells": [boxes]})


@once
def pictures(material: Material) -> dict[str, Figure]:
    """Sparsity and losses, by file name."""
    drawn = {}
    if found := sparsities(material):
        drawn["sparsity"] = figure_stages.sparsity_boxes(found)
    if curves := loss_curves(material):
        drawn["training"] = figure_stages.loss_curves(curves)
    return drawn


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


def training(material: Material) -> list:
    """Loss curves."""
    curves = loss_curves(material)
    traces = [
        {"x": [float(x) for x in epochs], "y": [float(y) for y in values], "name": name,
         "mode": "lines", "line": {"color": colour}}
        for (name, (epochs, values)), colour in zip(curves.items(), figures.PALETTE, strict=False)
    ]  # fmt: skip
    positive = all((values > 0).all() for _, values in curves.values())
    layout = {
        "xaxis": {"title": {"text": "epoch"}},
        "height": 400,
        "margin": {"l": 60, "r": 16, "t": 64, "b": 48},  # room for the legend
        "yaxis": {"title": {"text": "loss"}, "type": "log" if positive else "linear"},
    }
    words = "Mean of each loss in every epoch; total is their weighted sum."
    return [Note(words), Plot("training", traces, layout)] if traces else []


def loss_curves(material: Material) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every numeric column of history.csv over its epochs."""
    table = material.history
    if table is None or "epoch" not in table:
        return {}
    numeric = table.drop(columns="epoch").select_dtypes("number")
    epochs = table["epoch"].to_numpy()
    return {str(name): (epochs, column.to_numpy()) for name, column in numeric.items()}


def timings(material: Material) -> list:
    """Time within the scripts, and the peak memory of the largest run of a stage."""
    rows = []
    for records in _by_stage(material).values():
        seconds = [record["seconds"] for record in records if "seconds" in record]
        memory = [record["peak_memory_mb"] for record in records if "peak_memory_mb" in record]
        devices = sorted({str(record["device"]) for record in records if "device" in record})
        rows.append(
            (
                stage_name(records[0]), len(records), round(sum(seconds), 1) if seconds else None,
                round(max(seconds), 1) if seconds else None,
                round(max(memory)) if memory else None, devices or ["cpu"],
            )
        )  # fmt: skip
    head = ("stage", "runs", "all runs, s", "longest, s", "memory, MB", "device")
    return [Table("timings", head, rows)] if rows else []


def _by_stage(material: Material) -> dict[str, list[dict]]:
    """Records by stage, in the order of the pipeline; unknown stages last."""
    order = list(STAGES)
    found: dict[str, list[dict]] = {}
    for record in material.records:
        found.setdefault(str(record.get("stage")), []).append(record)
    ranked = sorted(found, key=lambda n: order.index(n) if n in order else len(order))
    return {name: found[name] for name in ranked}


def parameters(material: Material) -> list:
    """The run's parameters."""
    pipeline = material.params.get("pipeline")
    named = pipeline.items() if isinstance(pipeline, Mapping) else ()
    rows = [(f"pipeline {name}", value) for name, value in named]
    rows += sorted(material.parameters.items())
    return [Table("parameters", ("parameter", "value"), rows)] if rows else []


def options(material: Material) -> list:
    """What each stage was told."""
    rows = []
    for records in _by_stage(material).values():
        told: dict[str, dict[str, None]] = {}
        for record in records:
            for name, value in record.get("parameters", {}).items():
                told.setdefault(name, {})[shown(value)] = None
        rows += [
            (stage_name(records[0]), f"--{name.replace('_', '-')}", "; ".join(values))
            for name, values in told.items()
        ]
    return [Table("options", ("stage", "option", "value"), rows)] if rows else []


def versions(material: Material) -> list:
    """Every software and its version, and where it ran."""
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
    return [Table("versions", ("software", "version"), rows)] if rows else []


def files(material: Material) -> list:
    """Every published file, as a link from the folder of the results."""
    folder = results_folder(material)
    rows = [
        (Link(address, address), row.get("slice"), STAGES.get(row.get("stage"), row.get("stage")))
        for row in material.index
        if (address := str(row["file"]).removeprefix(folder).lstrip("/"))
    ]
    words = "Links work where the report lies in the folder of the results."
    return [Note(words), Table("files", ("file", "slice", "made by"), rows)] if rows else []


def results_folder(material: Material) -> str:
    """The folder that all published files lie in."""
    addresses = [str(row["file"]).split("/")[:-1] for row in material.index]
    common = []
    for parts in zip(*addresses, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return "/".join(common)


def details(material: Material) -> Section:
    """Files, training, time, parameters, versions."""
    folded = {
        "Every file of the results": files(material), "Losses of the training": training(material),
        "Time and memory of each stage": timings(material),
        "Parameters of the run": parameters(material),
        "Options of each stage": options(material), "Versions of all software": versions(material),
    }  # fmt: skip
    lead = "Files, training, time and memory, parameters and versions."
    return Section("details", "Run details", lead, folded={t: f for t, f in folded.items() if f})
