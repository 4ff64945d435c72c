#!/usr/bin/env python3
"""Find clusters of the LLOKI embedding on two levels, and genes of every panel that mark them."""

import click

from lloki.support.cli import Run, command, seed_option, slices_option
from lloki.support.errors import InputError

SPACE = "X_lloki"


@command("cluster")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@slices_option
@click.option("--output", required=True, help="The folder to write: clusters.")
@click.option("--cells", "found", help="Also the cells' clusters: cluster.cells.h5ad.")
@click.option("--labels", help="Labels that were carried over, to name clusters by: cells.h5ad.")
@click.option("--label-key", help="Column of obs with cell types, to name clusters by, else.")
@click.option(
    "--resolution", type=click.FloatRange(0, min_open=True),
    help="Of the first level, more: more clusters; else the one that holds on parts of the cells.",
)  # fmt: skip
@click.option(
    "--resolution-fine", type=click.FloatRange(0, min_open=True),
    help="Of the second level, within the clusters of the first; else chosen likewise.",
)  # fmt: skip
@click.option(
    "--neighbors", "k", type=click.IntRange(2, 200), default=15,
    help="Cells joined to each in the graph, itself counted.",
)  # fmt: skip
@seed_option
def main(run: Run, input, slice, output, found, labels, label_key, resolution, resolution_fine, k,
         seed) -> None:  # fmt: skip
    """Cluster the cells of all slices together, and say which genes mark the clusters."""
    import numpy as np

    from lloki.annotation import clusters
    from lloki.slices import findings

    head, order, expressed = _inputs(input, slice, label_key)
    values, graphs = _cells(input, head, order, sorted(expressed))
    samples = head.obs["sample"].astype(str).to_numpy(object)[order]
    technologies = head.obs["technology"].astype(str).to_numpy(object)[order]
    known = findings.labels(labels, label_key, head.obs)
    known = known if known is None else known[order]
    graph = clusters.neighbours(values, k, seed)
    if graph.recall < clusters.FOUND:
        run.warn(f"so many cells are searched by an index, which found {graph.recall:.0%} of the "
                 "nearest ones; take small clusters as a rough map, or fewer cells")  # fmt: skip
    coarse, fine, table = _resolutions(run, values, samples, resolution, resolution_fine, seed)
    first, within = clusters.two_levels(graph.weights, coarse, fine, seed)
    tables = {} if table is None else {"resolutions": table}
    most = within.max() + 1
    pairs, codes = np.unique(first * most + within, return_inverse=True)
    outer = [f"C{i + 1}" for i in range(first.max() + 1)]
    inner = [f"{outer[pair // most]}.{pair % most + 1}" for pair in pairs]
    tables |= _told(run, first, outer, graphs, samples, technologies, known)
    tables |= _told(run, codes, inner, graphs, samples, technologies, known, "_fine")
    tables |= _markers(expressed, samples, codes, first, outer, inner)
    with run.output(output) as folder:
        folder.mkdir()
        for name, one in tables.items():
            one.to_csv(
                folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n"
            )
    if found:
        _write_cells(run, found, head.obs_names, order, graph, (first, outer), (codes, inner), k)
    run.report(
        samples=sorted(expressed), cells=head.n_obs, neighbours=k, recall=graph.recall,
        resolution=coarse, resolution_fine=fine,
        chosen_on=0 if table is None else min(head.n_obs, clusters.CELLS),
        clusters=len(outer), clusters_fine=len(inner), genes=tables["markers"]["gene"].nunique(),
    )  # fmt: skip


def _inputs(input, slices, label_key):
    """obs, cells in the order of the slices by name, and their files; InputError for what lacks."""
    import numpy as np

    from lloki.slices import parts, samples

    columns = ("sample", "technology", "panel", *filter(None, [label_key]))
    head = parts.read_integrated(input, (SPACE, "spatial"), columns)
    names = head.obs["sample"]
    if head.n_obs < 3:
        raise InputError(input, f"{head.n_obs} cells are too few for clusters", "leave them out")
    rows = {str(s): own for s, own in names.groupby(names, observed=True).indices.items()}
    order = np.concatenate([rows[s] for s in sorted(rows)])
    return head, order, samples.heads_of_slices(slices, head)


def _cells(path, head, order, samples):
    """The embedding, and the neighbours in space of each slice's cells, in that order."""
    from itertools import pairwise

    import numpy as np

    from lloki.programs.neighbourhood import neighbour_graph
    from lloki.slices import checks, parts

    places = parts.read_arrays(path, head.n_obs, ["spatial"])["spatial"]
    places = checks.check_coordinates(places, path)[order]
    values = np.concatenate(list(parts.embedding_blocks(path, SPACE)))
    if not (np.diff(order) == 1).all():
        values = values[order]
    sizes = head.obs["sample"].astype(str).value_counts()
    starts = np.cumsum([0, *(sizes[s] for s in samples)])
    rows = [np.arange(a, b) for a, b in pairwise(starts)]
    return values, [(own, neighbour_graph(places[own], "nearest")) for own in rows]


def _resolutions(run, values, samples, coarse, fine, seed):
    """Resolutions of both levels, given or chosen, and the table of those that were tried."""
    from lloki.annotation import clusters

    if coarse and fine:
        return coarse, fine, None
    tried = sorted({*clusters.RESOLUTIONS, *filter(None, [coarse])})
    with run.progress(clusters.PARTS, "parts of the cells") as progress:
        table = clusters.stability(values, samples, tried, seed, progress.update)
    if coarse is None:
        coarse = clusters.choose(table, cells=len(values))
        if coarse is None:
            coarse = clusters.RESOLUTIONS[0]
            run.warn("no resolution finds two clusters; the cells are taken as they come")
    number, held = table.set_index("resolution").loc[coarse, ["clusters", "stability"]]
    if number > 1 and held < clusters.DOUBTFUL:
        run.warn(f"the clusters change with the cells that are drawn (stability {held:.2f}); "
                 "take them as a rough map, or set --cluster_resolution")  # fmt: skip
    if fine is None:
        finer = table[table["resolution"] > coarse]
        fine = clusters.choose(finer, max(2, clusters.FINER * number), len(values))
    table["level"] = ["first" if r == coarse else "second" if r == fine else ""
                      for r in table["resolution"]]  # fmt: skip
    return coarse, fine, table


def _told(run, codes, names, graphs, samples, technologies, labels, suffix="") -> dict:
    """Tables of the clusters and of their sizes; doubts are warnings."""
    import numpy as np

    from lloki.annotation import clusters, places

    sizes = clusters.sizes(codes, samples, technologies)
    table = places.alone(codes, technologies, places.agreement(codes, graphs), labels)
    called, shares = clusters.names(labels, codes) if labels is not None else ("", np.nan)
    table.insert(0, "cluster", names)
    table.insert(1, "name", called)
    table.insert(2, "name_share", shares)
    table.insert(3, "cells", np.bincount(codes, minlength=len(names)))
    for row in [] if suffix else table.to_dict("records"):
        if row["flag"] == places.BATCH:
            run.warn(
                f"{row['cluster']}, {row['cells']} cells: {row['technology_share']:.0%} are of "
                f"{row['technology']}, strewn among others in space; technologies may have been "
                "brought together too little: look at its genes, or raise --lambda_bc"
            )
    sizes["cluster"] = np.array(names, dtype=object)[sizes["cluster"]]
    return {f"clusters{suffix}": table, f"sizes{suffix}": sizes}


def _markers(expressed, samples, codes, first, outer, inner) -> dict:
    """Markers of both levels, and those of the first that are shown, by panel."""
    import numpy as np
    import pandas as pd

    from lloki.annotation import markers
    from lloki.slices import genes, parts

    names = sorted(expressed)
    union, columns = genes.union([expressed[s].var_names for s in names])
    levels, panels = ({}, {}), {}
    for sample, place in zip(names, columns, strict=True):
        part = expressed[sample]
        matrix = parts.read_matrix(part.uns["path"], part.shape)[:, place >= 0]
        rows = samples == sample
        for level, labels, number in zip(levels, (first, codes), (outer, inner), strict=True):
            level[sample] = place[place >= 0], markers.rank_sums(matrix, labels[rows], len(number))
        panels.setdefault(str(part.obs["panel"].iloc[0]), []).append(sample)
    coarse, fine = (markers.combined(level, union) for level in levels)
    shown = markers.shown(coarse)
    by_panel = []
    for panel, own in panels.items():
        table = markers.combined({s: levels[0][s] for s in own}, union)
        by_panel.append(table[table["gene"].isin(shown)].assign(panel=panel))
    dots = pd.concat(by_panel)
    dots = dots.sort_values(
        ["gene", "cluster"], key=lambda c: c.map(shown.index) if c.name == "gene" else c,
        kind="stable",
    )  # fmt: skip
    kept = ["cluster", "gene", "panel", "slices", "auc", "log2_fold_change", "share"]
    tables = {"markers": coarse, "markers_fine": fine, "markers_by_panel": dots[kept]}
    for name, table in tables.items():
        called = np.array(inner if name == "markers_fine" else outer, dtype=object)
        tables[name] = table.assign(cluster=called[table["cluster"]])
    return tables


def _write_cells(run, path, cells, order, graph, first, second, k) -> None:
    """Clusters and neighbours of the cells in the order of the integrated file."""
    import numpy as np
    import pandas as pd

    from lloki.slices import findings

    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    obs = pd.DataFrame({
        key: pd.Categorical.from_codes(codes[back], names)
        for key, (codes, names) in {"lloki_cluster": first, "lloki_cluster_fine": second}.items()
    })  # fmt: skip
    if not (np.diff(order) == 1).all():
        graph = graph._replace(distances=graph.distances[back][:, back],
                               weights=graph.weights[back][:, back])  # fmt: skip
    keys = {"connectivities_key": "connectivities", "distances_key": "distances"}
    notes = {"n_neighbors": k, "method": "umap", "metric": "euclidean", "use_rep": SPACE}
    obsp = {"distances": graph.distances, "connectivities": graph.weights}
    with run.output(path) as temporary:
        uns = {"neighbors": {**keys, "params": notes}}
        findings.write(temporary, cells, obs, obsp=obsp, uns=uns)


if __name__ == "__main__":
    main()
