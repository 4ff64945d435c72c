#!/usr/bin/env python3
"""Make the report: what every stage recorded, scores and pictures, on one page."""

import datetime
import json
from dataclasses import replace
from pathlib import Path

import click

from lloki.support.cli import Run, command
from lloki.support.errors import InputError

NUMBER = (int, float)
NAMES = ("embedding", "metric")
NUMERIC = ("value", "pearson")  # columns that are drawn
TITLE = "LLOKI report"
DRAWN = ("spatial", "spatial_aligned", "X_lloki", "X_metagenes")  # of obsm, beside UMAPs


@command("report")
@click.option("--input", required=True, multiple=True, help="JSON of a stage; repeatable.")
@click.option("--integrated", required=True, help="The integrated file: integrated.h5ad.")
@click.option("--metrics", help="Scores: benchmark/metrics.csv.")
@click.option("--coherence", help="Spatial coherence by slice: benchmark/coherence.csv.")
@click.option("--embeddings", help="All methods with their UMAPs: benchmark/embeddings.h5ad.")
@click.option("--history", help="Losses of the autoencoder: cae/history.csv, or cae.")
@click.option("--transforms", help="Motions of the slices: aligned/transforms.csv.")
@click.option("--alignment-scores", help="Ways to align compared: alignment_scores.csv.")
@click.option("--metagenes", help="Tables of the metagenes: the folder metagenes.")
@click.option("--annotation", help="Tables of labels, clusters and domains: a folder.")
@click.option("--niches", help="Niche programs: the folder niches.")
@click.option("--versions", help="Versions by process: software_versions.yml.")
@click.option("--params", help="Parameters of the whole run: run.json.")
@click.option("--label-key", help="Column of obs with cell types; without it: clusters.")
@click.option("--run-command", help="The command of the run, for the page's What next.")
@click.option("--index", help="Addresses of all published files: index.json.")
@click.option("--title", default=TITLE, help="Heading of the page.")
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
    alignment_scores,
    metagenes,
    niches,
    annotation,
    versions,
    params,
    label_key,
    run_command,
    index,
    title,
    output,
) -> None:
    """Gather what the stages recorded in one page that needs no network, with figures beside it."""
    records = [_record(path) for path in input]
    from lloki.report import annotation as labels
    from lloki.report import clusters, colourings, domains, figures, multiqc, page, programs, report
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
        alignment_scores=_table(alignment_scores, "sample", "reference", "method", "pearson"),
        metagenes=_tables(metagenes, programs.TABLES, programs.NEEDED),
        annotation=_tables(annotation, found, ()) or {},
        **read_niches(niches),
        coherence=_table(coherence, "embedding", "sample", "value"),
        embeddings=_same_cells(embeddings, data),
        versions=_mapping(versions), params=_mapping(params), index=_index(index),
        command=run_command or "",
    )  # fmt: skip
    wanted = colourings.genes_wanted(material)
    expression = parts.read_some_genes(integrated, wanted)
    if expression is not None and len(expression.detected) != data.n_obs:
        fact = f"X has {len(expression.detected)} rows, obs {data.n_obs}"
        raise InputError(integrated, fact, "make the file with integrate.py")
    material = replace(material, expression=expression)
    parts_of_page = report.sections(material)
    html = page.render(
        title, datetime.date.today().isoformat(), report.sentence(material),
        report.tiles(material), parts_of_page, report.citations(material), material,
    )  # fmt: skip
    with run.output(output) as temporary:
        temporary.write_text(html, "utf-8")
    with run.output(Path(output).with_name("lloki_mqc.json")) as temporary:
        found = page.verdict(material)
        temporary.write_text(multiqc.content(material, _name(material, title), found), "utf-8")
    with run.output(Path(output).with_name("figures")) as folder:
        folder.mkdir()
        for name, drawn in report.pictures(material).items():
            for suffix, content in figures.files(drawn).items():
                (folder / f"{name}{suffix}").write_bytes(content)
    run.report(
        samples=list(material.samples), sections=[section.id for section in parts_of_page],
        verdict=found.level, slices={one.sample: one.level for one in found.slices},
        records=len(records), size_mb=round(Path(output).stat().st_size / 1e6, 2),
    )  # fmt: skip


def _name(material, title: str) -> str:
    """What the run goes by among others: its title if it has one, else its folder."""
    folder = str(material.parameters.get("outdir") or "").rstrip("/").split("/")[-1]
    return folder if title == TITLE and folder else title


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
    found = {} if path is None else _content(path)
    if not isinstance(found, dict):
        raise InputError(path, "it holds no names and values", "give the file that a stage wrote")
    return found


def _content(path: str) -> object:
    """What a JSON or YAML file holds; InputError where it cannot be read."""
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    import yaml

    try:
        text = Path(path).read_text("utf-8")
        # BaseLoader leaves versions such as 1.10 as text
        return json.loads(text) if path.endswith(".json") else yaml.load(text, yaml.BaseLoader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(path, f"not readable ({type(error).__name__})", "make it again") from None


def _index(path: str | None) -> list[dict]:
    """The rows of index.json: slice, stage and address of a file each."""
    if path is None:
        return []
    rows = _content(path)
    whole = isinstance(rows, list) and all(isinstance(r, dict) and "file" in r for r in rows)
    if not whole:
        raise InputError(path, "it is no index of files", "give the index.json of a run")
    return rows


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
        if column in NAMES:
            table[column] = table[column].astype(str)
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
