"""Features that are no genes, in files where anything may stand: by their types, else their names.

Instruments' own files are told by their readers.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from lloki.slices.symbols import COLUMNS

TYPES = ("feature_types", "feature_type")
GENES = "Gene Expression"
CONTROLS = {  # class: names of its features, where nothing else tells (vendors' documents)
    "negative control": re.compile(
        r"(NegControl|antisense[-_.]|Intergenic[-_.]|NegPrb\d|Negative[-_. ]?\d"
        r"|Negative[-_. ]?Control).*", re.I
    ),
    "blank": re.compile(r"blank[-_.]?\d+", re.I),
    "codeword without a gene": re.compile(r"(Unassigned|Deprecated)[-_. ]?Codeword.*", re.I),
    "system control": re.compile(r"(SystemControl|FalseCode)[-_.]?\d+", re.I),
}  # fmt: skip


def split_controls(var: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which features are genes (boolean, G), and the others' columns by class.

    By a column of types where there is one (`feature_types`), else by the vendors' names.
    """
    kinds = next((var[name].astype(object) for name in TYPES if name in var), None)
    classes = np.full(len(var), "", dtype=object)
    if kinds is not None and (kinds == GENES).any():
        other = kinds.notna().to_numpy() & (kinds != GENES).to_numpy()
        classes[other] = kinds[other].astype(str)
    if (classes == "").all():  # no types, or all of one: as files that were read and written again
        names = [str(name) for name in var.index]
        symbol = next((list(map(str, var[name])) for name in COLUMNS if name in var), names)
        for kind, known in CONTROLS.items():
            hits = [
                any(known.fullmatch(text) for text in pair)
                for pair in zip(names, symbol, strict=True)
            ]
            classes[hits] = kind
    classes = classes.astype(str)
    others = {kind: np.flatnonzero(classes == kind) for kind in np.unique(classes[classes != ""])}
    return classes == "", others
