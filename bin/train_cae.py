#!/usr/bin/env python3
"""Train the conditional autoencoder on the embeddings of all slices."""

import csv

import click

from lloki.cli import InputError, Run, stage

STEPS = 1200  # what --epochs auto aims at: losses of the real slices are flat from there on
PRESETS = {  # the published settings of the losses, on pairs as published
    "paper-ovarian": {"lambda_trip": 0.2, "lambda_bc": 500.0, "pair_smoothing": 0},
    "release-brain": {
        "lambda_trip": 2.0, "lambda_bc": 500.0, "lr": 5e-3, "epochs": "200", "pair_smoothing": 0,
    },
}  # fmt: skip


@stage("train_cae", presets=PRESETS)
@click.option("--input", required=True, multiple=True, help="SAMPLE.fp.h5ad; repeatable.")
@click.option("--output", required=True, help="The model folder to write.")
@click.option("--latent-dim", type=click.IntRange(1), default=128)
@click.option("--batch-dim", type=click.IntRange(1), default=10, help="Numbers of a batch token.")
@click.option("--lambda-rec", type=click.FloatRange(0), default=1.0, help="Reconstruction.")
@click.option("--lambda-trip", type=click.FloatRange(0), default=10.0, help="Triplets.")
@click.option("--lambda-bc", type=click.FloatRange(0), default=100.0, help="Conservation.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=5e-4)
@click.option("--weight-decay", type=click.FloatRange(0), default=1e-4)
@click.option("--chunk-size", type=click.IntRange(1), default=16000, help="Most cells in a step.")
@click.option("--epochs", default="auto", help=f"auto: about {STEPS} steps.")
@click.option("--margin", type=click.FloatRange(0), default=1.0, help="Margin of the triplets.")
@click.option("--neighbors", type=click.IntRange(1), default=30, help="Conserved neighbours.")
@click.option("--pair-neighbors", type=click.IntRange(1), default=40, help="k of mutual pairs.")
@click.option("--pair-smoothing", type=click.IntRange(0), default=15,
              help="Cells averaged before pairs are found.")  # fmt: skip
@click.option("--cell-type-key", help="Column of obs: pairs only within a type.")
@click.option("--seed", type=int, default=0)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(run: Run, input, output, epochs, cell_type_key, device, **options) -> None:
    """Train LLOKI-CAE: one latent space for all slices, from their LLOKI-FP embeddings."""
    import numpy as np
    import torch

    from lloki import cae
    from lloki.device import choose_device, device_name

    where = choose_device(device)
    data, embedder = _read(sorted(input), cell_type_key)
    counts = [d.n_obs for d in data]
    slices = np.repeat(np.arange(len(data)), counts)
    technologies = [str(d.obs["technology"].iloc[0]) for d in data]
    tokens = list(zip(technologies, [str(d.obs["panel"].iloc[0]) for d in data], strict=True))
    batches = sorted(set(tokens))
    embedding = np.concatenate([np.asarray(d.obsm["X_lloki_fp"], np.float32) for d in data])
    cells = cae.Cells(
        embedding,
        np.array([batches.index(t) for t in tokens])[slices],
        slices,
        cae.own_neighbors(embedding, slices, options["neighbors"]),
    )
    pairs = cae.find_pairs(
        cae.pair_space(embedding, slices, options["pair_smoothing"]), slices,
        np.unique(technologies, return_inverse=True)[1][slices], options["pair_neighbors"],
    )  # fmt: skip
    if cell_type_key:
        labels = np.concatenate([d.obs[cell_type_key].astype(str).to_numpy(object) for d in data])
        pairs = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]
    if not len(pairs):
        run.warn("no mutual nearest neighbours between technologies: trained without triplets")
    steps = cae.steps_per_epoch(len(embedding), options["chunk_size"])
    training = cae.Training(
        **{k: options[k] for k in ("lambda_rec", "lambda_trip", "lambda_bc", "lr", "weight_decay",
                                   "chunk_size", "margin", "seed")},
        epochs=_epochs(epochs, steps), sampled_neighbors=4,
    )  # fmt: skip
    torch.manual_seed(options["seed"])
    model = cae.ConditionalAutoencoder(
        cae.Architecture(
            embedding.shape[1], options["latent_dim"], options["batch_dim"], len(batches)
        )
    )
    history = _train(run, cae.Trainer(cells, pairs, model, training, where))
    names = [{"technology": t, "panel": p} for t, p in batches]
    run.report(
        samples=[str(d.obs["sample"].iloc[0]) for d in data], cells=len(embedding), batches=names,
        embedder=embedder, pairs=len(pairs) // 2,
        cells_in_pairs=len(np.unique(pairs[:, 0])), epochs=training.epochs,
        steps=steps * training.epochs, losses=history[-1], device=device_name(where),
    )  # fmt: skip
    with run.output(output) as temporary:
        temporary.mkdir()
        cae.save(model, names, training, temporary, embedder=embedder)
        with (temporary / "history.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(history[0]))
            writer.writeheader()
            writer.writerows(history)


def _read(paths: list[str], cell_type_key: str | None) -> tuple[list, str]:
    """The slices' embeddings, checked to be of one kind; and the embedder that made them."""
    from lloki import slices as files

    data = [files.read_embedding(path, "X_lloki_fp") for path in paths]
    seen: dict[str, str] = {}
    first = data[0].obsm["X_lloki_fp"].shape[1]
    for path, d in zip(paths, data, strict=True):
        sample = files.sample_name(d, path)
        if sample in seen:
            raise InputError(path, f"sample {sample!r} is also in {seen[sample]}", "give it once")
        seen[sample] = path
        missing = {"technology", "panel", *filter(None, [cell_type_key])} - set(d.obs)
        if missing:
            raise InputError(path, f"obs has no column {min(missing)!r}", "see prepare_slice.py")
        width = d.obsm["X_lloki_fp"].shape[1]
        if width != first:
            raise InputError(
                path, f"its embedding has {width} numbers, that of {paths[0]} has {first}",
                "embed all slices with one model",
            )  # fmt: skip
    embedders = sorted({files.embedder(d) for d in data})
    if len(embedders) > 1:
        raise InputError(
            paths[0], f"embedders differ among the slices: {', '.join(embedders)}", "use one"
        )
    return data, embedders[0]


def _epochs(epochs: str, steps: int) -> int:
    if epochs == "auto":
        return max(20, round(STEPS / steps))
    if not epochs.isdigit() or int(epochs) < 1:
        raise InputError("--epochs", f"{epochs!r} is no positive number", "give a number or auto")
    return int(epochs)


def _train(run: Run, trainer) -> list[dict]:
    """All epochs; a row of losses each. Stops with an error when a loss is no number any more."""
    import math

    history = []
    epochs = trainer.training.epochs
    with run.progress(epochs, "epochs") as progress:
        for epoch in range(1, epochs + 1):
            losses = trainer.epoch()
            if not math.isfinite(losses["total"]):
                raise InputError(
                    "training", f"it diverged in epoch {epoch}", "lower --lr or the lambdas"
                )
            history.append({"epoch": epoch, **{k: round(v, 6) for k, v in losses.items()}})
            progress.update(note=" ".join(f"{k} {v:.4f}" for k, v in losses.items()))
    return history


if __name__ == "__main__":
    main()
