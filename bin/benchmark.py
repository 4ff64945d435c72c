#!/usr/bin/env python3
"""Score embeddings: biology kept apart, batches mixed, labels carried over; draw their UMAPs."""

import os
import re
from pathlib import Path

import click

from lloki.cli import InputError, Run, stage

DEFAULT = ("X_pca_shared", "X_lloki_fp", "X_lloki")


@stage("benchmark")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@click.option("--output", required=True, help="The folder to write: metrics.csv and pictures.")
@click.option(
    "--embedding",
    multiple=True,
    help=f"Key of obsm; repeatable.  [default: those of {', '.join(DEFAULT)} that are there]",
)
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
@click.option("--max-cells", type=click.IntRange(100), help="Score a sample of so many cells.")
@click.option("--seed", type=int, default=0)
def main(
    run: Run,
    input,
    output,
    embedding,
    label_key,
    batch_key,
    baseline,
    ignore_label,
    max_cells,
    seed,
) -> None:
    """Score embeddings with scib-metrics' eight and label transfer, and draw their UMAPs."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the same figures on every machine
    from importlib import metadata

    import numpy as np
    import pandas as pd

    from lloki import metrics, slices

    data = slices.read_h5ad(input)
    embeddings = _embeddings(data, input, embedding, baseline, run)
    for key, what in ((batch_key, "--batch-key"), (label_key, "--label-key")):
        if key is not None and key not in data.obs:
            have = ", ".join(map(str, data.obs.columns)) or "none"
            raise InputError(input, f"obs has no column {key!r} ({what})", f"it has: {have}")
    if data.obs[batch_key].isna().any():
        raise InputError(input, f"obs[{batch_key!r}] has missing values", "name every cell's batch")
    batches = data.obs[batch_key].astype(str).to_numpy()
    labels = _labels(run, data, label_key, ignore_label)
    cells = np.arange(data.n_obs)
    if max_cells and max_cells < data.n_obs:
        strata = [f"{b}\t{x}" for b, x in zip(batches, _each(labels, batches), strict=True)]
        cells = metrics.stratified_sample(np.array(strata), max_cells, seed)
    known = [label for label in _each(labels, batches)[cells] if label is not None]
    mixed = sorted(set(batches[cells]))
    if len(mixed) < 2:
        run.warn(f"all cells are of one {batch_key}: nothing to mix (--batch-key sample?)")
    rows = []
    with run.progress(len(embeddings), "embedding") as progress:
        for key in embeddings:
            values = metrics.evaluate(
                data.obsm[key][cells], None if labels is None else labels[cells], batches[cells],
                data.obsm[baseline][cells] if baseline in data.obsm else None, seed,
            )  # fmt: skip
            rows += [(key, name, metrics.GROUPS[name], value) for name, value in values.items()]
            progress.update(note=key)
    table = pd.DataFrame(rows, columns=["embedding", "metric", "group", "value"])
    run.report(
        embeddings=embeddings, label_key=label_key, batch_key=batch_key, cells=data.n_obs,
        cells_scored=len(cells), cells_labelled=len(known), labels=sorted(set(known)),
        batches=mixed, scib_metrics=metadata.version("scib-metrics"),
    )  # fmt: skip
    with run.output(output) as folder:
        folder.mkdir()
        table.to_csv(folder / "metrics.csv", index=False)
        _draw(data, embeddings, labels, batch_key, label_key, folder, seed)


def _each(labels, batches):
    """The cells' labels, or None for each cell where there are no labels at all."""
    import numpy as np

    return np.full(len(batches), None) if labels is None else labels


def _embeddings(data, path: str, asked: tuple[str, ...], baseline: str, run: Run) -> list[str]:
    """The keys to score; every one is there and finite. A baseline may be missing: a warning."""
    import numpy as np

    asked = tuple(dict.fromkeys(asked)) or tuple(key for key in DEFAULT if key in data.obsm)
    wanted = [key for key in asked if key != baseline or key in data.obsm]
    if not wanted:
        raise InputError(path, "it holds no embedding to score", "name one with --embedding")
    for key in wanted + [baseline] * (baseline in data.obsm):
        if key not in data.obsm:
            have = ", ".join(data.obsm) or "none"
            raise InputError(path, f"obsm[{key!r}] is missing", f"it has: {have}")
        if not np.isfinite(data.obsm[key]).all():
            raise InputError(path, f"obsm[{key!r}] has NaN or infinite values", "make it again")
    if baseline not in data.obsm:
        run.warn(f"there is no {baseline} to compare with: PCR comparison is left out")
    return wanted


def _labels(run: Run, data, key: str | None, ignored: tuple[str, ...]):
    """The cells' labels, None where unknown; None instead of all when there are too few kinds."""
    from lloki import metrics

    if key is None:
        run.warn("no --label-key: only metrics that need no labels are computed")
        return None
    labels = metrics.known_labels(data.obs[key], ignored)
    known = [label for label in labels if label is not None]
    if not 1 < len(set(known)) < len(known):
        run.warn(
            f"obs[{key!r}] names {len(set(known))} cell types for {len(known)} cells: only metrics "
            "that need no labels are computed"
        )
        return None
    return labels


def _draw(data, embeddings, labels, batch_key, label_key, folder: Path, seed: int) -> None:
    """UMAPs of every embedding by batch and by label, as PNG and PDF."""
    from lloki import figures, integration

    places = {}
    for key in embeddings:
        stored = data.obsm.get(integration.umap_key(key))
        title = integration.NAMES.get(key, key)
        places[title] = integration.umap(data.obsm[key], seed) if stored is None else stored
    bys = [figures.colouring(batch_key, data.obs[batch_key].astype(str))]
    if labels is not None:
        bys.append(figures.colouring(label_key, labels))
    for by in bys:
        for suffix, content in figures.files(figures.umap_grid(places, [by])).items():
            name = re.sub(r"[^\w.-]", "_", by.name)
            (folder / f"umap_{name}{suffix}").write_bytes(content)


if __name__ == "__main__":
    main()
