"""What a reader asks first: is it good? Of each slice and of the run, with what to do.

The thresholds stand here alone, each with what it rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lloki.integration.joined import BASELINE
from lloki.report.blocks import LEVELS
from lloki.report.cautions import cautions
from lloki.report.material import Material

BY_HABIT = "a habit of the field, not measured here"
REFERENCE_GENES = 20, 10  # amber, red: below; the pipeline stops below 10 unless told otherwise
SHARED_GENES = 7, 1  # docs/benchmark.md: five slices that share 7 genes; nine that share one
DROPPED = 0.2, 0.5  # share of cells, above: BY_HABIT
GENES_A_CELL = 10, 5  # median, below: BY_HABIT
CONTROL_RATE = 0.05, 0.2  # above: BY_HABIT
UNKNOWN = 0.2, 0.5  # docs/annotation.md: up to .13 of cells of covered types are called so
ACCURACY = 0.6, 0.4  # below: of slices whose labels were hidden
SLIP = 0.02  # of a mean score under that of PCA: docs/benchmark.md, spread between seeds
UNSETTLED = 0.1  # fall of the loss from the last but one tenth of the epochs to the last


@dataclass(frozen=True)
class Finding:
    """One thing found: level (of LEVELS), topic, a sentence, what to do, what it rests on."""

    level: str
    topic: str
    words: str
    remedy: str = ""
    evidence: str = ""


def worst(findings: Sequence[Finding]) -> str:
    """The level of the worst finding."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="good")


def above(value: float, limits: tuple[float, float]) -> str:
    """The level of a value that should be low."""
    return LEVELS[sum(value > limit for limit in limits)]


def below(value: float, limits: tuple[float, float]) -> str:
    """The level of a value that should be high."""
    return LEVELS[sum(value < limit for limit in limits)]


def of_slice(material: Material, sample: str) -> list[Finding]:
    """What is found of a slice, the worst first."""
    found = [finding for check in SLICE_CHECKS for finding in check(material, sample)]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.level))


def of_run(material: Material) -> list[Finding]:
    """What is found of the run as a whole, the worst first."""
    found = [finding for check in RUN_CHECKS for finding in check(material)]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.level))


def _cells(material: Material, sample: str) -> list[Finding]:
    read = material.number(sample, "cells_chosen", "prepare_slice")
    dropped = material.number(sample, "cells_dropped", "prepare_slice")
    if not read or not dropped:
        return []
    share = dropped / read
    words = f"{share:.0%} of its cells have too few counts and were dropped."
    level = above(share, DROPPED)
    remedy = "Look at the segmentation; --min_counts sets the limit." if level != "good" else ""
    return [Finding(level, "cells", words, remedy, BY_HABIT)]


def _counts(material: Material, sample: str) -> list[Finding]:
    if material.expression is None:
        return []
    genes = float(np.median(material.expression.detected[material.samples[sample]]))
    panel = material.number(sample, "genes", "prepare_slice")
    limits = GENES_A_CELL if panel is None or panel >= 100 else (3, 2)  # small panels have fewer
    level = below(genes, limits)
    if level == "good":
        return []
    words = f"Half of its cells have {genes:.0f} genes or fewer."
    return [Finding(level, "counts", words, "Raise --min_counts, or check the slice.", BY_HABIT)]


def _controls(material: Material, sample: str) -> list[Finding]:
    rate = material.number(sample, "control_rate", "prepare_slice")
    level = "good" if rate is None else above(float(rate), CONTROL_RATE)
    if level == "good":
        return []
    words = f"Control features have {rate:.0%} of the counts of genes: the slice is noisy."
    return [Finding(level, "controls", words, "Ask the instrument's own report.", BY_HABIT)]


def _reference(material: Material, sample: str) -> list[Finding]:
    shared = material.number(sample, "genes_shared", "ot_sparsity")
    if shared is None:
        return []
    level = below(shared, REFERENCE_GENES)
    remedy = "" if level == "good" else "Give a reference that holds more of the panel."
    panel = material.number(sample, "genes", "ot_sparsity", "prepare_slice")
    of = "" if panel is None else f" of its {panel:,}"
    words = f"{shared:,}{of} genes are in the reference."
    evidence = "--min_shared_genes: the pipeline stops below 10 unless told otherwise"
    return [Finding(level, "reference", words, remedy, evidence)]


def _shared(material: Material, sample: str) -> list[Finding]:
    """Genes shared with the slice that has the fewest of them in common, and with the closest."""
    others = material.shared_genes(sample)
    if not others:
        return []
    most = max(others, key=others.get)
    level = below(others[most], SHARED_GENES)
    words = f"It shares {others[most]:,} genes with {most}, its closest slice."
    if len(others) > 1:
        least = min(others, key=others.get)
        words = words[:-1] + f", and {others[least]:,} with {least}."
    remedy = "" if level == "good" else "See that its labels and its place in the UMAP make sense."
    evidence = "docs/benchmark.md: panels that share 7 genes, and panels that share one"
    return [Finding(level, "shared genes", words, remedy, evidence)]


def _propagation(material: Material, sample: str) -> list[Finding]:
    imputed = material.number(sample, "values_imputed", "impute")
    before = material.number(sample, "nonzero_fraction_before", "impute")
    after = material.number(sample, "nonzero_fraction_after", "impute")
    target = material.number(sample, "nonzero_fraction_target", "impute")
    if None in (imputed, before, after):
        return []
    if not imputed:
        words = "Nothing imputed: denser than the reference"
        if target is not None:
            words += f" ({before:.0%} of values are nonzero, in the reference {target:.0%})"
        return [Finding("good", "propagation", f"{words}.")]
    words = f"Propagation raised nonzero values from {before:.1%} to {after:.1%}."
    return [Finding("good", "propagation", words)]


def _labels(material: Material, sample: str) -> list[Finding]:
    found = []
    for record in material.of_stage("annotate"):
        share = _mapping(record.get("unknown")).get(sample)
        if isinstance(share, float) and share > 0:
            level = above(share, UNKNOWN)
            remedy = "" if level == "good" else "Add labels of this tissue: --reference_labels."
            words = f"{share:.1%} of its cells are unknown: unlike all labelled ones."
            evidence = "docs/annotation.md: up to 13 % of cells of known types are called so"
            found.append(Finding(level, "unknown cells", words, remedy, evidence))
        held_out = record.get("held_out")
        for row in map(_mapping, held_out if isinstance(held_out, list) else []):
            right = row.get("accuracy")
            if row.get("sample") != sample or not isinstance(right, float):
                continue
            if below(right, ACCURACY) != "good":
                words = f"With its labels hidden, {right:.0%} of them were found again."
                remedy = "Trust carried-over labels of such slices only where probability is high."
                found.append(Finding(below(right, ACCURACY), "labels", words, remedy, BY_HABIT))
    return found


def _mapping(found: object) -> Mapping:
    return found if isinstance(found, Mapping) else {}


def _alignment(material: Material, sample: str) -> list[Finding]:
    if material.transforms is None or len(material.samples) < 2:
        return []
    rows = material.transforms.astype({"sample": str, "reference": str})
    laid = (rows["reference"] == sample) & (rows["sample"] != sample)
    on_it = rows.loc[laid & (rows["method"] != "identity"), "sample"].tolist()
    if on_it:
        return [Finding("good", "alignment", f"Aligned to it: {', '.join(on_it)}.")]
    for row in rows[rows["sample"] == sample].to_dict("records"):
        if row["reference"] == sample:
            return []
        if row["method"] != "identity":
            far = row.get("rmsd")
            known = isinstance(far, float) and np.isfinite(far)
            off = f"; landmarks lie {far:.0f} µm from their partners" if known else ""
            return [Finding("good", "alignment", f"Aligned to {row['reference']}{off}.")]
        reason = row.get("reason")
        why = f": {reason}" if isinstance(reason, str) and reason else ""
        words = f"Not aligned to {row['reference']}{why}."
        remedy = ("Nothing to do if they are of different regions; else see the pairs below. "
                  "Embedding and labels do not use the alignment.")  # fmt: skip
        evidence = "docs/benchmark.md: motions that chance gives too are refused"
        return [Finding("doubt", "alignment", words, remedy, evidence)]
    return []


def _inputs(material: Material, sample: str) -> list[Finding]:
    """Doubts that reading the slice raised: of units, normalisation, columns."""
    stages = material.of_stage("prepare_slice", "check_inputs", "ot_sparsity", "impute")
    return [
        Finding(one.level, "input", _told(one.text, sample), _sentence(one.remedy))
        for one in cautions(stages, list(material.samples))
        if one.sample == sample and one.level != "good"
    ]


def _told(words: str, sample: str) -> str:
    """A sentence, in which the slice's name stays as it is written."""
    return words.rstrip(".") + "." if words.startswith(sample) else _sentence(words)


def _sentence(words: str) -> str:
    return words and words[:1].upper() + words[1:].rstrip(".") + "."


def _mixing(material: Material) -> list[Finding]:
    ours, theirs = (material.score(key, "iLISI") for key in ("X_lloki", BASELINE))
    if ours is None:
        return []
    if theirs is None:
        return [Finding("good", "mixing", f"Batches mix with an iLISI of {ours:.2f}.")]
    level = "good" if ours > theirs else "doubt"
    words = f"Batches mix {'better' if ours > theirs else 'no better'} than by PCA on shared genes"
    words += f" (iLISI {theirs:.2f} → {ours:.2f})."
    remedy = "" if level == "good" else "Look at the UMAP by technology; raise --lambda_bc."
    evidence = "docs/benchmark.md: five slices, iLISI .09 by PCA, .14 by LLOKI"
    return [Finding(level, "mixing", words, remedy, evidence)]


def _biology(material: Material) -> list[Finding]:
    name = "Bio conservation"
    ours, theirs = (material.score(key, name) for key in ("X_lloki", BASELINE))
    if ours is None or theirs is None:
        return []
    level = "good" if ours >= theirs - SLIP else "doubt"
    words = f"Cell types are kept {'apart as well or better' if level == 'good' else 'worse'} than "
    words += f"by PCA on shared genes ({name} {theirs:.2f} → {ours:.2f})."
    remedy = "" if level == "good" else "Compare the UMAPs; lower --lambda_bc."
    return [Finding(level, "cell types", words, remedy, "docs/benchmark.md: spread between seeds")]


def _training(material: Material) -> list[Finding]:
    table = material.history
    if table is None or "total" not in table or len(table) < 20:
        return []
    total = table["total"].to_numpy(float)
    tenth = len(total) // 10
    last, before = total[-tenth:].mean(), total[-2 * tenth : -tenth].mean()
    if before - last > UNSETTLED * abs(before):
        words = f"The loss was still falling when training ended (to {total[-1]:.3g})."
        remedy = "Raise --epochs."
        return [Finding("doubt", "training", words, remedy, "fall over the last epochs above 10 %")]
    if total[-1] >= total[0]:
        words = "The loss did not fall: the slices were not brought together."
        return [Finding("bad", "training", words, "Lower --lr, and look at the curves below.")]
    return [Finding("good", "training", f"The loss fell from {total[0]:.3g} to {total[-1]:.3g}.")]


def _run_inputs(material: Material) -> list[Finding]:
    return [
        Finding(one.level, one.stage.lower(), _sentence(one.text), _sentence(one.remedy))
        for one in cautions(material.records, list(material.samples))
        if one.sample is None and one.level != "good"
    ]


def _together(material: Material) -> list[Finding]:
    """How many slices lie in a frame with another."""
    table = material.transforms
    if table is None or len(material.samples) < 2:
        return []
    moved = table[table["sample"].astype(str) != table["reference"].astype(str)]
    left = moved.loc[moved["method"] == "identity", "sample"].astype(str).tolist()
    done = len(moved) - len(left)
    if not left:
        return [Finding("good", "alignment", f"All {len(material.samples)} slices are aligned.")]
    were = "was" if done == 1 else "were"
    words = f"{done} of {len(moved)} slices {were} aligned to another."
    return [Finding("doubt", "alignment", words, "Nothing to do if they are of different regions.")]


SLICE_CHECKS: Sequence[Callable[[Material, str], list[Finding]]] = (
    _cells, _counts, _controls, _reference, _shared, _propagation, _labels, _alignment, _inputs,
)  # fmt: skip
RUN_CHECKS: Sequence[Callable[[Material], list[Finding]]] = (
    _biology, _mixing, _training, _together, _run_inputs,
)  # fmt: skip
