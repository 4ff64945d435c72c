#!/usr/bin/env python3
"""Embed a slice with the mosaic model."""

import click

from lloki.support.checksum import sha256
from lloki.support.cli import Run, command
from lloki.support.errors import InputError


@command("mosaic_embed")
@click.option("--input", required=True, help="The slice to embed: SAMPLE.denoised.h5ad.")
@click.option("--model", required=True, help="Folder that fit_mosaic.py wrote.")
@click.option("--output", required=True, help="The embedding to write: SAMPLE.fp.h5ad.")
def main(run: Run, input, model, output) -> None:
    """Embed each cell of a slice by one ridge regression on the model's loadings."""
    from lloki.embedding import mosaic
    from lloki.slices import files

    data = files.read_expression(input, spatial=True)
    fitted = mosaic.load(model)
    keys, _ = mosaic.gene_columns(data.var_names)
    found = int(mosaic.known_genes(fitted, keys).sum())
    if not found:
        raise InputError(input, "none of its genes is in the model", "fit a model with this panel")
    if found < len(keys):
        run.warn(f"{input}: {len(keys) - found} of {len(keys)} genes are not in the model")
    embedded = files.without_expression(data)
    embedded.obsm["X_lloki_fp"] = mosaic.embed(fitted, data.X, data.var_names)
    files.record(
        embedded, "embedding", embedder="mosaic", model_sha256=sha256(model),
        genes=len(keys), genes_found=found,
    )  # fmt: skip
    run.report(
        sample=files.sample_name(data, input), embedder="mosaic", cells=data.n_obs,
        genes=len(keys), genes_found=found, dimensions=embedded.obsm["X_lloki_fp"].shape[1],
        device="cpu",
    )  # fmt: skip
    with run.output(output) as temporary:
        files.write_h5ad(embedded, temporary)


if __name__ == "__main__":
    main()
