#!/usr/bin/env python3
"""Train the conditional autoencoder on the embeddings of all slices."""

import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import click

from lloki.support.cli import InputError, Run, sha256, stage

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
@click.option("--negatives", type=click.Choice(["random", "hard"]), default="random",
              help="Of triplets: any cell of the slice; the nearest of another type.")  # fmt: skip
@click.option("--distances", type=click.Choice(["plain", "squared"]), default="plain",
              help="In triplets and conservation.")  # fmt: skip
@click.option("--adapt-from", help="Model folder: learn only the vectors of batches new to it; "
              "slices that it knows are anchors.")  # fmt: skip
@click.option("--adapt-lr", type=click.FloatRange(0, min_open=True), default=0.01,
              help="With --adapt-from, instead of --lr.")  # fmt: skip
@click.option("--checkpoint", help="File to resume a killed training from.  [default: "
              "OUTPUT.checkpoint]")  # fmt: skip
@click.option("--checkpoint-seconds", type=click.FloatRange(0), default=60.0, help="Between two.")
@click.option("--seed", type=int, default=0)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(
    run: Run, input, expression, output, epochs, cell_type_key, negatives, adapt_from, checkpoint,
    checkpoint_seconds, device, **options,
) -> None:  # fmt: skip
    """Train LLOKI-CAE: one latent space for all slices, from their LLOKI-FP embeddings.

    Started by torchrun, its processes share every step.
    """
    if negatives == "hard" and not cell_type_key:
        raise InputError("--negatives hard", "it needs cell types", "give --cell-type-key")
    import numpy as np

    from lloki.integration import training
    from lloki.support.device import choose_device, device_name

    where = choose_device(device)
    together = int(os.environ.get("WORLD_SIZE", 1)) > 1
    rank = training.join_processes(where) if together else 0
    with tempfile.TemporaryFile(dir=Path(output).parent) as scratch:
        data, embedder, embedding = _read(sorted(input), cell_type_key, scratch)
        tokens = [tuple(str(d.obs[c].iloc[0]) for c in ("technology", "panel")) for d in data]
        source = min(input), embedder, embedding.shape[1]
        model, batches, known = _model(adapt_from, source, tokens, options)
        cells, partners = _neighbours(
            run, data, embedding, tokens, expression, cell_type_key, negatives, options
        )
        cells.batch = np.array([batches.index(t) for t in tokens], dtype=np.int32)[cells.slice]
        if adapt_from:
            cells.anchors = np.flatnonzero(cells.batch >= known)
        settings, steps = _settings(cells, epochs, options)
        trainer = training.Trainer(cells, partners, model, settings, where, known)
        inputs = [sha256(path) for path in sorted({*input, *expression})]
        started = _train(
            run, trainer, Path(checkpoint or f"{output.rstrip('/')}.checkpoint"),
            checkpoint_seconds, rank, {**run.options, "input": inputs, "expression": []},
        )  # fmt: skip
    training.leave_processes()
    if rank:
        sys.exit()  # the first process writes
    names = [{"technology": t, "panel": p} for t, p in batches]
    run.report(
        samples=[str(d.obs["sample"].iloc[0]) for d in data], cells=len(cells.slice),
        batches=names, embedder=embedder, pairs=len(partners.cells) // 2,
        cells_in_pairs=int((partners.counts() > 0).sum()), epochs=settings.epochs,
        epochs_resumed=started, steps=steps, losses=trainer.history[-1], batches_known=known,
        device=device_name(where),
    )  # fmt: skip
    _write(run, output, trainer, names, embedder)


def _model(adapt_from: str | None, source: tuple, tokens: list, options: dict) -> tuple:
    """The model to train, all batches, and how many of them it knows.

    `source`: a file with embeddings, what made them, and their width.
    """
    import torch

    from lloki.integration import cae

    torch.manual_seed(options["seed"])
    if not adapt_from:
        batches = sorted(set(tokens))
        sizes = source[2], options["latent_dim"], options["batch_dim"], len(batches)
        return cae.ConditionalAutoencoder(cae.Architecture(*sizes)), batches, 0
    model, known = cae.read_model(adapt_from, *source)
    batches = known + sorted(set(tokens) - set(known))
    if len(batches) == len(known):
        fact = "it knows the technology and panel of every slice given"
        raise InputError(adapt_from, fact, "use infer_cae.py, or add the new slices")
    return cae.extended(model, len(batches)), batches, len(known)


def _settings(cells, epochs: str, options: dict) -> tuple:
    """What the training is told, and its number of steps."""
    from lloki.integration import training

    seen = len(cells.slice) if cells.anchors is None else len(cells.anchors)
    steps = training.steps_per_epoch(seen, options["chunk_size"])
    names = ("lambda_rec", "lambda_trip", "lambda_bc", "lr", "weight_decay", "chunk_size",
             "margin", "seed", "distances")  # fmt: skip
    told = {name: options[name] for name in names}
    if cells.anchors is not None:
        told["lr"] = options["adapt_lr"]
    settings = training.Training(**told, epochs=_epochs(epochs, steps))
    return settings, steps * settings.epochs


def _write(run: Run, output: str, trainer, names: list, embedder: str) -> None:
    """The model and the losses of every epoch."""
    from lloki.integration import cae

    history = trainer.history
    with run.output(output) as temporary:
        temporary.mkdir()
        cae.save(trainer.model, names, trainer.training, temporary, embedder=embedder)
        with (temporary / "history.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(history[0]))
            writer.writeheader()
            writer.writerows(
                {"epoch": r["epoch"], **{k: round(v, 6) for k, v in r.items() if k != "epoch"}}
                for r in history
            )


def _neighbours(
    run, data, embedding, tokens, expression, cell_type_key, negatives, options
):  # fmt: skip
    """The cells with their neighbours in the own slice, and their partners in other batches."""
    import numpy as np

    from lloki.integration import pairs
    from lloki.integration.training import Cells

    slices = np.repeat(np.arange(len(data), dtype=np.int32), [d.n_obs for d in data])
    space = pairs.search_space(embedding)
    most = max(options["neighbors"], options["pair_smoothing"])
    near = pairs.own_neighbors(space, slices, most, options["seed"])
    hard = labels = None
    if cell_type_key:
        labels = np.concatenate([d.obs[cell_type_key].astype(str).to_numpy(str) for d in data])
        if negatives == "hard":
            hard = pairs.hard_negatives(space, slices, labels)
    genes = _expression(run, expression, data) if options["pair_genes"] else [None] * len(data)
    views = []
    for s, known in enumerate(genes):
        rows = np.flatnonzero(slices == s)
        smoothed = near[rows, : options["pair_smoothing"]] - rows[0]
        views.append(pairs.view(space[rows], rows, smoothed, known))
    del space, genes
    partners = pairs.find_partners(views, tokens, options["pair_neighbors"])
    if labels is not None:
        partners = partners.within(labels)
    if not len(partners.cells):
        run.warn("no mutual nearest neighbours between batches: trained without triplets")
    near = np.ascontiguousarray(near[:, : options["neighbors"]])
    return Cells(embedding, slices, slices, near, hard), partners


def _read(paths: list[str], cell_type_key: str | None, scratch) -> tuple[list, str, object]:
    """The slices, checked to be of one kind, without their embeddings; what made those; all.

    The embeddings go into `scratch`, block by block, and come back as a memory map.
    """
    import numpy as np

    from lloki.slices import files

    data, seen, embedders, width = [], {}, set(), None
    for path in paths:
        d, shape = files.read_cells(path, "X_lloki_fp")
        sample = files.sample_name(d, path)
        if sample in seen:
            raise InputError(path, f"sample {sample!r} is also in {seen[sample]}", "give it once")
        seen[sample] = path
        missing = {"technology", "panel", *filter(None, [cell_type_key])} - set(d.obs)
        if missing:
            raise InputError(path, f"obs has no column {min(missing)!r}", "see prepare_slice.py")
        width = width or shape[1]
        if shape[1] != width:
            raise InputError(
                path, f"its embedding has {shape[1]} numbers, that of {paths[0]} has {width}",
                "embed all slices with one model",
            )  # fmt: skip
        for block in files.embedding_blocks(path, "X_lloki_fp"):
            block.tofile(scratch)
        embedders.add(files.embedder(d))
        data.append(d)
    if len(embedders) > 1:
        listed = ", ".join(sorted(embedders))
        raise InputError(paths[0], f"embedders differ among the slices: {listed}", "use one")
    scratch.flush()
    shape = sum(d.n_obs for d in data), width
    return data, embedders.pop(), np.memmap(scratch, np.float32, "r", shape=shape)


def _expression(run: Run, paths: list[str], data: list) -> list:
    """Genes of each slice of `data`, None for all where no slice is given."""
    from lloki.integration.pairs import Expression
    from lloki.slices import files

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


def _train(
    run: Run, trainer, checkpoint: Path, seconds: float, rank: int, told: dict
) -> int:  # fmt: skip
    """All epochs that are left; how many an earlier run had done.

    Stops with an error when a loss is no number any more. A checkpoint of the same inputs and
    options (`told`) is taken up; it is renewed every `seconds` and removed at the end.
    """
    import math

    import torch

    def key(options: dict) -> str:
        left_out = ("output", "checkpoint", "checkpoint_seconds", "device")
        return json.dumps({k: v for k, v in options.items() if k not in left_out}, sort_keys=True)

    told = key(told)
    if checkpoint.is_file():
        try:
            saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
            if saved["told"] == told:
                trainer.resume(saved)
            else:
                run.warn(f"{checkpoint}: of another training, not resumed")
        except Exception:  # a damaged pickle may raise anything
            run.warn(f"{checkpoint}: not a checkpoint, not resumed")
    started, epochs, saved_at = len(trainer.history), trainer.training.epochs, time.monotonic()
    with run.progress(epochs, "epochs") as progress:
        progress.update(started)
        for epoch in range(started + 1, epochs + 1):
            losses = trainer.epoch()
            if not math.isfinite(losses["total"]):
                checkpoint.unlink(missing_ok=True)
                help = "lower --lr (or --adapt-lr) or the lambdas"
                raise InputError("training", f"it diverged in epoch {epoch}", help)
            progress.update(note=" ".join(f"{k} {v:.4f}" for k, v in losses.items()))
            if not rank and epoch < epochs and time.monotonic() - saved_at >= seconds:
                with run.output(checkpoint) as temporary:
                    torch.save({"told": told, **trainer.state()}, temporary)
                saved_at = time.monotonic()
    if not rank:
        checkpoint.unlink(missing_ok=True)
    return started


if __name__ == "__main__":
    main()
