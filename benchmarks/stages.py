#!/usr/bin/env python3
"""What propagation, denoising and the mosaic embedding are worth on labelled slices.

For each slice and stage, on PCA-50 and on the mosaic embedding: the share of a cell's 15 nearest
cells (cosine) with its label, k-means NMI, Leiden NMI and ARI with the labels (means of five seeds,
as many clusters as labels); on the mosaic embedding also the macro F1 of the labels of
`--transfer-key`, carried over from the reference's 15 nearest cells. The mosaic model of a stage is
fitted to the reference and all slices at that stage, as in the pipeline. Without arguments it takes
the demo's slices; `--keep 0.3` thins the counts first and takes the unthinned slice's own sparsity
as the target.

Indented rows are other choices at that stage: for imputation the mean target in every cell, no
target (every gene is filled), dense cells cut down to their targets; for denoising Eq. 5 to the
letter.
"""

import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support import demo  # noqa: E402

STAGES = ("raw", "imputed", "  one target for all", "  no target", "  --thin", "denoised",
          "  --diffuse original")  # fmt: skip


@click.command()
@click.option("--slice", "paths", multiple=True, help="Labelled h5ad with counts; repeatable.")
@click.option(
    "--reference",
    default=demo.path("reference"),
    show_default=True,
    help="none: only with --keep.",
)
@click.option("--label-key", default="cell_type", show_default=True)
@click.option("--transfer-key", default="cell_type_coarse", show_default=True)
@click.option("--keep", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option("--neighbors", default=40, show_default=True)
@click.option("--sigma", default=1.0, show_default=True, help="As a multiple of the default.")
@click.option("--symmetric", is_flag=True, help="Weights as Eq. 1 has them, no means.")
@click.option("--release", is_flag=True, help="The choices of --preset release.")
def main(paths, reference, label_key, transfer_key, keep, **options) -> None:
    """Print a row for each slice and stage."""
    from support.scores import NAMES, scores, transfer

    from lloki.embedding import mosaic
    from lloki.propagation import graph
    from lloki.slices import files

    paths = paths or demo.slices()
    if reference == "none" and keep == 1:
        raise click.UsageError("without a reference, give --keep")
    atlas = [] if reference == "none" else [files.read_reference(reference)]
    found = {Path(path).stem: run_stages(path, atlas, keep, **options) for path in paths}
    models = [
        fit([*(a.X for a in atlas), *(stages[s] for _, stages in found.values())],
            [cells.var_names for cells in [*atlas, *(cells for cells, _ in found.values())]])
        for s in range(len(STAGES))
    ]  # fmt: skip
    heads = "".join(f"{name:>13}" for name in NAMES)
    print(f"{'':32}{'PCA-50':^52}  {'mosaic':^52}\n{'':24}{'values':>8}{heads}  {heads}"
          + f"{'transfer F1':>13}" * len(atlas))  # fmt: skip
    noise, table = np.zeros(len(NAMES)), {stage: [] for stage in STAGES}
    for name, (cells, stages) in found.items():
        labels = cells.obs[label_key].astype(str).to_numpy(dtype=object)
        print(f"{name}: {cells.n_obs} cells, {cells.n_vars} genes, {len(set(labels))} labels")
        for stage, matrix, model in zip(STAGES, stages, models, strict=True):
            embedded = mosaic.embed(model, matrix, cells.var_names)
            row = [matrix.nnz / matrix.shape[0]]
            for space in (graph.principal_components(matrix, 50), embedded):
                values, deviations = scores(space, labels)
                noise = np.maximum(noise, deviations)
                row.extend(values)
            for a in atlas:
                known = mosaic.embed(model, a.X, a.var_names)
                row.append(transfer(known, a.obs[transfer_key], embedded, cells.obs[transfer_key]))
            table[stage].append(row)
            print_row(stage, row)
    print(f"mean of {len(found)} slices")
    for stage, values in table.items():
        print_row(stage, np.mean(values, axis=0))
    seeds = [f"{name} {value:.3f}" for name, value in zip(NAMES[1:], noise[1:], strict=True)]
    print("largest standard deviation over the seeds: " + ", ".join(seeds))


def print_row(stage, row):
    values = [f"{value:>13.3f}" for value in row[1:]]
    print(f"  {stage:22}{row[0]:>8.1f}{''.join(values[:4])}  {''.join(values[4:])}", flush=True)


def run_stages(path, atlas, keep, neighbors, sigma, symmetric, release):
    """The prepared slice, and its expression at each of STAGES."""
    from support import steps

    from lloki.propagation import propagation, sparsity
    from lloki.slices import checks, files, genes

    data, name = files.read_h5ad(path), Path(path).stem
    data.X = checks.check_matrix(data.X, name)
    if keep < 1:
        reference = sparsity.sparsity(data.X)
        data.X = steps.thinned(data.X, keep)
    scaling, pcs, seed = ("maximum", 0, 0) if release else ("median", 50, None)
    cells = files.prepare(data, name, sample=name, technology=name, scaling=scaling)
    if keep == 1:
        _, columns = genes.shared(cells.var_names, atlas[0].var_names)
        reference = sparsity.sparsity(atlas[0].X if release else atlas[0].X[:, columns])

    def build(matrix):
        return steps.build(
            matrix, cells.obsm["spatial"], neighbors, sigma, symmetric or release, pcs
        )

    weights, raw = build(cells.X), cells.X
    targets = steps.limits(raw, reference)
    imputed, fixed, free = (
        steps.impute(raw, weights, most, seed)
        for most in (targets, steps.limits(raw, reference, fixed=True), None)
    )
    thin = steps.impute(propagation.thin(raw, targets), weights, targets, seed)
    again = build(imputed)
    denoised, original = (
        propagation.denoise(raw, imputed, again, diffuse=d) for d in ("imputed", "original")
    )
    return cells, [raw, imputed, fixed, free, thin, denoised, original]


def fit(matrices, panels):
    """The mosaic model of these data sets, started as fit_mosaic.py does."""
    from lloki.embedding import mosaic

    keys, columns = zip(*(mosaic.gene_columns(panel) for panel in panels), strict=True)
    moments = [mosaic.correlations(x[:, c]) for x, c in zip(matrices, columns, strict=True)]
    order = mosaic.starting_order([x.shape for x in matrices])
    return mosaic.fit([keys[d] for d in order], [moments[d] for d in order])


if __name__ == "__main__":
    main()
