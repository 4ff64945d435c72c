"""The run as an institute's MultiQC lists it: a line of a table for each run."""

from __future__ import annotations

import json

from lloki.report.material import Material
from lloki.report.page import LEVEL_WORDS, Verdict


def content(material: Material, name: str, found: Verdict) -> str:
    """The run as a line of a table that MultiQC shows: custom content, `*_mqc.json`."""
    row = {
        "verdict": LEVEL_WORDS[found.level], "slices": len(material.samples),
        "technologies": len(material.technology.colours), "cells": material.data.n_obs,
        "slices_to_look_at": sum(one.level != "good" for one in found.slices),
        "bio": material.score("X_lloki", "Bio conservation"),
        "batch": material.score("X_lloki", "Batch correction"),
        "ilisi": material.score("X_lloki", "iLISI"),
    }  # fmt: skip
    titles = {
        "verdict": "Verdict", "slices": "Slices", "technologies": "Technologies", "cells": "Cells",
        "slices_to_look_at": "Slices to look at", "bio": "Bio conservation",
        "batch": "Batch correction", "ilisi": "iLISI",
    }  # fmt: skip
    whole = {"slices", "technologies", "cells", "slices_to_look_at"}
    headers = {
        key: {"title": title, **({"format": "{:,.0f}"} if key in whole else {})}
        for key, title in titles.items()
    }
    custom = {
        "id": "lloki_runs", "section_name": "nf-lloki",
        "description": "Runs of nf-lloki: slices of spatial transcriptomics in one embedding.",
        "plot_type": "table", "pconfig": {"id": "lloki_runs_table", "title": "nf-lloki: runs"},
        "headers": headers, "data": {name: {k: v for k, v in row.items() if v is not None}},
    }  # fmt: skip
    return json.dumps(custom, indent=2, allow_nan=False) + "\n"
