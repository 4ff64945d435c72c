#!/usr/bin/env python3
"""LLOKI against its own stages and baselines on labelled slices of several technologies.

Every slice goes through preparation, LLOKI-FP and the mosaic embedding in memory with the defaults
of the scripts; the autoencoder is trained with each seed. Prints scib-metrics' eight, the two
aggregates and label transfer between technologies (mean and standard deviation over seeds).
The labels in the column that counts are never shown to a method. Without arguments it takes the
slices of the demo; PCA is on the genes that all slices share.
"""

import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]
DEMO = ROOT / "assets" / "demo"


@click.command()
@click.option("--slice", "paths", multiple=True, help="Labelled h5ad with counts and, in uns, its "
              "technology; repeatable.")  # fmt: skip
@click.option("--reference", default=str(DEMO / "reference.h5ad"), show_default=True)
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--no-target", is_flag=True, help="Propagation fills every gene of every cell.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Another value of a training option, such as lambda_trip=2.")  # fmt: skip
def main(paths, reference, label_key, seeds, no_target, settings) -> None:
    """Print one row for each method."""
    from lloki import integration, metrics, slices

    paths = paths or [str(DEMO / f"{s}.h5ad") for s in ("osmfish", "starmap", "xenium")]
    atlas = slices.read_reference(reference)
    cells, embedded = prepare(paths, atlas, no_target)
    data = [c.obs for c in cells]
    batch = np.concatenate([o["panel"].astype(str).to_numpy() for o in data])
    labels = np.concatenate([metrics.known_labels(o[label_key]) for o in data])
    shared = integration.shared_genes([c.var_names for c in cells])
    print(f"{len(batch)} cells, {len(set(batch))} batches, {len(shared)} genes in all slices")
    from lloki.graph import principal_components

    base = principal_components(integration.shared_expression(cells, shared), 50)
    names = [*metrics.BIO, *metrics.BATCH, *metrics.AGGREGATES, "Label transfer F1"]
    print(f"{'':14}" + "".join(f"{n.replace('Silhouette', 'ASW'):>19}" for n in names), flush=True)

    def row(name, spaces):
        found = [metrics.evaluate(space, labels, batch, base) for space in spaces]
        values = [[f.get(n, np.nan) for f in found] for n in names]
        print(f"{name:14}" + "".join(f"{np.mean(v):>12.3f} ±{np.std(v):.3f}" for v in values),
              flush=True)  # fmt: skip

    row("PCA", [base])
    row("LLOKI-FP", [np.concatenate(embedded)])
    options = dict(s.split("=") for s in settings)
    row("LLOKI", [integrate(embedded, data, seed, options) for seed in range(seeds)])


def prepare(paths, atlas, no_target):
    """The slices, prepared; and the mosaic embedding of each after LLOKI-FP."""
    from support import steps

    from lloki import genes, mosaic, propagation, slices, sparsity

    cells, denoised = [], []
    for path in paths:
        raw = slices.read_h5ad(path)
        technology = str(raw.uns.get("technology", Path(path).stem))
        part = slices.prepare(raw, path, sample=Path(path).stem, technology=technology)
        _, columns = genes.shared(part.var_names, atlas.var_names)
        most = steps.limits(part.X, sparsity.sparsity(atlas.X[:, columns]))
        weights = steps.build(part.X, part.obsm["spatial"])
        imputed = steps.impute(part.X, weights, None if no_target else most)
        again = steps.build(imputed, part.obsm["spatial"])
        cells.append(part)
        denoised.append(propagation.denoise(part.X, imputed, again))
    sets = [(atlas.var_names, atlas.X), *zip((c.var_names for c in cells), denoised, strict=True)]
    sets.sort(key=lambda pair: -len(pair[0]))
    panels, moments = [], []
    for symbols, matrix in sets:
        keys, columns = mosaic.gene_columns(symbols)
        panels.append(keys)
        moments.append(mosaic.correlations(matrix[:, columns]))
    model = mosaic.fit(panels, moments)
    parts = zip(cells, denoised, strict=True)
    return cells, [mosaic.embed(model, matrix, c.var_names) for c, matrix in parts]


def integrate(embedded, obs, seed: int, options: dict):
    """Latent positions of all cells, by train_cae.py and infer_cae.py with their defaults."""
    import tempfile

    import anndata as ad
    from click.testing import CliRunner

    import infer_cae
    import train_cae

    with tempfile.TemporaryDirectory() as folder:
        inputs = []
        for i, (space, table) in enumerate(zip(embedded, obs, strict=True)):
            inputs.append(f"{folder}/{i:03}.fp.h5ad")
            keep = table[["sample", "technology", "panel"]]
            ad.AnnData(obs=keep, obsm={"X_lloki_fp": space}).write_h5ad(inputs[-1])
        more = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        run(CliRunner(), train_cae.main, *(f"--input={p}" for p in inputs), "--output",
            f"{folder}/cae", "--seed", str(seed), *more)  # fmt: skip
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
