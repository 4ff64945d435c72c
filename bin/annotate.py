#!/usr/bin/env python3
"""Carry labels over to every cell from references and labelled slices, and say how sure it is."""

from pathlib import Path

import click

from lloki.support.cli import Run, command, seed_option
from lloki.support.errors import InputError

SPACES = ("X_lloki_fp", "X_lloki")
IGNORED = ("Other",)
MANY = 0.5  # of a slice's cells unknown, above which that is a doubt


@command("annotate")
@click.option("--input", required=True, help="The integrated file: integrated.h5ad.")
@click.option("--slice", multiple=True, help="SAMPLE.slice.h5ad, for the genes of every panel; "
              "repeatable; with references.")  # fmt: skip
@click.option("--reference", multiple=True, help="scRNA-seq reference, h5ad; repeatable.")
@click.option("--reference-labels", help="Column of obs of the references with cell types.")
@click.option("--reference-of", multiple=True, metavar="SAMPLE=N", help="Which reference (1: the "
              "first) a slice has; repeatable.  [default: that of most shared genes]")  # fmt: skip
@click.option("--model", help="Folder that fit_mosaic.py wrote; with references.")
@click.option("--label-key", help="Column of obs of the slices with cell types.")
@click.option("--label-map", help="CSV of labels and the words to use for them: your own, or "
              "correspondence.csv of an earlier run.")  # fmt: skip
@click.option("--hierarchy", help="CSV of fine labels and their coarse ones: those are given too.")
@click.option(
    "--unknown", type=click.FloatRange(0, 0.5), default=0.05,
    help="Share of cells of covered types that may be called unknown; 0: none.",
)  # fmt: skip
@click.option("--cells", "found_file", help="Also the labels of all cells: annotate.cells.h5ad.")
@click.option("--output", required=True, help="The folder to write: annotation.")
@seed_option
def main(run: Run, input, slice, reference, reference_labels, reference_of, model, label_key,
         label_map, hierarchy, unknown, found_file, output, seed) -> None:  # fmt: skip
    """Give every cell the label that most of its nearest labelled cells have, or `unknown`."""
    import pandas as pd

    from lloki.annotation import tables, vocabularies
    from lloki.slices import findings

    words = vocabularies.read_pairs(label_map, "a label and the word for it") if label_map else {}
    coarse = vocabularies.read_pairs(hierarchy, "a fine label, its coarse one") if hierarchy else {}
    for of_references, option in ((reference, "--reference"), (model, "--model")):
        if reference_labels and not of_references:
            raise InputError("--reference-labels", f"there is no {option}", "give it, too")
    names, cells, given = _cells(input, slice, label_key, bool(reference_labels), words)
    atlases, fitted = _references(run, reference, reference_labels, model, cells, words)
    which = _reference_of(reference_of, list(atlases), cells)
    carried = _carried(run, input, cells, given, atlases, fitted, which, bool(words), seed)
    kinds = list(carried)
    found = {kind: tables.of_all(one, names, unknown) for kind, one in carried.items()}
    first, table = carried[kinds[0]], found[kinds[0]]
    held_out, reliability, risk = tables.qualities(first, unknown)
    obs = tables.columns(table)
    if coarse:
        obs = obs.join(tables.coarse_columns(first, table, coarse))
    written = {
        "labels": pd.concat([one.assign(vocabulary=kind) for kind, one in found.items()]),
        "held_out": held_out, "reliability": reliability, "risk": risk,
        "correspondence": tables.correspondences(list(carried.values()), kinds),
    }  # fmt: skip
    _tell(run, carried, table, held_out)
    with run.output(output) as folder:
        folder.mkdir()
        for name, one in written.items():
            if len(one.columns):
                one.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g",
                           lineterminator="\n")  # fmt: skip
    if found_file:
        with run.output(found_file) as temporary:
            findings.write(temporary, names, obs)


def _cells(input, slices, label_key, with_genes, words):
    """Names of the cells, what is known of them, and their labels (n, None: none)."""
    import numpy as np

    from lloki.annotation.labelling import Cells
    from lloki.annotation.vocabularies import mapped
    from lloki.slices import parts
    from lloki.slices.labels import known_labels

    columns = ("sample", "technology", "panel")
    head = parts.read_integrated(input, SPACES, (*columns, *filter(None, [label_key])))
    sample, technology, panel = (head.obs[key].astype(str).to_numpy(object) for key in columns)
    fp, lloki = (np.concatenate(list(parts.embedding_blocks(input, key))) for key in SPACES)
    genes = _genes(slices, head.obs["sample"].astype(str)) if with_genes else {}
    given = np.full(head.n_obs, None, dtype=object)
    if label_key:
        given = mapped(known_labels(head.obs[label_key], IGNORED), words)
    return head.obs_names, Cells(sample, technology, panel, fp, lloki, genes), given


def _genes(paths, sample) -> dict:
    """Names of the genes of each sample; InputError unless each has a slice."""
    from lloki.slices import parts, samples

    found = samples.by_sample(paths, lambda path: parts.read_head(path)[0])
    for name in sorted(set(sample) - set(found)):
        raise InputError(f"--slice of {name!r}", "it is missing", "give SAMPLE.slice.h5ad")
    return {name: data.var_names for name, data in found.items()}


def _references(run, paths, key, model, cells, words):
    """References that have labels, by the names of their files, and the model they are seen by."""
    import numpy as np

    from lloki.annotation.transfer import Atlas
    from lloki.annotation.vocabularies import mapped
    from lloki.embedding import mosaic
    from lloki.slices import files
    from lloki.slices.labels import reference_labels

    if not key:
        return {}, None
    fitted, atlases = mosaic.load(model), {}
    if fitted.loadings.shape[1] != cells.fp.shape[1]:
        fact = (
            f"it is of {fitted.loadings.shape[1]} dimensions, {SPACES[0]} has {cells.fp.shape[1]}"
        )
        raise InputError(model, fact, "give the model that made the embedding")
    for number, path in enumerate(paths, 1):
        data = files.read_reference(path)
        labels = mapped(reference_labels(data, path, key), words)
        name = Path(path).stem if Path(path).stem not in atlases else f"{Path(path).stem} {number}"
        atlases[name] = Atlas(data.X, np.asarray(data.var_names), labels)
    return atlases, fitted


def _reference_of(given, names, cells) -> dict:
    """The reference of each sample that has one named: SAMPLE=N."""
    found = {}
    for text in given:
        sample, _, number = text.rpartition("=")
        if sample not in cells.rows or not number.isdigit() or not 0 < int(number) <= len(names):
            fact = "it is no SAMPLE=N of a sample and the number of a --reference"
            raise InputError(f"--reference-of {text}", fact, "name one of each")
        found[sample] = names[int(number) - 1]
    return found


def _carried(run, input, cells, given, atlases, model, which, mapped, seed) -> dict:
    """Labels carried over, for each vocabulary by its name, the one of most cells first."""
    from dataclasses import replace

    import numpy as np

    from lloki.annotation import tables, vocabularies
    from lloki.annotation.labelling import Labelling

    labels = {s: set(given[rows]) - {None} for s, rows in cells.rows.items()}
    labels |= {f"reference {a}": set(atlas.codes) - {None} for a, atlas in atlases.items()}
    groups = vocabularies.groups(labels, 0 if mapped else vocabularies.SAME)
    if not groups:
        remedy = "name the column that has them: --label-key, --reference-labels"
        raise InputError(input, "no cell of a slice or of a reference has a label", remedy)
    done = {}
    with run.progress(len(groups), "vocabularies") as progress:
        for members in groups:
            kinds = sorted(set().union(*(labels[name] for name in members)))
            own = {a: atlas for a, atlas in atlases.items() if f"reference {a}" in members}
            own = {a: replace(atlas, codes=vocabularies.codes(atlas.codes, kinds))
                   for a, atlas in own.items()}  # fmt: skip
            codes = np.where(np.isin(cells.sample, members), vocabularies.codes(given, kinds), -1)
            labelling = Labelling(cells, kinds, codes, own, model, which, seed)
            more = f" and {len(members) - 1} more" if len(members) > 1 else ""
            done[f"{members[0]}{more}"] = tables.carry(labelling)
            progress.update()
    by_size = sorted(done, key=lambda name: (not done[name].labelling.atlases, -done[name].cells))
    return {name: done[name] for name in by_size}


def _tell(run, carried, table, held_out) -> None:
    """Figures and doubts of what was carried over."""
    from lloki.annotation import tables

    first = next(iter(carried.values()))
    unknown = (table["label"] == tables.UNKNOWN).groupby(table["sample"]).mean()
    for sample, share in unknown[unknown > MANY].items():
        run.warn(f"{sample}: {share:.0%} of its cells are like none of the labelled ones; add a "
                 "source of this tissue: --reference_labels, or a labelled slice")  # fmt: skip
    if len(carried) > 1:
        said = "; ".join(
            f"{name}: {_listed(one.labelling.labels)}" for name, one in carried.items()
        )
        run.warn(
            f"labels are of {len(carried)} vocabularies with few words in common ({said}); each "
            "was carried over by itself, lloki_label is of the first; correspondence.csv proposes "
            "which label lies on which, and --label_map takes it"
        )
    run.report(
        samples=sorted(first.labelling.cells.rows), cells=len(table), labels=first.labelling.labels,
        vocabularies={name: one.labelling.labels for name, one in carried.items()},
        references=sorted(first.labelling.atlases),
        labelled_slices=sorted(first.labelling.labelled),
        sources=table["source"].value_counts().to_dict(),
        unknown=unknown.to_dict(), held_out=held_out.to_dict("records"),
        calibrated=sorted(first.calibrated), tested_by_reference=sorted(first.tested_by_reference),
    )  # fmt: skip


def _listed(names, most=4) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


if __name__ == "__main__":
    main()
