#!/usr/bin/env python3
"""Train the conditional autoencoder on the embeddings of all slices."""

import csv
import time
from dataclasses import asdict
from pathlib import Path

import click

from lloki.cli import InputError, Run, sha256, stage

STEPS = 600  # what --epochs auto aims at: losses of the real slices are flat from there on
ADAPT_LR = 0.01  # of --adapt-from, where --lr is not given: few numbers, far to go
DISTANCE = click.Choice(["plain", "squared"])
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
@click.option("--hard-negatives/--random-negatives", default=False,
              help="Negatives: closest cells of another type.")  # fmt: skip
@click.option("--trip-distance", type=DISTANCE, default="plain", help="Distances of the triplets.")
@click.option("--bc-distance", type=DISTANCE, default="plain", help="Distances conserved.")
@click.option("--adapt-from", help="Model folder: learn only the vectors of batches new to it.")
@click.option("--checkpoint", help="File to go on from after a kill. [default: OUTPUT.checkpoint]")
@click.option("--checkpoint-seconds", type=click.FloatRange(0), default=60.0,
              help="Least time between two checkpoints.")  # fmt: skip
@click.option("--seed", type=int, default=0)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(run: Run, input, expression, output, epochs, adapt_from, checkpoint, device, **options):
    """Train LLOKI-CAE: one latent space for all slices, from their LLOKI-FP embeddings."""
    import numpy as np
    import torch

    from lloki import cae
    from lloki.device import choose_device, device_name
    from lloki.processes import Processes
    from lloki.training import Trainer, Training, steps_per_epoch

    if options["hard_negatives"] and not options["cell_type_key"]:
        raise InputError("--hard-negatives", "there are no types", "give --cell-type-key")
    where = Processes.device(choose_device(device))
    data, embedder, width = _read(sorted(input), options["cell_type_key"])
    tokens = [(str(d.obs["technology"].iloc[0]), str(d.obs["panel"].iloc[0])) for d in data]
    torch.manual_seed(options["seed"])
    if adapt_from:
        model, batches, known = _adapted(adapt_from, tokens, embedder, width)
        if _is_default("lr"):
            options["lr"] = ADAPT_LR
    else:
        batches, known = sorted(set(tokens)), 0
        sizes = width, options["latent_dim"], options["batch_dim"], len(batches)
        model = cae.ConditionalAutoencoder(cae.Architecture(*sizes))
    genes = _expression(run, expression, data) if options["pair_genes"] else [None] * len(data)
    of_slice = [batches.index(token) for token in tokens]
    cells, positives = _material(sorted(input), data, of_slice, genes, width, output, options)
    pairs = len(positives.cells) // 2
    if not pairs:
        run.warn("no mutual nearest neighbours between batches: trained without triplets")
    anchors = int((cells.batch >= known).sum())
    steps = steps_per_epoch(anchors, options["chunk_size"])
    training = Training(
        **{k: options[k] for k in ("lambda_rec", "lambda_trip", "lambda_bc", "lr", "weight_decay",
                                   "chunk_size", "margin", "seed", "trip_distance", "bc_distance")},
        epochs=_epochs(epochs, steps), sampled_neighbors=4,
    )  # fmt: skip
    processes = Processes.join(where)
    trainer = Trainer(cells, positives, model, training, where, known, processes)
    kept = Path(checkpoint or f"{output.rstrip('/')}.checkpoint")
    resumed = _train(run, trainer, kept, options["checkpoint_seconds"])
    processes.leave()
    if processes.rank:
        raise SystemExit(0)  # the first process writes for all
    names = [{"technology": t, "panel": p} for t, p in batches]
    run.report(
        samples=[str(d.obs["sample"].iloc[0]) for d in data], cells=len(cells.batch), batches=names,
        embedder=embedder, pairs=pairs, cells_in_pairs=np.count_nonzero(np.diff(positives.first)),
        epochs=training.epochs, steps=steps * training.epochs, losses=_rounded(trainer.history[-1]),
        resumed_after_epoch=resumed, processes=processes.size, device=device_name(where),
    )  # fmt: skip
    with run.output(output) as temporary:
        temporary.mkdir()
        notes = {"adapted_from": sha256(adapt_from)} if adapt_from else {}
        cae.save(model, names, temporary, training=asdict(training), embedder=embedder, **notes)
        with (temporary / "history.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(trainer.history[0]))
            writer.writeheader()
            writer.writerows(map(_rounded, trainer.history))
    kept.unlink(missing_ok=True)


def _is_default(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.DEFAULT


def _rounded(losses: dict) -> dict:
    return {name: round(value, 6) for name, value in losses.items()}


def _adapted(folder: str, tokens: list, embedder: str, width: int) -> tuple:
    """The model of a folder with vectors for the new batches, all batches, how many it knew."""
    from lloki import cae

    model, config = cae.read_model(folder)
    cae.check_embedding("--input", model, config, embedder, width)
    known = [(b["technology"], b["panel"]) for b in config["batches"]]
    new = sorted(set(tokens) - set(known))
    if not new:
        raise InputError(folder, "the model knows all batches of the inputs", "use infer_cae.py")
    if not set(tokens) & set(known):
        names = ", ".join(f"{t} ({p})" for t, p in known)
        fact = f"no input is of a batch that the model knows; it knows {names}"
        raise InputError("--input", fact, "give a slice of one too: pairs anchor the new")
    return cae.extended(model, len(new)), known + new, len(known)


def _read(paths: list[str], cell_type_key: str | None) -> tuple[list, str, int]:
    """The slices' cells, checked to be of one kind; what embedded them, and in how many numbers."""
    from lloki import slices as files

    data, widths, seen = [], [], {}
    for path in paths:
        d, shape = files.read_cells(path, "X_lloki_fp")
        sample = files.sample_name(d, path)
        if sample in seen:
            raise InputError(path, f"sample {sample!r} is also in {seen[sample]}", "give it once")
        seen[sample] = path
        missing = {"technology", "panel", *filter(None, [cell_type_key])} - set(d.obs)
        if missing:
            raise InputError(path, f"obs has no column {min(missing)!r}", "see prepare_slice.py")
        data.append(d)
        widths.append(shape[1])
        if widths[-1] != widths[0]:
            raise InputError(
                path, f"its embedding has {widths[-1]} numbers, that of {paths[0]} has {widths[0]}",
                "embed all slices with one model",
            )  # fmt: skip
    embedders = sorted({files.embedder(d) for d in data})
    if len(embedders) > 1:
        raise InputError(
            paths[0], f"embedders differ among the slices: {', '.join(embedders)}", "use one"
        )
    return data, embedders[0], widths[0]


def _material(paths, data, batch, genes, width, output, options) -> tuple:
    """What the trainer reads: all cells, and their positives. Embeddings stay on disk."""
    import numpy as np

    from lloki import slices as files
    from lloki.cells import gather
    from lloki.storage import StoredRows

    counts = [d.n_obs for d in data]
    first = np.concatenate([[0], np.cumsum(counts)])
    embedding = StoredRows(first[-1], width, Path(output).parent)
    for path, start in zip(paths, first, strict=False):
        for rows, block in files.embedding_blocks(path, "X_lloki_fp"):
            embedding[start + rows.start : start + rows.stop] = block
    labels = None
    if options["cell_type_key"]:
        labels = [d.obs[options["cell_type_key"]].astype(str).to_numpy(object) for d in data]
    return gather(
        embedding, counts, batch, genes, labels,
        neighbors=options["neighbors"], smoothing=options["pair_smoothing"],
        pair_neighbors=options["pair_neighbors"], hard_negatives=options["hard_negatives"],
        folder=str(Path(output).parent),
    )  # fmt: skip


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


def _train(run: Run, trainer, checkpoint: Path, seconds: float) -> int:
    """All epochs, from the checkpoint on if there is one: the epoch after which it went on.

    Stops with an error when a loss is no number any more.
    """
    import math

    resumed = trainer.load_checkpoint(checkpoint)
    if resumed is None:
        run.warn(f"{checkpoint} is of another training: it is not used")
    elif resumed:
        click.echo(f"train_cae: going on after epoch {resumed}", err=True)
    epochs = trainer.training.epochs
    saved = time.monotonic()
    with run.progress(epochs, "epochs") as progress:
        progress.update(resumed or 0)
        for epoch in range((resumed or 0) + 1, epochs + 1):
            losses = trainer.epoch()
            if not math.isfinite(losses["total"]):
                checkpoint.unlink(missing_ok=True)
                raise InputError(
                    "training", f"it diverged in epoch {epoch}", "lower --lr or the lambdas"
                )
            if time.monotonic() - saved >= seconds and epoch < epochs:
                trainer.save_checkpoint(checkpoint)
                saved = time.monotonic()
            progress.update(note=" ".join(f"{k} {v:.4f}" for k, v in losses.items()))
    return resumed or 0


if __name__ == "__main__":
    main()
