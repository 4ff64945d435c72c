#!/usr/bin/env python3
"""Make the report: what every stage recorded, scores and pictures, on one page."""

import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import click

from lloki.support.cli import Run, command
from lloki.support.errors import InputError

CONFIG = Path(__file__).resolve().parent.parent / "assets" / "multiqc_config.yml"

NUMBER = (int, float)
NUMERIC = ("value", "pearson")  # columns that are drawn
DRAWN = ("spatial", "spatial_aligned", "X_lloki")  # of obsm, beside UMAPs


@command("report")
@click.option("--input", required=True, multiple=True, help="JSON of a stage; repeatable.")
@click.option("--integrated", required=True, help="The integrated file: integrated.h5ad.")
@click.option("--metrics", help="Scores: benchmark/metrics.csv.")
@click.option("--coherence", help="Spatial coherence by slice: benchmark/coherence.csv.")
@click.option("--embeddings", help="All methods with their UMAPs: benchmark/embeddings.h5ad.")
@click.option("--history", help="Losses of the autoencoder: cae/history.csv, or cae.")
@click.option("--transforms", help="Motions of the slices: aligned/transforms.csv.")
@click.option("--landmarks", help="Landmarks of the slices: aligned/landmarks.csv.")
@click.option("--alignment-scores", help="Ways to align compared: alignment_scores.csv.")
@click.option("--metagenes", help="Tables of the metagenes: the folder metagenes.")
@click.option("--annotation", help="Tables of labels, clusters and domains: a folder.")
@click.option("--niches", help="Niche programs: the folder niches.")
@click.option("--versions", help="Versions by process: software_versions.yml.")
@click.option("--params", help="Parameters of the whole run: run.json.")
@click.option("--label-key", help="Column of obs with cell types; without it: clusters.")
@click.option("--title", default="LLOKI report", help="Heading of the page.")
@click.option("--config", default=str(CONFIG), show_default="the pipeline's", help="For MultiQC.")
@click.option("--output", required=True, help="The page; figures/ is written beside it.")
def main(
    run: Run,
    input,
    integrated,
    metrics,
    coherence,
    embeddings,
    history,
    transforms,
    landmarks,
    alignment_scores,
    metagenes,
    niches,
    annotation,
    versions,
    params,
    label_key,
    title,
    config,
    output,
) -> None:
    """Gather what the stages recorded in one page that needs no network, with figures beside it."""
    if not Path(config).is_file():
        raise InputError(config, "no such file", "give MultiQC's configuration with --config")
    records = [_record(path) for path in input]
    from lloki.report import annotation as labels
    from lloki.report import clusters, domains, figures, programs, report
    from lloki.report.material import Material
    from lloki.slices import parts

    found = labels.TABLES | clusters.TABLES | domains.TABLES
    if history and Path(history).is_dir():
        history = str(Path(history) / "history.csv")
    data = parts.read_without_expression(integrated, lambda key: key in DRAWN or _is_umap(key))
    _check(data, integrated, label_key)
    material = Material(
        records=records, data=data, label_key=label_key,
        metrics=_table(metrics, "embedding", "metric", "value"), history=_losses(history),
        transforms=_table(transforms, "sample", "reference", "method"),
        landmarks=_table(landmarks, "sample", "reference", "cell", "reference_cell", "inlier"),
        alignment_scores=_table(alignment_scores, "sample", "reference", "method", "pearson"),
        metagenes=_tables(metagenes, programs.TABLES, programs.NEEDED),
        annotation=_tables(annotation, found, ()) or {},
        **read_niches(niches),
        coherence=_table(coherence, "embedding", "sample", "value"),
        embeddings=_same_cells(embeddings, data),
        versions=_mapping(versions), params=_mapping(params),
    )  # fmt: skip
    sections = report.sections(material)
    with tempfile.TemporaryDirectory() as folder:
        for section in sections:
            path = Path(folder) / f"{section.id}_mqc.json"
            path.write_text(json.dumps(section.custom_content(), allow_nan=False))
        order = [section.id for section in sections]
        with run.output(output) as temporary:
            _multiqc(Path(folder), temporary, config, title, order)
    with run.output(Path(output).with_name("figures")) as folder:
        folder.mkdir()
        for name, drawn in report.pictures(material).items():
            for suffix, content in figures.files(drawn).items():
                (folder / f"{name}{suffix}").write_bytes(content)
    run.report(
        samples=list(material.samples), sections=order, records=len(records),
        multiqc=metadata.version("multiqc"), size_mb=round(Path(output).stat().st_size / 1e6, 2),
    )  # fmt: skip


def _multiqc(folder: Path, output: Path, config: str, title: str, order: list[str]) -> None:
    """Run MultiQC on the custom content in `folder`; it reads no other place and asks no server."""
    output = output.resolve()
    given = json.dumps({"custom_content": {"order": order}})
    arguments = [
        sys.executable, "-m", "multiqc", str(folder), "--config", str(Path(config).resolve()),
        "--cl-config", given, "--title", title,
        "--filename", output.name, "--outdir", str(output.parent),
        "--no-version-check", "--no-data-dir", "--quiet", "--module", "custom_content",
    ]  # fmt: skip
    # nothing of the user's own MultiQC settings: the page is the same for everyone
    settings = {k: v for k, v in os.environ.items() if not k.startswith("MULTIQC_")}
    settings["HOME"] = str(folder)
    done = subprocess.run(
        arguments, cwd=folder, env=settings, capture_output=True, text=True, check=False
    )
    if done.returncode or not output.is_file():
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        said = next((line for line in lines if "rror" in line), "it says nothing")
        raise InputError("MultiQC", f"it made no report ({said})", "check its configuration")


def _record(path: str) -> dict:
    """A stage's JSON; one without a stage goes by the name of its file."""
    record = _mapping(path)
    kinds = {"warnings": list, "parameters": dict, "seconds": NUMBER, "peak_memory_mb": NUMBER}
    right = all(isinstance(record[key], kind) for key, kind in kinds.items() if key in record)
    if not right:
        raise InputError(
            path, "it is not the record of a stage", "give the file that a stage wrote"
        )
    return {"stage": Path(path).name.removesuffix(".json"), **record}


def _mapping(path: str | None) -> dict:
    """A JSON or YAML file that holds names and values; nothing for no path."""
    if path is None:
        return {}
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    import yaml

    try:
        text = Path(path).read_text()
        # BaseLoader leaves versions such as 1.10 as text
        found = json.loads(text) if path.endswith(".json") else yaml.load(text, yaml.BaseLoader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(path, f"not readable ({type(error).__name__})", "make it again") from None
    if not isinstance(found, dict):
        raise InputError(path, "it holds no names and values", "give the file that a stage wrote")
    return found


def _table(path: str | None, *columns: str):
    """A CSV with these columns, or None for no path."""
    if path is None:
        return None
    import pandas as pd

    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        table = pd.read_csv(path)
    except ValueError as error:
        raise InputError(
            path,
            f"not a readable table ({type(error).__name__})",
            "give the CSV that a stage wrote",
        ) from None
    for column in columns:
        if column not in table:
            raise InputError(
                path, f"it has no column {column!r}", "give the CSV that a stage wrote"
            )
        if column in NUMERIC and len(table) and table[column].dtype.kind not in "iuf":
            fact = f"column {column!r} holds values that are no numbers"
            raise InputError(path, fact, "give the CSV that a stage wrote")
    return table


def _tables(folder: str | None, columns, needed):
    """The tables of a folder, by name: those with these columns; some need not be there."""
    if folder is None:
        return None
    paths = {name: Path(folder) / f"{name}.csv" for name in columns}
    return {
        name: _table(str(path), *columns[name]) for name, path in paths.items()
        if path.is_file() or name in needed
    }  # fmt: skip


def read_niches(folder: str | None) -> dict:
    """The pairs of the folder that niche_program.py wrote, and those of them that are shown."""
    if folder is None:
        return {}
    from lloki.report import niches

    table = _table(str(Path(folder) / "pairs.csv"), *niches.PAIRS)
    found = []
    for name in table["folder"].astype(str)[: niches.SHOWN]:
        own = Path(folder) / name
        record = _mapping(str(own / "program.json"))
        if not all(key in record for key in niches.FIGURES):
            fact = "it is no niche program"
            raise InputError(own / "program.json", fact, "give what niche_program.py wrote")
        tables = {
            n: _table(str(own / f"{n}.csv"), *columns) for n, columns in niches.TABLES.items()
        }
        found.append(niches.Niche(name, record, tables))
    return {"niches": found, "niches_table": table}


def _losses(path: str | None):
    """The losses of history.csv: finite numbers in every column."""
    import numpy as np

    table = _table(path, "epoch")
    if table is not None:
        for name, column in table.items():
            if column.dtype.kind not in "iuf" or not np.isfinite(column).all():
                fact = f"column {name!r} holds values that are no numbers"
                raise InputError(path, fact, "give the CSV that train_cae.py wrote")
    return table


def _is_umap(key: str) -> bool:
    return key.startswith("X_umap")


def _same_cells(path: str | None, data):
    """The UMAPs of all methods, checked to be of the same cells."""
    from lloki.slices import parts

    if path is None:
        return None
    found = parts.read_without_expression(path, _is_umap)
    if found.obs_names.tolist() != data.obs_names.tolist():
        fact = "its cells are not those of the integrated file"
        raise InputError(path, fact, "give the file that benchmark.py made of it")
    return found


def _check(data, path: str, label_key: str | None) -> None:
    for key in ("sample", "technology", *filter(None, [label_key])):
        if key not in data.obs:
            have = ", ".join(map(str, data.obs.columns)) or "none"
            raise InputError(path, f"obs has no column {key!r}", f"it has: {have}")
    for key in ("spatial", "X_lloki"):
        if key not in data.obsm:
            raise InputError(path, f"obsm[{key!r}] is missing", "make the file with integrate.py")


if __name__ == "__main__":
    main()
