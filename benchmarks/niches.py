#!/usr/bin/env python3
"""Niche programs: what pairs of kinds of cells give, how often chance is taken for one, the cost.

    benchmarks/niches.py pairs --slice cosmx_nsclc.h5ad --slice xenium_breast.h5ad
    benchmarks/niches.py alarms --slices 100
    benchmarks/niches.py scale --cells 1000000 --focus 170000

`pairs`: each slice alone, on 20 principal components of its log counts, 199 moved fields, with the
genes of each program; labels from obs['cell_type_coarse'], else made here from Leiden clusters and
markers of tumours. `--together integrated.h5ad` takes the embedding of a run instead, and scores
the programs of each slice in the others. `alarms`: made-up slices (tests/niche_slices.py) without a
program, with leaked transcripts, with planted ones: the share called a program at .05 by the
cross-fitted test, by the same fields without cross-fitting, and by Pearson's p as usual.
`scale`: time and memory of one pair in one made-up slice.
"""

import sys
import time
from pathlib import Path

import click
import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests"), str(Path(__file__).parent)]

MARKERS = {
    "Epithelial_Tumour": "EPCAM KRT7 KRT8 CDH1 ERBB2 FOXA1 GATA3 ESR1 TACSTD2",
    "Myoepithelial": "ACTA2 MYLK KRT5 KRT14 KRT15 OXTR DST",
    "T_NK": "CD3E CD3D CD3G TRAC CD2 CD247 NKG7 IL7R CD8A GZMA CCL5",
    "B_Plasma": "MS4A1 CD79A CD79B MZB1 TNFRSF17 BANK1 CD19",
    "Myeloid": "CD68 LYZ CD14 ITGAX FCER1G CD163 AIF1 FCGR3A",
    "Endothelial": "PECAM1 VWF CLEC14A CD93 EGFL7 KDR",
    "Fibroblast": "LUM POSTN PDGFRA PDGFRB FBLN1 CCDC80",
    "Mast": "KIT CPA3 TPSAB1 CTSG",
}
PAIRS = ("T_NK:Epithelial_Tumour", "T_NK:B_Plasma", "Myeloid:Epithelial_Tumour",
         "Endothelial:Epithelial_Tumour", "Fibroblast:Epithelial_Tumour")  # fmt: skip


@click.group()
def main():
    """One of three tables."""


def logged(counts):
    total = np.asarray(counts.sum(axis=1)).ravel()
    scale = np.divide(np.median(total), total, out=np.zeros(len(total)), where=total > 0)
    return (sp.diags(scale) @ counts).log1p()


def components(counts, width=20):
    """Principal components of standard log counts (n × width float32)."""
    from sklearn.decomposition import PCA

    dense = logged(counts).toarray()
    dense = (dense - dense.mean(axis=0)) / np.maximum(dense.std(axis=0), 1e-6)
    space = PCA(width, random_state=0).fit_transform(np.clip(dense, -10, 10))
    return space.astype(np.float32)


def labels_of(data, space):
    """obs['cell_type_coarse'], or the kind whose markers a cell's cluster has most of."""
    from lloki.programs.niche_groups import focus_clusters

    if "cell_type_coarse" in data.obs:
        return data.obs["cell_type_coarse"].astype(str).to_numpy(object)
    clusters = focus_clusters(space, 2.0, 0)
    levels = logged(data.X).tocsc()
    means = np.stack([np.asarray(levels[clusters == c].mean(axis=0)).ravel()
                      for c in range(clusters.max() + 1)])  # fmt: skip
    means = (means - means.mean(axis=0)) / np.maximum(means.std(axis=0), 1e-6)
    genes = [data.var_names.get_indexer(text.split()) for text in MARKERS.values()]
    scores = np.stack([means[:, own[own >= 0]].mean(axis=1) for own in genes])
    return np.array(list(MARKERS), dtype=object)[scores.argmax(axis=0)][clusters]


def cases(paths, together):
    """Name, AnnData, labels and space of each slice."""
    import anndata as ad

    whole = ad.read_h5ad(together) if together else None
    found = []
    for path in paths:
        data = ad.read_h5ad(path)
        data.X = sp.csr_matrix(data.X, dtype=np.float32)
        name, space = Path(path).stem, components(data.X)
        labels = labels_of(data, space)
        if whole is not None:
            own = whole[whole.obs["sample"] == name]
            place = own.obs_names.str.removeprefix(f"{name}:")
            place = data.obs_names.get_indexer(place)
            data, labels, space = data[place], labels[place], own.obsm["X_lloki"]
        found.append((name, data, labels, space))
    return found


def fit_of(name, data, labels, space, pair, k, nulls, **options):
    """Fit, sides and genes of one pair in one slice."""
    from lloki.programs import niche_groups, niche_sides, niches

    focus, near = pair.split(":")
    one = niche_sides.tissue(
        name, name, name, data.obsm["spatial"], data.X, data.var_names, labels == focus,
        {near: labels == near}, labels,
    )  # fmt: skip
    clusters = {name: niche_groups.focus_clusters(space[one.focus])}
    sides, genes, own = niche_sides.sides_of([one], clusters, near, k=k, **options)
    return niches.fit(sides, genes, nulls=nulls), sides, own, one


def best(fit, side, count=12):
    """Names of the first genes up or down."""
    chosen = np.flatnonzero(getattr(fit.program, side)[0])
    weight = np.abs(fit.program.weight[0][chosen])
    return " ".join(fit.genes[chosen[np.argsort(-weight, kind="stable")][:count]])


def draw(path, fit, tissues, sides):
    """Nulls with both correlations, and the score by distance."""
    import pandas as pd

    from lloki.programs import niche_field, niche_summary
    from lloki.report import figure_niches, figures

    (one,), (side,) = tissues, sides
    (near,) = one.neighbours.values()
    cells = pd.DataFrame({
        "sample": side.name, "score": fit.scores[0],
        "distance_um": niche_field.distance_to(one.places, near, one.focus),
    })  # fmt: skip
    nulls = {"naive": fit.naive[1:], "cross-fitted": fit.r[1:]}
    found = {"naive": fit.naive[0], "cross-fitted": fit.r[0]}
    drawn = figure_niches.null_histograms(nulls, found, niche_summary.bands(cells))
    Path(path).write_bytes(figures.png(drawn, 110))


@main.command()
@click.option("--slice", "paths", multiple=True, required=True)
@click.option("--pair", "asked", multiple=True, default=PAIRS)
@click.option("--together", help="integrated.h5ad of a run of these slices (samples: file names).")
@click.option("--k", default=100, show_default=True)
@click.option("--nulls", default=199, show_default=True)
@click.option("--unguarded", is_flag=True)
@click.option("--picture", help="A PNG of what chance gives for the first pair.")
def pairs(paths, asked, together, k, nulls, unguarded, picture):
    """Pairs in real slices."""
    from lloki.programs import niche_summary, niches

    print("| slice: pair | cells | naive | its null, 95 % (p) | cross-fitted / Spearman | "
          "its null, 95 % (p) | without leaky |\n|---|---|---|---|---|---|---|")  # fmt: skip
    kept, genes = {}, []
    for name, data, labels, space in cases(paths, together):
        for pair in asked:
            focus, near = pair.split(":")
            if min((labels == focus).sum(), (labels == near).sum()) < 50:
                continue
            fit, sides, own, one = fit_of(name, data, labels, space, pair, k, nulls,
                                          guard=not unguarded)  # fmt: skip
            r = niche_summary.figures(focus, near, fit, sides, own, [one])
            print(
                f"| {name}: {focus} near {near} | {r['cells']} | {r['naive_r']:.3f} | "
                f"{np.mean(r['naive_null']):.3f}, {np.quantile(r['naive_null'], .95):.3f} "
                f"({r['naive_p']:.3f}) | {r['r']:.3f} / {r['spearman']:.3f} | "
                f"{np.mean(r['null']):.3f}, {np.quantile(r['null'], .95):.3f} ({r['p']:.3f}) | "
                f"{r['r_without_leaky_cells']:.3f} |", flush=True,
            )  # fmt: skip
            genes.append(f"{name}: {pair}: up {best(fit, 'up')}; down {best(fit, 'down')}")
            if picture and not kept:
                draw(picture, fit, [one], sides)
            kept[name, pair] = fit, data, labels, space
    print(*genes, sep="\n")
    for (name, pair), (fit, *_) in kept.items():
        chosen = fit.program.up[0] | fit.program.down[0]
        for (other, same), (_, data, labels, space) in kept.items():
            if other == name or same != pair:
                continue
            _, sides, *_ = fit_of(other, data, labels, space, pair, k, 0, wanted=fit.genes[chosen])
            wanted = np.isin(np.sort(fit.genes[chosen]), fit.genes[fit.program.up[0]])
            laid = niches.laid_on(sides, np.sort(fit.genes[chosen]), wanted, nulls=nulls)
            print(f"{pair}: the program of {name} in {other}: r {laid.r[0]:.3f}, p "
                  f"{niches.chance(laid.r):.3f}, {len(sides[0].measured)} of {chosen.sum()} "
                  "genes")  # fmt: skip


@main.command()
@click.option("--slices", default=100, show_default=True)
@click.option("--nulls", default=199, show_default=True)
@click.option("--cells", default=1500, show_default=True)
@click.option("--first", default=1000, show_default=True, help="Seed of the first slice.")
@click.option("--kind", help="One kind of slices alone.")
def alarms(slices, nulls, cells, first, kind):
    """How often a program is seen in made-up slices."""
    from niche_slices import fitted, made_up
    from scipy.stats import pearsonr

    from lloki.programs import niches

    print("| slices | cross-fitted r | called a program | p: 10, 50, 90 % | naive r | called, "
          "moved fields | called, Pearson |\n|---|---|---|---|---|---|---|")  # fmt: skip
    kinds = {"no program": {}, "no program, leak .1": {"leak": 0.1},
             "leak .1, unguarded": {"leak": 0.1, "guard": False},
             "planted .2": {"program": 0.2}, "planted .4": {"program": 0.4},
             "planted .8": {"program": 0.8}}  # fmt: skip
    for name, how in kinds.items():
        if kind not in (None, name):
            continue
        guard, rows = how.pop("guard", True), []
        for seed in range(first, first + slices):
            fit, (side,), _ = fitted(
                {"s": made_up(seed, cells, **how)}, nulls=nulls, leak_guard=guard, seed=seed
            )
            rows.append((fit.r[0], niches.chance(fit.r), fit.naive[0], niches.chance(fit.naive),
                         pearsonr(fit.naive_scores[0], side.values).pvalue))  # fmt: skip
        r, p, naive, naive_p, usual = np.array(rows).T
        tenths = ", ".join(f"{q:.2f}" for q in np.quantile(p, [0.1, 0.5, 0.9]))
        called = [f"{(one <= 0.05).mean():.2f}" for one in (p, naive_p, usual)]
        print(f"| {name} | {r.mean():.3f} | {called[0]} | {tenths} | {naive.mean():.3f} | "
              f"{called[1]} | {called[2]} |", flush=True)  # fmt: skip


@main.command()
@click.option("--cells", default=100_000, show_default=True)
@click.option("--focus", default=17_000, show_default=True)
@click.option("--genes", default=300, show_default=True)
@click.option("--nulls", default=199, show_default=True)
def scale(cells, focus, genes, nulls):
    """Time and peak memory of one pair."""
    from niche_slices import smooth

    from lloki.programs import niche_groups, niche_sides, niches
    from lloki.support.cli import peak_memory_mb

    rng = np.random.default_rng(0)
    places = rng.random((cells, 2)) * np.sqrt(cells) * 10
    own = np.zeros(cells, bool)
    own[rng.permutation(cells)[:focus]] = True
    near = ~own & (smooth(places / places.max(), rng) + rng.normal(size=cells) > 1)
    rate = np.where(rng.random(genes) < 0.4, 0.5, 0.1)
    counts = sp.vstack([
        sp.csr_matrix(rng.poisson(np.where(own[rows, None], rate, 0.2)).astype(np.float32))
        for rows in np.array_split(np.arange(cells), max(1, cells // 20_000))
    ]).tocsr()  # fmt: skip
    space = rng.normal(size=(focus, 20)) @ rng.normal(size=(20, 128)) / 5
    space = space.astype(np.float32) + rng.integers(0, 8, (focus, 1)) * np.eye(1, 128, 3)[0] * 4
    start, before = time.perf_counter(), peak_memory_mb()
    marks = []

    def told(what):
        marks.append(f"{what} {time.perf_counter() - start:.0f} s")

    one = niche_sides.tissue("s", "T", "s", places, counts, [f"G{i}" for i in range(genes)], own,
                             {"near": near})  # fmt: skip
    told("means")
    clusters = {"s": niche_groups.focus_clusters(space.astype(np.float32))}
    told("Leiden")
    sides, keys, _ = niche_sides.sides_of([one], clusters, "near")
    told("field and ranks")
    niches.fit(sides, keys, nulls=nulls)
    told("nulls")
    print(f"{cells} cells, {focus} in focus, {genes} genes ({len(keys)} tested), {nulls} nulls, "
          f"{clusters['s'].max() + 1} clusters: {', '.join(marks)}; peak "
          f"{peak_memory_mb() / 1e3:.1f} GB ({before / 1e3:.1f} before)")  # fmt: skip


if __name__ == "__main__":
    main()
