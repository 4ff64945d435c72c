#!/usr/bin/env python3
"""What propagation, denoising and the mosaic embedding are worth on labelled slices.

Prints, for each slice, the share of a cell's 15 nearest cells (cosine) with its label and the
k-means NMI with the labels (mean of five seeds). Without arguments it takes the demo's slices;
`--keep 0.3` thins the counts first and takes the unthinned slice's own sparsity as the target.
"""

import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bin"))
DEMO = ROOT / "assets" / "demo"


@click.command()
@click.option("--slice", "paths", multiple=True, help="Labelled h5ad with counts; repeatable.")
@click.option("--reference", default=str(DEMO / "reference.h5ad"), show_default=True)
@click.option("--label-key", default="cell_type", show_default=True)
@click.option("--keep", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
def main(paths, reference, label_key, keep) -> None:
    """Print one row a slice and one for the mosaic embedding of all of them together."""
    from lloki import graph, mosaic, slices

    paths = paths or [str(DEMO / f"{s}.h5ad") for s in ("osmfish", "starmap", "xenium")]
    atlas = slices.read_reference(reference)
    prepared = {}
    print(f"{'slice':24}{'raw':>14}{'imputed':>14}{'denoised':>14}{'diffuse orig.':>15}")
    for path in paths:
        name = Path(path).stem
        data = slices.read_h5ad(path)
        labels, cells, stages = run_stages(data, name, atlas, label_key, keep)
        prepared[name] = (cells, labels)
        print(f"{name:24}" + "".join(
            f"{score(graph.principal_components(x, 50), labels):>14}" for x in stages
        ))  # fmt: skip
    data_sets = [atlas, *(cells for cells, _ in prepared.values())]
    panels, moments = [], []
    for cells in data_sets:
        keys, columns = mosaic.gene_columns(cells.var_names)
        panels.append(keys)
        moments.append(mosaic.correlations(cells.X[:, columns]))
    model = mosaic.fit(panels, moments)
    print("\nmosaic embedding of the unpropagated slices")
    for name, (cells, labels) in prepared.items():
        print(f"{name:24}{score(mosaic.embed(model, cells.X, cells.var_names), labels):>14}")


def run_stages(data, name, atlas, label_key, keep):
    """Labels, the prepared slice, and its expression raw, imputed, denoised in both ways."""
    from lloki import genes, propagation, slices, sparsity

    target_of = None
    if keep < 1:
        target_of = sparsity.sparsity(slices.check_matrix(data.X, name))
        counts = slices.check_matrix(data.X, name)
        counts.data = np.random.default_rng(0).binomial(counts.data.astype(int), keep)
        data.X = counts.astype(np.float32)
    cells = slices.prepare(data, name, sample=name, technology=name)
    before = sparsity.sparsity(cells.X)
    if target_of is None:
        _, columns = genes.shared(cells.var_names, atlas.var_names)
        target_of = sparsity.sparsity(atlas.X[:, columns])
    limits = sparsity.max_nonzero(sparsity.transport(before, target_of), cells.n_vars)
    imputed = propagation.impute(cells.X, build(cells.X, cells), limits).matrix
    again = build(imputed, cells)
    ways = [
        propagation.denoise(cells.X, imputed, again, diffuse=w) for w in ("imputed", "original")
    ]
    labels = cells.obs[label_key].astype(str).to_numpy(dtype=object)
    return labels, cells, [cells.X, imputed, *ways]


def build(matrix, cells):
    """The graph of build_graph.py with its defaults."""
    from lloki import graph

    places = cells.obsm["spatial"]
    near = graph.find_neighbours(graph.principal_components(matrix, 50), 40, "cosine", "auto", 0)
    return graph.spatial_graph(near.indices, places, graph.mean_pair_distance(places))


def score(space, labels) -> str:
    """Neighbour purity and mean k-means NMI, as text."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    from lloki import neighbours

    near, _ = neighbours.nearest(space, space, 15, exclude=np.arange(len(space)))
    purity = (labels[near] == labels[:, None]).mean()
    k = len(np.unique(labels))
    found = [KMeans(k, n_init=3, random_state=s).fit_predict(space) for s in range(5)]
    nmi = np.mean([normalized_mutual_info_score(labels, f) for f in found])
    return f"{purity:.3f}/{nmi:.3f}"


if __name__ == "__main__":
    main()
