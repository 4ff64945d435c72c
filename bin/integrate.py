#!/usr/bin/env python3
"""Join all slices and their embeddings in one file, with the baseline on shared genes."""

from collections import Counter

import click

from lloki.support.cli import InputError, Run, stage

EMBEDDINGS = ("X_lloki_fp", "X_lloki")


@stage("integrate")
@click.option(
    "--input", required=True, multiple=True, help="SAMPLE.lloki.h5ad, aligned or not; repeatable."
)
@click.option(
    "--slice", required=True, multiple=True, help="SAMPLE.slice.h5ad of each input; repeatable."
)
@click.option("--output", required=True, help="The file to write: integrated.h5ad.")
@click.option(
    "--n-pcs", type=click.IntRange(2), default=50, help="Components of the shared-gene baseline."
)
@click.option("--seed", type=int, default=0)
@click.option("--umap/--no-umap", default=True, help="UMAPs of the embeddings and the baseline.")
def main(run: Run, input, slice, output, n_pcs, seed, umap) -> None:
    """Join all slices: cells, coordinates, embeddings, PCA on shared genes, UMAPs."""
    import numpy as np

    from lloki.integration import joined
    from lloki.propagation import graph
    from lloki.report import figures
    from lloki.slices import files

    embedded = _embedded(input)
    expressed = _expressed(slice, embedded)
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
    embedder, _, embedder_model = _embedder(embedded).partition(" ")
    data.uns["lloki"] = {
        "embedder": embedder,
        "embedder_model": embedder_model,
        "shared_genes": [str(gene) for gene in genes],
        "samples": {name: dict(part.uns.get("lloki", {})) for name, part in embedded.items()},
        "integrate": {"n_pcs": n_pcs, "seed": seed},
    }
    for name in data.obs.select_dtypes("category"):
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


def _embedded(paths: tuple[str, ...]) -> dict:
    """The embedded slices by sample, all of one width."""
    from lloki.slices import checks, files

    found: dict = {}
    for path in paths:
        data = files.read_embedding(path, *EMBEDDINGS)
        sample = files.sample_name(data, path)
        if sample in found:
            raise InputError(path, f"sample {sample!r} is given twice", "give each sample once")
        checks.check_coordinates(data.obsm.get("spatial"), path)
        for key in EMBEDDINGS:
            width = data.obsm[key].shape[1]
            for other, known in found.items():
                if width != known.obsm[key].shape[1]:
                    raise InputError(
                        path,
                        f"{key} has {width} columns, that of {other!r} has "
                        f"{known.obsm[key].shape[1]}",
                        "embed all slices by the same model",
                    )
        found[sample] = data
    return found


def _expressed(paths: tuple[str, ...], embedded: dict) -> list:
    """The slice of each embedded sample, in their order, with the same cells."""
    from lloki.slices import files

    found = {}
    for path in paths:
        data = files.read_expression(path)
        sample = files.sample_name(data, path)
        if sample not in embedded:
            raise InputError(path, f"no --input is of its sample {sample!r}", "give both or none")
        if sample in found:
            raise InputError(path, f"sample {sample!r} is given twice", "give each slice once")
        if data.obs_names.tolist() != embedded[sample].obs_names.tolist():
            raise InputError(
                path,
                f"its cells are not those of the embedding of {sample!r}, or not in their order",
                "give the slice from which the embedding was made",
            )
        found[sample] = data
    for sample in embedded:
        if sample not in found:
            raise InputError(f"--slice of {sample!r}", "it is missing", "give SAMPLE.slice.h5ad")
    return [found[sample] for sample in embedded]


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


def _embedder(embedded: dict) -> str:
    """The one embedder of all slices."""
    from lloki.slices import files

    names = {sample: files.embedder(part) for sample, part in embedded.items()}
    first, name = next(iter(names.items()))
    for sample, other in names.items():
        if other != name:
            raise InputError(
                sample,
                f"it was embedded by {other}, {first} by {name}",
                "embed all slices by the same embedder",
            )
    return name


if __name__ == "__main__":
    main()
