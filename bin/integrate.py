#!/usr/bin/env python3
"""Join all slices and their embeddings in one file, with the baseline on shared genes."""

import click

from lloki.support.cli import Run, command, seed_option, slices_option
from lloki.support.errors import InputError

EMBEDDINGS = ("X_lloki_fp", "X_lloki")


@command("integrate")
@click.option(
    "--input", required=True, multiple=True, help="SAMPLE.lloki.h5ad, aligned or not; repeatable."
)
@slices_option
@click.option("--output", required=True, help="The file to write: integrated.h5ad.")
@click.option(
    "--n-pcs", type=click.IntRange(2), default=50, help="Components of the shared-gene baseline."
)
@seed_option
@click.option("--umap/--no-umap", default=True, help="UMAPs of the embeddings and the baseline.")
@click.option(
    "--umap-cells",
    type=click.IntRange(100),
    default=50_000,
    help="Fit UMAPs to so many cells at most, drawn so that rare groups stay; place the others.",
)
@click.option(
    "--genes", "which", type=click.Choice(["union", "shared"]), default="union",
    help="Genes in the file: all that any slice measured, or those that every slice has.",
)  # fmt: skip
def main(run: Run, input, slice, output, n_pcs, seed, umap, umap_cells, which) -> None:
    """Join all slices: cells, genes, coordinates, embeddings, PCA on shared genes, UMAPs."""
    import numpy as np
    import pandas as pd

    from lloki.integration import joined
    from lloki.propagation import graph
    from lloki.report import figures
    from lloki.slices import parts, samples

    embedded = samples.by_sample(input, _embedded)
    expressed = samples.expression_of(slice, embedded, _expressed)
    for key in EMBEDDINGS:
        widths = [part.uns["shapes"][key][1] for part in embedded.values()]
        for path, width in zip(input, widths, strict=True):
            samples.check_width(key, path, width, input[0], widths[0])
    embedder, _, embedder_model = samples.one_embedder(embedded).partition(" ")
    cells = np.concatenate([part.obs_names for part in embedded.values()])
    twice = pd.Index(cells).duplicated()
    if twice.any():
        fact = f"cell {cells[twice][0]!r} is in two samples"
        raise InputError("--input", fact, "prepare the slices again")
    obs = joined.join_obs([part.obs for part in embedded.values()])
    genes = joined.shared_genes([part.var_names for part in expressed.values()])
    if not len(genes):
        run.warn("no gene is in every slice: there is no PCA baseline on shared genes")
    notes = {"n_pcs": n_pcs, "seed": seed}
    if umap and umap_cells < len(obs):
        notes["umap_cells"] = umap_cells
    with run.output(output) as temporary, parts.JoinedFile(temporary, len(obs)) as file:
        _join_arrays(run, file, embedded)
        names, measured = _join_genes(run, file, expressed, embedded, which)
        if len(genes):
            shape = len(obs), len(genes)
            columns = pd.Index(names).get_indexer(genes)

            def read(rows):
                return (block[:, columns] for block in file.expression(rows))

            file.fill(joined.BASELINE, graph.stored_components(read, shape, n_pcs, seed))
        pictured = [k for k in ("X_lloki", "X_lloki_fp", joined.BASELINE) if k in file]
        if umap:
            with run.progress(len(pictured), "UMAPs") as progress:
                for key in pictured:
                    where = joined.umap_of_many(file.rows(key), obs["sample"], umap_cells, seed)
                    file.fill(joined.umap_key(key), where)
                    progress.update()
        file.finish(obs, names, {
            "lloki": {
                "embedder": embedder,
                "embedder_model": embedder_model,
                "shared_genes": [str(gene) for gene in genes],
                "samples": {s: dict(p.uns.get("lloki", {})) for s, p in embedded.items()},
                "integrate": notes,
            },
            **figures.colours_of_all(obs),
        }, {"measured": measured})  # fmt: skip
        embeddings = {key: file.rows(key).shape[1] for key in pictured}
        aligned = "spatial_aligned" in file
    technology = obs.get("technology")
    run.report(
        samples=list(embedded),
        cells=len(obs),
        embedder=embedder,
        genes_shared=len(genes),
        genes=len(names),
        technologies=[] if technology is None else technology.cat.categories.tolist(),
        embeddings=embeddings,
        aligned=aligned,
        umap_fitted=min(len(obs), umap_cells) if umap else 0,
    )


def _embedded(path: str):
    """The cells of a file, and the shapes of its arrays; the embeddings are among them."""
    from lloki.slices import parts

    data, shapes = parts.read_head(path)
    for key in EMBEDDINGS:
        if key not in shapes:
            fact = f"obsm[{key!r}] is missing"
            raise InputError(path, fact, "run the stage that makes it first")
    data.uns |= {"path": path, "shapes": shapes}
    return data


def _expressed(path: str):
    """The names of cells and genes of a file, and its sample."""
    from lloki.slices import parts

    data, _ = parts.read_head(path)
    data.obs = data.obs[[name for name in data.obs if name == "sample"]]
    data.uns["path"] = path
    return data


def _join_genes(run: Run, file, expressed: dict, embedded: dict, which: str):
    """Write values and counts, a slice after the other; names of the genes, and who measures them.

    Counts are left out where a slice has none.
    """
    from lloki.integration import joined
    from lloki.slices import parts

    names, places = joined.genes_of([part.var_names for part in expressed.values()], which)
    lacking = [s for s, part in expressed.items() if not parts.has_counts(part.uns["path"])]
    if lacking:
        run.warn(f"layers['counts'] is left out: {', '.join(lacking)} has none")
    for part, place in zip(expressed.values(), places, strict=True):
        found = parts.read_matrix_and_counts(part.uns["path"], part.shape)
        for name, matrix in zip(("X", "layers/counts"), found, strict=True):
            if name == "X" or not lacking:
                file.extend(joined.spread(matrix, place, len(names)), name)
    panels = [str(p.obs["panel"].iloc[0]) if "panel" in p.obs else s for s, p in embedded.items()]
    panels = [panel.replace("/", "_") for panel in panels]  # HDF5 takes it for a path
    measured, differ = joined.measured(names, places, panels)
    for panel in differ:
        run.warn(f"slices of panel {panel} differ in their genes: varm['measured'] has those that "
                 "all of them have")  # fmt: skip
    return names, measured


def _join_arrays(run: Run, file, embedded: dict) -> None:
    """Write embeddings, a slice after the other, and coordinates where all slices have them."""
    import numpy as np

    from lloki.integration import joined
    from lloki.slices import checks, parts

    found = {"spatial": {}, "spatial_aligned": {}}
    start = 0
    for sample, part in embedded.items():
        path = part.uns["path"]
        arrays = parts.read_arrays(path, part.n_obs, [*EMBEDDINGS, *found])
        checks.check_coordinates(arrays.get("spatial"), path)
        for key in EMBEDDINGS:
            checks.check_embedding(arrays[key], path, key)
            file.add(key, start, arrays[key].astype(np.float32))
        for key in found:
            if key in arrays:
                found[key][sample] = arrays[key]
        start += part.n_obs
    for key, places in found.items():
        lacking = [sample for sample in embedded if sample not in places]
        if not lacking:
            if len({place.shape[1] for place in places.values()}) > 1:
                run.warn(f"{key}: slices with two coordinates stand beside some with three; "
                         "they got z = 0")  # fmt: skip
            file.add(key, 0, joined.join_coordinates(list(places.values())))
        elif places:
            run.warn(f"{key} is left out: {', '.join(lacking)} has none")


if __name__ == "__main__":
    main()
