#!/usr/bin/env python3
"""Labels carried over to each technology with its labels hidden, against other ways to do so.

    benchmarks/annotation.py --slice FILE ... --reference FILE ... [--scvi ENVIRONMENT] [--seurat]

Slices are embedded as benchmarks/integration.py does it, labels never shown. Then each technology
is once without labels. From the reference of most shared genes: annotate.py's way; cells near in
the principal components of the genes that slice and reference share; logistic regression on those
genes, as CellTypist has it (log of counts to 10,000, scaled by the reference), plain and with
labels weighing alike; scANVI on them (`--scvi`: an environment made of containers/scvi) and
Seurat (`--seurat`, with R and Debian's r-cran-seurat). From
labelled slices: annotate.py's way from all of them, the others from those that share most genes
with the slice. From both: annotate.py's way. Prints macro F1, accuracy and calibration error over
types that the source has, for each slice; risk by coverage; the AUC of `unknown`, each type once
hidden from the sources. `--alone` hides each slice by itself, so that others of its technology keep
their labels; `--words COLUMN` prints how often labels of two slices that were laid on one another
are of one type of --label-key.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import anndata as ad
import click
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support import demo  # noqa: E402

LEAST = 20  # cells of a type that is hidden


@dataclass
class Data:
    """Slices and references, prepared and embedded; codes of their labels."""

    cells: list
    atlases: list
    model: object
    fp: list
    lloki: np.ndarray
    labels: list
    codes: list
    atlas_codes: list

    @cached_property
    def names(self):
        return [c.obs["sample"].iloc[0] for c in self.cells]

    @cached_property
    def technologies(self):
        return [str(c.obs["technology"].iloc[0]) for c in self.cells]

    @cached_property
    def best(self):
        """The reference of most shared genes, of each slice."""
        from lloki.slices import genes

        shared = [[len(genes.shared(c.var_names, a.var_names)[0]) for a in self.atlases]
                  for c in self.cells]  # fmt: skip
        return [int(np.argmax(row)) for row in shared]

    @cached_property
    def all(self):
        from lloki.annotation.labelling import Cells

        sizes = [c.n_obs for c in self.cells]
        panels = [str(c.obs["panel"].iloc[0]) for c in self.cells]
        columns = [np.repeat(np.array(v, object), sizes)
                   for v in (self.names, self.technologies, panels)]  # fmt: skip
        genes = {name: c.var_names for name, c in zip(self.names, self.cells, strict=True)}
        return Cells(*columns, np.concatenate(self.fp), self.lloki, genes)


def ours(data, i, codes, atlas_codes):
    """annotate.py's way: probabilities, how foreign, p; without atlas_codes from slices alone."""
    from lloki.annotation.labelling import Labelling
    from lloki.annotation.transfer import Atlas

    atlases = {
        f"r{r}": Atlas(a.X, np.asarray(a.var_names), own)
        for r, (a, own) in enumerate(zip(data.atlases, atlas_codes or [], strict=False))
    }
    way = Labelling(data.all, data.labels, np.concatenate(codes), atlases, data.model)
    said, found = way.said(data.names[i]), way.found(data.names[i])
    return found.probability, said.foreign, found.p


def nothing(codes):
    return [np.full(len(own), -1) for own in codes]


def logged(cells, columns):
    """log1p of counts of some genes to 10,000 in a cell (of those)."""
    counts = cells.layers["counts"] if "counts" in cells.layers else cells.X.expm1()
    counts = counts[:, columns].toarray()
    return np.log1p(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9) * 1e4)


def shared_with_reference(data, i, atlas_codes):
    """Expression of a slice and of its reference on the genes of both, and the latter's codes."""
    from lloki.slices import genes

    r = data.best[i]
    own, other = genes.shared(data.cells[i].var_names, data.atlases[r].var_names)
    return logged(data.cells[i], own), logged(data.atlases[r], other), atlas_codes[r]


def shared_with_slices(data, i, codes):
    """The same of the slices with labels that share most genes with it, on those genes."""
    from lloki.slices import genes

    from_ = [j for j, own in enumerate(codes) if j != i and (own >= 0).any()]
    shared = {j: genes.shared(data.cells[i].var_names, data.cells[j].var_names) for j in from_}
    most = max(len(own) for own, _ in shared.values())
    from_ = [j for j in from_ if len(shared[j][0]) == most]
    keys = [set(shared[j][0]) for j in from_]
    own = sorted(set.intersection(*keys))
    columns = {j: dict(zip(*shared[j], strict=True)) for j in from_}
    base = [logged(data.cells[j], [columns[j][k] for k in own]) for j in from_]
    known = np.concatenate([codes[j] for j in from_])
    return logged(data.cells[i], own), np.concatenate(base), known


def components(query, base, codes, labels):
    """Near cells in 50 principal components of both; foreign: far from them."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    both = np.concatenate([query, base])
    space = PCA(min(50, both.shape[1]), random_state=0).fit_transform(both)
    known = codes >= 0
    model = KNeighborsClassifier(30).fit(space[len(query) :][known], codes[known])
    far = model.kneighbors(space[: len(query)])[0][:, -1]
    return spread(model, model.predict_proba(space[: len(query)]), labels), far


def regression(query, base, codes, labels, weight=None):
    """Logistic regression; foreign: a small largest probability."""
    from sklearn.linear_model import LogisticRegression

    known = codes >= 0
    mean, scale = base[known].mean(axis=0), base[known].std(axis=0) + 1e-6
    query, base = (np.clip((v - mean) / scale, -10, 10) for v in (query, base))
    model = LogisticRegression(max_iter=300, class_weight=weight).fit(base[known], codes[known])
    found = spread(model, model.predict_proba(query), labels)
    return found, -found.max(axis=1)


def spread(model, probability, labels):
    found = np.zeros((len(probability), len(labels)))
    found[:, model.classes_] = probability
    return found


def shared_counts(data, i):
    """Counts of the slice and of its reference on the genes of both (cells × genes, CSR)."""
    import scipy.sparse as sp

    from lloki.slices import files, genes

    slice, atlas = data.cells[i], data.atlases[data.best[i]]
    own, other = genes.shared(slice.var_names, atlas.var_names)
    raw = files.read_h5ad(atlas.uns["path"])
    raw = raw[atlas.obs_names, [str(n) for n in atlas.var_names[other]]]
    return sp.csr_matrix(slice.layers["counts"])[:, own], sp.csr_matrix(raw.X)


def scanvi(python, data, i, atlas_codes):
    """scANVI of the slice and its reference on counts of their shared genes."""
    counts = [values.toarray() for values in shared_counts(data, i)]
    codes = np.concatenate([np.full(len(counts[0]), -1), atlas_codes[data.best[i]]])
    obs = pd.DataFrame({
        "batch": np.repeat(["slice", "reference"], [len(counts[0]), len(counts[1])]),
        "label": np.where(codes < 0, "?", codes.astype(str)),
    }, index=[str(n) for n in range(len(codes))])  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        ad.AnnData(np.concatenate(counts), obs).write_h5ad(f"{folder}/in.h5ad")
        script = Path(__file__).parent / "support/run_scanvi.py"
        subprocess.run([f"{python}/bin/python", script, f"{folder}/in.h5ad", f"{folder}/out.csv"],
                       check=True, stdout=sys.stderr)  # fmt: skip
        found = _scores(pd.read_csv(f"{folder}/out.csv").iloc[: len(counts[0])], data.labels)
    return found, -found.max(axis=1)


def seurat(data, i, atlas_codes):
    """Seurat's transfer from the reference; a cell without counts has its labels' shares."""
    import scipy.io

    counts, reference = shared_counts(data, i)
    labels = atlas_codes[data.best[i]]
    sides = {"slice": np.diff(counts.indptr) > 0,
             "reference": (np.diff(reference.indptr) > 0) & (labels >= 0)}  # fmt: skip
    found = np.tile(np.bincount(labels[labels >= 0], minlength=len(data.labels)) / len(labels),
                    (len(sides["slice"]), 1))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for (name, kept), values in zip(sides.items(), (counts, reference), strict=True):
            scipy.io.mmwrite(f"{folder}/{name}.mtx", values[kept])
        np.savetxt(f"{folder}/labels.txt", labels[sides["reference"]], fmt="%d")
        script = Path(__file__).parent / "support/run_seurat_transfer.R"
        subprocess.run(["Rscript", script, folder], check=True, stdout=sys.stderr)
        found[sides["slice"]] = _scores(pd.read_csv(f"{folder}/out.csv"), data.labels)
    return found, -found.max(axis=1)


def _scores(table, labels):
    """Scores of all labels (n × C), of a table that has a column for the number of some."""
    found = np.zeros((len(table), len(labels)))
    for name, column in table.items():
        found[:, int(name)] = column
    return found


def judge(probability, codes, covered):
    """Macro F1, accuracy and calibration error over cells whose type the source has."""
    from sklearn.metrics import f1_score

    from lloki.annotation import transfer_calibration

    known = (codes >= 0) & covered[np.maximum(codes, 0)]
    true, given = codes[known], probability[known].argmax(axis=1)
    risk = transfer_calibration.risk_coverage(probability[known], true, (0.5, 0.8, 1.0))
    return [
        f1_score(true, given, labels=np.unique(true), average="macro"), (true == given).mean(),
        transfer_calibration.error(probability[known], true), *risk.values(),
    ]  # fmt: skip


def ways(data, i, codes, atlas_codes, python=None, with_seurat=False):
    """By source and way: probabilities, how foreign, and p where there is one."""
    labels = data.labels
    found = {}
    if atlas_codes and any((own >= 0).any() for own in atlas_codes):
        genes = shared_with_reference(data, i, atlas_codes)
        found["reference", "LLOKI"] = ours(data, i, nothing(codes), atlas_codes)
        found["reference", "PCA, near cells"] = components(*genes, labels)
        found["reference", "logistic regression"] = regression(*genes, labels)
        found["reference", "  labels alike"] = regression(*genes, labels, "balanced")
        if python:
            found["reference", "scANVI"] = scanvi(python, data, i, atlas_codes)
        if with_seurat:
            found["reference", "Seurat"] = seurat(data, i, atlas_codes)
    if any((own >= 0).any() for own in codes):
        genes = shared_with_slices(data, i, codes)
        found["slices", "LLOKI"] = ours(data, i, codes, None)
        found["slices", "PCA, near cells"] = components(*genes, labels)
        found["slices", "logistic regression"] = regression(*genes, labels)
        found["slices", "  labels alike"] = regression(*genes, labels, "balanced")
        found["both", "LLOKI"] = ours(data, i, codes, atlas_codes)
    return found


def hide(data, i, alone):
    """Codes of all slices without those of a technology, or of the slice alone."""
    return [
        np.full(len(own), -1) if (j == i if alone else t == data.technologies[i]) else own
        for j, (own, t) in enumerate(zip(data.codes, data.technologies, strict=True))
    ]


def has(data, codes, atlas_codes):
    """Which types some source has, for each kind of source."""
    count = len(data.labels)
    held = {"slices": codes, "reference": atlas_codes, "both": [*codes, *atlas_codes]}
    return {k: np.isin(np.arange(count), np.concatenate(v)) for k, v in held.items()}


@click.command()
@click.option("--slice", "paths", multiple=True, help="Labelled h5ad with counts and, in uns, its "
              "technology; repeatable.")  # fmt: skip
@click.option("--reference", "references", multiple=True, help="scRNA-seq h5ad; repeatable.")
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--scvi", "python", help="Environment that has scvi-tools.")
@click.option("--seurat", "with_seurat", is_flag=True, help="Needs R and its package Seurat.")
@click.option("--alone", is_flag=True, help="Hide each slice by itself, not its technology.")
@click.option("--foreign/--no-foreign", default=True, help="Also types hidden from the sources.")
@click.option(
    "--words", help="Column of finer labels of different words, to be laid on each other."
)
def main(paths, references, label_key, seed, python, with_seurat, alone, foreign, words):
    """Print the tables."""
    data = read(paths or demo.slices(), references or [demo.path("reference")], label_key, seed)
    rows, auc = {}, {}
    for i, name in enumerate(data.names):
        if not (data.codes[i] >= 0).any():
            continue
        codes = hide(data, i, alone)
        covered = has(data, codes, data.atlas_codes)
        told = ways(data, i, codes, data.atlas_codes, python, with_seurat)
        for (source, way), found in told.items():
            figures = judge(found[0], data.codes[i], covered[source])
            if len(found) > 2:
                known = (data.codes[i] >= 0) & covered[source][np.maximum(data.codes[i], 0)]
                figures.append((found[2][known] < 0.05).mean())
            rows[source, way, name] = figures
        if foreign:
            for key, value in foreign_types(data, i, codes).items():
                auc.setdefault(key, {}).setdefault(name, []).extend(value)
    show(rows, data.names)
    for (source, way), by_slice in auc.items():
        print(f"AUC of unknown, {source:10}{way:22}" + "".join(
            f"{np.mean(by_slice[n]):8.3f}" for n in data.names if n in by_slice)
            + f"   mean {np.mean(np.concatenate(list(by_slice.values()))):.3f}")  # fmt: skip
    if words:
        lay_on(data, words)


def foreign_types(data, i, codes):
    """AUC of how foreign cells of a type are that was hidden from the sources, by way."""
    from sklearn.metrics import roc_auc_score

    found = {}
    for kind in range(len(data.labels)):
        own = data.codes[i] == kind
        without = [np.where(c == kind, -1, c) for c in codes]
        atlases = [np.where(c == kind, -1, c) for c in data.atlas_codes]
        covered = has(data, without, atlases)
        for (source, way), values in ways(data, i, without, atlases).items():
            others = (data.codes[i] >= 0) & covered[source][np.maximum(data.codes[i], 0)]
            if min(own.sum(), others.sum()) >= LEAST:
                cells = own | others
                value = roc_auc_score(own[cells], values[1][cells])
                found.setdefault((source, way), []).append(value)
    return found


def show(rows, names):
    heads = ["macro F1", "accuracy", "calibration", "risk 50 %", "risk 80 %", "risk all", "unknown"]
    for place, head in enumerate(heads):
        print(f"\n{head:34}" + "".join(f"{n[-12:]:>14}" for n in names) + "          mean")
        for source, way in dict.fromkeys(key[:2] for key in rows):
            values = [rows.get((source, way, n), [])[place : place + 1] for n in names]
            if any(values):
                flat = [v for value in values for v in value]
                print(f"{source:12}{way:22}" + "".join(
                    f"{v[0]:14.3f}" if v else f"{'':14}" for v in values)
                    + f"{np.mean(flat):14.3f}", flush=True)  # fmt: skip


def lay_on(data, column):
    """Of labels of a slice laid on those of another: how many are proposed, and rightly."""
    from lloki.annotation import vocabularies
    from lloki.annotation.labelling import Labelling
    from lloki.slices.labels import known_labels

    fine = [known_labels(c.obs[column]) if column in c.obs else np.full(c.n_obs, None, object)
            for c in data.cells]  # fmt: skip
    kinds = [sorted(set(own) - {None}) for own in fine]
    types = [
        dict(zip(own, codes, strict=True)) for own, codes in zip(fine, data.codes, strict=True)
    ]
    found = []
    for j, others in enumerate(kinds):
        if not others:
            continue
        codes = np.full(len(data.all.sample), -1)
        codes[data.all.rows[data.names[j]]] = vocabularies.codes(fine[j], others)
        way = Labelling(data.all, others, codes)
        for i, labels in enumerate(kinds):
            if labels and data.technologies[i] != data.technologies[j]:
                said = way.said(data.names[i])
                own = vocabularies.codes(fine[i], labels)
                table = vocabularies.correspondence(own, said.probability, labels, others)
                first = table.groupby("label", sort=False).head(1)
                for row in first.itertuples():
                    pair = types[i].get(row.label, -1), types[j].get(row.to, -1)
                    there = min(pair) >= 0 and pair[0] in types[j].values()
                    found.append((row.share, row.back, pair[0] == pair[1], there))
    table = pd.DataFrame(found, columns=["share", "back", "right", "there"]).query("there")
    print("\nlabels laid on another slice's: share, proposed, of one type")
    for least in (0, 0.3, 0.5, 0.7):
        some = table[table["share"] >= least]
        print(f"{least:5}{len(some) / len(table):10.2f}{some['right'].mean():10.2f}")


def read(paths, references, key, seed):
    import integration

    from lloki.annotation import vocabularies
    from lloki.slices import files

    atlases = [files.read_reference(path) for path in references]
    for atlas, path in zip(atlases, references, strict=True):
        atlas.uns["path"] = path
    cells = [integration.prepare(path) for path in paths]
    matrices = [integration.propagate(c, atlases) for c in cells]
    fp = integration.embed(cells, matrices, atlases)
    lloki = integration.integrate(fp, cells, seed, {})
    own = [integration.labels_of(c, key, "Other") for c in [*cells, *atlases]]
    labels = sorted(set(np.concatenate(own)) - {None})
    codes = [vocabularies.codes(values, labels) for values in own]
    return Data(
        cells, atlases, fp.model, fp, lloki, labels, codes[: len(cells)], codes[len(cells) :]
    )


if __name__ == "__main__":
    main()
