#!/usr/bin/env python3
"""Train a small scGPT on slices and references at hand, in the official checkpoints' layout."""

import math
from pathlib import Path

import click

from lloki.support.cli import Run, command, device_option, seed_option
from lloki.support.errors import InputError
from scgpt_embed import ORTHOLOGS

ROW = 50  # steps that share a row of history.csv


class Shares(click.ParamType):
    """Two numbers from 0 to 1, the smaller one first: '0.3-1'."""

    name = "LEAST-MOST"

    def convert(self, value, param, ctx):
        """The two numbers."""
        if isinstance(value, tuple):
            return value
        try:
            least, most = (float(part) for part in value.split("-"))
        except ValueError:
            self.fail(f"{value!r} is not of the form 0.3-1", param, ctx)
        if not 0 <= least <= most <= 1:
            self.fail(f"{value!r} are not two rising numbers from 0 to 1", param, ctx)
        return least, most


@command("pretrain_scgpt")
@click.option("--input", required=True, multiple=True, help="A slice or a reference; repeatable.")
@click.option("--output", required=True, help="The checkpoint folder to write.")
@click.option("--mosaic", help="Folder of a mosaic model to learn from.  [default: one fitted now]")
@click.option("--smoothing", type=click.IntRange(0), default=15,
              help="Cells over which the factors to learn are averaged.")  # fmt: skip
@click.option("--organism", type=click.Choice(["human", "mouse"]),
              help="Species of the gene names.  [default: as each slice was prepared]")  # fmt: skip
@click.option("--orthologs", default=str(ORTHOLOGS), help="Table of mouse and human symbols.")
@click.option("--dim", type=click.IntRange(2), default=128, help="Numbers a token has (embsize).")
@click.option("--layers", type=click.IntRange(1), default=3)
@click.option("--heads", type=click.IntRange(1), default=4)
@click.option("--hidden", type=click.IntRange(1), default=256, help="Width between (d_hid).")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0)
@click.option("--steps", type=click.IntRange(1), default=4000, help="Steps of the optimizer.")
@click.option("--batch-size", type=click.IntRange(2), default=64, help="Cells a step.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=2e-3)
@click.option("--warmup", type=click.IntRange(0), default=100, help="Steps of a rising rate.")
@click.option("--mask-ratio", type=click.FloatRange(0, 1, max_open=True), default=0.15)
@click.option("--genes-kept", type=Shares(), default="0.5-1",
              help="Least and largest share of a cell's genes that is seen.")  # fmt: skip
@click.option("--max-length", type=click.IntRange(2), default=256, help="Most tokens a cell.")
@click.option("--weight-state", type=click.FloatRange(0), default=1.0, help="Factors from <cls>.")
@click.option("--weight-similarity", type=click.FloatRange(0), default=1.0,
              help="Similarities of cells.")  # fmt: skip
@click.option("--weight-masked", type=click.FloatRange(0), default=0.0,
              help="Masked values from their tokens.")  # fmt: skip
@click.option("--weight-mvc", type=click.FloatRange(0), default=0.0,
              help="Masked values from <cls>.")  # fmt: skip
@click.option("--weight-agreement", type=click.FloatRange(0), default=0.0,
              help="Agreement of disjoint sets of genes.")  # fmt: skip
@seed_option
@device_option
@click.option("--checkpoint-every", type=click.IntRange(1), default=500,
              help="Steps after which the state is kept, in OUTPUT.checkpoint.")  # fmt: skip
@click.option("--resume/--no-resume", default=True, help="Go on from a state that is there.")
def main(
    run: Run, input, output, mosaic, smoothing, organism, orthologs, device, checkpoint_every,
    resume, **options,
) -> None:  # fmt: skip
    """Train scGPT's architecture so that <cls> tells a cell's state whatever its panel.

    What it learns from is the mosaic model of all inputs; data sets count the same, whatever their
    size. The checkpoint is one that scgpt_embed.py and the package scgpt read.
    """
    import numpy as np
    import torch

    from lloki.embedding.mosaic import load
    from lloki.embedding.scgpt import pretrain, training_set
    from lloki.embedding.scgpt.model import Architecture, Model
    from lloki.support.checkpoint import Checkpoint, identity
    from lloki.support.device import choose_device, device_name

    if options["dim"] % options["heads"]:
        raise InputError(
            "--dim", f"{options['dim']} is no multiple of --heads {options['heads']}", "change one"
        )
    where = choose_device(device)
    paths = sorted(input)
    data, tables = _read(paths, organism, orthologs)
    symbols, matches, matrix = _tokens(data, tables)
    teacher = load(mosaic) if mosaic else _fit_mosaic(paths, data)
    factors = _factors(paths, data, teacher, smoothing)
    loadings = training_set.symbol_loadings(teacher, [d.var_names for d in data], matches, symbols)
    cells = training_set.Cells(matrix, np.array([d.n_obs for d in data]), factors)
    torch.manual_seed(options["seed"])
    sizes = Architecture(
        **{name: options.pop(name) for name in ("dim", "layers", "heads", "hidden", "dropout")}
    )
    model = Model(sizes, len(symbols), factors.shape[1])
    pretrain.start_from_loadings(model, loadings, np.random.default_rng(options["seed"]))
    trainer = pretrain.Trainer(cells, model, pretrain.Training(**options), where)
    left_out = "input", "output", "mosaic", "orthologs", "device", "checkpoint_every", "resume"
    training_of = identity(
        run.options, left_out, [*paths, orthologs, mosaic], where.type, torch.__version__
    )
    kept = Checkpoint(run, f"{output.rstrip('/')}.checkpoint", training_of)
    history = []
    if resume and (state := kept.restore()):
        trainer.resume(state["trainer"])
        history = state["history"]
        click.echo(f"pretrain_scgpt: goes on after step {trainer.done}", err=True)
    facts = dict(datasets=len(paths), cells=len(factors), genes=len(symbols),
                 weights=sum(p.numel() for p in model.parameters()))  # fmt: skip
    told = ", ".join(f"{count} {name}" for name, count in facts.items())
    click.echo(f"pretrain_scgpt: {told} on {device_name(where)}", err=True)
    history = _rows(_train(run, trainer, kept, checkpoint_every, history))
    run.report(
        samples=sorted({str(d.obs["sample"].iloc[0]) for d in data if "sample" in d.obs}),
        **facts, losses=history[-1], device=device_name(where),
    )  # fmt: skip
    with run.output(output) as temporary:
        temporary.mkdir()
        pretrain.save(model, symbols, trainer.training, temporary)
        run.write_table(temporary / "history.csv", history)
    kept.remove()


def _read(paths: list[str], organism: str | None, orthologs: str):
    """The data sets, log-normalised, and the table of orthologs of each (empty for human ones)."""
    from lloki.slices import files, genes

    data, tables = [], []
    table = {} if organism == "human" else genes.read_orthologs(orthologs)
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise InputError("--input", "a file is named more than once", "give it once")
    for path in paths:
        found = files.read_reference(path)
        genes.check_symbols(found.var_names, path)
        species = organism or found.uns.get("lloki", {}).get("prepare_slice", {}).get("organism")
        tables.append({} if species == "human" else table)
        data.append(found)
    return data, tables


def _tokens(data: list, tables: list[dict]):
    """The vocabulary's symbols, how each panel meets them, all cells in their columns."""
    import scipy.sparse as sp

    from lloki.embedding.scgpt import training_set
    from lloki.slices import genes

    symbols = training_set.vocabulary([d.var_names for d in data], tables)
    matches = [
        genes.match_vocabulary(d.var_names, symbols, table)
        for d, table in zip(data, tables, strict=True)
    ]
    parts = [
        training_set.vocabulary_columns(genes.collect_columns(d.X, match), match, symbols)
        for d, match in zip(data, matches, strict=True)
    ]
    return symbols, matches, sp.vstack(parts, format="csr")


def _factors(paths: list[str], data: list, teacher, smoothing: int):
    """What the cells of all data sets are to be recognised by (cells x rank, unit length)."""
    import numpy as np

    from lloki.embedding import mosaic
    from lloki.embedding.scgpt import training_set

    parts = []
    for path, d in zip(paths, data, strict=True):
        try:
            factors = mosaic.embed(teacher, d.X, d.var_names)
        except ValueError:
            raise InputError(
                path, "the mosaic model knows none of its genes", "fit one without --mosaic"
            ) from None
        parts.append(training_set.smoothed(factors, smoothing))
    return np.concatenate(parts)


def _fit_mosaic(paths: list[str], data: list):
    """The model that fit_mosaic.py fits with its defaults."""
    from lloki.embedding import mosaic

    datasets = mosaic.Datasets()
    for path, d in zip(paths, data, strict=True):
        datasets.add(path, d.X, d.var_names)
    return datasets.fit()


def _train(run: Run, trainer, kept, every: int, history: list[dict]) -> list[dict]:
    """The steps that are left; a row for every step's losses, gathered in history.csv."""
    steps = trainer.training.steps
    with run.progress(steps, "steps") as progress:
        progress.update(trainer.done)
        while trainer.done < steps:
            losses = trainer.step()
            if not math.isfinite(losses["total"]):
                raise InputError("training", f"it diverged in step {trainer.done}", "lower --lr")
            history.append(losses)
            progress.update(note=" ".join(f"{k} {v:.4f}" for k, v in losses.items()))
            if trainer.done % every == 0 and trainer.done < steps:
                kept.save({"trainer": trainer.state(), "history": history})
    return history


def _rows(history: list[dict]) -> list[dict]:
    """Means of the losses over ROW steps each."""
    rows = []
    for start in range(0, len(history), ROW):
        part = history[start : start + ROW]
        means = {name: sum(row[name] for row in part) / len(part) for name in part[0]}
        rows.append({"step": start + len(part), **means})
    return rows


if __name__ == "__main__":
    main()
