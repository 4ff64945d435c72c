#!/usr/bin/env python3
"""Impute missing genes by propagation on the graph of a slice, then denoise the result."""

import click

from lloki import __version__
from lloki.support.cli import Run, command, device_choice, slice_option


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="propagate")
def main() -> None:
    """Impute missing genes by propagation on the graph of a slice, then denoise the result."""


DEVICE = device_choice("on the CPU, which is done before a GPU has started")
WEIGHTS = click.option(
    "--weights",
    type=click.Choice(["mean", "symmetric"]),
    default="mean",
    help="Of a cell's neighbours; mean: they add up to 1; symmetric: those of the graph (Eq. 1).",
)


@command("impute", presets={"release": {"keep": "random", "weights": "symmetric"}})
@slice_option
@click.option("--graph", required=True, help="Its graph: SAMPLE.graph.npz.")
@click.option("--targets", required=True, help="Its target sparsities: SAMPLE.targets.csv.")
@click.option("--output", required=True, help="The slice to write: SAMPLE.imputed.h5ad.")
@click.option("--max-iter", type=click.IntRange(1), default=40, help="Most steps.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=1e-4,
    help="Stop when the matrix changes less in a step (relative).",
)
@WEIGHTS
@click.option("--thin", is_flag=True, help="Cut cells above their target down to it.")
@click.option(
    "--keep",
    type=click.Choice(["largest", "random"]),
    default="largest",
    help="Imputed values that stay where a cell has more than its target.",
)
@click.option("--seed", type=int, default=0, help="Of --keep random.")
@DEVICE
def impute(
    run: Run, input, graph, targets, output, max_iter, tolerance, weights, thin, keep, seed, device
) -> None:
    """Fill each cell from its neighbours up to its target sparsity (Eq. 2)."""
    import numpy as np

    from lloki.propagation import propagation, sparsity, stored
    from lloki.propagation.graph import weighted
    from lloki.slices import files
    from lloki.support.device import choose_gpu, device_name

    gpu = choose_gpu(device, worth=False)
    data = files.read_expression(input)
    edges = weighted(stored.read_graph(graph, data, input), weights)
    limits = stored.read_targets(targets, data, input)
    held = np.diff(data.X.indptr)
    observed = propagation.thin(data.X, limits) if thin else data.X
    with run.progress(max_iter, "propagation") as progress:
        result = propagation.impute(
            observed,
            edges,
            limits,
            max_iter,
            tolerance,
            seed if keep == "random" else None,
            gpu,
            report=lambda change: progress.update(1, f"(change {change:.1e})"),
        )
    if result.stopped_by == "max_iter":
        run.warn(f"{input}: stopped after {max_iter} steps, before it settled")
    imputed = result.matrix.nnz - observed.nnz
    if not imputed and (held >= limits).all():
        run.warn(f"{input}: every cell holds its target or more already, so nothing was imputed")
    run.report(
        sample=files.sample_name(data, input),
        cells=data.n_obs,
        genes=data.n_vars,
        values_imputed=imputed,
        iterations=result.iterations,
        stopped_by=result.stopped_by,
        cells_at_target=int(result.at_target.sum()),
        cells_above_target=int((held > limits).sum()),
        cells_thinned=int((np.diff(observed.indptr) < held).sum()),
        nonzero_fraction_before=propagation.fullness(data.X),
        nonzero_fraction_after=propagation.fullness(result.matrix),
        nonzero_fraction_target=float(limits.mean() / data.n_vars),
        sparsity_after=sparsity.summary(sparsity.sparsity(result.matrix)),
        device=device_name(gpu),
    )
    _write(
        run,
        data,
        result.matrix,
        output,
        "impute",
        iterations=result.iterations,
        stopped_by=result.stopped_by,
        thin=thin,
        keep=keep,
        weights=weights,
    )


@command("denoise", presets={"release": {"weights": "symmetric"}})
@slice_option
@click.option("--imputed", required=True, help="The same slice imputed: SAMPLE.imputed.h5ad.")
@click.option("--graph", required=True, help="Graph of the imputed: SAMPLE.imputed.graph.npz.")
@click.option("--output", required=True, help="The slice to write: SAMPLE.denoised.h5ad.")
@click.option(
    "--alpha", type=click.FloatRange(0, 1), default=0.05, help="Weight of the neighbours."
)
@WEIGHTS
@click.option(
    "--diffuse",
    type=click.Choice(["imputed", "original"]),
    default="imputed",
    help="The matrix that is smoothed.",
)
@click.option(
    "--support",
    type=click.Choice(["imputed", "all"]),
    default="imputed",
    help="Genes a cell may hold: those it holds imputed, or all.",
)
@DEVICE
def denoise(
    run: Run, input, imputed, graph, output, alpha, weights, diffuse, support, device
) -> None:
    """Smooth the imputed slice by one small step on its own graph (Eq. 5)."""
    from lloki.propagation import propagation, stored
    from lloki.propagation.graph import weighted
    from lloki.slices import files
    from lloki.support.device import choose_gpu, device_name

    gpu = choose_gpu(device, worth=False)
    data = files.read_expression(input)
    filled = files.read_expression(imputed)
    stored.check_same_names(data.obs_names, filled.obs_names, "cells", imputed, input)
    stored.check_same_names(data.var_names, filled.var_names, "genes", imputed, input)
    edges = weighted(stored.read_graph(graph, filled, imputed), weights)
    result = propagation.denoise(data.X, filled.X, edges, alpha, diffuse, support, gpu)
    run.report(
        sample=files.sample_name(data, input),
        cells=data.n_obs,
        genes=data.n_vars,
        nonzero_fraction_before=propagation.fullness(data.X),
        nonzero_fraction_imputed=propagation.fullness(filled.X),
        nonzero_fraction_after=propagation.fullness(result),
        device=device_name(gpu),
    )
    _write(
        run,
        filled,
        result,
        output,
        "denoise",
        alpha=alpha,
        weights=weights,
        diffuse=diffuse,
        support=support,
    )


def _write(run: Run, data, matrix, output: str, step: str, **decisions) -> None:
    from lloki.slices import files

    data.X = matrix
    data.layers.pop("counts", None)
    files.record(data, step, **decisions)
    with run.output(output) as temporary:
        files.write_h5ad(data, temporary)


main.add_command(impute)
main.add_command(denoise)

if __name__ == "__main__":
    main()
