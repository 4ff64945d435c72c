#!/usr/bin/env python3
"""Add to the integrated file what later stages found of its cells."""

from pathlib import Path

import click

from lloki.support.cli import Run, command


@command("complete")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@click.option("--cells", multiple=True, help="What a stage found: STAGE.cells.h5ad; repeatable.")
@click.option("--output", required=True, help="The file to write: integrated.h5ad.")
@click.option("--zarr", is_flag=True, help="A SpatialData store, too, beside the output: .zarr.")
def main(run: Run, input, cells, output, zarr) -> None:
    """Copy the integrated file, with columns, arrays and graphs that stages found of its cells."""
    from lloki.report import figures
    from lloki.slices import files, findings, parts, stores

    head, _ = parts.read_head(input)
    found = findings.read(cells, head.obs_names)
    with run.output(output) as temporary:
        findings.add(input, temporary, found, figures.colours_of_all(found.obs))
        if zarr:
            with run.output(Path(output).with_suffix(".zarr")) as store:
                stores.write_spatialdata(files.read_h5ad(temporary), store)
    run.report(
        cells=head.n_obs, columns=list(found.obs), arrays=list(found.obsm), graphs=list(found.obsp)
    )


if __name__ == "__main__":
    main()
