#!/usr/bin/env python3
"""Train a small scGPT on slices and references at hand, in the official checkpoints' layout."""

import csv
import json
import math
import os
import shutil
from pathlib import Path

import click

from lloki import __version__
from lloki.support.cli import InputError, Run, sha256, stage
from scgpt_embed import ORTHOLOGS, _read_orthologs

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


@stage("pretrain_scgpt")
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
@click.option("--seed", type=int, default=0)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--checkpoint-every", type=click.IntRange(1), default=500,
              help="Steps after which the state is kept, in OUTPUT.partial.")  # fmt: skip
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

    from lloki.embedding.scgpt import pretrain
    from lloki.embedding.scgpt.model import Architecture, Model
    from lloki.support.device import choose_device, device_name

    if options["dim"] % options["heads"]:
        raise InputError(
            "--dim", f"{options['dim']} is no multiple of --heads {options['heads']}", "change one"
        )
    where = choose_device(device)
    paths = sorted(input)
    data, tables = _read(paths, organism, orthologs)
    symbols, matches, matrix = _tokens(data, tables)
    teacher = _load_mosaic(mosaic) if mosaic else _fit_mosaic(paths, data)
    factors = _factors(paths, data, teacher, smoothing)
    loadings = pretrain.symbol_loadings(teacher, [d.var_names for d in data], matches, symbols)
    cells = pretrain.Cells(matrix, np.array([d.n_obs for d in data]), factors)
    torch.manual_seed(options["seed"])
    sizes = Architecture(
        **{name: options.pop(name) for name in ("dim", "layers", "heads", "hidden", "dropout")}
    )
    model = Model(sizes, len(symbols), factors.shape[1])
    pretrain.start_from_loadings(model, loadings, np.random.default_rng(options["seed"]))
    trainer = pretrain.Trainer(cells, model, pretrain.Training(**options), where)
    kept = Kept(run, checkpoint_every, where)
    history = kept.restore(trainer) if resume else []
    facts = dict(datasets=len(paths), cells=len(factors), genes=len(symbols),
                 weights=sum(p.numel() for p in model.parameters()))  # fmt: skip
    told = ", ".join(f"{count} {name}" for name, count in facts.items())
    click.echo(f"pretrain_scgpt: {told} on {device_name(where)}", err=True)
    history = _rows(_train(run, trainer, kept, history))
    run.report(
        samples=sorted({str(d.obs["sample"].iloc[0]) for d in data if "sample" in d.obs}),
        **facts, losses=history[-1], device=device_name(where),
    )  # fmt: skip
    with run.output(output) as temporary:
        temporary.mkdir()
        pretrain.save(model, symbols, trainer.training, temporary)
        with (temporary / "history.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(history[0]))
            writer.writeheader()
            writer.writerows(history)
    kept.remove()


def _read(paths: list[str], organism: str | None, orthologs: str):
    """The data sets, log-normalised, and the table of orthologs of each (empty for human ones)."""
    from lloki.slices import files, genes

    data, tables = [], []
    table = {} if organism == "human" else _read_orthologs(orthologs)
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise InputError("--input", "a file is named more than once", "give it once")
    for path in paths:
        found = files.read_reference(path)
        if genes.ensembl_share(found.var_names) > 0.5:
            raise InputError(
                path, f"its genes are Ensembl ids such as {found.var_names[0]}",
                "put gene symbols into var_names",
            )  # fmt: skip
        species = organism or found.uns.get("lloki", {}).get("prepare_slice", {}).get("organism")
        tables.append({} if species == "human" else table)
        data.append(found)
    return data, tables


def _tokens(data: list, tables: list[dict]):
    """The vocabulary's symbols, how each panel meets them, all cells in their columns."""
    import scipy.sparse as sp

    from lloki.embedding.scgpt import pretrain
    from lloki.slices import genes

    symbols = pretrain.vocabulary([d.var_names for d in data], tables)
    matches = [
        genes.match_vocabulary(d.var_names, symbols, table)
        for d, table in zip(data, tables, strict=True)
    ]
    parts = [
        pretrain.vocabulary_columns(genes.collect_columns(d.X, match), match, symbols)
        for d, match in zip(data, matches, strict=True)
    ]
    return symbols, matches, sp.vstack(parts, format="csr")


def _factors(paths: list[str], data: list, teacher, smoothing: int):
    """What the cells of all data sets are to be recognised by (cells x rank, unit length)."""
    import numpy as np

    from lloki.embedding import mosaic
    from lloki.embedding.scgpt import pretrain

    parts = []
    for path, d in zip(paths, data, strict=True):
        try:
            factors = mosaic.embed(teacher, d.X, d.var_names)
        except ValueError:
            raise InputError(
                path, "the mosaic model knows none of its genes", "fit one without --mosaic"
            ) from None
        parts.append(pretrain.smoothed(factors, smoothing))
    return np.concatenate(parts)


def _load_mosaic(folder: str):
    from lloki.embedding import mosaic

    try:
        return mosaic.load(Path(folder))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            folder, f"not a mosaic model ({error})", "give the folder that fit_mosaic.py wrote"
        ) from None


def _fit_mosaic(paths: list[str], data: list):
    """The model that fit_mosaic.py fits with its defaults."""
    from lloki.embedding import mosaic

    panels, moments = [], []
    for d in data:
        keys, columns = mosaic.gene_columns(d.var_names)
        panels.append(keys)
        moments.append(mosaic.correlations(d.X[:, columns]))
    order = mosaic.starting_order([(d.n_obs, len(p)) for d, p in zip(data, panels, strict=True)])
    try:
        return mosaic.fit([panels[d] for d in order], [moments[d] for d in order])
    except mosaic.UnlinkedError as error:
        raise InputError(
            paths[order[error.place]], "it shares no gene with the other data sets",
            "leave it out, or add a reference that has its genes",
        ) from None  # fmt: skip


class Kept:
    """The state of a training beside its output, for another run to go on from."""

    def __init__(self, run: Run, every: int, device) -> None:
        self.run, self.every = run, every
        self.folder = Path(f"{run.options['output']}.partial")
        self.identity = _identity(run.options, device)

    def restore(self, trainer) -> list[dict]:
        """Put the trainer where the state left it; the history so far (empty without a state)."""
        import torch

        path = self.folder / "state.pt"
        if not path.is_file():
            return []
        try:
            state = torch.load(path, map_location=trainer.device, weights_only=True)
            same = state["identity"] == self.identity
        except Exception as error:
            self.run.warn(f"{path} is damaged ({type(error).__name__}): training starts anew")
            return []
        if not same:
            self.run.warn(f"{path} is of other options or inputs: training starts anew")
            return []
        trainer.set_state(state["trainer"])
        click.echo(f"pretrain_scgpt: goes on after step {trainer.done}", err=True)
        return state["history"]

    def keep(self, trainer, history: list[dict]) -> None:
        """Write the state whole or not at all."""
        import torch

        self.folder.mkdir(exist_ok=True)
        new = self.folder / "state.pt.new"
        torch.save({"identity": self.identity, "trainer": trainer.state(), "history": history}, new)
        os.replace(new, self.folder / "state.pt")

    def remove(self) -> None:
        """Take the state away, when the training is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _identity(options: dict, device) -> str:
    """What decides the result: options, contents of the files, device, versions."""
    import torch

    others = {"input", "output", "mosaic", "orthologs", "device", "checkpoint_every", "resume"}
    files = [*sorted(options["input"]), options["orthologs"], options["mosaic"]]
    given = {name: value for name, value in options.items() if name not in others}
    hashes = [sha256(path) if path else None for path in files]
    return json.dumps([given, hashes, device.type, torch.__version__, __version__], sort_keys=True)


def _train(run: Run, trainer, kept: Kept, history: list[dict]) -> list[dict]:
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
            if trainer.done % kept.every == 0 and trainer.done < steps:
                kept.keep(trainer, history)
    return history


def _rows(history: list[dict]) -> list[dict]:
    """Means of the losses over ROW steps each."""
    rows = []
    for start in range(0, len(history), ROW):
        part = history[start : start + ROW]
        means = {name: sum(row[name] for row in part) / len(part) for name in part[0]}
        rows.append({"step": start + len(part), **{k: round(v, 6) for k, v in means.items()}})
    return rows


if __name__ == "__main__":
    main()
