#!/usr/bin/env python3
"""Fit the mosaic model: one loading for each gene of all panels together."""

import click

from lloki.support.cli import Run, command


@command("fit_mosaic")
@click.option("--input", required=True, multiple=True, help="A slice; repeatable.")
@click.option("--reference", multiple=True, help="A reference; repeatable.")
@click.option("--output", required=True, help="The model folder to write.")
@click.option("--rank", type=click.IntRange(2), default=40, help="Numbers a cell is embedded by.")
@click.option("--rounds", type=click.IntRange(1), default=25, help="Rounds of regressions.")
@click.option("--ridge", type=click.FloatRange(0, min_open=True), default=0.3)
@click.option("--seed", type=int, default=0, help="Of the references' cells that are kept.")
def main(run: Run, input, reference, output, rank, rounds, ridge, seed) -> None:
    """Fit one factor model to slices and references with different gene panels.

    The data set with the most genes, and cells enough, starts it; all count the same, whatever
    their size.
    """
    from lloki.embedding import mosaic
    from lloki.embedding import reference as known
    from lloki.slices import files

    datasets, references = mosaic.Datasets(), []
    paths = sorted([*input, *reference])
    with run.progress(len(paths) + rounds, "data sets and rounds") as progress:
        for path in paths:
            data = files.read_reference(path)
            datasets.add(path, data.X, data.var_names)
            if path in reference:
                part = known.some(data.X, len(reference), seed)
                references.append((part, data.var_names))
            progress.update()
        model = datasets.fit(rank, rounds, ridge, progress.update)
    start = datasets.names[datasets.order[0]]
    run.report(datasets=len(datasets.names), genes=len(model.genes), rank=model.loadings.shape[1])
    with run.output(output) as temporary:
        temporary.mkdir()
        mosaic.save(model, temporary, rounds=rounds, seed=seed, start=str(start))
        if references:
            known.save(known.embed(model, references), temporary)


if __name__ == "__main__":
    main()
