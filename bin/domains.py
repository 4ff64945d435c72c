#!/usr/bin/env python3
"""Find tissue domains of all slices together, and which labels lie beside one another."""

import click

from lloki.support.cli import Run, command, seed_option

SPACE, BEFORE = "X_lloki", "X_lloki_fp"  # the latter only where the file has it


@command("domains")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@click.option("--output", required=True, help="The folder to write: domains.")
@click.option("--cells", "found", help="Also the cells' domains: domains.cells.h5ad.")
@click.option("--labels", help="Labels that were carried over: cells.h5ad.")
@click.option("--label-key", help="Column of obs with cell types, where none were carried over.")
@click.option(
    "--number", type=click.IntRange(1, 200),
    help="Domains; else as many as hold on parts of the cells.",
)  # fmt: skip
@click.option("--region-key", help="Column of obs with known regions, carried over to the slices "
              "that have none.")  # fmt: skip
@seed_option
def main(run: Run, input, output, found, labels, label_key, number, region_key, seed) -> None:
    """Cluster cells by what lies around them: domains that are the same in all slices."""
    import numpy as np
    import pandas as pd

    from lloki.annotation import domains
    from lloki.slices import findings

    head, order, keys = _head(input, label_key, region_key)
    spaces, places = _cells(input, head, order, keys)
    if BEFORE in keys:
        panels = head.obs["panel"].astype(str).to_numpy()[order]
        spaces[1] = domains.levelled(spaces[1], spaces[0], panels, seed)
    samples = head.obs["sample"].astype(str).to_numpy(object)[order]
    names = sorted(set(samples))
    rows = [np.flatnonzero(samples == name) for name in names]
    around = domains.surroundings(spaces, [(own, places[own]) for own in rows])
    del spaces
    tables = {}
    if number is None:
        with run.progress(len(domains.NUMBERS), "numbers of domains") as progress:
            tried = domains.stability(around, samples, seed=seed, told=progress.update)
        number = domains.choose(tried)
        tables["domain_numbers"] = tried.assign(chosen=tried["domains"] == number)
    codes = domains.domains(around, number, seed)
    called = [f"D{i + 1}" for i in range(codes.max() + 1)]
    obs = {"lloki_domain": pd.Categorical.from_codes(codes, called)}
    known = findings.labels(labels, label_key, head.obs)
    known = known if known is None else known[order]
    tables["domains"] = _sizes(codes, called, samples, head.obs["technology"], order, known)
    if known is not None:
        tables["label_neighbours"] = _neighbours(known, names, rows, places)
    if region_key:
        obs |= _regions(run, around, head.obs[region_key].iloc[order], samples, region_key, seed)
    with run.output(output) as folder:
        folder.mkdir()
        for name, table in tables.items():
            table.to_csv(
                folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n"
            )
    if found:
        _write_cells(run, found, head.obs_names, order, obs)
    run.report(
        samples=names, cells=head.n_obs, domains=len(called), labels=known is not None,
        regions_carried_to=_carried_to(obs, samples),
    )  # fmt: skip


def _head(path, *columns):
    """obs, the order of the cells in which slices stand by name, and the embeddings there are.

    InputError for what lacks.
    """
    import numpy as np

    from lloki.slices import parts

    columns = ["sample", "technology", *filter(None, columns)]
    keys = [SPACE]
    if BEFORE in parts.read_head(path)[1]:
        keys.append(BEFORE)
        columns.append("panel")
    head = parts.read_integrated(path, (*keys, "spatial"), columns)
    return head, np.argsort(head.obs["sample"].astype(str).to_numpy(), kind="stable"), keys


def _cells(path, head, order, keys):
    """Embeddings, LLOKI's first, and coordinates in that order."""
    import numpy as np

    from lloki.slices import checks, parts

    places = parts.read_arrays(path, head.n_obs, ["spatial"])["spatial"]
    spaces = [np.concatenate(list(parts.embedding_blocks(path, key)))[order] for key in keys]
    return spaces, checks.check_coordinates(places, path)[order]


def _sizes(codes, names, samples, technologies, order, labels):
    """Cells of each domain in each slice, its share of the slice, and its most frequent labels."""
    import numpy as np
    import pandas as pd

    table = pd.crosstab(codes, samples).rename_axis("domain").rename_axis("sample", axis=1)
    table = table.stack().rename("cells").reset_index()
    of = dict(zip(samples, technologies.astype(str).to_numpy(object)[order], strict=True))
    table.insert(2, "technology", table["sample"].map(of))
    table["share"] = table["cells"] / table.groupby("sample")["cells"].transform("sum")
    if labels is not None:
        most = []
        for code in range(len(names)):
            counts = pd.Series(labels[codes == code]).dropna().value_counts(normalize=True)[:3]
            most.append(", ".join(f"{name} {share:.0%}" for name, share in counts.items()))
        table["labels"] = np.array(most, dtype=object)[table["domain"]]
    table["domain"] = np.array(names, dtype=object)[table["domain"]]
    return table


def _neighbours(labels, samples, rows, places):
    """Which labels are neighbours, per slice and together."""
    import pandas as pd

    from lloki.annotation import neighbourhoods
    from lloki.programs.neighbourhood import neighbour_graph

    codes, kinds = pd.factorize(labels, sort=True)
    graphs = (
        (name, own, neighbour_graph(places[own])) for name, own in zip(samples, rows, strict=True)
    )
    return neighbourhoods.enrichment(codes, graphs, [str(kind) for kind in kinds])


def _regions(run, around, column, samples, key, seed) -> dict:
    """Columns of obs: the region of each cell, its own or carried over, and the votes for it."""
    import pandas as pd

    from lloki.annotation import domains
    from lloki.slices.labels import known_labels

    regions, share = domains.carried(around, known_labels(column, ()), samples, seed)
    if pd.isna(share).all():
        run.warn(f"--region-key {key}: all slices have regions, or none has; none is carried over")
    return {"lloki_region": pd.Categorical(regions), "lloki_region_share": share}


def _carried_to(obs, samples) -> list[str]:
    import numpy as np

    share = obs.get("lloki_region_share")
    return [] if share is None else sorted(set(samples[~np.isnan(share)]))


def _write_cells(run, path, cells, order, obs) -> None:
    """What was found of the cells, in the order of the integrated file."""
    import numpy as np
    import pandas as pd

    from lloki.slices import findings

    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    with run.output(path) as temporary:
        findings.write(temporary, cells, pd.DataFrame(obs).iloc[back])


if __name__ == "__main__":
    main()
