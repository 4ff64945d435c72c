#!/usr/bin/env python3
"""Join all slices on the genes that they share: what the baselines of the benchmark start from."""

import click

from lloki.support.cli import Run, command


@command("join_shared")
@click.option("--input", required=True, multiple=True, help="SAMPLE.slice.h5ad; repeatable.")
@click.option("--output", required=True, help="The folder to write.")
def main(run: Run, input, output) -> None:
    """Join all slices on the genes that they share, as plain files that any program can read."""
    import numpy as np
    import pandas as pd

    from lloki.scores import baselines
    from lloki.slices import files, samples

    found = samples.by_sample(
        input, lambda path: files.read_expression(path, spatial=True), ("technology", "panel")
    )
    parts = list(found.values())
    shared = baselines.Shared.of(parts)
    genes, cells = shared.genes, shared.cells
    if not genes:
        run.warn("no gene is in every slice: no baseline can run")
    if shared.counts is None:
        run.warn("a slice has no raw counts: methods that model counts cannot run")
    empty = pd.Series(~shared.filled).groupby(cells["sample"]).sum()
    if genes and empty.any():
        run.warn(
            f"{int(empty.sum())} of {len(cells)} cells have no count in any shared gene; they are "
            "kept, though no baseline can place them"
        )
    run.report(
        samples=list(found), cells=len(cells), genes_shared=len(genes),
        genes=genes, batches=sorted(set(shared.batches)),
        cells_without_shared_genes={str(k): int(v) for k, v in empty.items()},
        nonzero_fraction=shared.expression.nnz / max(1, np.prod(shared.expression.shape)),
    )  # fmt: skip
    with run.output(output) as folder:
        folder.mkdir()
        baselines.write(shared, folder)


if __name__ == "__main__":
    main()
