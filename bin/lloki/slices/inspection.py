"""What slices and references say of each other before the work: faults, doubts, one table.

Each is told by the record (JSON) of the stage that read it, so nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from lloki.slices.genes import match_keys

FEW = 0.1  # share of a panel that is in the reference (or the other way): below, names are doubted
LISTED = 5  # names in a line


def faults(slices: Sequence[Mapping], references: Sequence[Mapping], labels: Sequence[str],
           min_shared: int) -> list[str]:  # fmt: skip
    """What stops a run, a line each: every slice's and reference's own, and what does not fit.

    slices, references: records of prepare_slice and check_reference, with their `fault` where they
    could not be read; labels: columns that are asked for; min_shared: genes that a slice and its
    reference have to share.
    """
    found = [f"{record['sample']}: {record['fault']}" for record in slices if "fault" in record]
    found += [f"reference: {record['fault']}" for record in references if "fault" in record]
    whole = read(slices)
    for record, reference, number in _shared_with_references(whole, references):
        if number < min_shared:
            found.append(
                f"{record['sample']}: it shares {number} genes with {reference['reference']}, "
                f"fewer than {min_shared} ({_names(record)} against {_names(reference)}); give a "
                "reference of the same tissue with gene symbols, or lower --min_shared_genes"
            )
    widths = {width: [r["sample"] for r in whole if r["dimensions"] == width] for width in (2, 3)}
    if all(widths.values()):
        found.append(
            f"coordinates are of 2 dimensions in {_listed(widths[2])}, of 3 in "
            f"{_listed(widths[3])}; give 2 for a cell in all slices, or 3 in all"
        )
    found += _embeddings_apart(whole)
    for label in labels:
        if whole and not any(record["labelled"].get(label) for record in whole):
            columns = "; ".join(f"{r['sample']} has {r['columns']}" for r in whole[:LISTED])
            found.append(
                f"--cell_type_key {label}: no slice has labels in such a column; {columns}"
            )
    return found


def _embeddings_apart(slices: Sequence[Mapping]) -> list[str]:
    """A fault where embeddings that slices brought along are of several models or widths."""
    kinds: dict[tuple, list[str]] = {}
    for record in slices:
        if brought := record.get("embedding"):
            kinds.setdefault((brought["model"], brought["dimensions"]), []).append(record["sample"])
    if len(kinds) < 2:
        return []
    said = "; ".join(f"{model}, {width} wide, in {_listed(samples)}"
                     for (model, width), samples in sorted(kinds.items()))  # fmt: skip
    return [f"--embedding_key: slices bring several embeddings ({said}); embed all by one model"]


def doubts(
    slices: Sequence[Mapping],
    references: Sequence[Mapping],
    labels: Sequence[str],
    known: Sequence[tuple[str, str]] | None = None,
) -> list[str]:
    """What a user should look at, a line each; arguments as of `faults`.

    known: technology and panel of each batch of the model that slices are mapped onto.
    """
    whole = read(slices)
    found = []
    for record, reference, number in _shared_with_references(whole, references):
        if number < FEW * min(record["genes"], reference["genes"]):
            found.append(
                f"{record['sample']}: only {number} of its {record['genes']} genes are among the "
                f"{reference['genes']} of {reference['reference']} ({_names(record)} against "
                f"{_names(reference)}): are both of one species, and named by symbols?"
            )
    apart = [f"{a} and {b}" for (a, b), number in shared_genes(whole).items() if not number]
    if apart:
        found.append(
            f"{_listed(apart)} share no gene ({len(apart)} pair{'s' * (len(apart) > 1)}): they "
            "meet in the embedding alone"
        )
    species = {str(r["organism"]): r["sample"] for r in whole if r.get("organism")}
    if len(species) > 1:
        said = ", ".join(f"{sample} {organism}" for organism, sample in species.items())
        found.append(f"slices are of several species ({said}): genes meet by their names alone")
    known = known or []
    found += _technologies({*(str(r["technology"]) for r in whole), *(t for t, _ in known)})
    found += _new_batches(whole, known) + _same_content(whole)
    for label in labels:
        found += labels_apart(
            {record["sample"]: record["labels"].get(label, {}) for record in whole}, label
        )
    return found


def read(slices: Sequence[Mapping]) -> list[Mapping]:
    """The records of slices that could be read."""
    return [record for record in slices if "fault" not in record]


def shared_genes(slices: Sequence[Mapping]) -> dict[tuple[str, str], int]:
    """Genes that each pair of slices shares, by their samples."""
    keys = {record["sample"]: set(match_keys(record["gene_names"])) for record in slices}
    return {(a, b): len(keys[a] & keys[b]) for a, b in combinations(keys, 2)}


def pairs_of_kinds(slices: Sequence[Mapping], labels: Sequence[str]) -> int:
    """Ordered pairs of kinds that the first column of labels has in all slices together."""
    kinds = {kind for record in read(slices) for label in labels[:1]
             for kind in record["labels"].get(label, {})}  # fmt: skip
    return len(kinds) * (len(kinds) - 1)


def labels_apart(kinds: Mapping[str, object], label: str) -> list[str]:
    """A warning where groups of cells (slices, batches) have labels that no other group has.

    kinds: the labels of each group. Scores of labels then compare cells of one group alone.
    """
    named = {group: {str(kind) for kind in found} for group, found in kinds.items() if found}
    if len(named) < 2:
        return []
    alone = [
        group for group, own in named.items()
        if not any(own & others for other, others in named.items() if other != group)
    ]  # fmt: skip
    if not alone:
        return []
    shown = "; ".join(f"{group}: {_listed(sorted(named[group]))}" for group in alone[:LISTED])
    return [
        f"labels of {label} in {_listed(alone)} occur in no other ({shown}): scores of labels "
        "cannot compare them; use one vocabulary in all"
    ]


def table(
    slices: Sequence[Mapping], references: Sequence[Mapping], labels: Sequence[str]
) -> list[dict]:
    """A row for each slice: what it holds and shares; of one that could not be read, its fault."""
    whole = read(slices)
    pairs = shared_genes(whole)
    known = {
        r["sample"]: (ref, number) for r, ref, number in _shared_with_references(whole, references)
    }
    return [_row(record, known, pairs, labels) for record in slices]


def _row(record: Mapping, known: Mapping, pairs: Mapping, labels: Sequence[str]) -> dict:
    sample = record["sample"]
    row = dict.fromkeys(
        "sample technology organism format cells cells_dropped genes dimensions values_from "
        "unit_um unit_from controls control_rate reference genes_in_reference "
        "fewest_genes_shared fewest_genes_shared_with".split()
    ) | {f"labels_{label}": None for label in labels} | {"fault": record.get("fault")}  # fmt: skip
    row["sample"] = sample
    if "fault" in record:
        return row
    others = {b if a == sample else a: n for (a, b), n in pairs.items() if sample in (a, b)}
    fewest = min(others, key=others.get) if others else None
    reference, number = known.get(sample, ({}, None))
    return row | {
        **{key: record.get(key) for key in ("technology", "organism", "format", "cells",
           "cells_dropped", "genes", "dimensions", "unit_from", "control_rate")},
        "values_from": record.get("values"), "unit_um": record.get("spatial_unit_um"),
        "controls": sum(found["features"] for found in record.get("controls", {}).values()),
        "reference": reference.get("reference"), "genes_in_reference": number,
        "fewest_genes_shared": others.get(fewest), "fewest_genes_shared_with": fewest,
        **{f"labels_{label}": len(record["labels"].get(label, {})) for label in labels},
    }  # fmt: skip


def _shared_with_references(slices: Sequence[Mapping], references: Sequence[Mapping]):
    """Each slice with its reference's record and the number of genes that both have."""
    of = {name: ref for ref in references if "fault" not in ref for name in ref["samples"]}
    for record in slices:
        if record["sample"] in of:
            reference = of[record["sample"]]
            keys = set(match_keys(record["gene_names"])) & set(match_keys(reference["gene_names"]))
            yield record, reference, len(keys)


def _new_batches(slices: Sequence[Mapping], known: Sequence[tuple[str, str]]) -> list[str]:
    """Slices of a technology that the model knows, but with other genes: their vector is learnt."""
    panels: dict[str, list[str]] = {}
    for technology, panel in known:
        panels.setdefault(technology, []).append(panel)
    return [
        f"{r['sample']}: the model knows {r['technology']} by {_listed(panels[r['technology']])}, "
        f"not by {r['panel']}, the genes of this slice: a new batch; if of one panel, name "
        "it in the samplesheet's column panel"
        for r in slices if r["panel"] not in panels.get(r["technology"], [r["panel"]])
    ]  # fmt: skip


def _technologies(named: Iterable[str]) -> list[str]:
    """Technologies that differ by the letters' case and signs alone are two batches."""
    spelled: dict[str, set[str]] = {}
    for name in sorted(named):
        spelled.setdefault("".join(filter(str.isalnum, name.casefold())), set()).add(name)
    return [
        f"technologies {_listed(sorted(names))} are different batches: is one meant?"
        for names in spelled.values() if len(names) > 1
    ]  # fmt: skip


def _same_content(slices: Sequence[Mapping]) -> list[str]:
    """Slices read from files of one content, the same cells of them."""
    seen: dict[tuple, str] = {}
    found = []
    for record in slices:
        given = record["parameters"]
        key = (record["input_sha256"], given["region"], given["fov"], given["cells"])
        if key in seen:
            found.append(f"{seen[key]} and {record['sample']} are files of the same content")
        seen.setdefault(key, record["sample"])
    return found


def _names(record: Mapping) -> str:
    return _listed(record["gene_names"], 3)


def _listed(names: Sequence[str], most: int = LISTED) -> str:
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")
