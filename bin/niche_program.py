#!/usr/bin/env python3
"""Find niche programs: genes of one kind of cell that go with how much of another is around it."""

import click

from lloki.support.cli import Run, command, seed_option, slices_option
from lloki.support.errors import InputError

SPACE, LABEL, SUBJECT = "X_lloki", "lloki_label", "subject"
FINER = 10  # times as many moved fields where a screen's p is the least that there can be


@command("niche_program")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@slices_option
@click.option("--output", required=True, help="The folder to write: niches.")
@click.option("--found", help="Also the scores of the cells: niches.cells.h5ad.")
@click.option(
    "--cells", multiple=True,
    help="What other stages found: STAGE.cells.h5ad, whose columns may be labels; repeatable.",
)  # fmt: skip
@click.option("--label-key", help=f"Column with kinds of cells; {LABEL} in slices without.")
@click.option(
    "--niche", "pairs", multiple=True,
    help="FOCUS:NEIGHBOUR, two kinds of cells; the neighbour may be COLUMN=VALUE (a domain); "
    "repeatable. all: every pair of kinds with enough cells.",
)  # fmt: skip
@click.option("--k", type=click.IntRange(1), default=100, help="Nearest cells that are around.")
@click.option(
    "--measure", type=click.Choice(["share", "distance"]), default="share",
    help="Of the neighbours: their share of the nearest cells, or the distance to the nearest.",
)  # fmt: skip
@click.option(
    "--resolution", type=click.FloatRange(0, min_open=True), default=1.0,
    help="Of the clusters of the focus cells.",
)  # fmt: skip
@click.option("--cluster-key", help="Column with clusters of cells, instead of those made here.")
@click.option("--clusters", default="", help="Clusters that are the group: A,B; else by the field.")
@click.option(
    "--min-share", type=click.FloatRange(0, 1), default=0.05,
    help="Share of focus cells that express a gene.",
)  # fmt: skip
@click.option(
    "--min-fc", "min_change", type=float, default=0.3,
    help="Log fold change of a gene, focus cells against all others.",
)  # fmt: skip
@click.option("--top", type=click.IntRange(1), default=50, help="Genes up, and down, at most.")
@click.option("--nulls", type=click.IntRange(19), default=199, help="Fields moved at random.")
@click.option("--blocks", "count", type=click.IntRange(2), default=5, help="Of a slice.")
@click.option(
    "--unguarded", is_flag=True,
    help="Also genes that the neighbours have more of, whose transcripts may have leaked.",
)  # fmt: skip
@click.option("--model", help="The folder niches of an earlier run: its programs on these cells.")
@seed_option
def main(run: Run, input, slice, output, found, cells, label_key, pairs, cluster_key, resolution,
         model, seed, **options) -> None:  # fmt: skip
    """Programs of pairs of kinds of cells, cross-fitted, against fields moved over the slices."""
    from lloki.programs import niche_pairs, niche_summary
    from lloki.slices import findings
    from lloki.slices.labels import completed_labels

    if not pairs and not model:
        raise InputError("--niche", "it is missing", "give FOCUS:NEIGHBOUR, or --model")
    head, obs = _read(input, cells)
    key = _label_key(label_key, obs, input)
    kinds = completed_labels(obs, key, LABEL, ("Other", "unknown"))
    fixed = _programs(model) if model else {}
    screen = niche_pairs.ALL in pairs
    asked = niche_pairs.pairs_of(pairs, kinds, obs["sample"].to_numpy()) or list(fixed)
    niche_pairs.check_pairs(asked, obs, kinds, input)
    atlas = _Atlas(input, slice, head, obs, key, kinds, cluster_key, resolution, seed)
    made, left = {}, []
    with run.progress(len(asked), "pairs") as progress:
        for focus, near in _by_focus(asked).items():
            tissues, clustered, names = atlas.focus(focus, near)
            for kind in near:
                pair = focus, kind
                use, why = _fit_for(tissues, kind, fixed.get(pair))
                if use:
                    made[pair] = _found(
                        use, clustered, names, pair, fixed.get(pair), atlas, screen, seed, **options
                    )
                    made[pair][0]["left_out"] = why
                else:
                    left.append({"focus": focus, "neighbour": kind, "why": why})
                progress.update()
    records = [record for record, _ in made.values()]
    niche_summary.corrected(records)
    for record in records:
        niche_summary.judge(record, screen)
    for words in _doubts(records, left, screen):
        run.warn(words)
    folders = _folders(made)
    for record, folder in zip(records, folders.values(), strict=True):
        record["folder"] = folder
    _write(run, output, made, folders)
    if found:
        with run.output(found) as temporary:
            findings.write(temporary, head.obs_names, obs=_columns(obs, folders, made))
    kept = "focus neighbour cells held_out r p q naive_r naive_p found verdict".split()
    run.report(
        label_key=key, screen=screen, left_out=left,
        pairs=[{name: record[name] for name in kept} for record in records],
    )  # fmt: skip


def _by_focus(pairs) -> dict:
    """The neighbours asked for, by the kind in focus."""
    found = {}
    for focus, near in pairs:
        found.setdefault(focus, []).append(near)
    return found


def _doubts(records, left, screen):
    """What is not there: pairs that a user named, and that hold no program or too few cells."""
    if screen:
        return []
    few = [f"{one['focus']} near {one['neighbour']}: no slice has enough cells; "
           f"{_words(one['why'])}" for one in left]  # fmt: skip
    return few + [record["verdict"] for record in records if not record["found"]]


def _found(use, clustered, names, pair, program, atlas, screen, seed, *, clusters, k, measure,
           min_share, min_change, unguarded, top, nulls, count):  # fmt: skip
    """Record and tables of a pair: fitted, or by the program of an earlier run.

    In a screen a p that is the least of so many fields is looked at again, with more of them.
    """
    from lloki.programs import niche_summary, niches
    from lloki.programs.niche_sides import sides_of

    sides, genes, own = sides_of(
        use, clustered, pair[1], k=k, measure=measure, wanted=program and program["genes"],
        guard=not unguarded, min_share=min_share, min_change=min_change,
    )  # fmt: skip
    if program:
        up = [key in program["up"] for key in genes]
        fit = niches.laid_on(sides, genes, up, nulls=nulls, seed=seed)
    else:
        how = {"count": count, "top": top, "seed": seed, "chosen": _chosen(clusters, names)}
        fit = niches.fit(sides, genes, nulls=nulls, **how)
        if screen and niches.chance(fit.r) <= 1.5 / (nulls + 1):
            fit = niches.fit(sides, genes, nulls=FINER * (nulls + 1) - 1, **how)
    record = niche_summary.figures(*pair, fit, sides, own, use)
    record |= {"cluster_names": names, "measure": measure, "label_key": atlas.key}
    return record, _tables(fit, sides, own, use, pair[1], atlas)


def _read(path, cells):
    """The head of the integrated file, and its obs with the columns that stages found."""
    from lloki.slices import findings, parts

    head = parts.read_integrated(path, (SPACE, "spatial"), ("sample", "technology"))
    obs = head.obs.copy()
    more = findings.read(cells, head.obs_names).obs
    obs[list(more)] = more
    return head, obs


def _label_key(key, obs, path):
    from lloki.programs.niche_pairs import check_column

    if key is None and LABEL not in obs:
        raise InputError(path, f"no column of labels is named, and there is no {LABEL}",
                         "give --label-key")  # fmt: skip
    check_column(obs, key or LABEL, path)
    return key or LABEL


class _Atlas:
    """The cells of all slices, of which one kind at a time is in focus."""

    def __init__(self, path, slices, head, obs, key, kinds, cluster_key, resolution, seed):
        import numpy as np

        from lloki.programs import niche_pairs
        from lloki.slices import checks, parts, samples

        self.path, self.obs, self.key, self.kinds = path, obs, key, kinds
        self.cells = head.obs_names
        self.how = cluster_key, resolution, seed
        if cluster_key:
            niche_pairs.check_column(obs, cluster_key, path)

        self.rows = {
            str(s): np.sort(own)
            for s, own in sorted(obs.groupby("sample", observed=True).indices.items())
        }
        self.slices = samples.heads_of_slices(slices, head)
        places = parts.read_arrays(path, head.n_obs, ["spatial"])["spatial"]
        self.places = checks.check_coordinates(places, path)

    def focus(self, kind, near):
        """Tissues, clusters of the focus cells of each slice, names of the clusters."""
        from lloki.programs.niche_pairs import cells_of
        from lloki.programs.niche_sides import tissue

        focus = self.kinds == kind
        masks = {one: cells_of(one, self.obs, self.kinds) for one in near}
        found = []
        for sample, rows in self.rows.items():
            if not focus[rows].any():
                continue
            head, first = self.slices[sample], self.obs.iloc[rows[0]]
            unit = first.get(SUBJECT)
            unit = sample if unit is None or unit != unit or not str(unit) else str(unit)
            found.append(tissue(
                sample, str(first["technology"]), unit, self.places[rows], self._counts(head),
                head.var_names, focus[rows], {n: mask[rows] for n, mask in masks.items()},
                    self.kinds[rows],
            ))  # fmt: skip
        return found, *self._clusters(focus)

    @staticmethod
    def _counts(head):
        from lloki.slices import parts

        matrix, counts = parts.read_matrix_and_counts(head.uns["path"], head.shape)
        return matrix.expm1() if counts is None else counts

    def _clusters(self, focus):
        import numpy as np

        from lloki.programs.niche_groups import focus_clusters
        from lloki.slices import parts
        from lloki.slices.labels import as_text

        key, resolution, seed = self.how
        # slices by name: clusters do not depend on the order in which they came
        rows = np.concatenate([own[focus[own]] for own in self.rows.values()])
        if key:
            names, codes = np.unique(
                as_text(self.obs[key].iloc[rows]).astype(str), return_inverse=True
            )
            names = names.tolist()
        else:
            starts, kept = 0, []
            for block in parts.embedding_blocks(self.path, SPACE):
                kept.append(block[focus[starts : starts + len(block)]])
                starts += len(block)
            place = np.cumsum(focus) - 1
            codes = focus_clusters(np.concatenate(kept)[place[rows]], resolution, seed)
            names = [str(i) for i in range(codes.max() + 1)]
        all_of_them = np.zeros(len(focus), dtype=np.int64)
        all_of_them[rows] = codes
        return {s: all_of_them[own[focus[own]]] for s, own in self.rows.items()}, names


def _fit_for(tissues, kind, program):
    """Slices that have enough cells of both kinds, and why others are left out."""
    from lloki.programs.niche_sides import lacks

    why = {one.name: lacks(one, kind) for one in tissues}
    if program:
        why |= {name: "the program was made of it" for name in program["slices"] if name in why}
    use = [one for one in tissues if why[one.name] is None]
    return use, {name: reason for name, reason in why.items() if reason}


def _words(why):
    return "; ".join(f"{name}: {reason}" for name, reason in why.items())


def _chosen(clusters, names):
    """The group that the user named, as C bool; None: it goes by the field."""
    import numpy as np

    wanted = [one.strip() for one in clusters.split(",") if one.strip()]
    unknown = [one for one in wanted if one not in names]
    if unknown:
        fact = f"there is no cluster {', '.join(unknown)}"
        raise InputError("--clusters", fact, f"there are: {', '.join(names)}")
    return np.isin(names, wanted) if wanted else None


def _tables(made, sides, own, use, kind, atlas):
    """All tables of a pair."""
    from lloki.programs import niche_field, niche_summary

    names, distances = {}, {}
    for one in use:
        rows = atlas.rows[one.name]
        names[one.name] = atlas.cells[rows][one.focus]
        distances[one.name] = niche_field.distance_to(one.places, one.neighbours[kind], one.focus)
    cells = niche_summary.cell_table(made, sides, names, distances)
    return {
        "cells": cells, "bands": niche_summary.bands(cells),
        "genes": niche_summary.gene_table(made, sides, own),
        "genes_by_slice": niche_summary.slice_table(made, sides, own),
    }  # fmt: skip


def _folders(pairs):
    """A folder's name for each pair."""
    from lloki.support.names import plain_names

    names = {pair: "_near_".join(pair) for pair in pairs}
    plain = plain_names(names.values(), ["pairs.csv"])
    return {pair: plain[name] for pair, name in names.items()}


def _columns(obs, folders, made):
    """The scores of all pairs as columns of obs; missing where a cell is not in focus."""
    import pandas as pd

    found = {}
    for pair, folder in folders.items():
        cells = made[pair][1]["cells"]
        score = pd.Series(cells["score"].to_numpy(), index=cells["cell"].to_numpy())
        found[f"niche_{folder}"] = score.reindex(obs.index)
    return pd.DataFrame(found, index=obs.index, dtype="float32")


def _write(run, output, made, folders):
    import json

    from lloki.programs.niche_summary import pair_table
    from lloki.support.cli import plain

    def save(table, path):
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")

    with run.output(output) as folder:
        folder.mkdir()
        save(pair_table([record for record, _ in made.values()]), folder / "pairs.csv")
        for pair, (record, tables) in made.items():
            own = folder / folders[pair]
            own.mkdir()
            for name, table in tables.items():
                save(table, own / f"{name}.csv")
            text = json.dumps(plain(record), indent=1, allow_nan=False)
            (own / "program.json").write_text(text + "\n")


def _programs(folder):
    """Programs of an earlier run by pair: keys of all genes, of those up, and slices."""
    import json
    from pathlib import Path

    found, remedy = {}, "give the folder niches of a run"
    for path in sorted(Path(folder).glob("*/program.json")):
        try:
            one = json.loads(path.read_text())
            up, down = ({str(gene) for gene in one[side]} for side in ("up", "down"))
            slices = {str(own["sample"]) for own in one["slices"]}
            pair = str(one["focus"]), str(one["neighbour"])
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(path, "it holds no niche program", remedy) from None
        if up or down:
            found[pair] = {"genes": up | down, "up": up, "slices": slices}
    if not found:
        raise InputError(folder, "it holds no niche program", remedy)
    return found


if __name__ == "__main__":
    main()
