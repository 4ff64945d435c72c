#!/usr/bin/env python3
"""Prepare a slice: counts to log-normalised expression, coordinates to micrometres."""

from pathlib import Path

import click

from lloki.support.checksum import sha256, sha256_of
from lloki.support.cli import Run, command, fault_option
from lloki.support.errors import InputError

ORGANISMS = ("human", "mouse")
FORMATS = ("h5ad", "xenium", "merscope", "cosmx", "anndata", "spatialdata", "tables")
OWN = {"sample", "technology", "panel", "subject", "align_group", "z"}  # columns that it writes
MIN_COUNTS = 10  # of cells as an instrument found them, as scanpy's and squidpy's tutorials have it


@command("prepare_slice", presets={"release": {"scaling": "maximum"}})
@click.option("--input", required=True, help="What the instrument or the lab wrote: a folder of "
              "Xenium, MERSCOPE or CosMx, a zarr store, an h5ad, two tables.")  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Of the input.  [default: as it looks]"
)
@click.option("--region", help="Subfolder of a run with several regions; table of a SpatialData.")
@click.option("--fov", help="Fields of view to take, such as '1-24 30'.")
@click.option("--coordinates", help="Table of coordinates, when --input is a file of counts.")
@click.option("--cells", help="Table whose first column names the cells to take, such as a "
              "lasso's; its other columns, such as labels, join obs.")  # fmt: skip
@click.option("--output", required=True, help="The slice to write: SAMPLE.slice.h5ad.")
@click.option("--sample", required=True, help="Name of the slice, unique among all slices.")
@click.option("--technology", required=True, help="Name of the technology, such as Xenium.")
@click.option("--panel", help="Name of the gene panel.  [default: technology and a hash of genes]")
@click.option("--organism", type=click.Choice(ORGANISMS), help="Species of the gene names.")
@click.option("--spatial-unit-um", type=float, help="Micrometres a coordinate unit.  [default: the "
              "format's; 1 where it has none]")  # fmt: skip
@click.option(
    "--scaling",
    type=click.Choice(["median", "maximum"]),
    default="median",
    help="Counts are scaled to the median total and log-transformed, or divided by their maximum.",
)
@click.option("--normalized/--no-normalized", help="X is log-normalised already: take it as it is.")
@click.option("--counts-layer", help="Where raw counts are: a layer, X or raw.  [default: they are "
              "looked for]")  # fmt: skip
@click.option("--fractional-counts", is_flag=True, help="Counts may be parts of counts (proseg, "
              "SoupX, Baysor).")  # fmt: skip
@click.option("--keep-controls", is_flag=True, help="Control features stay among the genes.")
@click.option("--min-counts", type=click.IntRange(1), help="Drop cells of fewer counts.  [default: "
              f"{MIN_COUNTS} for an instrument's files, else 1]")  # fmt: skip
@click.option("--label-key", multiple=True, help="Column of obs with labels; repeatable.")
@click.option("--subject", help="Animal or donor, a column of obs.")
@click.option("--align-group", help="Slices of one group may lie in one frame (block, plane).")
@click.option("--z", type=float, help="Order or depth of the slice in a stack.")
@click.option("--embedding-key", help="obsm key of an embedding that is taken as it is.")
@click.option("--embedding-model", help="Name of the model that made it.  [default: the key]")
@fault_option
def main(
    run: Run, input, form, region, fov, coordinates, cells, output, sample, technology, panel,
    organism, spatial_unit_um, scaling, normalized, counts_layer, fractional_counts, keep_controls,
    min_counts, label_key, subject, align_group, z, embedding_key, embedding_model, record_fault,
) -> None:  # fmt: skip
    """Read a slice in any accepted form and write it as every later stage reads it."""
    from pandas.api.types import is_numeric_dtype

    from lloki.slices import chosen, detect, evidence, files
    from lloki.slices.labels import as_text, unlabelled

    run.report(sample=sample)
    if ":" in sample or "/" in sample:
        raise InputError(f"--sample {sample}", "a name may not hold ':' or '/'", "choose another")
    for option, value in (("--sample", sample), ("--technology", technology)):
        if not value.strip():
            raise InputError(option, "it is empty", "give a name")
    if embedding_key == "spatial":
        raise InputError("--embedding-key spatial", "these are coordinates", "name an embedding")
    for key in OWN.intersection(label_key):
        remedy = f"name another; your column of this name is kept as {key}_given"
        raise InputError(f"--label-key {key}", "that is a column of the pipeline", remedy)
    if z is not None and not abs(z) < float("inf"):
        raise InputError("--z", f"{z} is no number", "give the order or depth of the slice")
    if spatial_unit_um is not None and not 0 < spatial_unit_um < float("inf"):
        raise InputError("--spatial-unit-um", f"{spatial_unit_um} is no positive number", "mend it")
    source = detect.read(
        Path(input), form, region, fov, Path(coordinates) if coordinates else None,
        spatial_unit_um, keep_controls,
    )  # fmt: skip
    source = evidence.sift(
        source, input, layer=counts_layer, normalized=normalized, fractional=fractional_counts,
        keep_controls=keep_controls, embedding=embedding_key,
    )  # fmt: skip
    for warning in [*source.warnings, *detect.doubts(source, technology)]:
        run.warn(f"{sample}: {warning}")
    read = source.data.n_obs
    data, said = chosen.choose(source.data, cells, label_key) if cells else (source.data, [])
    for warning in said:
        run.warn(f"{sample}: {warning}")
    columns = ", ".join(map(str, data.obs.columns)) or "none"
    for key in label_key:
        if key not in data.obs:
            run.warn(f"{sample} has no column {key!r} ({columns}): its cells count as not labelled")
            continue
        if is_numeric_dtype(data.obs[key]):  # 1 here and 1.0 there are one label
            data.obs[key] = as_text(data.obs[key]).astype("category")
        if words := unlabelled(data.obs[key]):
            listed = ", ".join(f"{count} {word!r}" for word, count in words.items())
            run.warn(f"{sample}: these of {key!r} count as not labelled: {listed}")
    unused = [name for name, given in (("--min-counts", min_counts),
              ("--fractional-counts", fractional_counts)) if given]  # fmt: skip
    if normalized and unused:
        run.warn(f"{sample}: {' and '.join(unused)} say nothing about log-normalised values")
    if min_counts is None:
        min_counts = MIN_COUNTS if source.format in detect.INSTRUMENTS else 1
    taken = data.n_obs
    prepared = files.prepare(
        data, input, sample=sample, technology=technology, panel=panel, organism=organism,
        spatial_unit_um=source.unit_um, scaling=scaling, normalized=normalized,
        min_counts=min_counts, values=source.facts["values"], format=source.format,
        unit_from=source.unit_from,
        about={"subject": subject, "align_group": align_group, "z": z}, embedding=embedding_key,
        embedding_model=embedding_model,
    )  # fmt: skip
    dropped = taken - prepared.n_obs
    if dropped:
        few = "no counts" if min_counts == 1 or normalized else f"fewer than {min_counts} counts"
        run.warn(f"{sample}: {dropped} of {taken} cells have {few} and were dropped")
    controls = detect.control_rates(source)
    labels = {key: _labels(prepared.obs, key) for key in label_key}
    hashes = {path.name: sha256(path) for path in source.files}
    hashes |= {f"cells/{Path(cells).name}": sha256(cells)} if cells else {}
    run.report(
        technology=technology, panel=str(prepared.obs["panel"].iloc[0]),
        organism=organism, format=source.format, cells_read=read, cells_chosen=taken,
        cells=prepared.n_obs, cells_dropped=dropped, min_counts=min_counts, genes=prepared.n_vars,
        gene_names=list(prepared.var_names), dimensions=prepared.obsm["spatial"].shape[1],
        spatial_unit_um=source.unit_um, unit_from=source.unit_from,
        labelled={key: sum(found.values()) for key, found in labels.items()}, labels=labels,
        columns=columns,
        embedding=embedding_key and {
            "key": embedding_key, "model": embedding_model or embedding_key,
            "dimensions": prepared.obsm[embedding_key].shape[1],
        },
        controls=controls, control_rate=detect.control_rate(controls), **source.facts, files=hashes,
        input_sha256=sha256_of(hashes),
        nonzero_fraction=prepared.X.nnz / (prepared.n_obs * prepared.n_vars),
    )  # fmt: skip
    with run.output(output) as temporary:
        files.write_h5ad(prepared, temporary)


def _labels(obs, key: str) -> dict[str, int]:
    """The labels of a column that say something, if there is such a one, with their cells."""
    from collections import Counter

    from lloki.slices.labels import known_labels

    known = known_labels(obs[key]) if key in obs else []
    return dict(Counter(label for label in known if label is not None))


if __name__ == "__main__":
    main()
