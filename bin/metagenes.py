#!/usr/bin/env python3
"""Find metagenes: programs of the LLOKI embedding that cells of all slices mix, and their genes."""

import shutil

import click

from lloki.support.cli import Run, command, device_choice, seed_option, slices_option
from lloki.support.errors import InputError

KEY, SPACE = "X_metagenes", "X_lloki"
GPU_CELLS = 200_000  # from which a GPU is worth its start


@command("metagenes")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@slices_option
@click.option("--output", required=True, help="The folder to write: metagenes.")
@click.option("--cells", "found", help="Also the cells' mixtures: metagenes.cells.h5ad.")
@click.option("--label-key", help="Column of obs with cell types, to name the metagenes by.")
@click.option("--k", type=click.IntRange(1, 200), default=15, help="Metagenes.")
@click.option(
    "--lambda",
    "strength",
    type=click.FloatRange(0),
    default=1e-4,
    help="Penalty on the affinity's squares.",
)
@click.option("--plain", type=click.IntRange(1), default=10, help="Iterations without the field.")
@click.option(
    "--iterations", type=click.IntRange(0), default=200,
    help="Iterations with the field at most; it ends where nothing moves.",
)  # fmt: skip
@click.option(
    "--floor", type=click.FloatRange(0, 0.5), default=0.001,
    help="Quantile over all cells that is taken off each dimension; 0: none, as in the paper.",
)  # fmt: skip
@click.option(
    "--graph", type=click.Choice(["delaunay", "nearest", "none"]), default="delaunay",
    help="Neighbours: a triangulation, the nearest six, or none (no field).",
)  # fmt: skip
@click.option(
    "--long-edges", type=click.FloatRange(1, 100), default=95,
    help="Percentile of their lengths above which a slice's edges are left out.",
)  # fmt: skip
@click.option(
    "--starts", type=click.IntRange(1), default=3, help="Starts, of which the best goes on."
)
@click.option(
    "--weights", type=click.Choice(["equal", "cells"]), default="equal",
    help="What a slice counts: as much as any, or by its cells.",
)  # fmt: skip
@click.option(
    "--repeats", type=click.IntRange(0), default=3,
    help="Fits to half of the cells (20,000 at most), to tell how stable each metagene is.",
)  # fmt: skip
@click.option("--markers", default="", help="Genes whose figures are given anyhow: A,B,C.")
@click.option("--gene-sets", help="Sets of genes to test each metagene for: a GMT file.")
@click.option(
    "--routes", is_flag=True, help="Also metagenes of the shared genes, and of each slice alone."
)
@click.option("--model", help="model.npz of an earlier run: laid on these cells, not fitted.")
@seed_option
@device_choice(f"on a GPU, if there is one, from {GPU_CELLS:,} cells on")
def main(run: Run, input, slice, output, found, label_key, k, graph, markers, gene_sets, routes,
         model, repeats, seed, **options) -> None:  # fmt: skip
    """Fit metagenes of all slices together, and say what they are: types, genes, places."""
    import numpy as np

    from lloki.programs import enrichment, fitting, summary
    from lloki.slices import findings, genes, parts
    from lloki.slices.samples import heads_of_slices

    sets = genes.read_sets(gene_sets) if gene_sets else {}
    columns = ("sample", *filter(None, [label_key]))
    head = parts.read_integrated(input, (SPACE, "spatial"), columns)
    given = summary.read_model(model) if model else None
    if given is None and head.n_obs < 2 * k:
        fact = f"{head.n_obs} cells are too few for {k} metagenes"
        raise InputError(input, fact, "ask for fewer with --k")
    if given is not None:
        _, (_, width) = parts.read_cells(input, SPACE)
        if len(given[1]) != width:
            fact = f"it is of {len(given[1])} dimensions, {SPACE} has {width}"
            raise InputError(model, fact, "give the model of this embedding")
    expressed = heads_of_slices(slice, head)

    # slices by name: what is found does not depend on the order in which they came
    samples = sorted(expressed)
    rows = {s: np.flatnonzero(head.obs["sample"].astype(str) == s) for s in samples}
    order = np.concatenate([rows[s] for s in samples])
    starts = np.cumsum([0, *(len(rows[s]) for s in samples)])
    graphs, values = _cells(run, input, head.n_obs, order, starts, samples, graph,
                            options.pop("long_edges"), seed)  # fmt: skip
    labels = {s: _labels(head.obs, label_key, rows[s]) for s in samples}
    if given is None:
        cells, fit, floors, stable = _fit(run, values, graphs, starts, k, repeats, seed, options)
        z = _split(fit.proportions, starts, samples)
        by_slice = [enrichment.type_auc(z[s], labels[s]) for s in samples]
        worst = enrichment.worst_auc([table for table in by_slice if len(table)])
        ranked, types = enrichment.order_and_names(worst, fit.proportions)
        names = [f"M{i + 1}" for i in range(k)]
        fit, stable = summary.reordered(fit, ranked), stable[:, ranked]
    else:
        cells, fit, floors, names, types = _laid_on(given, values, graphs, starts)
        stable = np.empty((0, len(names)))
    z = _split(fit.proportions, starts, samples)
    for warning in summary.warnings(fit, names):
        run.warn(warning)
    tables = _tables(run, z, graphs, labels, expressed, names, markers.split(","), sets)
    tables["programs"] = summary.programs(
        names, types, fit.proportions, stable, tables["moran"], tables["genes"]
    )
    tables |= _fit_tables(fit, names)
    if routes:
        tables |= _routes(run, z, graphs, labels, expressed, k, seed, options)
    _write(run, output, tables, model, (fit, floors, names, types))
    if found:
        back = np.empty_like(fit.proportions)
        back[order] = fit.proportions
        with run.output(found) as temporary:
            findings.write(temporary, head.obs_names, obsm={KEY: back})
    run.report(
        samples=samples, cells=head.n_obs, metagenes=len(names), fitted=given is None,
        explained_variance=fitting.explained(cells, fit), noise=fit.noise,
        affinity=[fit.affinity.min(), fit.affinity.max()],
        named={n: t for n, t in zip(names, types, strict=True) if t},
        lamps=dict(zip(names, tables["programs"]["lamp"], strict=True)),
    )  # fmt: skip


def _cells(run, path, n, order, starts, samples, kind, longest, seed):
    """Graph of each slice by name, and the embedding in the order of the slices."""
    import numpy as np

    from lloki.programs.neighbourhood import neighbour_graph
    from lloki.slices import checks, parts

    places = parts.read_arrays(path, n, ["spatial"])["spatial"]
    places = checks.check_coordinates(places, path)[order]
    values = np.concatenate(list(parts.embedding_blocks(path, SPACE)))
    if values.min() < 0:
        fact = f"obsm[{SPACE!r}] has negative values"
        raise InputError(path, fact, "give an embedding of the autoencoder, which has none")
    graphs = {}
    for s, a, b in zip(samples, starts[:-1], starts[1:], strict=True):
        graphs[s] = neighbour_graph(places[a:b], kind, longest, seed)
        if kind != "none" and not graphs[s].nnz:
            run.warn(f"{s}: its {b - a} cells have no neighbours; it has no field")
    return graphs, values if (np.diff(order) == 1).all() else values[order]


def _fit(run, values, graphs, starts, k, repeats, seed, options):
    """Cells, fit, floors and stability (repeats × K)."""
    import numpy as np

    from lloki.programs import fitting, metagenes
    from lloki.support.device import choose_gpu, device_name

    gpu = choose_gpu(options["device"], worth=len(values) >= GPU_CELLS)
    floors = metagenes.floors_of(values, options["floor"])
    metagenes.take_floor(values, floors)
    weights = np.diff(starts) / len(values) if options["weights"] == "cells" else None
    cells = metagenes.assemble(values, list(graphs.values()), starts, k, weights, gpu)
    how = {key: options[key] for key in ("plain", "iterations", "strength")}
    with run.progress(options["starts"] + options["iterations"], "iterations") as progress:
        fit, tried = fitting.fit(
            cells, k, starts=options["starts"], seed=seed, told=progress.update, **how
        )
    alone = sorted({list(graphs)[r] for one in tried for r in one["slices_in_one_cluster"]})
    if alone and k > 1 and len(graphs) > 1:
        run.warn(f"{', '.join(alone)}: all cells were one cluster at a start; slices may differ by "
                 "batch")  # fmt: skip
    run.report(starts=tried, iterations=len(fit.history), device=device_name(gpu))
    return cells, fit, floors, fitting.stability(cells, fit, repeats, seed=seed, **how)


def _laid_on(given, values, graphs, starts):
    """Cells and the fit of an earlier run laid on them."""
    from lloki.programs import fitting, metagenes

    fit, floors, names, types = given
    metagenes.take_floor(values, floors)
    cells = metagenes.assemble(values, list(graphs.values()), starts, len(names))
    return cells, fitting.laid_on(cells, fit), floors, names, types


def _labels(obs, key, rows):
    import numpy as np

    from lloki.slices.labels import known_labels

    if key is None:
        return np.full(len(rows), None, dtype=object)
    return known_labels(obs[key].iloc[rows], ("Other",))


def _split(values, starts, samples) -> dict:
    return {s: values[a:b] for s, a, b in zip(samples, starts[:-1], starts[1:], strict=True)}


def _tables(run, z, graphs, labels, expressed, names, asked, sets) -> dict:
    """Enrichment, Moran's I, markers, loadings of genes, sets of genes; a slice after the other."""
    import pandas as pd

    from lloki.programs import enrichment, genes, neighbourhood
    from lloki.slices import parts

    rich, spread, marked, loaded = [], [], [], {}
    for sample, mixtures in z.items():
        rich.append(enrichment.enrichment(sample, mixtures, labels[sample], names))
        i, p = neighbourhood.moran(mixtures, graphs[sample])
        spread.append(pd.DataFrame({"sample": sample, "metagene": names, "I": i, "p": p}))
        slice = expressed[sample]
        matrix, counts = parts.read_matrix_and_counts(slice.uns["path"], slice.shape)
        marked.append(
            genes.markers(sample, mixtures, matrix, counts, slice.var_names, names, asked)
        )
        loaded[sample] = (slice.var_names, *genes.loadings(mixtures, matrix))
    found = {"enrichment": pd.concat(rich), "moran": pd.concat(spread)}
    found["markers"] = pd.concat(marked).sort_values("metagene", key=_place(names), kind="stable")
    found["genes"] = genes.combined(loaded, names)
    if sets:
        found["gene_sets"] = genes.gene_sets(found["genes"], sets)
        if not len(found["gene_sets"]):
            run.warn("--gene-sets: no set has 5 to 500 of the measured genes")
    return found


def _place(names):
    place = {name: i for i, name in enumerate(names)}
    return lambda column: column.map(place)


def _fit_tables(fit, names) -> dict:
    """Metagenes, affinity and objective as tables."""
    import pandas as pd

    dimensions = [f"dim{i + 1}" for i in range(len(fit.metagenes))]
    found = {
        "metagenes": pd.DataFrame(fit.metagenes, pd.Index(dimensions, name="dimension"), names),
        "affinity": pd.DataFrame(fit.affinity, pd.Index(names, name="metagene"), names),
    }
    found = {name: table.reset_index() for name, table in found.items()}
    if fit.history:
        found["objective"] = pd.DataFrame(fit.history)
    return found


def _routes(run, z, graphs, labels, expressed, k, seed, options) -> dict:
    """What shared genes, and each slice alone, make of the same cells."""
    from lloki.programs import routes
    from lloki.slices import parts

    how = {key: options[key] for key in ("plain", "iterations", "strength", "starts")}
    matrices = {s: parts.read_matrix(part.uns["path"], part.shape) for s, part in expressed.items()}
    panels = {s: part.var_names for s, part in expressed.items()}
    with run.progress(len(z) + 1, "routes") as progress:
        found = routes.compared(
            z, matrices, panels, graphs, labels, k, progress.update, seed=seed, **how
        )
    if "shared genes" not in set(found["routes_moran"]["route"]):
        run.warn("--routes: the slices share too few genes for metagenes of those")
    return found


def _write(run, output, tables, model, made) -> None:
    from lloki.programs.summary import write_model

    with run.output(output) as folder:
        folder.mkdir()
        for name, table in tables.items():
            if len(table.columns):
                table.to_csv(
                    folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n"
                )
        if model:  # the same, to the byte
            shutil.copyfile(model, folder / "model.npz")
        else:
            write_model(folder / "model.npz", *made)


if __name__ == "__main__":
    main()
