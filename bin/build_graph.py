#!/usr/bin/env python3
"""Build the graph of a slice: neighbours in expression, weights by distance in space."""

from pathlib import Path

import click

from lloki.support.cli import Run, command, device_choice, seed_option
from lloki.support.errors import InputError

GPU_CELLS = 50_000  # below, a GPU takes longer to start than its search saves


@command("build_graph", presets={"release": {"n_pcs": 0}})
@click.option("--input", required=True, help="h5ad with X and obsm['spatial']: slice or imputed.")
@click.option("--output", required=True, help="The graph to write: SAMPLE.graph.npz.")
@click.option("--neighbors", type=click.IntRange(1), default=40, help="Neighbours of a cell.")
@click.option(
    "--n-pcs",
    type=click.IntRange(0),
    default=50,
    help="Principal components to search in; 0: in the genes themselves.",
)
@click.option("--metric", type=click.Choice(["cosine", "euclidean"]), default="cosine")
@click.option(
    "--sigma",
    default="auto",
    help="Width of the spatial Gaussian (micrometres); auto: mean distance of random cells.",
)
@seed_option
@click.option(
    "--method",
    type=click.Choice(["auto", "exact", "approx"]),
    default="auto",
    help="Search; auto: exact while that is fast enough.",
)
@device_choice(f"on a GPU, if there is one, from {GPU_CELLS:,} cells on")
def main(run: Run, input, output, neighbors, n_pcs, metric, sigma, seed, method, device) -> None:
    """Build the cell graph: neighbours in expression, weights by distance in space (Eq. 1)."""
    width = _width(sigma)
    from lloki.propagation import graph
    from lloki.propagation.stored import write_graph
    from lloki.slices import files
    from lloki.support import search
    from lloki.support.device import choose_gpu, device_name

    data = files.read_expression(input, spatial=True)
    gpu = choose_gpu(device, worth=data.n_obs >= GPU_CELLS)
    space = graph.principal_components(data.X, n_pcs, seed) if n_pcs else data.X.toarray()
    found = search.find_neighbours(space, neighbors, metric, method, seed, gpu)
    if method == "approx" and found.method == "exact":
        run.warn(f"{input}: the approximate search missed too many neighbours; searched exactly")
    if width is None:
        width = graph.mean_pair_distance(data.obsm["spatial"], seed)
    matrix = graph.spatial_graph(found.indices, data.obsm["spatial"], width)
    run.report(
        sample=_sample(data, input),
        cells=data.n_obs,
        genes=data.n_vars,
        edges=(matrix.nnz - data.n_obs) // 2,
        neighbours=found.indices.shape[1],
        sigma=width,
        n_pcs=space.shape[1] if n_pcs else 0,
        method=found.method,
        recall=found.recall,
        device=device_name(gpu),
    )
    with run.output(output) as temporary:
        write_graph(matrix, temporary)


def _width(sigma: str) -> float | None:
    if sigma == "auto":
        return None
    try:
        width = float(sigma)
    except ValueError:
        width = 0.0
    if not 0 < width < float("inf"):
        raise InputError("--sigma", f"{sigma!r} is no positive number", "give micrometres or auto")
    return width


def _sample(data, path: str) -> str:
    """The sample's name; a file that no stage wrote has its own name up to the first dot."""
    return (
        str(data.obs["sample"].iloc[0]) if "sample" in data.obs else Path(path).name.split(".")[0]
    )


if __name__ == "__main__":
    main()
