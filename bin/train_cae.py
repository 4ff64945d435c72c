#!/usr/bin/env python3
"""Train the conditional autoencoder on the embeddings of all slices."""

import math
import os
import shutil
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import click

from lloki.support.cli import Run, command, device_option, seed_option
from lloki.support.errors import InputError

PUBLISHED = {"latent_dim": 128, "lambda_bc": 500.0, "chunk_size": 16000, "pair_neighbors": 40,
             "pair_smoothing": 0, "pair_genes": False, "pair_reference": False,
             "level": 0.0}  # fmt: skip
PRESETS = {  # the published settings of the losses, on pairs as published
    "paper-ovarian": {"lambda_trip": 0.2, **PUBLISHED},
    "release-brain": {"lambda_trip": 2.0, "lr": 5e-3, "epochs": "200", **PUBLISHED},
}


@command("train_cae", presets=PRESETS)
@click.option("--input", required=True, multiple=True, help="SAMPLE.fp.h5ad; repeatable.")
@click.option("--slice", "expression", multiple=True,
              help="SAMPLE.slice.h5ad: genes by which pairs are found; repeatable.")  # fmt: skip
@click.option("--mosaic", help="Folder that fit_mosaic.py wrote: pairs by its reference, too.")
@click.option("--output", required=True, help="The model folder to write.")
@click.option("--latent-dim", type=click.IntRange(1), default=64)
@click.option("--batch-dim", type=click.IntRange(1), default=10, help="Numbers of a batch token.")
@click.option("--lambda-rec", type=click.FloatRange(0), default=1.0, help="Reconstruction.")
@click.option("--lambda-trip", type=click.FloatRange(0), default=10.0, help="Triplets.")
@click.option("--lambda-bc", type=click.FloatRange(0), default=200.0, help="Conservation.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=5e-4)
@click.option("--weight-decay", type=click.FloatRange(0), default=1e-4)
@click.option("--chunk-size", type=click.IntRange(1), default=2000, help="Most cells in a step.")
@click.option("--epochs", default="auto", help="auto: about 600 steps.")
@click.option("--margin", type=click.FloatRange(0), default=1.0, help="Margin of the triplets.")
@click.option("--neighbors", type=click.IntRange(1), default=30, help="Conserved neighbours.")
@click.option(
    "--pair-neighbors", type=click.IntRange(1), default=80, help="k of mutual pairs, at most."
)
@click.option("--pair-smoothing", type=click.IntRange(0), default=30,
              help="Cells averaged before pairs are found.")  # fmt: skip
@click.option("--pair-genes/--no-pair-genes", default=True,
              help="With --slice: pairs by the genes that two panels share, too.")  # fmt: skip
@click.option("--pair-reference/--no-pair-reference", default=True,
              help="With --mosaic: pairs by where cells lie in the reference, too.")  # fmt: skip
@click.option("--level", type=click.FloatRange(0), default=0.5,
              help="A batch starts from a linear map onto its partners, held to the identity by so "
              "many variances; 0: no map.")  # fmt: skip
@click.option("--train-slices", type=click.Choice(["auto", "all"]), default="auto",
              help="auto: above --train-cells the fewest of each batch that hold all its kinds of "
              "cells.")  # fmt: skip
@click.option("--train-cells", type=click.IntRange(2), default=300_000,
              help="Most cells to train on; of more, some of each slice are drawn.")  # fmt: skip
@click.option("--cell-type-key", help="Column of obs: pairs only within a type.")
@click.option("--negatives", type=click.Choice(["random", "hard", "many"]),
              default="random", help="Of triplets: any cell of the slice; the nearest of another "
              "type; many of both slices at once (InfoNCE).")  # fmt: skip
@click.option("--distances", type=click.Choice(["plain", "squared"]), default="plain",
              help="In triplets and conservation.")  # fmt: skip
@click.option("--adapt-from", help="Model folder: of new batches, learn vectors and maps alone.")
@click.option("--checkpoint", help="File to resume a killed training from.  [default: "
              "OUTPUT.checkpoint]")  # fmt: skip
@click.option("--checkpoint-seconds", type=click.FloatRange(0), default=60.0, help="Between two.")
@seed_option
@device_option
def main(
    run: Run, input, expression, mosaic, output, epochs, cell_type_key, negatives, adapt_from,
    checkpoint, checkpoint_seconds, device, **options,
) -> None:  # fmt: skip
    """Train LLOKI-CAE: one latent space for all slices, from their LLOKI-FP embeddings.

    Started by torchrun, its processes share every step.
    """
    if negatives == "hard" and not cell_type_key:
        raise InputError("--negatives hard", "it needs cell types", "give --cell-type-key")
    from lloki.integration import cae, training
    from lloki.integration.levelling import level
    from lloki.slices import samples
    from lloki.support.checkpoint import Checkpoint, identity
    from lloki.support.device import choose_device, device_name

    where = choose_device(device)
    inputs, known_slices, old = sorted(input), set(), None
    if adapt_from:
        inputs, known_slices, old = _new_batches(inputs, adapt_from)
        if not inputs:
            _pass_on(run, output, adapt_from)
            return
    together = int(os.environ.get("WORLD_SIZE", 1)) > 1
    rank = training.join_processes(where) if together else 0
    with tempfile.TemporaryFile(dir=Path(output).parent) as scratch:
        inputs, left = _chosen(run, inputs, options)
        columns = ["technology", "panel", *filter(None, [cell_type_key])]
        data, embedding = samples.read_embeddings(
            inputs, "X_lloki_fp", scratch, columns, old and old.anchors.embedding
        )
        embedder = samples.one_embedder(data)
        tokens = [samples.token(d) for d in data.values()]
        known = 0
        if old:
            batches, known = old.batches + sorted(set(tokens) - set(old.batches)), len(old.batches)
            model = cae.extended(old.model, len(batches))
        else:
            sizes = options["latent_dim"], options["batch_dim"]
            model, batches = cae.new_model(
                tokens, embedding.shape[1], *sizes, options["seed"], options["level"] > 0
            )
        chosen, labels = _training_set(
            run, data, embedding, batches, expression, mosaic, left | known_slices, old,
            cell_type_key, negatives, where, options,
        )  # fmt: skip
        cells = chosen.cells
        if not old and options["level"]:
            others = chosen.between_panels()
            model.start_from(level(cells.embedding, cells.batch, others, options["level"]))
        anchors = len(cells.slice if cells.anchors is None else cells.anchors)
        steps = training.steps_per_epoch(anchors, options["chunk_size"])
        told = {f.name: options[f.name] for f in fields(training.Training) if f.name in options}
        told |= {"epochs": _epochs(epochs) or training.epochs_for(steps), "negatives": negatives}
        settings = training.Training(**told)
        trainer = training.Trainer(cells, chosen.partners, model, settings, where, known)
        left_out = (
            "input", "expression", "mosaic", "output", "checkpoint", "checkpoint_seconds", "device",
        )  # fmt: skip
        files = [*sorted({*input, *expression}), mosaic]
        training_of = identity(run.options, left_out, files)
        kept = Checkpoint(run, checkpoint or f"{output.rstrip('/')}.checkpoint", training_of)
        started = _train(run, trainer, kept, checkpoint_seconds, first=rank == 0)
        training.leave_processes()
        if rank:
            sys.exit()  # the first process writes
        names = [{"technology": t, "panel": p} for t, p in batches]
        run.report(
            samples=list(data), samples_left_out=sorted(left), cells=anchors,
            batches=names, embedder=embedder,
            pairs=len(chosen.partners.cells) // 2,
            cells_in_pairs=int((chosen.partners.counts() > 0).sum()),
            epochs=settings.epochs, epochs_resumed=started, steps=steps * settings.epochs,
            losses=trainer.history[-1], batches_known=known, device=device_name(where),
        )  # fmt: skip
        with run.output(output) as temporary:
            temporary.mkdir()
            lineage = old.lineage if old else []
            notes = {"embedder": embedder, "adapted_from": lineage}
            cae.save(trainer.model, names, trainer.training, temporary, **notes)
            _save_anchors(temporary, chosen, labels, list(data), tokens, old, options["seed"])
            run.write_table(temporary / "history.csv", trainer.history)


class _Old(NamedTuple):
    """A trained model to adapt: its batches, its hash after those of what it was adapted from."""

    model: object
    batches: list[tuple[str, str]]
    lineage: list[str]
    anchors: object


def _new_batches(paths: list[str], folder: str) -> tuple[list[str], set[str], _Old]:
    """Of the files those whose technology and panel the model does not know, and the model.

    Between the two the samples of the other files.
    """
    from lloki.integration import anchors, cae
    from lloki.slices import parts, samples
    from lloki.support.checksum import sha256

    widths = {}

    def look(path: str):
        data, (_, widths[path]) = parts.read_cells(path, "X_lloki_fp")
        return data

    found = samples.by_sample(paths, look, ("technology", "panel"))
    embedder = samples.one_embedder(found)
    model, batches, config = cae.read_model(folder, min(paths), embedder, widths[min(paths)])
    lineage = [*config.get("adapted_from", []), sha256(folder)]
    known = {sample for sample, data in found.items() if samples.token(data) in batches}
    new = [path for path, sample in zip(paths, found, strict=True) if sample not in known]
    return new, known, _Old(model, batches, lineage, anchors.load(folder))


def _pass_on(run: Run, output: str, folder: str) -> None:
    """The model as it is: it knows the technology and panel of every slice."""
    run.report(samples=[], cells=0, epochs=0, steps=0)
    with run.output(output) as temporary:
        shutil.copytree(folder, temporary)


def _save_anchors(folder, chosen, labels, names, tokens, old: _Old | None, seed: int) -> None:
    """Cells of the slices trained on, after those that an adapted model had."""
    from lloki.integration import anchors

    drawn = anchors.draw(chosen.cells.embedding, chosen.views, names, tokens, labels, seed)
    before = old.anchors.slices if old else []
    anchors.save(anchors.Anchors(chosen.axes, [*before, *drawn], chosen.reference), folder)


def _chosen(run: Run, paths: list[str], options: dict) -> tuple[list[str], set[str]]:
    """The files of the slices to train on, and the samples of the others."""
    from lloki.integration import subset
    from lloki.slices import parts, samples

    if options["train_slices"] == "all":
        return paths, set()
    cells, seen = {}, {}

    def look(path: str):
        data, _ = parts.read_cells(path, "X_lloki_fp")
        cells[path] = data.n_obs
        return data

    found = samples.by_sample(paths, look, ("technology", "panel"))
    where = dict(zip(found, paths, strict=True))
    if sum(cells.values()) <= options["train_cells"]:
        return paths, set()
    for sample, path in where.items():
        seen[sample] = samples.some_embeddings(path, "X_lloki_fp", subset.SEEN, options["seed"])
    tokens = {s: samples.token(d) for s, d in found.items()}
    sizes = {sample: cells[path] for sample, path in where.items()}
    profiles = subset.profiles_of(seen, options["seed"])
    chosen = subset.choose_slices(tokens, sizes, profiles, options["train_cells"])
    run.warn(
        f"{sum(sizes.values()):,} cells are more than --train-cells: trained on {len(chosen)} of "
        f"{len(sizes)} slices ({', '.join(chosen)}); --train-slices all takes all"
    )
    return [where[sample] for sample in chosen], set(where) - set(chosen)


def _training_set(
    run: Run, data: dict, embedding, batches: list, expression, mosaic, left: set,
    old: _Old | None, cell_type_key, negatives, where, options: dict,
) -> tuple:  # fmt: skip
    """The cells and their partners in other batches, by their genes too where slices are given.

    By the cells of a reference, too, where the embedder's model has some.

    Of more cells than --train-cells, so many are drawn. left: samples that are not trained on,
    whose slices are passed over. Beside the set its labels, or None.
    """
    import numpy as np

    from lloki.integration import subset, training_set
    from lloki.integration.pairs import Expression
    from lloki.slices import samples
    from lloki.slices.labels import known_labels

    sizes = [d.n_obs for d in data.values()]
    n, rows = sum(sizes), subset.draw_cells(sizes, options["train_cells"], options["seed"])
    genes = [None] * len(data)
    if options["pair_genes"] and expression:
        used = [path for path in expression if samples.read_sample(path) not in left]
        slices = list(samples.expression_of(used, data).values())
        if rows is not None:
            slices = [part[picked] for part, picked in zip(slices, rows, strict=True)]
        genes = [Expression.of(part.X, part.var_names) for part in slices]
    elif options["pair_genes"]:
        run.warn("no --slice: pairs are found by the embeddings alone, less surely")
    labels = None
    if cell_type_key:
        columns = [
            np.array([word or "" for word in known_labels(d.obs[cell_type_key])], dtype=str)
            for d in data.values()
        ]
        labels = np.concatenate([*columns, *_labels_of(old, cell_type_key)])
    if rows is not None:
        starts = np.cumsum([0, *sizes[:-1]])
        picked = [start + r for start, r in zip(starts, rows, strict=True)]
        sizes = [len(r) for r in rows]
        run.warn(f"trained on {sum(sizes):,} of their cells (--train-cells)")
        picked = np.concatenate([*picked, np.arange(n, len(embedding))])
        embedding, labels = embedding[picked], None if labels is None else labels[picked]
    names = "neighbors", "pair_neighbors", "pair_smoothing", "seed"
    found = training_set.assemble(
        embedding, sizes, [batches.index(samples.token(d)) for d in data.values()], genes, labels,
        reference=_reference(mosaic if options["pair_reference"] else None, embedding.shape[1]),
        hard_negatives=negatives == "hard", gpu=where if where.type == "cuda" else None,
        known=old and old.anchors,
        known_batches=[batches.index(part.token) for part in old.anchors.slices] if old else (),
        **{name: options[name] for name in names},
    )  # fmt: skip
    if not len(found.partners.cells):
        run.warn("no mutual nearest neighbours between batches: trained without triplets")
    return found, labels


def _reference(mosaic: str | None, width: int):
    """Embeddings of the reference's cells, where the embedder's model has some; else None."""
    from lloki.embedding import reference

    cells = mosaic and reference.load(mosaic)
    if cells is not None and cells.shape[1] != width:
        fact = f"its cells have {cells.shape[1]} numbers, those of the slices {width}"
        raise InputError(mosaic, fact, "give the model that embedded the slices")
    return None if cells is None or not len(cells) else cells


def _labels_of(old: _Old | None, key: str) -> list:
    """The labels of the cells that a model to adapt has kept, one array or none."""
    labels = old and old.anchors.labels()
    if old and labels is None:
        fact = "it was trained without cell types"
        raise InputError(f"--cell-type-key {key}", fact, "leave it out, or train anew")
    return [labels] if old else []


def _epochs(epochs: str) -> int | None:
    """A number of epochs, or None for 'auto'."""
    if epochs == "auto":
        return None
    if not epochs.isdigit() or int(epochs) < 1:
        raise InputError("--epochs", f"{epochs!r} is no positive number", "give a number or auto")
    return int(epochs)


def _train(run: Run, trainer, kept, seconds: float, first: bool) -> int:
    """All epochs that are left; how many an earlier run had done.

    Stops with an error when a loss is no number any more. The first process renews the checkpoint
    every `seconds`, and takes it away at the end.
    """
    if state := kept.restore():
        trainer.resume(state)
    started, epochs, saved_at = len(trainer.history), trainer.training.epochs, time.monotonic()
    with run.progress(epochs, "epochs") as progress:
        progress.update(started)
        for epoch in range(started + 1, epochs + 1):
            losses = trainer.epoch()
            if not math.isfinite(losses["total"]):
                kept.remove()
                help = "lower --lr or the lambdas"
                raise InputError("training", f"it diverged in epoch {epoch}", help)
            progress.update(note=" ".join(f"{k} {v:.4f}" for k, v in losses.items()))
            if first and epoch < epochs and time.monotonic() - saved_at >= seconds:
                kept.save(trainer.state())
                saved_at = time.monotonic()
    if first:
        kept.remove()
    return started


if __name__ == "__main__":
    main()
