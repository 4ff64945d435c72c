"""Focus cells of each slice with their field and their genes, as the procedure takes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.programs.niche_field import distance_to, share_near
from lloki.programs.niche_genes import (
    FocusGenes,
    centred_ranks,
    columns_of,
    focus_genes,
    places_in,
    side_means,
    standard,
)  # fmt: skip

FEWEST = 50  # focus cells, and neighbours, of a slice


@dataclass
class Tissue:
    """All cells of a slice (n), and what is needed of the counts of one kind, in focus.

    places: n × d, µm; focus: rows; neighbours: n bool of each kind of neighbour; counts: of the
    focus cells; means: of normalised counts, of the focus cells (`focus`), the others (`others`),
    each kind of neighbour, and the most over any kind (`elsewhere`).
    """

    name: str
    technology: str
    unit: str
    places: np.ndarray
    focus: np.ndarray
    neighbours: Mapping[str, np.ndarray]
    counts: sp.csr_matrix
    symbols: Sequence[str]
    means: Mapping[str, np.ndarray]


@dataclass
class Side:
    """Focus cells of one slice (n) with their field.

    places: n × d, µm; values: n, the field; radius: reach of a neighbourhood, µm; clusters: n;
    ranks: n × m, of the genes that are tested here; levels: n × M, standard scores of all genes
    that are measured here and tested anywhere; tested, measured: their places in the union.
    """

    name: str
    unit: str
    places: np.ndarray
    values: np.ndarray
    radius: float
    clusters: np.ndarray
    ranks: np.ndarray = field(repr=False)
    tested: np.ndarray = field(repr=False)
    levels: np.ndarray = field(repr=False)
    measured: np.ndarray = field(repr=False)


def tissue(
    name: str,
    technology: str,
    unit: str,
    places: np.ndarray,
    counts: sp.csr_matrix,
    symbols: Sequence[str],
    focus: np.ndarray,
    neighbours: Mapping[str, np.ndarray],
    kinds: np.ndarray | None = None,
) -> Tissue:
    """Of the counts (n × G) of a slice, what is needed. focus: n bool.

    Neighbours may have focus cells among them (a domain has): their genes are those of the rest.
    kinds: of all cells (n, None where not known), of which FEWEST cells are asked.
    """
    sides = {f"near {kind}": mask & ~focus for kind, mask in neighbours.items()}
    means = side_means(counts, {"focus": focus, "others": ~focus, **sides})
    known = pd.Series(kinds).value_counts() if kinds is not None else {}
    others = {kind: (kinds == kind) & ~focus for kind, n in known.items() if n >= FEWEST}
    means["elsewhere"] = np.max(
        [np.zeros(counts.shape[1]), *side_means(counts, others).values()], axis=0
    )
    rows = np.flatnonzero(focus)
    return Tissue(name, technology, unit, places, rows, neighbours, counts[rows], symbols, means)


def lacks(one: Tissue, kind: str, fewest: int = FEWEST) -> str | None:
    """Why a slice is left out of a pair, None where it is not."""
    counts = {"focus": len(one.focus), "neighbour": int(one.neighbours[kind].sum())}
    few = [f"{n} {what} cells" for what, n in counts.items() if n < fewest]
    return f"{' and '.join(few)}, fewer than {fewest}" if few else None


def sides_of(
    tissues: Sequence[Tissue],
    clusters: Mapping[str, np.ndarray],
    kind: str,
    *,
    k: int = 100,
    measure: str = "share",
    wanted: Collection[str] | None = None,
    **choice: object,
) -> tuple[list[Side], np.ndarray, dict[str, FocusGenes]]:
    """Sides of one pair, the genes tested in any slice (or those `wanted`, as keys), all genes.

    clusters: of the focus cells of each slice; measure: `share` (of the k nearest) or `distance`
    (its logarithm, so that near is high); choice: of `focus_genes`.
    """
    genes = {
        one.name: focus_genes(
            one.counts, one.symbols, one.means["focus"], one.means["others"],
            one.means[f"near {kind}"], one.means["elsewhere"], **choice,
        ) for one in tissues
    }  # fmt: skip
    union, parts = gene_sides(genes, wanted)
    sides = []
    for one in tissues:
        near, radius = share_near(one.places, one.neighbours[kind], one.focus, k)
        if measure == "distance":
            near = -np.log1p(distance_to(one.places, one.neighbours[kind], one.focus))
        places = one.places[one.focus]
        sides.append(Side(one.name, one.unit, places, near, radius, clusters[one.name],
                          *parts[one.name]))  # fmt: skip
    return sides, union, genes


def gene_sides(
    genes: Mapping[str, FocusGenes], wanted: Collection[str] | None = None
) -> tuple[np.ndarray, dict[str, tuple]]:
    """All tested genes (sorted keys; or those wanted), and of each slice its arrays of `Side`."""
    if wanted is None:
        wanted = set().union(*(set(g.keys[g.own]) for g in genes.values()))
    union = np.array(sorted(wanted), dtype=object)
    found = {}
    for name, one in genes.items():
        columns, tested = places_in(one.keys, union)
        own = one.own[columns]
        ranks = columns_of(one.levels, columns[own], centred_ranks)
        levels = columns_of(one.levels, columns, standard)
        found[name] = ranks, tested[own], levels, tested
    return union, found
