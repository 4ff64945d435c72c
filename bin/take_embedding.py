#!/usr/bin/env python3
"""Take the embedding that a slice brought along."""

import click

from lloki.support.cli import Run, command
from lloki.support.errors import InputError


@command("take_embedding")
@click.option("--input", required=True, help="The slice: SAMPLE.slice.h5ad, prepared with "
              "--embedding-key.")  # fmt: skip
@click.option("--embedding-key", required=True, help="Where its embedding is in obsm.")
@click.option("--output", required=True, help="The embedding to write: SAMPLE.fp.h5ad.")
def main(run: Run, input, embedding_key, output) -> None:
    """Write obsm[key] of a slice, rows of length 1, as every later stage reads an embedding."""
    from lloki.slices import checks, files
    from lloki.support.neighbours import unit_rows

    data = files.read_h5ad(input)
    if "spatial" not in data.obsm:
        raise InputError(input, "obsm['spatial'] is missing", "prepare it with prepare_slice.py")
    vectors = checks.brought_embedding(data, embedding_key, input)
    name = data.uns.get("lloki", {}).get("prepare_slice", {}).get("embedding_model", embedding_key)
    embedded = files.without_expression(data)
    embedded.obsm["X_lloki_fp"] = unit_rows(vectors)
    files.record(embedded, "embedding", embedder=str(name), key=embedding_key)
    run.report(
        sample=files.sample_name(data, input), embedder=str(name), cells=data.n_obs,
        dimensions=vectors.shape[1], device="cpu",
    )  # fmt: skip
    with run.output(output) as temporary:
        files.write_h5ad(embedded, temporary)


if __name__ == "__main__":
    main()
