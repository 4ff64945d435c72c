"""Which slices may lie in one frame, by their obs: groups, references, depths."""

from __future__ import annotations

from collections.abc import Mapping

import anndata as ad

from lloki.support.errors import InputError

GROUP, DEPTH = "align_group", "z"  # columns of obs that the samplesheet gives


def members(parts: Mapping[str, ad.AnnData], reference: str | None = None) -> dict[str, list[str]]:
    """Samples by group (obs['align_group'], '' without), each group's reference first.

    The reference is the slice with the most cells, or `reference` in its group; InputError where
    there is none of this name.
    """
    if reference is not None and reference not in parts:
        raise InputError(
            f"--reference {reference}", "there is no such sample", f"choose of {', '.join(parts)}"
        )
    found: dict[str, list[str]] = {}
    for sample, part in parts.items():
        found.setdefault(_value(part, GROUP), []).append(sample)
    for group, inside in found.items():
        first = reference if reference in inside else max(inside, key=lambda s: parts[s].n_obs)
        found[group] = [first, *(sample for sample in inside if sample != first)]
    return found


def depths(parts: Mapping[str, ad.AnnData]) -> dict[str, float]:
    """Place in a stack (obs['z']) of the samples that have one."""
    told = {sample: _value(part, DEPTH) for sample, part in parts.items()}
    return {sample: float(value) for sample, value in told.items() if value}


def _value(part: ad.AnnData, column: str) -> str:
    """What the samplesheet says of a slice, the same in all its cells; '' for nothing."""
    if column not in part.obs or part.obs[column].isna().any():
        return ""
    values = part.obs[column].astype(str).unique()
    return values[0] if len(values) == 1 else ""
