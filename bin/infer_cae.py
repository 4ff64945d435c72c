#!/usr/bin/env python3
"""Embed a slice with the trained conditional autoencoder."""

import click

from lloki.support.checksum import sha256
from lloki.support.cli import Run, command, device_option
from lloki.support.errors import InputError


@command("infer_cae")
@click.option("--input", required=True, help="SAMPLE.fp.h5ad.")
@click.option("--model", required=True, help="Folder that train_cae.py wrote.")
@click.option("--output", required=True, help="The embedding to write: SAMPLE.lloki.h5ad.")
@device_option
def main(run: Run, input, model, output, device) -> None:
    """Add the integrated embedding to a slice by one forward pass."""
    import numpy as np

    from lloki.integration import cae
    from lloki.slices import files, samples
    from lloki.support.device import choose_device, device_name

    where = choose_device(device)
    data = files.read_embedding(input, "X_lloki_fp")
    width = data.obsm["X_lloki_fp"].shape[1]
    network, batches, config = cae.read_model(model, input, files.embedder(data), width)
    batch = samples.token(data)
    if batch not in batches:
        known = ", ".join(f"{t} ({p})" for t, p in batches)
        raise InputError(
            input, f"the model does not know {batch[0]} with panel {batch[1]}; it knows {known}",
            f"adapt it: train_cae.py --adapt-from {model} with this slice",
        )  # fmt: skip
    token = np.full(data.n_obs, batches.index(batch))
    data.obsm["X_lloki"] = cae.encode(
        network, np.asarray(data.obsm["X_lloki_fp"], np.float32), token, where
    )
    files.record(
        data, "infer_cae", model_sha256=sha256(model), adapted_from=config.get("adapted_from", [])
    )
    run.report(
        sample=files.sample_name(data, input), cells=data.n_obs, technology=batch[0],
        panel=batch[1], dimensions=data.obsm["X_lloki"].shape[1], device=device_name(where),
    )  # fmt: skip
    with run.output(output) as temporary:
        files.write_h5ad(data, temporary)


if __name__ == "__main__":
    main()
