"""Warnings of the stages as a reader wants them: of which slice, how much they matter, what to do.

A stage writes a warning for who watches the run; here it is told once more, slices by their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lloki.report.run import stage_name

# what a warning says, how much it matters, what to do; the first that fits holds
KNOWN = (
    (r"nothing was imputed", "good", "nothing: measured cells are dense already"),
    (r"is not aligned to", "doubt", "nothing, if the slices are of different regions; else see "
     "the pairs under Alignment"),
    (r"its cells count as not labelled", "good", "nothing, if it has no labels: those of others "
     "are carried over to it"),
    (r"have no count in any shared gene", "good", ""),
    (r"share no gene", "doubt", "nothing, if labels and mixing look right: they meet in the "
     "embedding alone"),
    (r"of one species, and named by symbols", "bad", "give a reference of the same species and "
     "tissue, genes named by symbols"),
    (r"files of the same content", "bad", "name another file in the samplesheet"),
    (r"of several species", "bad", "run each species by itself"),
    (r"stopped after \d+ steps", "doubt", "raise --max_iter"),
    (r"trained without triplets", "bad", "check that the slices are of one tissue"),
    (r"cells are like none of the labelled", "doubt", "add a source of this tissue"),
    (r"the clusters change with the cells", "doubt", "take them as a rough map, or set "
     "--cluster_resolution"),
    (r"strewn among others in space", "doubt", ""),
    (r"the largest in less than", "good", ""),
    (r"the usual size, nothing in the files", "doubt", "give spatial_unit_um in the samplesheet"),
    (r"(were|are) (dropped|left out)|features that are no genes", "good", ""),
    (r"(is|are|taken) (taken )?(from|are) ", "good", "nothing, if that is right"),
    (r"was not run", "good", ""),
    (r"of other options or inputs, not resumed|damaged, or no checkpoint", "good", ""),
)  # fmt: skip
FILE = re.compile(r"\b([\w-]+)\.(?:slice|imputed|denoised|fp|lloki|targets)(?:\.h5ad|\.csv)?")


@dataclass(frozen=True)
class Caution:
    """A warning: slice (none: of the run), stage in words, level, what it says, what to do."""

    sample: str | None
    stage: str
    level: str
    text: str
    remedy: str


def cautions(records: Sequence[Mapping], samples: Sequence[str]) -> list[Caution]:
    """Every warning once, the weightiest first."""
    found = {}
    for record in records:
        for warning in record.get("warnings", []):
            one = _caution(str(warning), record, samples)
            found.setdefault((one.sample, one.text), one)
    weight = {"bad": 0, "doubt": 1, "good": 2}
    return sorted(found.values(), key=lambda one: weight[one.level])


def _caution(warning: str, record: Mapping, samples: Sequence[str]) -> Caution:
    text = FILE.sub(lambda match: match[1] if match[1] in samples else match[0], warning)
    sample = record.get("sample")
    if sample is None:
        begun = re.match(r"([\w-]+)(?=:| is | has )", text)
        sample = begun[1] if begun and begun[1] in samples else None
    known = ((level, remedy) for pattern, level, remedy in KNOWN if re.search(pattern, text))
    level, remedy = next(known, ("doubt", ""))
    text = text.removeprefix(f"{sample}: ")
    words, _, own = text.partition("; ")  # a stage may tell the remedy itself
    if not remedy and own:
        text, remedy = words, own
    return Caution(sample, stage_name(record), level, text, remedy)
