"""What cells can be coloured by on the page: names (slice, label, cluster) and numbers (a gene)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lloki.report import figures
from lloki.report.figures import Colouring
from lloki.report.material import CLUSTER, Material

COLUMNS = {  # of obs, with what they are called; those after a cell's own labels
    "lloki_label": "carried-over label", "lloki_label_source": "source of the label",
    CLUSTER: "cluster", "lloki_cluster_fine": "fine cluster", "lloki_domain": "tissue domain",
    "lloki_region": "region", "subject": "subject", "panel": "panel",
}  # fmt: skip
NUMBERS = {
    "lloki_label_probability": "probability of the label",
    "lloki_label_entropy": "doubt of the label (entropy)",
}
GENES = 60  # at most
PALE = 0.55  # how far the colours of a second round go towards white


@dataclass(frozen=True)
class Category:
    """Names of cells: a code for each (the number of names: none), their names and colours."""

    key: str
    title: str
    codes: np.ndarray
    names: Sequence[str]
    colours: Sequence[str]
    missing: str = figures.UNKNOWN  # what cells without a name are called

    def head(self) -> dict:
        """What the page has to know of it; how many cells of all have each name."""
        counts = np.bincount(self.codes, minlength=len(self.names) + 1)
        return {
            "key": self.key, "title": self.title, "group": "Cells", "names": self.names,
            "colours": self.colours, "counts": counts.tolist(), "missing": self.missing,
        }  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number of each cell (NaN: none), and the limits of its scale."""

    key: str
    title: str
    group: str
    values: np.ndarray
    limits: tuple[float, float]
    more: bool  # whether values go beyond

    def head(self) -> dict:
        """What the page has to know of it."""
        return {"key": self.key, "title": self.title, "group": self.group,
                "limits": list(self.limits), "more": self.more}  # fmt: skip


def offered(material: Material) -> Iterator[Category | Number]:
    """All that cells can be coloured by, what is looked at most first."""
    obs = material.data.obs
    if material.labels is not None:
        yield category(material.labels, material.label_key, f"label: {material.label_key}")
    by = figures.colouring_of(material.data, "sample")  # a slice may be called NA
    by = Colouring(by.name, material.slices_of_cells.astype(object), by.colours)
    yield category(by, "sample", "slice")
    yield category(material.technology, "technology", "technology")
    if CLUSTER not in obs and material.labels is None:
        yield category(material.clusters, CLUSTER, "cluster")
    for key, title in COLUMNS.items():
        if key in obs and key != material.label_key and obs[key].notna().any():
            found = category(figures.colouring_of(material.data, key), key, title)
            missing = "unknown" if key == "lloki_label" else "none"
            yield replace(found, missing=missing)
    yield from _scores(material)
    yield from _metagenes(material)
    yield from _genes(material)


def category(by: Colouring, key: str, title: str) -> Category:
    """Names in the order of their cells; beyond the palette its colours again, paler."""
    counts = pd.Series(by.values).value_counts()
    names = sorted(map(str, counts.index), key=lambda name: (-counts[name], name))
    rest = [name for name in names if name not in by.colours][: len(figures.PALETTE)]
    pale = {name: _paler(shade) for name, shade in figures.named_colours(rest).items()}
    known = {name: i for i, name in enumerate(names)}
    codes = np.array([known.get(value, len(names)) for value in by.values], dtype=int)
    return Category(
        key, title, codes, names,
        [by.colours.get(name) or pale.get(name, figures.GREY) for name in names],
    )  # fmt: skip


def _paler(shade: str) -> str:
    parts = (int(shade[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * PALE):02x}" for part in parts)


def _number(key: str, title: str, group: str, values: object, zero: bool = False) -> Number:
    """Limits are of all but the highest hundredth; a scale that begins at zero, where asked."""
    values = np.asarray(values, dtype=float)
    known = values[np.isfinite(values)]
    low = 0.0 if zero or not len(known) else float(known.min())
    high = float(np.quantile(known, 0.99)) if len(known) else 1.0
    if high <= low:
        high = float(known.max()) if len(known) and known.max() > low else low + 1
    return Number(key, title, group, values, (low, high), bool((known > high).any()))


def _scores(material: Material) -> Iterator[Number]:
    obs = material.data.obs
    for key, title in NUMBERS.items():
        if key in obs and obs[key].notna().any():
            yield _number(key, title, "Scores", obs[key])
    found = material.expression
    if found is not None:
        if found.counts is not None:
            yield _number("counts", "counts of the cell", "Scores", found.counts, zero=True)
        yield _number("detected", "genes of the cell", "Scores", found.detected, zero=True)
    for key in obs.columns[obs.columns.str.startswith("niche_")]:
        yield _number(key, f"niche program {key[6:].replace('_', ' ')}", "Scores", obs[key])


def _metagenes(material: Material) -> Iterator[Number]:
    found, key = material.metagenes, "X_metagenes"
    if found is None or key not in material.data.obsm:
        return
    mixtures, programs = material.data.obsm[key], found["programs"]
    pairs = zip(programs["metagene"].astype(str), programs["type"], strict=True)
    for i, (name, kind) in enumerate(list(pairs)[: mixtures.shape[1]]):
        title = name if pd.isna(kind) else f"{name}, {kind}"
        yield _number(name, title, "Metagenes", mixtures[:, i], zero=True)


def _genes(material: Material) -> Iterator[Number]:
    found = material.expression
    if found is None:
        return
    panel = material.data.obs["panel"].astype(str) if "panel" in material.data.obs else None
    for name in [gene for gene in genes_wanted(material) if gene in found.genes]:
        values = found.values[:, found.genes.index(name)].toarray().ravel().astype(float)
        if panel is not None and found.measured is not None and name in found.measured.index:
            has = found.measured.loc[name]
            values[~panel.map({str(k): bool(v) for k, v in has.items()}).eq(True)] = np.nan
        yield _number(name, name, "Genes", values, zero=True)


def genes_wanted(material: Material) -> list[str]:
    """Genes worth a look: markers of clusters, genes of metagenes, genes that all slices share."""
    tables: list[list[str]] = []
    markers = material.annotation.get("markers")
    if markers is not None:
        sure = markers[(markers["fdr"] < 0.05) & (markers["auc"] > 0.5)]
        tables.append(_in_turn([g["gene"].tolist() for _, g in sure.groupby("cluster")]))
    if material.metagenes is not None:
        listed = material.metagenes["programs"]["genes"].dropna().astype(str).str.split(", ")
        tables.append(_in_turn(listed.tolist()))
    tables.append(list(map(str, material.data.uns.get("lloki", {}).get("shared_genes", []))))
    return _in_turn(tables)[:GENES]


def _in_turn(lists: Sequence[Sequence[str]]) -> list[str]:
    """The first of each list, then the second of each, and so on; each gene once."""
    longest = max(map(len, lists), default=0)
    return list(dict.fromkeys(own[i] for i in range(longest) for own in lists if i < len(own)))


def summary(numbers: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Five quantiles (5, 25, 50, 75, 95 %) of each; nothing of an empty one."""
    marks = [0.05, 0.25, 0.5, 0.75, 0.95]
    return {k: np.quantile(v, marks).round(4).tolist() for k, v in numbers.items() if len(v)}
