#!/usr/bin/env python3
"""How well LLOKI-FP finds values that were hidden from it, and what simpler means find.

One in ten nonzero entries of a slice is set to zero; everything is computed without them. The
target of a cell is its sparsity in the visible slice, mapped by optimal transport to the
sparsities of the whole slice: about as many values as were hidden are filled in all, but no cell's
own number of hidden ones is known. Every method fills as many entries of a cell as LLOKI-FP does,
those of its largest scores, so that recall (share of the hidden entries that are filled) and
precision (share of the filled entries that were hidden) compare methods at one sparsity. The rest
of the filled entries are zero in the whole slice too, which for a gene that a cell does express
is only a matter of how deep it was measured.

Correlations are between the hidden values (log-normalised) and the scores in their place, over all
hidden entries, and within genes (each gene's means taken away). Rows: LLOKI-FP as the pipeline
runs it (entries that it leaves empty score 0) and without a target, until every gene is filled; its
first step; both again with the symmetric weights of Eq. 1, which do not add up to 1 in a cell; the
plain mean of the same 40 neighbours; gene mean: over the slice; MAGIC with its
defaults.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support import demo  # noqa: E402

HEADS = ("recall", "precision", "Pearson", "Spearman", "within genes")
MAGIC = "magic-impute==3.0.0"  # GPL: a program of its own, never part of this environment


@click.command()
@click.option("--slice", "paths", multiple=True, help="h5ad with counts; repeatable.")
@click.option("--hide", default=0.1, show_default=True, help="Share of the nonzero entries.")
@click.option("--repeats", default=3, show_default=True, help="Draws of the hidden entries.")
@click.option("--more", is_flag=True, help="Also other widths and numbers of neighbours.")
@click.option("--magic", "folder", help="Environment for MAGIC; made there if it is missing.")
def main(paths, hide, repeats, more, folder) -> None:
    """Print a row for each slice and method: means over the repeats."""
    paths = paths or demo.slices()
    print(f"{'':32}" + "".join(f"{head:>14}" for head in HEADS))
    noise, table = np.zeros(len(HEADS)), {}
    for path in paths:
        counts, places = read(path)
        repeated = [one(counts, places, hide, seed, more, folder) for seed in range(repeats)]
        print(f"{Path(path).stem}: {counts.shape[0]} cells, {counts.shape[1]} genes, hidden "
              f"{repeated[0].pop('hidden')}, filled {repeated[0].pop('filled')}")  # fmt: skip
        for method in repeated[0]:
            values = np.array([result[method] for result in repeated])
            noise = np.fmax(noise, values.std(axis=0))
            table.setdefault(method, []).append(values.mean(axis=0))
            print_row(method, table[method][-1])
    print(f"mean of {len(paths)} slices")
    for method, values in table.items():
        print_row(method, np.mean(values, axis=0))
    if not folder:
        print("MAGIC: not run (--magic FOLDER)")
    spread = [f"{head} {value:.3f}" for head, value in zip(HEADS, noise, strict=True)]
    print("largest standard deviation over the repeats: " + ", ".join(spread))


def print_row(method, values):
    print(f"  {method:30}" + "".join(f"{value:>14.3f}" for value in values), flush=True)


def read(path):
    """Counts of the cells that have any, and their coordinates."""
    from lloki.slices import evidence, files

    data = files.read_expression(path, spatial=True)
    if evidence.of(data.X).kind != "counts":
        raise click.UsageError(f"{path}: not counts")
    filled = np.diff(data.X.indptr) > 0
    return data.X[filled], data.obsm["spatial"][filled]


def one(counts, places, hide, seed, more, folder) -> dict:
    """The figures of HEADS for every method, on one draw of hidden entries."""
    from support import steps

    from lloki.propagation import sparsity
    from lloki.slices import files

    visible = without(counts, hide, seed)
    expression = files.log_normalise(visible)
    hidden = (counts - visible).toarray() > 0
    truth = files.log_normalise(counts).toarray()[hidden]
    most = steps.limits(expression, sparsity.sparsity(counts))
    weights = steps.build(expression, places)
    symmetric = steps.build(expression, places, symmetric=True)
    observed = expression.toarray()
    ours = steps.impute(expression, weights, most).toarray()
    spare = (ours > 0).sum(axis=1) - (observed > 0).sum(axis=1)

    def one_step(**options):
        return steps.build(expression, places, **options) @ expression

    scores = {
        "LLOKI-FP": ours,
        "LLOKI-FP without target": steps.impute(expression, weights),
        "no target, symmetric weights": steps.impute(expression, symmetric),
        "one step": weights @ expression,
        "one step, symmetric weights": symmetric @ expression,
        "mean of 40 neighbours": neighbour_mean(expression, 40),
    }
    if more:
        for sigma in (0.1, 0.3, 1e6):
            scores[f"one step, sigma x {sigma:g}"] = one_step(sigma=sigma)
        for k in (10, 20, 80):
            scores[f"one step, k {k}"] = one_step(k=k)
            scores[f"  k {k}, symmetric weights"] = one_step(k=k, symmetric=True)
            scores[f"mean of {k} neighbours"] = neighbour_mean(expression, k)
    if folder:
        scores["MAGIC"] = magic(observed, Path(folder))
    scores["gene mean"] = np.broadcast_to(observed.mean(axis=0), observed.shape)
    scores["chance"] = np.random.default_rng(seed).random(observed.shape)
    found = {"hidden": int(hidden.sum()), "filled": int(spare.sum())}
    genes = np.nonzero(hidden)[1]
    for method, score in scores.items():
        score = score.toarray() if hasattr(score, "toarray") else score
        found[method] = figures(score, observed > 0, hidden, spare, truth, genes)
    return found


def without(counts, hide, seed):
    """The counts without a random share of their entries; every cell keeps one at least."""
    rng, visible = np.random.default_rng(seed), counts.copy()
    lots = rng.random(visible.nnz)
    starts = visible.indptr[:-1]
    rows = np.repeat(np.arange(len(starts)), np.diff(visible.indptr))
    lots[lots == np.maximum.reduceat(lots, starts)[rows]] = 1
    visible.data[lots < hide] = 0
    visible.eliminate_zeros()
    return visible


def neighbour_mean(expression, k):
    from support import steps

    near = steps.neighbours(expression, k)
    return sum(expression[column] for column in near.T) / near.shape[1]


def figures(score, seen, hidden, spare, truth, genes):
    """The figures of HEADS for a matrix of scores: n × G."""
    from scipy.stats import spearmanr

    order = np.argsort(np.where(seen, np.inf, -score), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(score.shape[1])[None, :], axis=1)
    hits = (hidden & (rank < spare[:, None])).sum()
    values = score[hidden]
    return (hits / hidden.sum(), hits / spare.sum(), pearson(values, truth),
            spearmanr(values, truth).statistic,
            pearson(centred(values, genes), centred(truth, genes)))  # fmt: skip


def pearson(first, second):
    if first.std() < 1e-6 or second.std() < 1e-6:  # such as gene means within genes
        return np.nan
    return np.corrcoef(first, second)[0, 1]


def centred(values, genes):
    counts = np.maximum(np.bincount(genes), 1)
    return values - (np.bincount(genes, values) / counts)[genes]


def magic(expression, folder: Path):
    """Scores of MAGIC, which runs as a program of an environment of its own."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = ROOT / ".venv" / "share" / "uv" / "bin" / "uv"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, MAGIC], check=True)
    with tempfile.TemporaryDirectory() as work:
        given, got = Path(work) / "expression.npy", Path(work) / "scores.npy"
        np.save(given, expression)
        script = Path(__file__).parent / "support" / "run_magic.py"
        subprocess.run([python, script, given, got], check=True)
        return np.load(got)


if __name__ == "__main__":
    main()
