#!/usr/bin/env python3
"""Score embeddings: biology kept apart, batches mixed, labels carried over; draw their UMAPs."""

import os
import re
from pathlib import Path

import click

from lloki.support.cli import Run, command, seed_option
from lloki.support.errors import InputError

DEFAULT = ("X_pca_shared", "X_lloki_fp", "X_lloki")
UMAP_CELLS = 20_000  # of a method whose UMAP is not in the file


@command("benchmark")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@click.option("--output", required=True, help="The folder to write: tables, pictures, embeddings.")
@click.option(
    "--embedding",
    multiple=True,
    help=f"Key of obsm; repeatable.  [default: those of {', '.join(DEFAULT)} that are there]",
)
@click.option("--external", multiple=True, help="METHOD.embedding.csv of a baseline; repeatable.")
@click.option("--not-run", multiple=True, help="METHOD.not_run.txt: why one did not; repeatable.")
@click.option("--expected", multiple=True, help="A method that must be named in the result.")
@click.option("--label-key", help="Column of obs with cell types; without it: batch metrics only.")
@click.option("--batch-key", default="technology", help="Column of obs with batches.")
@click.option(
    "--baseline", default="X_pca_shared", help="obsm key with which PCR comparison compares."
)
@click.option(
    "--ignore-label",
    multiple=True,
    default=("Other", "Unknown"),
    help="A label that is no cell type, left out of metrics of labels; repeatable.",
)
@click.option(
    "--max-cells",
    type=click.IntRange(100),
    default=50_000,
    help="Score so many cells; where there are more, three samples of so many.",
)
@click.option("--umap/--no-umap", default=True, help="UMAPs of methods that have none yet.")
@seed_option
def main(run: Run, input, output, **options) -> None:
    """Score embeddings with scib-metrics' eight, label transfer and more, and draw their UMAPs."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the same figures on every machine
    from importlib import metadata

    from lloki.scores import tables as scores
    from lloki.slices import files, parts

    data = parts.read_without_expression(input)
    added = _add_external(data, options["external"])
    missing = _not_run(run, options["not_run"], options["expected"], data)
    embeddings = _embeddings(data, input, options["embedding"], options["baseline"], added, run)
    batch_key, label_key = options["batch_key"], options["label_key"]
    batches = _batches(data, input, batch_key, label_key)
    labels = _labels(run, data, label_key, options["ignore_label"])
    cells = scores.draws(data, labels, batches, options["max_cells"], options["seed"])
    scored = cells[0]
    known = [label for label in scores.each(labels, data.n_obs)[scored] if label is not None]
    apart = _labels_apart(labels, batches, label_key)
    for warning in apart:
        run.warn(warning)
    mixed = sorted(set(batches[scored]))
    if len(mixed) < 2:
        run.warn(f"all cells are of one {batch_key}: nothing to mix (--batch-key sample?)")
    with run.progress(len(embeddings), "embedding") as progress:
        tables = scores.of_embeddings(
            data, embeddings, labels, batches, cells, options["baseline"], options["seed"],
            lambda key: progress.update(note=key),
        )  # fmt: skip
    run.report(
        embeddings=embeddings, label_key=label_key, batch_key=batch_key, cells=data.n_obs,
        cells_scored=len(scored), draws=len(cells), cells_labelled=len(known),
        labels=sorted(set(known)), batches=mixed, not_run=missing,
        scib_metrics=metadata.version("scib-metrics"),
        labels_apart=apart,
    )  # fmt: skip
    places = _umaps(data, embeddings, labels, batches, options["umap"], options["seed"])
    with run.output(output) as folder:
        folder.mkdir()
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False)
        files.write_h5ad(_without_rest(data, embeddings), folder / "embeddings.h5ad")
        _draw(data, places, labels, batch_key, label_key, folder)


def _add_external(data, paths: tuple[str, ...]) -> list[str]:
    """Put the embeddings of other programs into obsm, by the names of their files; their keys."""
    from lloki.scores import baselines

    order = list(baselines.methods().index)  # the table's, then that of the call
    named = [(Path(path).name.split(".")[0], path) for path in paths]
    named.sort(key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))
    keys = []
    for method, path in named:
        keys.append(baselines.key(method))
        data.obsm[keys[-1]] = baselines.read_embedding(path, data.obs_names)
    return keys


def _not_run(run: Run, paths: tuple[str, ...], expected: tuple[str, ...], data) -> dict[str, str]:
    """Why a method did not run, for each that did not; a warning for each."""
    from lloki.scores import baselines

    reasons = {}
    for path in paths:
        if not Path(path).is_file():
            raise InputError(path, "no such file", "check the path")
        said = Path(path).read_text().strip()
        reasons[Path(path).name.split(".")[0]] = said or "it gave no reason"
    for method in expected:
        if method not in reasons and baselines.key(method) not in data.obsm:
            reasons[method] = "its task failed: no image, killed, or out of memory or time"
    for method, reason in reasons.items():
        run.warn(f"{baselines.title(baselines.key(method))} was not run: {reason}")
    return reasons


def _batches(data, path: str, batch_key: str, label_key: str | None):
    """The batch of each cell; both columns are there, and no batch is missing."""
    for key, what in ((batch_key, "--batch-key"), (label_key, "--label-key")):
        if key is not None and key not in data.obs:
            have = ", ".join(map(str, data.obs.columns)) or "none"
            raise InputError(path, f"obs has no column {key!r} ({what})", f"it has: {have}")
    if data.obs[batch_key].isna().any():
        raise InputError(path, f"obs[{batch_key!r}] has missing values", "name every cell's batch")
    return data.obs[batch_key].astype(str).to_numpy()


def _embeddings(
    data, path: str, asked: tuple[str, ...], baseline: str, added: list[str], run: Run
) -> list[str]:
    """The keys to score; every one is there and finite. A baseline may be missing: a warning."""
    from lloki.slices import checks

    asked = tuple(dict.fromkeys(asked)) or tuple(key for key in DEFAULT if key in data.obsm)
    asked = tuple(dict.fromkeys([*asked, *added]))
    wanted = [key for key in asked if key != baseline or key in data.obsm]
    if not wanted:
        raise InputError(path, "it holds no embedding to score", "name one with --embedding")
    for key in wanted + [baseline] * (baseline in data.obsm):
        if key not in data.obsm:
            have = ", ".join(data.obsm) or "none"
            raise InputError(path, f"obsm[{key!r}] is missing", f"it has: {have}")
        checks.check_embedding(data.obsm[key], path, key)
    if baseline not in data.obsm:
        run.warn(f"there is no {baseline} to compare with: PCR comparison is left out")
    return wanted


def _labels(run: Run, data, key: str | None, ignored: tuple[str, ...]):
    """The cells' labels, None where unknown; None instead of all when there are too few kinds."""
    from lloki.slices.labels import known_labels

    if key is None:
        run.warn("no --label-key: only metrics that need no labels are computed")
        return None
    labels = known_labels(data.obs[key], ignored)
    known = [label for label in labels if label is not None]
    if not 1 < len(set(known)) < len(known):
        run.warn(
            f"obs[{key!r}] names {len(set(known))} cell types for {len(known)} cells: only metrics "
            "that need no labels are computed"
        )
        return None
    return labels


def _labels_apart(labels, batches, label_key: str | None) -> list[str]:
    """A warning where batches have labels that no other batch has."""
    from lloki.slices.inspection import labels_apart

    if labels is None:
        return []
    kinds = {batch: set(labels[batches == batch]) - {None} for batch in sorted(set(batches))}
    return labels_apart(kinds, label_key)


def _umaps(data, embeddings, labels, batches, wanted: bool, seed: int) -> dict:
    """UMAPs by title; those that the file has not are made, of 20,000 cells at most, and kept."""
    import numpy as np

    from lloki.integration import joined
    from lloki.scores import baselines, tables

    cells = tables.draws(data, labels, batches, UMAP_CELLS, seed)[0]
    places = {}
    for key in embeddings:
        name = joined.umap_key(key)
        if name not in data.obsm and wanted:
            data.obsm[name] = np.full((data.n_obs, 2), np.nan, dtype=np.float32)
            data.obsm[name][cells] = joined.umap(data.obsm[key][cells], seed)
        if name in data.obsm:
            places[baselines.title(key)] = data.obsm[name]
    return places


def _without_rest(data, embeddings: list[str]):
    """The cells with the embeddings that were scored and their UMAPs."""
    import anndata as ad

    from lloki.integration import joined

    keys = ["spatial", *embeddings, *map(joined.umap_key, embeddings)]
    return ad.AnnData(obs=data.obs, obsm={k: data.obsm[k] for k in keys if k in data.obsm})


def _draw(data, places, labels, batch_key, label_key, folder: Path) -> None:
    """UMAPs of every embedding by batch and by label, as PNG and PDF."""
    from lloki.report import figures

    bys = [figures.colouring_of(data, batch_key)]
    if labels is not None:
        bys.append(figures.colouring_of(data, label_key))
    for by in bys if places else []:
        for suffix, content in figures.files(figures.umap_grid(places, [by])).items():
            name = re.sub(r"[^\w.-]", "_", by.name)
            (folder / f"umap_{name}{suffix}").write_bytes(content)


if __name__ == "__main__":
    main()
