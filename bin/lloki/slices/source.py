"""What a reader found in a slice's files, before it is prepared: counts, places, facts, doubts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad


@dataclass
class Source:
    """A slice as it was written, genes alone.

    data: n cells × G genes; X: raw counts, CSR float32; obs: `cell_id` (the writer's own, text) and
    what else it says of cells; obsm['spatial']: n × 2 or 3, in the writer's unit. format: its name
    (`xenium`, `merscope`, `cosmx`, ...); unit_um: micrometres in that unit, unit_from: how it is
    known; controls: features that are no genes, by class: their number and their counts in all
    cells (one column of obs has them by cell, `control_counts`); facts: more figures for the
    stage's JSON; files: those that were read; warnings: lines for the user.
    """

    data: ad.AnnData
    format: str
    files: list[Path]
    unit_um: float = 1.0
    unit_from: str = "micrometres, as the format has them"
    controls: dict[str, dict[str, float]] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
