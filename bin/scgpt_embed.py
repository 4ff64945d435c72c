#!/usr/bin/env python3
"""Embed cells with a scGPT checkpoint in its official layout."""

from pathlib import Path

import click

from lloki.support.cli import Run, command, device_option
from lloki.support.errors import InputError

ORTHOLOGS = Path(__file__).resolve().parent.parent / "assets" / "orthologs.csv.gz"


class BatchSize(click.ParamType):
    """A number of cells, or 'auto'."""

    name = "N|auto"

    def convert(self, value, param, ctx):
        """None for 'auto', else the number."""
        if value == "auto":
            return None
        return click.IntRange(1).convert(value, param, ctx)


@command("scgpt_embed")
@click.option("--input", required=True, help="The slice to embed: SAMPLE.denoised.h5ad.")
@click.option("--checkpoint", required=True, help="Folder: args.json, vocab.json, best_model.pt.")
@click.option("--output", required=True, help="The embedding to write: SAMPLE.fp.h5ad.")
@click.option("--batch-size", type=BatchSize(), default="auto", help="Most cells a batch.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    help="Arithmetic; auto is bf16 on a GPU and fp32 on a CPU.",
)
@device_option
@click.option(
    "--backend",
    type=click.Choice(["lloki", "reference"]),
    default="lloki",
    help="Program: this one, or the package scgpt (in its own arithmetic), to compare with.",
)
@click.option(
    "--organism",
    type=click.Choice(["human", "mouse"]),
    help="Species of the gene names.  [default: as the slice was prepared]",
)
@click.option("--orthologs", default=str(ORTHOLOGS), help="Table of mouse and human symbols.")
@click.option(
    "--max-length",
    type=click.IntRange(2),
    default=1200,
    help="Most tokens a cell; of more genes a random choice is kept.",
)
@click.option(
    "--min-genes-share",
    type=click.FloatRange(0, 1),
    default=0.2,
    help="Least share of the panel that the vocabulary has to hold.",
)
@click.option("--min-genes", type=click.IntRange(1), default=10, help="Least number of its genes.")
@click.option(
    "--empty-cells",
    type=click.Choice(["error", "zero"]),
    default="error",
    help="Cells without a gene to embed: stop, or write zeros and flag them in obs.",
)
@click.option(
    "--ties",
    type=click.Choice(["cell", "random"]),
    default="cell",
    help="Bins of tied values: by seed and cell alone, or by one stream of draws over the cells in "
    "their order, as the package scgpt has it.",
)
@click.option(
    "--sampling",
    type=click.Choice(["cell", "random"]),
    default="cell",
    help="The same for genes beyond --max-length.",
)
@click.option("--seed", type=int, default=0, help="For bins of tied values and --max-length.")
def main(
    run: Run, input, checkpoint, output, precision, device, backend, organism, orthologs,
    min_genes_share, min_genes, empty_cells, **options,
) -> None:  # fmt: skip
    """Embed each cell of a slice with scGPT: obsm['X_lloki_fp'], rows of unit length."""
    import numpy as np

    from lloki.embedding.scgpt.checkpoint import read_checkpoint
    from lloki.slices import files, genes
    from lloki.support.device import choose_device, device_name

    where = choose_device(device)
    if precision == "auto":
        precision = "bf16" if where.type == "cuda" else "fp32"
    if backend == "reference":
        precision = "fp16" if where.type == "cuda" else "fp32"  # as the package has it
    data = files.read_expression(input)
    sample = files.sample_name(data, input)
    if organism is None:
        organism = data.uns.get("lloki", {}).get("prepare_slice", {}).get("organism")
    model = read_checkpoint(checkpoint)
    table = {} if organism == "human" else genes.read_orthologs(orthologs)
    match = _match(run, data, model.vocabulary, table, min_genes, min_genes_share)
    matrix = genes.collect_columns(data.X, match)
    filled = _filled(run, data, matrix, empty_cells)
    _warn_of_merged(run, data, match)

    click.echo(f"scgpt_embed: {sample} on {device_name(where)}, {precision}", err=True)
    names = data.obs_names[filled]
    vectors = np.zeros((data.n_obs, model.dim), dtype=np.float32)
    if backend == "reference":
        from lloki.embedding.scgpt.reference import embed_by_package

        vectors[filled] = embed_by_package(
            matrix[filled], match.found, checkpoint, where,
            **{key: options[key] for key in ("max_length", "batch_size", "seed")},
        )  # fmt: skip
    else:
        parts = _embed(run, model, match, matrix[filled], names, where, precision, options)
        for rows, part in parts:
            vectors[filled[rows]] = part
    result = files.without_expression(data)
    result.obsm["X_lloki_fp"] = vectors
    if len(filled) < data.n_obs:
        result.obs["lloki_empty"] = ~np.isin(np.arange(data.n_obs), filled)
    common = dict(
        embedder="scgpt", checkpoint=Path(checkpoint).resolve().name,
        checkpoint_sha256=model.sha256, dim=model.dim, backend=backend,
        organism=organism, genes=data.n_vars, genes_found=len(match.found),
        **{f"genes_{rule}": match.count(rule) for rule in ("exact", "ortholog", "case")},
        precision=precision,
    )  # fmt: skip
    missing = data.var_names[[symbol is None for symbol in match.symbols]].tolist()
    files.record(
        result, "embedding", **common, genes_missing=missing,
        **{key: options[key] for key in ("max_length", "seed", "ties", "sampling")},
    )  # fmt: skip
    tokens = np.minimum(np.diff(matrix.indptr)[filled] + 1, options["max_length"])
    run.report(
        sample=sample, **common, share=match.share, cells=data.n_obs,
        cells_empty=data.n_obs - len(filled), tokens_median=float(np.median(tokens)),
        tokens_max=int(tokens.max()), device=device_name(where),
    )  # fmt: skip
    with run.output(output) as temporary:
        files.write_h5ad(result, temporary)


def _embed(run: Run, model, match, matrix, names, where, precision: str, options: dict):
    """Rows and their vectors, batch by batch, with progress."""
    import torch

    from lloki.embedding.scgpt.encoder import Encoder, embed

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    encoder = Encoder(model, match.found, where, dtype)
    with run.progress(len(names), "cells embedded") as progress:
        for rows, part in embed(encoder, matrix, names, **options):
            yield rows, part
            progress.update(len(rows))


def _match(run: Run, data, vocabulary, table, min_genes: int, min_share: float):
    """The panel's genes in the vocabulary; InputError if they are too few to tell cells apart."""
    from lloki.slices import genes

    path = run.options["input"]
    genes.check_symbols(data.var_names, path)
    match = genes.match_vocabulary(data.var_names, vocabulary, table)
    if len(match.found) < min_genes or match.share < min_share:
        raise InputError(
            path, f"the checkpoint knows {len(match.found)} of its {data.n_vars} genes",
            "check species and gene names, or lower --min-genes-share or --min-genes",
        )  # fmt: skip
    return match


def _warn_of_merged(run: Run, data, match) -> None:
    merged = [f"{s}: {', '.join(data.var_names[i])}" for s, i in match.merged.items()]
    if merged:
        listed = "; ".join(merged[:5]) + ("; ..." if len(merged) > 5 else "")
        run.warn(f"columns that share a gene of the vocabulary were added up ({listed})")


def _filled(run: Run, data, matrix, empty_cells: str):
    """Rows of the cells that express a gene of the vocabulary."""
    import numpy as np

    counts = np.diff(matrix.indptr)
    empty = data.obs_names[counts == 0]
    if len(empty) and (empty_cells == "error" or len(empty) == data.n_obs):
        names = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise InputError(
            run.options["input"], f"{len(empty)} cells express no gene of the vocabulary ({names})",
            "drop them, or use --empty-cells zero" if len(empty) < data.n_obs else "drop them",
        )  # fmt: skip
    if len(empty):
        run.warn(f"{len(empty)} cells express no gene of the vocabulary: their vectors are zero")
    return np.flatnonzero(counts)


if __name__ == "__main__":
    main()
