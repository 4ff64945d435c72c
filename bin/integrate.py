#!/usr/bin/env python3
"""Join all slices and their embeddings in one file, with the baseline on shared genes."""

from collections import Counter

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
def main(run: Run, input, slice, output, n_pcs, seed, umap) -> None:
    """Join all slices: cells, coordinates, embeddings, PCA on shared genes, UMAPs."""
    import numpy as np

    from lloki.integration import joined
    from lloki.propagation import graph
    from lloki.report import figures
    from lloki.slices import files, samples

    embedded = samples.by_sample(input, _read, same_width=EMBEDDINGS)
    expressed = list(samples.expression_of(slice, embedded).values())
    parts = list(embedded.values())
    cells = [name for part in parts for name in part.obs_names]
    if len(set(cells)) < len(cells):
        name = next(name for name, times in Counter(cells).items() if times > 1)
        raise InputError("--input", f"cell {name!r} is in two samples", "prepare the slices again")
    obs = joined.join_obs([part.obs for part in parts])
    data = _with_shared_genes(obs, expressed)
    for key in EMBEDDINGS:
        data.obsm[key] = np.concatenate([part.obsm[key] for part in parts]).astype(np.float32)
    for key in ("spatial", "spatial_aligned"):
        _coordinates(run, data, embedded, key)
    genes = data.var_names.tolist()
    if len(genes):
        data.obsm[joined.BASELINE] = graph.principal_components(data.X, n_pcs, seed)
    else:
        run.warn("no gene is in every slice: there is no PCA baseline on shared genes")
    pictured = [key for key in ("X_lloki", "X_lloki_fp", joined.BASELINE) if key in data.obsm]
    for key in pictured if umap else []:
        data.obsm[joined.umap_key(key)] = joined.umap(data.obsm[key], seed)
    embedder, _, embedder_model = samples.one_embedder(embedded).partition(" ")
    data.uns["lloki"] = {
        "embedder": embedder,
        "embedder_model": embedder_model,
        "shared_genes": [str(gene) for gene in genes],
        "samples": {name: dict(part.uns.get("lloki", {})) for name, part in embedded.items()},
        "integrate": {"n_pcs": n_pcs, "seed": seed},
    }
    for name in data.obs.select_dtypes("category").columns.drop("cell_id", errors="ignore"):
        data.uns[f"{name}_colors"] = figures.category_colours(data.obs[name])
    technology = data.obs.get("technology")
    run.report(
        samples=list(embedded),
        cells=data.n_obs,
        embedder=embedder,
        genes_shared=len(genes),
        technologies=[] if technology is None else technology.cat.categories.tolist(),
        embeddings={key: data.obsm[key].shape[1] for key in pictured},
        aligned="spatial_aligned" in data.obsm,
    )
    with run.output(output) as temporary:
        files.write_h5ad(data, temporary)


def _with_shared_genes(obs, expressed: list):
    """All cells, with X on the genes that every slice has (log-normalised; it may be none)."""
    import anndata as ad
    import pandas as pd

    from lloki.integration import joined

    genes = joined.shared_genes([part.var_names for part in expressed])
    expression = joined.shared_expression(expressed, genes)
    return ad.AnnData(expression, obs=obs, var=pd.DataFrame(index=genes.astype(str)))


def _read(path: str):
    """The embeddings of a slice, and coordinates that are sound."""
    from lloki.slices import checks, files

    data = files.read_embedding(path, *EMBEDDINGS)
    checks.check_coordinates(data.obsm.get("spatial"), path)
    return data


def _coordinates(run: Run, data, embedded: dict, key: str) -> None:
    """Join obsm[key] where all slices have it."""
    from lloki.integration import joined

    lacking = [sample for sample, part in embedded.items() if key not in part.obsm]
    if lacking:
        if len(lacking) < len(embedded):
            run.warn(f"{key} is left out: {', '.join(lacking)} has none")
        return
    parts = [part.obsm[key] for part in embedded.values()]
    if len({part.shape[1] for part in parts}) > 1:
        run.warn(f"{key}: slices with two coordinates stand beside some with three; they got z = 0")
    data.obsm[key] = joined.join_coordinates(parts)


if __name__ == "__main__":
    main()
