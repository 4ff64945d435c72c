"""Labels of cells: which say what a cell is, and which say that nobody knows."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd

from lloki.support.errors import InputError

UNLABELLED = {  # in small letters
    "", "nan", "na", "n/a", "<na>", "none", "null", "unknown", "unassigned", "not assigned",
    "unlabeled", "unlabelled",
}  # fmt: skip


def as_text(column: pd.Series) -> pd.Series:
    """A column's values as text, missing ones missing; whole numbers without a point."""

    def word(value: object) -> str:
        is_whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
        return str(int(value)) if is_whole else str(value)

    return column.astype(object).map(word, na_action="ignore").astype(object)


def known_labels(values: pd.Series, ignored: tuple[str, ...] = ()) -> np.ndarray:
    """Labels as text (n, object), None where one is missing, of UNLABELLED, or of `ignored`."""
    words = as_text(values).astype(str).str.strip().astype(object)
    known = values.notna() & ~words.str.casefold().isin(UNLABELLED) & ~words.isin(ignored)
    return words.where(known, None).to_numpy(object)


def completed_labels(
    obs: pd.DataFrame, key: str, carried: str, ignored: tuple[str, ...] = ()
) -> np.ndarray:
    """`known_labels` of a column; in slices (`sample`) without any, those that `carried` has."""
    own = known_labels(obs[key], ignored)
    if key == carried or carried not in obs:
        return own
    lacking = ~obs["sample"].isin(obs["sample"][own != None]).to_numpy()  # noqa: E711
    return np.where(lacking, known_labels(obs[carried], ignored), own)


def reference_labels(data: ad.AnnData, path: object, key: str) -> np.ndarray:
    """The labels of a reference's cells (n, object, None: none); `Other` is none.

    InputError where it has no such column, or no label in it.
    """
    if key not in data.obs:
        have = ", ".join(map(str, data.obs.columns)) or "none"
        raise InputError(path, f"obs has no column {key!r}", f"it has: {have}")
    labels = known_labels(data.obs[key], ("Other",))
    if not any(label is not None for label in labels):
        raise InputError(path, f"obs[{key!r}] holds no label", "name a column of cell types")
    return labels


def unlabelled(values: pd.Series) -> dict[str, int]:
    """Words that stand in the place of a label, with their cells; missing values do not count."""
    words = values[values.notna()].astype(str)
    counts = words[words.str.strip().str.casefold().isin(UNLABELLED)].value_counts()
    return {str(word): int(count) for word, count in counts.items()}
