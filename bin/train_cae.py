#!/usr/bin/env python3
"""Train the conditional autoencoder on the embeddings of all slices."""

import csv
from dataclasses import asdict

import click

from lloki.cli import InputError, Run, stage

STEPS = 600  # what --epochs auto aims at: losses of the real slices are flat from there on
PUBLISHED = {"lambda_bc": 500.0, "chunk_size": 16000, "pair_smoothing": 0, "pair_genes": False}
PRESETS = {  # the published settings of the losses, on pairs as published
    "paper-ovarian": {"lambda_trip": 0.2, **PUBLISHED},
    "release-brain": {"lambda_trip": 2.0, "lr": 5e-3, "epochs": "200", **PUBLISHED},
}


@stage("train_cae", presets=PRESETS)
@click.option("--input", required=True, multiple=True, help="SAMPLE.fp.h5ad; repeatable.")
@click.option("--slice", "expression", multiple=True,
              help="SAMPLE.slice.h5ad: genes by which pairs are found; repeatable.")  # fmt: skip
@click.option("--output", required=True, help="The model folder to write.")
@click.option("--latent-dim", type=click.IntRange(1), default=128)
@click.option("--batch-dim", type=click.IntRange(1), default=10, help="Numbers of a batch token.")
@click.option("--lambda-rec", type=click.FloatRange(0), default=1.0, help="Reconstruction.")
@click.option("--lambda-trip", type=click.FloatRange(0), default=10.0, help="Triplets.")
@click.option("--lambda-bc", type=click.FloatRange(0), default=100.0, help="Conservation.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=5e-4)
@click.option("--weight-decay", type=click.FloatRange(0), default=1e-4)
@click.option("--chunk-size", type=click.IntRange(1), default=2000, help="Most cells in a step.")
@click.option("--epochs", default="auto", help=f"auto: about {STEPS} steps.")
@click.option("--margin", type=click.FloatRange(0), default=1.0, help="Margin of the triplets.")
@click.option("--neighbors", type=click.IntRange(1), default=30, help="Conserved neighbours.")
@click.option("--pair-neighbors", type=click.IntRange(1), default=40, help="k of mutual pairs.")
@click.option("--pair-smoothing", type=click.IntRange(0), default=30,
              help="Cells averaged before pairs are found.")  # fmt: skip
@click.option("--pair-genes/--no-pair-genes", default=True,
              help="With --slice: pairs by the genes that two panels share, too.")  # fmt: skip
@click.option("--cell-type-key", help="Column of obs: pairs only within a type.")
@click.option("--seed", type=int, default=0)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(run: Run, input, expression, output, epochs, cell_type_key, device, **options) -> None:
    """Train LLOKI-CAE: one latent space for all slices, from their LLOKI-FP embeddings."""
    import numpy as np
    import torch

    from lloki import cae
    from lloki.device import choose_device, device_name
    from lloki.pairs import find_pairs, own_neighbors
    from lloki.training import Cells, Trainer, Training, steps_per_epoch

    where = choose_device(device)
    data, embedder = _read(sorted(input), cell_type_key)
    counts = [d.n_obs for d in data]
    slices = np.repeat(np.arange(len(data)), counts)
    technologies = [str(d.obs["technology"].iloc[0]) for d in data]
    tokens = list(zip(technologies, [str(d.obs["panel"].iloc[0]) for d in data], strict=True))
    batches = sorted(set(tokens))
    embedding = np.concatenate([np.asarray(d.obsm["X_lloki_fp"], np.float32) for d in data])
    most = max(options["neighbors"], options["pair_smoothing"])
    near = own_neighbors(embedding, slices, most)
    cells = Cells(
        embedding, np.array([batches.index(t) for t in tokens])[slices], slices,
        near[:, : options["neighbors"]],
    )  # fmt: skip
    genes = _expression(run, expression, data) if options["pair_genes"] else [None] * len(data)
    pairs = find_pairs(
        _views(embedding, slices, near[:, : options["pair_smoothing"]], genes), tokens,
        options["pair_neighbors"],
    )  # fmt: skip
    if cell_type_key:
        labels = np.concatenate([d.obs[cell_type_key].astype(str).to_numpy(object) for d in data])
        pairs = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]
    if not len(pairs):
        run.warn("no mutual nearest neighbours between batches: trained without triplets")
    steps = steps_per_epoch(len(embedding), options["chunk_size"])
    training = Training(
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
    history = _train(run, Trainer(cells, pairs, model, training, where))
    names = [{"technology": t, "panel": p} for t, p in batches]
    run.report(
        samples=[str(d.obs["sample"].iloc[0]) for d in data], cells=len(embedding), batches=names,
        embedder=embedder, pairs=len(pairs) // 2,
        cells_in_pairs=len(np.unique(pairs[:, 0])), epochs=training.epochs,
        steps=steps * training.epochs, losses=history[-1], device=device_name(where),
    )  # fmt: skip
    with run.output(output) as temporary:
        temporary.mkdir()
        cae.save(model, names, temporary, training=asdict(training), embedder=embedder)
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


def _views(embedding, slices, near, genes: list) -> list:
    """What the pairs of each slice are found in."""
    import numpy as np

    from lloki.pairs import view

    views = []
    for s, known in enumerate(genes):
        rows = np.flatnonzero(slices == s)
        views.append(view(embedding[rows], rows, near[rows] - rows[0], known))
    return views


def _expression(run: Run, paths: list[str], data: list) -> list:
    """Genes of each slice of `data`, None for all where no slice is given."""
    from lloki import slices as files
    from lloki.pairs import Expression

    if not paths:
        run.warn("no --slice: pairs are found by the embeddings alone, less surely")
        return [None] * len(data)
    found = {}
    for path in paths:
        cells = files.read_expression(path)
        found[files.sample_name(cells, path)] = path, cells
    genes = []
    for d in data:
        sample = str(d.obs["sample"].iloc[0])
        if sample not in found:
            raise InputError("--slice", f"there is none of sample {sample!r}", "give all or none")
        path, cells = found[sample]
        if not cells.obs_names.equals(d.obs_names):
            fact = f"its cells are not those of the embedding of {sample!r}"
            raise InputError(path, fact, "give the slice that was embedded")
        genes.append(Expression.of(cells.X, cells.var_names))
    return genes


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
