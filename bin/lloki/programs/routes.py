"""Three ways to metagenes, as the paper compares them: LLOKI, shared genes, each slice alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.integration.joined import shared_genes
from lloki.programs import enrichment
from lloki.programs.fitting import fit
from lloki.programs.metagenes import TINY, Cells, assemble
from lloki.programs.neighbourhood import moran
from lloki.slices.genes import shared

FEWEST = 4  # shared genes that can be factorised
AGREE = 0.5  # least correlation of signatures of a metagene with its partner


def cells_of(parts: Sequence[sp.csr_matrix], graphs: Sequence[sp.csr_matrix], k: int) -> Cells:
    """Cells for a fit on expression (of each slice n × G, the same genes)."""
    starts = np.cumsum([0, *(part.shape[0] for part in parts)])
    values = np.maximum(sp.vstack(parts).toarray().astype(np.float32), TINY)
    return assemble(values, graphs, starts, k)


def k_of(k: int, genes: int) -> int:
    """Metagenes for so many genes: half of them at most, since as many would fit exactly."""
    return max(1, min(k, genes // 2))


def judged(
    route: str,
    proportions: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    graphs: Mapping[str, sp.csr_matrix],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Worst AUC over slices of the best metagene for each type; Moran's I of every slice.

    proportions: of each slice n × K, columns that belong together.
    """
    tables = [enrichment.type_auc(z, labels[s]) for s, z in proportions.items()]
    worst = enrichment.worst_auc([t for t in tables if len(t)])
    rows = [(route, kind, float(values.max()), sum(kind in t.index for t in tables))
            for kind, values in worst.iterrows()]  # fmt: skip
    types = pd.DataFrame(rows, columns=["route", "type", "auc", "slices"])
    middle = [(route, s, float(np.nanmedian(moran(z, graphs[s])[0]))) if graphs[s].nnz
              else (route, s, np.nan) for s, z in proportions.items()]  # fmt: skip
    return types, pd.DataFrame(middle, columns=["route", "sample", "moran"])


def alone(
    expression: Mapping[str, sp.csr_matrix],
    graphs: Mapping[str, sp.csr_matrix],
    labels: Mapping[str, np.ndarray],
    k: int,
    told: Callable[[], None],
    **options: object,
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Each slice fitted on its own panel, and laid on that with the most labelled cells.

    Mixtures of each slice, columns in the reference's order; and the mapping: a metagene counts as
    found again (`kept`) if its signatures agree in two other slices, or in the one there is.
    """
    k = min(k, *(k_of(k, matrix.shape[1]) for matrix in expression.values()))
    found = {}
    for sample, matrix in expression.items():
        cells = cells_of([matrix], [graphs[sample]], k)
        found[sample] = fit(cells, k, **options)[0].proportions
        told()
    known = {s: int((values != None).sum()) for s, values in labels.items()}  # noqa: E711
    reference = max(known, key=lambda s: (known[s], s))
    partners = enrichment.mapping({s: (z, labels[s]) for s, z in found.items()}, reference)
    others = [s for s in found if s != reference]
    agree = (
        sum((partners[s][1] > AGREE).astype(int) for s in others) if others else np.zeros(k, int)
    )
    kept = agree >= min(2, max(len(others), 1))
    rows = [
        {"reference": reference, "metagene": f"M{i + 1}", "sample": s,
         "partner": f"M{columns[i] + 1}", "r": r[i], "kept": bool(kept[i])}
        for s, (columns, r) in partners.items() for i in range(k)
    ]  # fmt: skip
    return {s: found[s][:, partners[s][0]] for s in found}, pd.DataFrame(rows)


def compared(
    proportions: Mapping[str, np.ndarray],
    expression: Mapping[str, sp.csr_matrix],
    panels: Mapping[str, Sequence[str]],
    graphs: Mapping[str, sp.csr_matrix],
    labels: Mapping[str, np.ndarray],
    k: int,
    told: Callable[[], None] = lambda: None,
    **options: object,
) -> dict[str, pd.DataFrame]:
    """The three routes judged: tables `routes`, `routes_moran`, and `mapping` of several slices.

    Of each slice: the mixtures of the LLOKI route, log-normalised expression (n × G) and its genes,
    graph, labels. A route that cannot be gone (fewer than FEWEST shared genes) is left out.
    """
    found, rows = {}, [judged("LLOKI", proportions, labels, graphs)]
    genes = shared_genes([panels[s] for s in proportions])
    if len(genes) >= FEWEST:
        own = [expression[s][:, shared(genes, panels[s])[1]] for s in proportions]
        some = k_of(k, len(genes))
        cells = cells_of(own, [graphs[s] for s in proportions], some)
        z = fit(cells, some, **options)[0].proportions
        spans = zip(proportions, cells.starts[:-1], cells.starts[1:], strict=True)
        rows.append(judged("shared genes", {s: z[a:b] for s, a, b in spans}, labels, graphs))
    told()
    if len(proportions) > 1:
        parts = {s: expression[s] for s in proportions}
        z, found["mapping"] = alone(parts, graphs, labels, k, told, **options)
        rows.append(judged("each alone", z, labels, graphs))
    found["routes"] = pd.concat([types for types, _ in rows])
    found["routes_moran"] = pd.concat([middle for _, middle in rows])
    return found
