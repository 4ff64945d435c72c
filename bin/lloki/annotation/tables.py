"""What was carried over, as tables: a row a cell, and how good it was where labels were hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from lloki.annotation import transfer_calibration, vocabularies
from lloki.annotation.labelling import Found, Labelling
from lloki.annotation.transfer import entropy
from lloki.annotation.transfer_calibration import Held

UNKNOWN, GIVEN = "unknown", "given"
OF_A_CELL = ("label", "probability", "second", "entropy", "source")


def cells(found: Found, labels: Sequence[str], level: float) -> pd.DataFrame:
    """Of a slice's cells: OF_A_CELL and p, of being of a type that the sources cover.

    Where p is below `level` the label is UNKNOWN, and the likeliest one, whose probability stands
    there, is the second.
    """
    names = np.array([*labels, ""], dtype=object)
    order = np.argsort(-found.probability, axis=1, kind="stable")
    first = order[:, 0]
    second = order[:, 1] if len(labels) > 1 else np.full(len(order), -1)
    foreign = found.p < level
    top = np.take_along_axis(found.probability, order[:, :1], axis=1)[:, 0]
    return pd.DataFrame({
        "label": np.where(foreign, UNKNOWN, names[first]),
        "probability": top,
        "second": names[np.where(foreign, first, second)],
        "entropy": entropy(found.probability),
        "source": found.source,
        "p": found.p,
    })  # fmt: skip


def of_all(carried: Carried, names: pd.Index, level: float) -> pd.DataFrame:
    """A row for each cell, in the order of all cells: its sample and OF_A_CELL, p.

    names: of all cells. A cell with a label of its own keeps it (`given`, probability 1); what was
    carried over to it while it was hidden is in `transferred`, with its probability.
    """
    labelling = carried.labelling
    parts = {s: cells(one, labelling.labels, level) for s, one in carried.found.items()}
    hidden = {s: cells(one, labelling.labels, level) for _, s, _, one in carried.hidden}
    rows = labelling.cells.rows
    table = pd.concat([part.set_axis(rows[s]) for s, part in parts.items()]).sort_index()
    table = table.reindex(range(len(names)))
    table.insert(0, "cell", names)
    table.insert(1, "sample", labelling.cells.sample)
    own = labelling.codes >= 0
    given = np.array([*labelling.labels, ""], dtype=object)[labelling.codes]
    table["given"], table["transferred"], table["transferred_probability"] = given, "", np.nan
    for sample, part in hidden.items():
        there = own[rows[sample]]
        where = rows[sample][there]
        table.loc[where, "transferred"] = part["label"].to_numpy()[there]
        table.loc[where, "transferred_probability"] = part["probability"].to_numpy()[there]
    table.loc[own, "label"], table.loc[own, "source"] = given[own], GIVEN
    table.loc[own, ["probability", "entropy", "p"]] = [1.0, 0.0, np.nan]
    table.loc[own, "second"] = ""
    return table


def columns(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of obs that `of_all` gives: lloki_label and so on."""
    found = table[list(OF_A_CELL)].rename(columns={OF_A_CELL[0]: ""}).add_prefix("lloki_label_")
    found.columns = [name.removesuffix("_") for name in found]
    for name in ("lloki_label", "lloki_label_second", "lloki_label_source"):
        found[name] = pd.Categorical(found[name].replace("", np.nan))
    return found


def coarse_columns(carried: Carried, table: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """lloki_label_coarse and its probability: the likeliest coarse label, `pairs` says of which.

    What is UNKNOWN stays so; a cell's own label gives its coarse one.
    """
    probability, kinds = vocabularies.coarse(_all(carried), carried.labelling.labels, pairs)
    best = probability.argmax(axis=1)
    label = np.array(kinds, dtype=object)[best]
    top = probability[np.arange(len(best)), best]
    own = table["source"].to_numpy() == GIVEN
    fine = table["label"].to_numpy()
    label[own] = [pairs.get(name, name) for name in fine[own]]
    label[fine == UNKNOWN] = UNKNOWN
    return pd.DataFrame({
        "lloki_label_coarse": pd.Categorical(label),
        "lloki_label_coarse_probability": np.where(own, 1.0, top),
    })  # fmt: skip


def quality(held: Held, found: Found, level: float) -> dict:
    """How right the labels of cells were whose own ones were hidden; `held` says the true ones.

    unknown: share of cells of types that the sources cover that were called so; unknown_found: of
    those that they do not cover (whose code is −2).
    """
    known, foreign = held.codes >= 0, held.codes == -2
    true, probability = held.codes[known], found.probability[known]
    given, called = probability.argmax(axis=1), found.p < level
    row = {"cells": int(known.sum()), "uncovered": int(foreign.sum())}
    if known.any():
        row |= {
            "accuracy": float((given == true).mean()),
            "macro_f1": float(f1_score(true, given, labels=np.unique(true), average="macro")),
            "calibration_error": transfer_calibration.error(probability, true),
            "unknown": float(called[known].mean()),
        }
    if foreign.any():
        row["unknown_found"] = float(called[foreign].mean())
    return row


def validation_groups(labelling: Labelling) -> list[list[str]]:
    """Which labelled samples are hidden together: a technology's, or with one alone each by itself.

    A technology alone is hidden, too, where there is a reference.
    """
    technologies = sorted(set(labelling.labelled.values()))
    samples = sorted(labelling.labelled)
    if len(technologies) > 1 or labelling.atlases:
        return [[s for s in samples if labelling.labelled[s] == t] for t in technologies]
    return [[s] for s in samples] if len(samples) > 1 else []


@dataclass(frozen=True)
class Carried:
    """One vocabulary carried over: what was found of each sample's cells, and of samples whose
    labels were hidden (what was hidden, the sample, its labels with −2 for one that no source had).
    """

    labelling: Labelling
    found: Mapping[str, Found]
    hidden: Sequence[tuple[str, str, Held, Found]]

    @property
    def cells(self) -> int:
        """How many cells of the slices have a label of this vocabulary."""
        return int((self.labelling.codes >= 0).sum())

    @property
    def calibrated(self) -> list[str]:
        """Samples whose probabilities were calibrated."""
        return sorted(sample for sample, one in self.found.items() if one.curves)

    @property
    def tested_by_reference(self) -> list[str]:
        """Samples that were tested for unknown cells by halves of the reference alone."""
        return sorted(sample for sample, one in self.found.items() if one.by_reference)


def carry(labelling: Labelling) -> Carried:
    """Labels of all samples, and once more of those that have labels without these."""
    samples = sorted(labelling.cells.rows)
    found = {sample: labelling.found(sample) for sample in samples}
    groups = validation_groups(labelling)
    pairs = {" ".join(group): labelling.without(group) for group in groups}
    pairs = {name: said for name, said in pairs.items() if said}  # none: no source is left
    hidden = []
    for name, said in pairs.items():
        others = [pair for other, pairs_of in pairs.items() if other != name for pair in pairs_of]
        others = [pair for pair in others if (pair[0].codes >= 0).any()]
        for sample, (held, one) in zip(name.split(), said, strict=True):
            codes = labelling.codes[labelling.cells.rows[sample]]
            true = np.where((codes >= 0) & (held.codes < 0), -2, held.codes)
            judged = labelling.judged(sample, one, others)
            hidden.append((name, sample, Held(held.group, held.probability, true), judged))
    there = {sample: one for sample, one in found.items() if one is not None}
    return Carried(labelling, there, hidden)


def qualities(carried: Carried, level: float) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Of samples whose labels were hidden: `quality` a row each, reliability, risk by coverage."""
    rows, bins, risks = [], [], []
    for name, sample, held, found in carried.hidden:
        about = {"sample": sample, "hidden": name}
        rows.append(about | quality(held, found, level))
        known = held.codes >= 0
        if known.any():
            given = found.probability[known], held.codes[known]
            bins.append(transfer_calibration.reliability(*given).assign(**about))
            kept = transfer_calibration.risk_coverage(*given)
            risks += [about | {"coverage": share, "risk": risk} for share, risk in kept.items()]
    reliability = pd.concat(bins, ignore_index=True) if bins else pd.DataFrame()
    return pd.DataFrame(rows), reliability, pd.DataFrame(risks)


def correspondences(carried: Sequence[Carried], names: Sequence[str]) -> pd.DataFrame:
    """Which label of each vocabulary lies on which of each other (`vocabularies.correspondence`).

    names: of the vocabularies. Only words for labels of the first one are proposed. Cells count by
    their own labels, or where a vocabulary is that of references alone by those carried over.
    """
    found = []
    for i, first in enumerate(carried):
        own = first.labelling.codes if first.cells else _likeliest(first)
        for j, other in enumerate(carried):
            if i != j:
                labels, others = first.labelling.labels, other.labelling.labels
                probability = _all(other)
                there = np.isfinite(probability[:, 0])
                table = vocabularies.correspondence(
                    np.where(there, own, -1), np.nan_to_num(probability), labels, others
                )
                table["proposed"] &= j == 0
                found.append(table.assign(vocabulary=names[i], other=names[j]))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _all(carried: Carried) -> np.ndarray:
    """Probabilities of all cells (n × C), NaN of samples that no source spoke of."""
    shape = len(carried.labelling.codes), len(carried.labelling.labels)
    values = np.full(shape, np.nan)
    for sample, one in carried.found.items():
        values[carried.labelling.cells.rows[sample]] = one.probability
    return values


def _likeliest(carried: Carried) -> np.ndarray:
    values = _all(carried)
    return np.where(np.isnan(values[:, 0]), -1, np.nan_to_num(values).argmax(axis=1))
