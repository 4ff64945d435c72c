#!/usr/bin/env python3
"""Write an embedding as a table: for R, and as the benchmark takes it."""

import click

from lloki.support.cli import Run, command


@command("export_embedding")
@click.option(
    "--input",
    required=True,
    multiple=True,
    help="integrated.h5ad, or slices' files; repeatable.",
)
@click.option("--key", default="X_lloki", help="Key of obsm.")
@click.option("--output", required=True, help="The CSV to write: cell names, then the dimensions.")
def main(run: Run, input, key, output) -> None:
    """Write an embedding as a CSV: cell names first, then a column for each dimension."""
    from lloki.scores import baselines

    cells, space = baselines.stack(input, key, "--input")
    run.report(key=key, cells=len(cells), dimensions=space.shape[1])
    with run.output(output) as temporary:
        baselines.write_embedding(cells, space, temporary)


if __name__ == "__main__":
    main()
