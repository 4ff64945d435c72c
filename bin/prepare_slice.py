#!/usr/bin/env python3
"""Prepare a slice: counts to log-normalised expression, coordinates to micrometres."""

from pathlib import Path

import click

from lloki.support.checksum import sha256
from lloki.support.cli import Run, command
from lloki.support.errors import InputError

ORGANISMS = ("human", "mouse")
VENDORS = {
    "Xenium": "cell_feature_matrix.h5",
    "MERSCOPE": "cell_by_gene.csv",
    "CosMx": "*exprMat_file.csv*",
}


@command("prepare_slice", presets={"release": {"scaling": "maximum"}})
@click.option("--input", required=True, help="h5ad, a table of counts, or a folder of two tables.")
@click.option("--coordinates", help="Table of coordinates, when --input is a table of counts.")
@click.option("--output", required=True, help="The slice to write: SAMPLE.slice.h5ad.")
@click.option("--sample", required=True, help="Name of the slice, unique among all slices.")
@click.option("--technology", required=True, help="Name of the technology, such as Xenium.")
@click.option("--panel", help="Name of the gene panel.  [default: technology and a hash of genes]")
@click.option("--organism", type=click.Choice(ORGANISMS), help="Species of the gene names.")
@click.option("--spatial-unit-um", type=float, default=1.0, help="Micrometres a coordinate unit.")
@click.option(
    "--scaling",
    type=click.Choice(["median", "maximum"]),
    default="median",
    help="Counts are scaled to the median total and log-transformed, or divided by their maximum.",
)
@click.option("--normalized", is_flag=True, help="X is log-normalised already: take it as it is.")
@click.option("--label-key", multiple=True, help="Column of obs that must be there; repeatable.")
def main(
    run: Run,
    input,
    coordinates,
    output,
    sample,
    technology,
    panel,
    organism,
    spatial_unit_um,
    scaling,
    normalized,
    label_key,
) -> None:
    """Read a slice in any accepted form and write it as every later stage reads it."""
    from lloki.slices import files, tables

    if ":" in sample or "/" in sample:
        raise InputError(f"--sample {sample}", "a name may not hold ':' or '/'", "choose another")
    for option, value in (("--sample", sample), ("--technology", technology)):
        if not value.strip():
            raise InputError(option, "it is empty", "give a name")
    if not 0 < spatial_unit_um < float("inf"):
        raise InputError("--spatial-unit-um", f"{spatial_unit_um} is no positive number", "mend it")
    if coordinates or Path(input).is_dir() or _is_table(input):
        data = tables.read_tables(*_tables(Path(input), coordinates))
    else:
        data = files.read_h5ad(input)
    for key in label_key:
        if key not in data.obs:
            have = ", ".join(map(str, data.obs.columns)) or "none"
            raise InputError(input, f"obs has no column {key!r}", f"it has: {have}")
    prepared = files.prepare(
        data,
        input,
        sample=sample,
        technology=technology,
        panel=panel,
        organism=organism,
        spatial_unit_um=spatial_unit_um,
        scaling=scaling,
        normalized=normalized,
    )
    dropped = data.n_obs - prepared.n_obs
    if dropped:
        run.warn(f"{sample}: {dropped} of {data.n_obs} cells have no counts and were dropped")
    run.report(
        sample=sample,
        technology=technology,
        panel=str(prepared.obs["panel"].iloc[0]),
        organism=organism,
        cells_read=data.n_obs,
        cells=prepared.n_obs,
        cells_dropped=dropped,
        genes=prepared.n_vars,
        input_sha256=sha256(input),
        nonzero_fraction=prepared.X.nnz / (prepared.n_obs * prepared.n_vars),
    )
    with run.output(output) as temporary:
        files.write_h5ad(prepared, temporary)


def _refuse_vendor(folder: Path) -> None:
    """InputError that shows the way, if the folder is what an instrument wrote."""
    for vendor, pattern in VENDORS.items():
        if next(folder.glob(pattern), None):
            raise InputError(
                folder,
                f"it looks like {vendor} output, which is not read directly",
                f"read it with spatialdata_io.{vendor.lower()}, write counts and obsm['spatial'] "
                "as h5ad, and give that; or give counts.csv and coordinates.csv",
            )


def _is_table(path: str) -> bool:
    return Path(path).name.removesuffix(".gz").endswith((".csv", ".tsv", ".txt"))


def _tables(path: Path, coordinates: str | None) -> tuple[Path, Path]:
    """The two tables: given both, or both in one folder as counts.* and coordinates.*."""
    if coordinates:
        return path, Path(coordinates)
    if not path.is_dir():
        raise InputError(path, "a table of counts needs coordinates", "add --coordinates TABLE")
    _refuse_vendor(path)
    found = []
    for name in ("counts", "coordinates"):
        matches = sorted(p for p in path.glob(f"{name}.*") if _is_table(str(p)))
        if len(matches) != 1:
            raise InputError(
                path,
                f"the folder has {len(matches)} tables named {name}.csv or {name}.tsv",
                "give an h5ad, or a folder with counts.csv and coordinates.csv (or .tsv, .gz)",
            )
        found.append(matches[0])
    return found[0], found[1]


if __name__ == "__main__":
    main()
