#!/usr/bin/env python3
"""LLOKI against other methods on labelled slices of several technologies, with several seeds.

Every slice goes through preparation, LLOKI-FP and the mosaic embedding in memory with the defaults
of the scripts; the autoencoder is trained with each seed. Prints scib-metrics' eight, the two
aggregates, label transfer between batches, iLISI and BRAS (mean and standard deviation over seeds).
A batch is a technology with its panel. The labels are never shown to a method. Other methods get
the genes that all slices share, LLOKI-FP, or whole panels and the references; each runs as a
program in the environment that `make baselines` made for it. With several references a slice takes
its targets from the one with which it shares most genes, and the embedding is fitted to all.
Without arguments it takes the slices of the demo.
"""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support import demo, guided  # noqa: E402


@click.command()
@click.option("--slice", "paths", multiple=True, help="Labelled h5ad with counts and, in uns, its "
              "technology; repeatable.")  # fmt: skip
@click.option("--reference", "references", multiple=True, help="scRNA-seq h5ad; repeatable.  "
              "[default: the demo's]")  # fmt: skip
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--ignore-label", default="Other", show_default=True, help="A label of no type.")
@click.option("--batch", type=click.Choice(["panel", "sample"]), default="panel", show_default=True,
              help="What counts as a batch, for every method; sample: each slice.")  # fmt: skip
@click.option("--seeds", default=1, show_default=True)
@click.option("--method", "methods", multiple=True, help="Another method, such as harmony, scvi, "
              "scanorama; repeatable.")  # fmt: skip
@click.option("--seurat", "with_seurat", is_flag=True, help="Also Seurat's mapping onto the "
              "reference, and Harmony on it; needs R and its package Seurat.")  # fmt: skip
@click.option("--scvi", "scvi_env", help="Also scANVI, guided by the reference's labels: an "
              "environment that has scvi-tools.")  # fmt: skip
@click.option("--alone", is_flag=True, help="Also each slice by itself, on its 50 components: what "
              "there is to conserve.")  # fmt: skip
@click.option("--pairs", "pairs_too", is_flag=True, help="Also how many pairs join equal labels.")
@click.option("--ablation", is_flag=True, help="Also LLOKI without each of its parts.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Another value of a training option, such as lambda_trip=2.")  # fmt: skip
def main(
    paths, references, label_key, ignore_label, batch, seeds, methods, with_seurat, scvi_env,
    alone, pairs_too, ablation, settings,
) -> None:  # fmt: skip
    """Print one row for each method."""
    from lloki.integration import joined
    from lloki.scores import metrics
    from lloki.slices import files

    paths = paths or demo.slices()
    references = references or [demo.path("reference")]
    atlases = [files.read_reference(r) for r in references]
    cells = [prepare(path) for path in paths]
    if batch == "sample":
        for c in cells:
            c.obs["panel"] = c.obs["sample"]
    batches = np.concatenate([c.obs["panel"].astype(str).to_numpy() for c in cells])
    labels = np.concatenate([labels_of(c, label_key, ignore_label) for c in cells])
    shared = joined.shared_genes([c.var_names for c in cells])
    print(f"{len(batches)} cells, {len(set(batches))} batches, {len(shared)} genes in all slices")
    base = before(cells)
    names = [*metrics.BIO, *metrics.BATCH, *metrics.AGGREGATES]
    names += ["Label transfer F1", "iLISI", "BRAS"]
    heads = [n.replace("Silhouette", "ASW").replace("Label transfer", "transfer") for n in names]
    print(f"{'':26}" + "".join(f"{head:>19}" for head in heads), flush=True)

    def row(name, spaces):
        found = [metrics.evaluate(space, labels, batches, base) for space in spaces]
        values = [[f.get(n, np.nan) for f in found] for n in names]
        print(f"{name:26}" + "".join(f"{np.mean(v):>12.3f} ±{np.std(v):.3f}" for v in values),
              flush=True)  # fmt: skip

    if alone:
        score_alone(cells, label_key, ignore_label)
    row("PCA on shared genes", [base])
    embedded = {"fp": embed(cells, [propagate(c, atlases) for c in cells], atlases)}
    for method in methods:
        spaces = [
            baseline(method, cells, seed, embedded["fp"], references) for seed in range(seeds)
        ]
        if spaces[0] is None:
            print(f"{method:26}not run: its environment is missing (`make baselines`)")
        else:
            row(method, spaces)
    if with_seurat:
        mapped = guided.seurat(cells, references)
        row("Seurat's mapping", [np.concatenate(mapped)])
        row(
            "  and Harmony",
            [baseline("harmony_fp", cells, seed, mapped, ()) for seed in range(seeds)],
        )
    if scvi_env:
        known = [labels_of(files.read_h5ad(r), label_key, ignore_label) for r in references]
        row("scANVI", [guided.scanvi(scvi_env, cells, references, known, batches)])
    options = dict(s.split("=") for s in settings)
    if pairs_too:
        score_pairs(cells, embedded["fp"], labels)
    row("LLOKI-FP", [np.concatenate(embedded["fp"])])
    row("LLOKI", [integrate(embedded["fp"], cells, s, options) for s in range(seeds)])
    if ablation:
        embedded["slice"] = embed(cells, [c.X for c in cells], atlases)
        embedded["filled"] = embed(cells, [propagate(c, None) for c in cells], atlases)
        for kind, spaces in list(embedded.items())[1:]:
            row(f"LLOKI-FP, {kind}", [np.concatenate(spaces)])
        for _, line in ablations().iterrows():
            spaces, more = embedded[line["embedding"]], shlex.split(line["options"])
            row(line["title"], [integrate(spaces, cells, s, options, more) for s in range(seeds)])


def ablations():
    """LLOKI without one of its parts, as the pipeline runs it (bin/lloki/scores/baselines.csv)."""
    from lloki.scores import baselines

    table = baselines.methods()
    return table[table["environment"] == "ablation"]


def before(cells):
    """Components of the genes that all slices share: what there is before integration."""
    from lloki.integration import joined
    from lloki.propagation.graph import principal_components

    shared = joined.shared_genes([c.var_names for c in cells])
    return principal_components(joined.shared_expression(cells, shared), 50)


def labels_of(cells, key, ignored):
    """The label of each cell of a slice, None where it has none."""
    from lloki.slices.labels import known_labels

    if key not in cells.obs:
        return np.full(cells.n_obs, None, dtype=object)
    return known_labels(cells.obs[key], (ignored,))


def score_alone(cells, label_key, ignored):
    """The metrics of labels of each slice by itself, and their mean."""
    from lloki.propagation.graph import principal_components
    from lloki.scores import metrics

    for c in (c for c in cells if label_key in c.obs):
        labels = labels_of(c, label_key, ignored)
        space = principal_components(c.X, 50)
        found = metrics.evaluate(space, labels, np.zeros(c.n_obs))
        values = [found.get(n, np.nan) for n in [*metrics.BIO, "Bio conservation"]]
        print(f"{c.obs['sample'].iloc[0][:17]:18}alone   " + "".join(f"{v:>12.3f}       "
              for v in values[:-1]) + f" bio {values[-1]:.3f}", flush=True)  # fmt: skip


def score_pairs(cells, spaces, labels):
    """Share of the pairs that join equal labels, and the same averaged over the anchors' labels."""
    from lloki.integration import pairs

    tokens = [tuple(c.obs[["technology", "panel"]].iloc[0]) for c in cells]
    starts = np.cumsum([0, *(c.n_obs for c in cells)])
    genes = [pairs.Expression.of(c.X, c.var_names) for c in cells]
    for name, smooth, known in (("embedding", 0, None), ("averaged over 15", 15, None),
                                ("averaged over 30", 30, None), ("  and shared genes", 30, genes),
                                ("shared genes, 15", 15, genes)):  # fmt: skip
        views = []
        for i, space in enumerate(spaces):
            near = pairs.own_neighbors(space, np.zeros(len(space)), smooth)
            rows = np.arange(starts[i], starts[i + 1])
            views.append(pairs.view(space, rows, near, known and known[i]))
        found = pairs.find_pairs(views, tokens, 40)
        first, second = labels[found].T
        labelled = np.array([a is not None and b is not None for a, b in zip(first, second,
                            strict=True)])  # fmt: skip
        first, right = first[labelled].astype(str), (first == second)[labelled]
        each = [right[first == label].mean() for label in np.unique(first)]
        print(f"pairs by {name:20}{len(found) // 2:9} equal labels {right.mean():.3f}, mean over "
              f"labels {np.mean(each):.3f}, cells {len(np.unique(found))}", flush=True)  # fmt: skip


def prepare(path):
    """The slice of a file, as prepare_slice.py gives it."""
    from lloki.slices import files

    raw = files.read_h5ad(path)
    name = Path(path).stem
    technology = str(raw.uns.get("technology", name))
    return files.prepare(raw, path, sample=name, technology=technology)


def propagate(cells, atlases):
    """Denoised expression after LLOKI-FP; without atlases every gene is filled."""
    from support import steps

    from lloki.propagation import propagation, sparsity
    from lloki.slices import genes

    most = None
    if atlases is not None:
        shared = [genes.shared(cells.var_names, a.var_names)[1] for a in atlases]
        best = int(np.argmax([len(columns) for columns in shared]))
        most = steps.limits(cells.X, sparsity.sparsity(atlases[best].X[:, shared[best]]))
    places = cells.obsm["spatial"]
    imputed = steps.impute(cells.X, steps.build(cells.X, places), most)
    return propagation.denoise(cells.X, imputed, steps.build(imputed, places))


class Spaces(list):
    """The embedding of each slice; reference: that of cells of references, or None; model."""

    reference = model = None


def embed(cells, matrices, atlases):
    """The mosaic embedding of every slice; the model is fitted to slices and references."""
    from lloki.embedding import mosaic, reference

    sets = [(a.var_names, a.X) for a in atlases]
    sets += zip((c.var_names for c in cells), matrices, strict=True)
    datasets = mosaic.Datasets()
    for symbols, matrix in sets:
        datasets.add("", matrix, symbols)
    model = datasets.fit()
    parts = zip(cells, matrices, strict=True)
    spaces = Spaces(mosaic.embed(model, matrix, c.var_names) for c, matrix in parts)
    spaces.model = model
    if atlases:
        known = [(reference.some(a.X, len(atlases)), a.var_names) for a in atlases]
        spaces.reference = reference.embed(model, known)
    return spaces


def baseline(method, cells, seed, embedded, references):
    """The embedding that another method gives, or None where its environment is missing.

    embedded: LLOKI-FP of each slice, references: paths, for methods that start from them.
    """
    import anndata as ad
    import pandas as pd

    from lloki.scores import baselines
    from lloki.slices import files

    line = baselines.methods().loc[method]
    python = ROOT / ".venv/share/baselines" / line["environment"] / "bin/python"
    if line["environment"] in ("core", "torch"):
        python = sys.executable
    elif not python.exists():
        return None
    shared = baselines.Shared.of(cells)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "shared").mkdir()
        baselines.write(shared, folder / "shared")
        more = [part for path in references for part in ("--reference", path)]
        for i, (space, part) in enumerate(zip(embedded, cells, strict=True)):
            more += ["--slice", folder / f"{i:03}.slice.h5ad", "--embedding"]
            files.write_h5ad(part, more[-2])
            more.append(folder / f"{i:03}.fp.h5ad")
            keep = part.obs[["sample", "technology", "panel"]]
            ad.AnnData(obs=keep, obsm={"X_lloki_fp": space}).write_h5ad(more[-1])
        subprocess.run(
            [python, ROOT / "bin" / line["program"], "--input", folder / "shared", "--output",
             folder / "out.csv", "--seed", str(seed), *more], check=True, capture_output=True,
        )  # fmt: skip
        return baselines.read_embedding(folder / "out.csv", pd.Index(shared.cells["cell"]))


def integrate(embedded, cells, seed: int, options: dict, more: Sequence[str] = (), only=None):
    """Latent positions of all cells, by train_cae.py and infer_cae.py with their defaults.

    options: others than the defaults, by name; more: such as they stand on a command line; only:
    names of the slices to train on (None: as the options say).
    """
    import anndata as ad
    from click.testing import CliRunner

    import infer_cae
    import train_cae
    from lloki.embedding import reference
    from lloki.slices import files

    with tempfile.TemporaryDirectory() as folder:
        inputs, expression = [], []
        for i, (space, part) in enumerate(zip(embedded, cells, strict=True)):
            inputs.append(f"{folder}/{i:03}.fp.h5ad")
            keep = part.obs[["sample", "technology", "panel"]]
            ad.AnnData(obs=keep, obsm={"X_lloki_fp": space}).write_h5ad(inputs[-1])
            expression.append(f"{folder}/{i:03}.slice.h5ad")
            files.write_h5ad(part, expression[-1])
        known = getattr(embedded, "reference", None)
        if known is not None:
            Path(folder, "mosaic").mkdir()
            reference.save(known, Path(folder, "mosaic"))
            more = ["--mosaic", f"{folder}/mosaic", *more]
        others = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        trained = [only is None or c.obs["sample"].iloc[0] in only for c in cells]
        run(CliRunner(), train_cae.main, *(f"--input={p}" for p in compress(inputs, trained)),
            *(f"--slice={p}" for p in compress(expression, trained)), "--output",
            f"{folder}/cae", "--seed", str(seed), *others, *more)  # fmt: skip
        latent = []
        for path in inputs:
            out = path.replace(".fp.", ".lloki.")
            run(CliRunner(), infer_cae.main, "--input", path, "--model", f"{folder}/cae",
                "--output", out)  # fmt: skip
            latent.append(ad.read_h5ad(out).obsm["X_lloki"])
        return np.concatenate(latent)


def run(runner, command, *arguments) -> None:
    result = runner.invoke(command, list(arguments))
    if result.exit_code:
        raise SystemExit(f"failed: {result.output}")


if __name__ == "__main__":
    main()
