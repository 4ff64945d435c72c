#!/usr/bin/env python3
"""Write an embedding as a table: for R, and as the benchmark takes it."""

import click

from lloki.support.cli import Run, command
from lloki.support.errors import InputError


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
    import numpy as np
    import pandas as pd

    from lloki.scores import baselines
    from lloki.slices import files

    parts = [files.read_embedding(path, key) for path in input]
    cells = pd.Index(np.concatenate([part.obs_names for part in parts]))
    if not cells.is_unique:
        name = cells[cells.duplicated()][0]
        raise InputError("--input", f"cell {name!r} is in two files", "give each slice once")
    widths = {part.obsm[key].shape[1] for part in parts}
    if len(widths) > 1:
        fact = f"obsm[{key!r}] has {' or '.join(map(str, sorted(widths)))} columns"
        raise InputError("--input", fact, "give embeddings of one model")
    space = np.concatenate([part.obsm[key] for part in parts])
    run.report(key=key, cells=len(cells), dimensions=space.shape[1])
    with run.output(output) as temporary:
        baselines.write_embedding(cells, space, temporary)


if __name__ == "__main__":
    main()
