#!/usr/bin/env python3
"""What the embedders are worth on labelled slices: small scGPT, mosaic, PCA, random weights.

For each slice, on its own labels (`--label-key`): the share of a cell's 15 nearest cells (cosine)
with its label, NMI and ARI of k-means and of Leiden (means of five seeds, as many clusters as
labels). Then macro F1 of the labels of `--transfer-key`, each cell taking the majority of the 15
nearest cells of the reference, and of each other slice of another technology (mean over those).

Rows: the checkpoint; the mosaic model fitted to the reference and all slices, as the pipeline does,
and its factors averaged over a cell's 15 nearest cells, which is what a small scGPT is trained to
tell; PCA-50 of the slice (for transfer: of both data sets on the genes they share, standardised in
each); scGPT of the checkpoint's sizes with random weights. Nothing is propagated: embedders alone.

With `--held-out SLICE` neither embedder sees that slice: a scGPT is trained on the others
(`--train-on` adds to them), the mosaic model is fitted to the same files.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support import demo  # noqa: E402

HEADS = ("purity", "k-means NMI", "k-means ARI", "Leiden NMI", "Leiden ARI",
         "F1 from ref.", "F1 between")  # fmt: skip


@click.command()
@click.option("--slice", "paths", multiple=True, help="Labelled h5ad with counts; repeatable.")
@click.option("--reference", default=demo.path("reference"), show_default=True)
@click.option("--checkpoint", default=str(ROOT / "assets/scgpt_mini"), show_default=True)
@click.option("--label-key", default="cell_type", show_default=True)
@click.option("--transfer-key", default="cell_type_coarse", show_default=True)
@click.option("--held-out", "held", multiple=True, help="Name of a slice that no model may see.")
@click.option("--train-on", multiple=True, help="More files to train on, with --held-out.")
@click.option("--training", default="--steps 1000", show_default=True, help="Options of it.")
def main(paths, reference, checkpoint, label_key, transfer_key, held, train_on, training) -> None:
    """Print a row for each slice and embedder."""
    from lloki.slices import files

    paths = paths or demo.slices()
    unknown = set(held) - {Path(path).stem for path in paths}
    if unknown:
        raise click.UsageError(f"--held-out {min(unknown)}: no such slice")
    data = {Path(path).stem: files.read_reference(path) for path in [*paths, reference]}
    print(f"{'':28}" + "".join(f"{head:>14}" for head in HEADS))
    if not held:
        seen = [*paths, reference]
        table(data, embedded(data, seen, checkpoint), list(data)[:-1], label_key, transfer_key)
    for name in held:
        seen = [p for p in dict.fromkeys([*paths, reference, *train_on]) if Path(p).stem != name]
        with tempfile.TemporaryDirectory() as folder:
            trained = train(seen, Path(folder) / "scgpt", training.split())
            table(data, embedded(data, seen, trained), [name], label_key, transfer_key)


def train(paths, output: Path, options: list[str]) -> Path:
    """A scGPT trained by pretrain_scgpt.py on these files."""
    inputs = [part for path in paths for part in ("--input", path)]
    command = [sys.executable, ROOT / "bin/pretrain_scgpt.py", *inputs, "--output", output]
    subprocess.run([*map(str, command), *options], check=True)
    return output


def embedded(data: dict, seen: list[str], checkpoint) -> dict[str, dict[str, np.ndarray]]:
    """Every data set by every embedder that gives all of them one space."""
    from lloki.embedding import mosaic
    from lloki.embedding.scgpt import training_set
    from lloki.slices import files

    fitted = [files.read_reference(path) for path in seen]
    fitted = [fitted[d] for d in mosaic.starting_order([d.shape for d in fitted])]
    columns = [mosaic.gene_columns(d.var_names) for d in fitted]
    moments = [mosaic.correlations(d.X[:, c]) for d, (_, c) in zip(fitted, columns, strict=True)]
    model = mosaic.fit([keys for keys, _ in columns], moments)
    factors = {name: mosaic.embed(model, d.X, d.var_names) for name, d in data.items()}
    with tempfile.TemporaryDirectory() as folder:
        return {
            "small scGPT": scgpt(data, checkpoint),
            "mosaic": factors,
            "mosaic, averaged": {n: training_set.smoothed(z, 15) for n, z in factors.items()},
            "PCA-50": {},
            "scGPT, random weights": scgpt(data, random_weights(checkpoint, Path(folder))),
        }


def scgpt(data: dict, checkpoint) -> dict[str, np.ndarray]:
    """Embeddings by a checkpoint, as scgpt_embed.py makes them."""
    import torch

    from lloki.embedding.scgpt.checkpoint import read_checkpoint
    from lloki.embedding.scgpt.encoder import Encoder, embed
    from lloki.slices import genes
    from scgpt_embed import ORTHOLOGS

    model, table = read_checkpoint(checkpoint), genes.read_orthologs(ORTHOLOGS)
    found = {}
    for name, d in data.items():
        match = genes.match_vocabulary(d.var_names, model.vocabulary, table)
        matrix = genes.collect_columns(d.X, match)
        filled = np.flatnonzero(np.diff(matrix.indptr))
        encoder = Encoder(model, match.found, torch.device("cpu"), torch.float32)
        found[name] = np.zeros((d.n_obs, model.dim), dtype=np.float32)
        for rows, part in embed(encoder, matrix[filled], d.obs_names[filled]):
            found[name][filled[rows]] = part
    return found


def random_weights(checkpoint, folder: Path) -> Path:
    """A checkpoint of the same sizes and vocabulary that nothing has trained."""
    import torch

    from lloki.embedding.scgpt.model import Architecture, Model

    checkpoint = Path(checkpoint)
    for name in ("args.json", "vocab.json"):
        (folder / name).write_text((checkpoint / name).read_text())
    args = json.loads((folder / "args.json").read_text())
    sizes = Architecture(*(args[name] for name in ("embsize", "nlayers", "nheads", "d_hid")), 0.0)
    torch.manual_seed(0)
    model = Model(sizes, len(json.loads((folder / "vocab.json").read_text())) - 3, 2)
    torch.save(model.official_state(), folder / "best_model.pt")
    return folder


def table(data: dict, spaces: dict, names: list[str], label_key, transfer_key) -> None:
    """Print the rows of these slices; the last data set is the reference."""
    from lloki.propagation import graph

    *slices, reference = data
    for name in names:
        d = data[name]
        labels = d.obs[label_key].astype(str).to_numpy(dtype=object)
        print(f"{name}: {d.n_obs} cells, {d.n_vars} genes, {len(set(labels))} labels")
        technology = {s: data[s].uns.get("technology", s) for s in slices}
        others = [s for s in slices if technology[s] != technology[name]]
        for embedder, space in spaces.items():
            own = space[name] if space else graph.principal_components(d.X, 50)
            figures = clusters(own, labels)
            carried = [
                f1(data, space, source, name, transfer_key) for source in [reference, *others]
            ]
            figures += [carried[0], np.mean(carried[1:]) if others else np.nan]
            print(f"  {embedder:26}" + "".join(f"{v:>14.3f}" for v in figures), flush=True)


def clusters(space, labels) -> list[float]:
    """Purity, NMI and ARI of k-means, NMI and ARI of Leiden."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score
    from support.scores import SEEDS, scores

    (purity, kmeans, *leiden), _ = scores(space, labels)
    k = len(set(labels))
    found = [KMeans(k, n_init=3, random_state=s).fit_predict(space) for s in range(SEEDS)]
    ari = np.mean([adjusted_rand_score(labels, groups) for groups in found])
    return [purity, kmeans, ari, *leiden]


def f1(data: dict, space: dict, source: str, name: str, key: str) -> float:
    """Macro F1 of labels carried from one data set to another."""
    from support.scores import transfer

    known, asked = data[source], data[name]
    pair = (space[source], space[name]) if space else shared_components(known, asked)
    return transfer(pair[0], known.obs[key], pair[1], asked.obs[key])


def shared_components(known, asked, components: int = 50):
    """Both data sets on the principal axes of the first, on the genes that they share."""
    from lloki.embedding import mosaic
    from lloki.slices import genes

    first, second = genes.shared(known.var_names, asked.var_names)
    one, two = (
        mosaic.standardised(d.X[:, columns])(slice(None))
        for d, columns in ((known, first), (asked, second))
    )
    axes = np.linalg.svd(one, full_matrices=False)[2][:components].T
    return one @ axes, two @ axes


if __name__ == "__main__":
    main()
