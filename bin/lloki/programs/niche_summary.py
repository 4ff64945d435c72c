"""What a niche program says: genes, cells, bands of distance, figures, a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, false_discovery_control

from lloki.programs.niche_field import BANDS
from lloki.programs.niche_genes import FocusGenes
from lloki.programs.niche_sides import Side, Tissue
from lloki.programs.niches import Fit, chance, correlation, rank_correlation

LEVEL = 0.05  # of chance, up to which a program is said to be there
SUBJECTS = 6  # units from which on a sign test over them is made
LEAKY = 0.05  # share of the focus cells, with most of the neighbours' markers, that is left out


def gene_fdr(found: np.ndarray) -> np.ndarray:
    """False discovery rate of each gene, from fields that were moved (G).

    found: G × (1 + N), each gene's correlation with the field, first as it is. A gene's correlation
    is measured by the spread of its own on moved fields; among all genes' that reach such a size,
    the share that moved fields give.
    """
    spread = found[:, 1:].std(axis=1)
    sizes = np.abs(np.divide(found, spread[:, None], out=np.zeros_like(found),
                             where=spread[:, None] > 1e-12))  # fmt: skip
    own, null = sizes[:, 0], np.sort(sizes[:, 1:].ravel())
    if not len(null):
        return np.full(len(own), np.nan)
    by_chance = (len(null) - np.searchsorted(null, own)) / (found.shape[1] - 1)
    order = np.argsort(-own, kind="stable")
    rate = by_chance[order] / np.arange(1, len(own) + 1)
    rate = np.minimum.accumulate(rate[::-1])[::-1]
    fdr = np.empty(len(own))
    fdr[order] = np.minimum(rate, 1)
    return fdr


def gene_table(fit: Fit, sides: Sequence[Side], genes: Mapping[str, FocusGenes]) -> pd.DataFrame:
    """A row for each tested gene, those of the program first.

    weight: mean rank over slices; direction: up, down or empty; r: with the field; p: chance of
    such a size on moved fields; fdr; slices: that measured it; tested: in how many it is theirs.
    """
    names: dict[str, str] = {}
    for one in genes.values():
        for key, gene in zip(one.table["key"], one.table["gene"], strict=True):
            names.setdefault(key, gene)
    count = len(fit.genes)
    measured = np.bincount(np.concatenate([s.measured for s in sides]), minlength=count)
    tested = np.bincount(np.concatenate([s.tested for s in sides]), minlength=count)
    program = fit.program
    p = (np.abs(fit.gene_r) >= np.abs(fit.gene_r[:, :1])).mean(axis=1)
    table = pd.DataFrame({
        "gene": [names.get(key, key) for key in fit.genes], "weight": program.weight[0],
        "direction": np.select([program.up[0], program.down[0]], ["up", "down"], ""),
        "r": fit.gene_r[:, 0], "p": p, "fdr": gene_fdr(fit.gene_r), "slices": measured,
        "tested": tested, "key": fit.genes,
    })  # fmt: skip
    place = table["direction"].map({"up": 0, "down": 1, "": 2})
    order = np.lexsort((table["gene"], -table["weight"].abs(), place))
    return table.iloc[order].reset_index(drop=True)


def slice_table(fit: Fit, sides: Sequence[Side], genes: Mapping[str, FocusGenes]) -> pd.DataFrame:
    """A row for each gene of the program and slice that measured it.

    z: of group against others (rank test; empty where the gene is not theirs there); change: log2
    fold change of normalised counts; share_group, share_others: of cells that express it; guarded.
    """
    group = fit.program.group[:, 0]
    chosen = fit.genes[fit.program.up[0] | fit.program.down[0]]
    rows = []
    for side, z in zip(sides, fit.program.z, strict=True):
        one, own = genes[side.name], group[side.clusters]
        score = dict(zip(fit.genes[side.tested], z[0], strict=True))
        sides_of = np.vstack([own / max(own.sum(), 1), ~own / max((~own).sum(), 1)])
        level = one.levels.expm1()
        mean = sides_of @ level
        seen = sides_of @ (level > 0).astype(np.float64)
        column = {key: i for i, key in enumerate(one.keys)}
        table = one.table.drop_duplicates("key").set_index("key")
        for key in chosen:
            if key not in table.index:
                continue
            row = {"gene": table["gene"][key], "sample": side.name, "z": score.get(key, np.nan),
                   "guarded": bool(table["guarded"][key]), "tested": bool(table["tested"][key]),
                   "focus_against_others": table["focus_against_others"][key]}  # fmt: skip
            if key in column:
                i = column[key]
                change = np.log2((mean[0, i] + 0.01) / (mean[1, i] + 0.01))
                row |= {"change": change, "share_group": seen[0, i], "share_others": seen[1, i]}
            rows.append(row)
    return pd.DataFrame(rows, columns=[
        "gene", "sample", "z", "change", "share_group", "share_others", "tested", "guarded",
        "focus_against_others",
    ])  # fmt: skip


def cell_table(
    fit: Fit, sides: Sequence[Side], names: Mapping[str, Sequence[str]],
    distances: Mapping[str, np.ndarray],
) -> pd.DataFrame:  # fmt: skip
    """A row for each focus cell: its field, distance, cluster, group and scores."""
    group = fit.program.group[:, 0]
    tables = [
        pd.DataFrame({
            "cell": names[side.name], "sample": side.name, "field": side.values,
            "distance_um": distances[side.name], "cluster": side.clusters,
            "group": group[side.clusters], "score_naive": fit.naive_scores[i],
            "score": fit.scores[i], "held_out": fit.folds[i],
        }) for i, side in enumerate(sides)
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def bands(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean cross-fitted score by distance to the nearest neighbour cell, of each slice."""
    cells = cells.assign(score=cells["score"] - cells.groupby("sample")["score"].transform("mean"))
    edges = pd.cut(cells["distance_um"], list(BANDS), right=False)
    found = cells.groupby(["sample", edges], observed=True)["score"].agg(["mean", "sem", "size"])
    found = found.reset_index()
    found.insert(1, "from_um", [interval.left for interval in found["distance_um"]])
    found.insert(2, "to_um", [interval.right for interval in found["distance_um"]])
    return found.drop(columns="distance_um").rename(columns={"size": "cells", "mean": "score"})


def figures(
    focus: str, kind: str, fit: Fit, sides: Sequence[Side], genes: Mapping[str, FocusGenes],
    tissues: Sequence[Tissue],
) -> dict:  # fmt: skip
    """All figures of a pair, for its JSON."""
    values = [side.values for side in sides]
    leaks = [genes[side.name].leak for side in sides]
    calm = [leak <= np.quantile(leak, 1 - LEAKY) for leak in leaks]
    program, group = fit.program, fit.program.group[:, 0]
    technology = {one.name: one.technology for one in tissues}
    each = [
        {
            "sample": side.name, "technology": technology[side.name], "unit": side.unit,
            "cells": len(side.values), "in_group": float(group[side.clusters].mean()),
            "r": _pooled([fit.scores[i]], [side.values]), "reach_um": side.radius,
            "genes": int(np.isin(np.flatnonzero(program.up[0] | program.down[0]),
                                 side.measured).sum()),
            "guarded": int(genes[side.name].table["guarded"].sum()),
        } for i, side in enumerate(sides)
    ]  # fmt: skip
    found = {
        "focus": focus, "neighbour": kind, "cells": sum(map(len, values)), "slices": each,
        "held_out": fit.held_out, "r": float(fit.r[0]), "p": chance(fit.r),
        "spearman": rank_correlation(fit.scores, values), "null": fit.r[1:],
        "naive_r": float(fit.naive[0]), "naive_p": chance(fit.naive), "naive_null": fit.naive[1:],
        "naive_spearman": rank_correlation(fit.naive_scores, values),
        "r_without_leaky_cells": _pooled(
            [s[c] for s, c in zip(fit.scores, calm, strict=True)],
            [v[c] for v, c in zip(values, calm, strict=True)],
        ),
        "clusters": _cluster_rows(sides, group),
        "up": [str(g) for g in fit.genes[program.up[0]]],
        "down": [str(g) for g in fit.genes[program.down[0]]],
    }  # fmt: skip
    return found | over_units(each)


def over_units(each: Sequence[Mapping]) -> dict:
    """A sign test over units (subjects, else slices), where there are SUBJECTS of them."""
    by_unit = pd.DataFrame(each).groupby("unit")["r"].mean()
    if len(by_unit) < SUBJECTS:
        return {"units": len(by_unit), "sign_p": None}
    above = int((by_unit > 0).sum())
    p = binomtest(above, len(by_unit), alternative="greater").pvalue
    return {"units": len(by_unit), "units_above": above, "sign_p": float(p)}


def _cluster_rows(sides: Sequence[Side], group: np.ndarray) -> list[dict]:
    """Cells of each cluster and their mean field, and whether it is in the group."""
    clusters = np.concatenate([side.clusters for side in sides])
    values = np.concatenate([side.values for side in sides])
    return [
        {"cluster": int(c), "cells": int((clusters == c).sum()),
         "field": float(values[clusters == c].mean()), "in_group": bool(group[c])}
        for c in np.unique(clusters)
    ]  # fmt: skip


def _pooled(scores: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> float:
    return float(correlation([s[:, None] for s in scores], [v[:, None] for v in values])[0])


def corrected(records: Sequence[dict]) -> None:
    """Put `q` into each record: its p corrected for the number of pairs (Benjamini-Hochberg)."""
    if records:
        found = false_discovery_control([record["p"] for record in records])
        for record, q in zip(records, found, strict=True):
            record["q"] = float(q)


def judge(record: dict, screen: bool = False) -> None:
    """Put `found` and the verdict in words into a record.

    In a screen it is the corrected p that counts. Over units the sign test must agree.
    """
    p = record["q"] if screen else record["p"]
    sign = record.get("sign_p")
    record["found"] = bool(p <= LEVEL and record["r"] > 0 and (sign is None or sign <= LEVEL))
    pair = f"{record['focus']} near {record['neighbour']}"
    said = f"r {record['r']:.2f}, p {record['p']:.2g}" + (f", q {p:.2g}" if screen else "")
    said += "" if sign is None else f", sign test over {record['units']} units p {sign:.2g}"
    if record["found"]:
        record["verdict"] = f"a program of {pair} ({said})"
    else:
        record["verdict"] = f"no program of {pair} above chance ({said})"
        if record["naive_p"] <= LEVEL or record["naive_r"] > 2 * max(record["r"], 0):
            record["verdict"] += f"; without cross-fitting r would be {record['naive_r']:.2f}"


def pair_table(records: Sequence[dict]) -> pd.DataFrame:
    """A row for each pair, the surest first; of no pair, the columns alone."""
    told = {
        "focus": lambda one: one["focus"], "neighbour": lambda one: one["neighbour"],
        "cells": lambda one: one["cells"], "slices": lambda one: len(one["slices"]),
        "held_out": lambda one: one["held_out"],
        "r": lambda one: one["r"], "p": lambda one: one["p"], "q": lambda one: one["q"],
        "null_mean": lambda one: _over(np.mean, one["null"]),
        "null_95": lambda one: _over(_high, one["null"]),
        "naive_r": lambda one: one["naive_r"], "naive_p": lambda one: one["naive_p"],
        "naive_null_95": lambda one: _over(_high, one["naive_null"]),
        "without_leaky_cells": lambda one: one["r_without_leaky_cells"],
        "sign_p": lambda one: one["sign_p"], "found": lambda one: one["found"],
        "verdict": lambda one: one["verdict"], "folder": lambda one: one["folder"],
    }  # fmt: skip
    rows = [{name: of(one) for name, of in told.items()} for one in records]
    table = pd.DataFrame(rows, columns=list(told))
    return table.sort_values(["p", "r"], ascending=[True, False], kind="stable").reset_index(
        drop=True
    )


def _high(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.95))


def _over(how, values: np.ndarray) -> float:
    return float(how(values)) if len(values) else np.nan
