#!/usr/bin/env python3
"""Find each cell's target sparsity from a dissociated reference, by optimal transport."""

import click

from lloki.support.checksum import sha256
from lloki.support.cli import Run, command, slice_option
from lloki.support.errors import InputError


@command("ot_sparsity", presets={"release": {"reference_genes": "all"}})
@slice_option
@click.option("--reference", required=True, help="scRNA-seq reference of the same tissue, h5ad.")
@click.option("--output", required=True, help="The table to write: SAMPLE.targets.csv.")
@click.option(
    "--min-shared-genes",
    type=click.IntRange(1),
    default=10,
    help="Genes that slice and reference must share.",
)
@click.option(
    "--reference-genes",
    type=click.Choice(["shared", "all"]),
    default="shared",
    help="Genes on which the reference's sparsity is counted.",
)
@click.option("--full", is_flag=True, help="No target: every gene may be filled (an ablation).")
def main(run: Run, input, reference, output, min_shared_genes, reference_genes, full) -> None:
    """Map each cell's sparsity onto the reference's distribution of sparsities (Eq. 3, 4)."""
    import numpy as np
    import pandas as pd

    from lloki.propagation import sparsity
    from lloki.propagation.stored import write_targets
    from lloki.slices import files, genes

    data = files.read_expression(input)
    atlas = files.read_reference(reference)
    taken = atlas.uns.get("lloki_reference", {"values": "as a stage wrote it", "genes": ""})
    doubtful = (
        "never logged", "parts of counts", "taken for logarithms", "added up", "not Ensembl id",
        "without the genome", "before R", "no genes",
    )  # fmt: skip
    if any(word in taken["values"] + taken["genes"] for word in doubtful):
        run.warn(f"{reference}: taken are {taken['values']}, genes {taken['genes']}")
    _, columns = genes.shared(data.var_names, atlas.var_names)
    if len(columns) < min_shared_genes:
        raise InputError(
            reference,
            f"it shares {len(columns)} genes with {input}, fewer than {min_shared_genes}",
            "give a reference of the same tissue with gene symbols, or lower --min-shared-genes",
        )
    before = sparsity.sparsity(data.X)
    counted = atlas.X[:, columns] if reference_genes == "shared" else atlas.X
    of_reference = sparsity.sparsity(counted)
    target = np.zeros(data.n_obs) if full else sparsity.transport(before, of_reference)
    limits = sparsity.max_nonzero(target, data.n_vars)
    held = np.diff(data.X.indptr)
    table = pd.DataFrame(
        {"n_genes": held, "sparsity": before, "target_sparsity": target, "max_nonzero": limits}
    )
    run.report(
        sample=files.sample_name(data, input),
        cells=data.n_obs,
        genes=data.n_vars,
        genes_shared=len(columns),
        reference=str(reference),
        reference_sha256=sha256(reference),
        reference_values=taken["values"],
        reference_names=taken["genes"],
        reference_cells=atlas.n_obs,
        cells_above_target=int((held > limits).sum()),
        quantiles=list(sparsity.QUANTILES),
        sparsity_before=sparsity.summary(before),
        sparsity_target=sparsity.summary(target),
        sparsity_reference=sparsity.summary(of_reference),
    )
    with run.output(output) as temporary:
        write_targets(table, data.obs_names, temporary)


if __name__ == "__main__":
    main()
