#!/usr/bin/env python3
"""Write what a run found for the instruments' own viewers, a folder for each slice."""

import click

from lloki.support.cli import Run, command
from lloki.support.errors import InputError


@command("viewer_files")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@click.option("--label-key", multiple=True, help="Column of obs with labels; repeatable.")
@click.option("--output", required=True, help="The folder to write: viewer.")
def main(run: Run, input, label_key, output) -> None:
    """Write labels, clusters, UMAP and aligned coordinates under the cells' own ids."""
    from lloki.report import viewer
    from lloki.slices import checks, detect, files, parts
    from lloki.support.names import plain_names

    data = parts.read_without_expression(input, {"spatial", *viewer.PLACES}.__contains__)
    if "spatial" not in data.obsm:
        raise InputError(input, "obsm['spatial'] is missing", "run the stage that makes it first")
    for key in data.obsm:
        checks.check_embedding(data.obsm[key], input, key)
    for key in ("sample", *label_key):
        if key not in data.obs:
            have = ", ".join(map(str, data.obs.columns)) or "none"
            raise InputError(input, f"obs has no column {key!r}", f"it has: {have}")
    folders = plain_names(dict.fromkeys(data.obs["sample"].astype(str)))
    formats = {sample: viewer.format_of(data, sample) for sample in folders}
    groups = viewer.groupings(data.obs, label_key).columns.tolist()
    if not groups and set(formats.values()) & set(detect.INSTRUMENTS):
        run.warn("no labels, no clusters: the viewers' files have nothing that groups cells")
    written = {}
    with run.output(output) as whole:
        for sample, folder in folders.items():
            (whole / folder).mkdir(parents=True)
            for name, content in viewer.viewer_files(data, sample, label_key).items():
                if name.endswith(".h5ad"):
                    files.write_h5ad(content, whole / folder / name)
                else:
                    content.to_csv(whole / folder / name, lineterminator="\n")
                written.setdefault(sample, []).append(name)
    run.report(formats=formats, groupings=groups, files=written, cells=data.n_obs)


if __name__ == "__main__":
    main()
