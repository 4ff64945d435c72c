"""Labels of several vocabularies: told apart, laid on one another, mapped by a table.

Two laboratories may call the same types by names of which none is shared. Sources whose labels are
mostly the same words are of one vocabulary; of two vocabularies cells of the one that were given
labels of the other say which lies on which.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lloki.support.errors import InputError

SAME = 0.5  # share of the fewer labels that two sources of one vocabulary have in common
LISTED = 0.05  # a share of cells below which a correspondence is not listed
CLEAR = 0.5  # a share of cells from which on it is proposed


def groups(labels: Mapping[str, set[str]], same: float = SAME) -> list[list[str]]:
    """Sources by vocabulary: those joined by chains of sources that share labels.

    labels: the labels of each source; one without any is in none. same: share of the fewer labels
    of two that both have, from which on they are of one vocabulary (0: any one). Groups sorted.
    """
    names = sorted(name for name, known in labels.items() if known)
    group = {name: {name} for name in names}
    for i, first in enumerate(names):
        for second in names[:i]:
            common = len(labels[first] & labels[second])
            if common and common >= same * min(len(labels[first]), len(labels[second])):
                joined = group[first] | group[second]
                group |= dict.fromkeys(joined, joined)
    return sorted(sorted(members) for members in {id(g): g for g in group.values()}.values())


def correspondence(
    own: np.ndarray, probability: np.ndarray, labels: list[str], others: list[str]
) -> pd.DataFrame:
    """Which labels of another vocabulary the cells of each label were given.

    own: codes of n cells (−1: none) in `labels`; probability: n × len(others). A row for a pair:
    label, to, cells, share (of the cells' probability that `to` has), back (of what `to` has got,
    every label's cells weighing alike, the share that came from `label`), proposed (whether `to`
    is the label's first and has CLEAR of it). Shares below LISTED are left out.
    """
    counts = np.bincount(own[own >= 0], minlength=len(labels))
    sums = np.stack([probability[own == i].sum(axis=0) for i in range(len(labels))])
    share = sums / np.maximum(counts, 1)[:, None]
    total = share.sum(axis=0)
    back = np.divide(share, total, out=np.zeros_like(share), where=total > 0)
    rows = [
        {"label": labels[i], "to": others[j], "cells": int(counts[i]), "share": share[i, j],
         "back": back[i, j],
         "proposed": bool(j == share[i].argmax() and share[i, j] >= CLEAR)}
        for i in range(len(labels)) for j in np.argsort(-share[i], kind="stable")
        if share[i, j] >= LISTED
    ]  # fmt: skip
    columns = ["label", "to", "cells", "share", "back", "proposed"]
    return pd.DataFrame(rows, columns=columns)


def read_pairs(path: str | Path, what: str) -> dict[str, str]:
    """A CSV's first two columns as a mapping of text; rows without a second word are left out.

    what: of the table, for errors. InputError where it cannot be read, has fewer columns, or says
    two things of one label.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False).map(str.strip)
    except (ValueError, AttributeError) as error:
        fact = f"not a readable table ({type(error).__name__})"
        raise InputError(path, fact, f"give a CSV: {what}") from None
    if table.shape[1] < 2:
        raise InputError(path, "it has fewer than two columns", f"give a CSV: {what}")
    first, second = (table.iloc[:, i] for i in (0, 1))
    if "proposed" in table:  # as annotate.py writes it
        second = second.where(table["proposed"].str.casefold() == "true", "")
    there = (first != "") & (second != "")
    pairs = pd.DataFrame({"label": first[there], "to": second[there]}).drop_duplicates()
    twice = pairs["label"][pairs["label"].duplicated()]
    if len(twice):
        fact = f"{twice.iloc[0]!r} stands there with two labels"
        raise InputError(path, fact, "leave one row for each label")
    if not len(pairs):
        raise InputError(path, "it holds no pair of labels", f"give a CSV: {what}")
    return dict(pairs.itertuples(index=False))


def mapped(labels: np.ndarray, pairs: Mapping[str, str]) -> np.ndarray:
    """Labels (n, object, None: none) by the other word that the table has for them, if any."""
    return np.array([pairs.get(label, label) for label in labels], dtype=object)


def codes(labels: np.ndarray, kinds: list[str]) -> np.ndarray:
    """The place of each label in `kinds`, −1 for None and for one that is not there (n)."""
    place = {kind: i for i, kind in enumerate(kinds)}
    return np.array([place.get(label, -1) for label in labels], dtype=np.int64)


def coarse(
    probability: np.ndarray, labels: list[str], pairs: Mapping[str, str]
) -> tuple[np.ndarray, list[str]]:
    """Probabilities (n × C) added up by coarse label; a label that has none is its own."""
    names = [pairs.get(label, label) for label in labels]
    kinds = sorted(set(names))
    into = np.zeros((len(labels), len(kinds)))
    into[np.arange(len(labels)), [kinds.index(name) for name in names]] = 1
    return probability @ into, kinds
