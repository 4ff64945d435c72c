#!/usr/bin/env python3
"""Write docs/parameters.md from nextflow_schema.json; with `--check`: say whether it is new."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/parameters.md"
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
INTRODUCTION = """\
# Parameters

Made from `nextflow_schema.json` by `tools/make_parameters.py`. Where no default is given, the
parameter is off or follows from the data. `nextflow run . --help` prints the same list."""


def page(schema: dict) -> str:
    """The page: a table for each group of parameters."""
    lines = [INTRODUCTION]
    for group in schema["$defs"].values():
        lines += ["", f"## {group['title']}", "", group["description"], "",
                  "| parameter | meaning | type | default |", "|---|---|---|---|"]  # fmt: skip
        required = group.get("required", [])
        lines += [row(name, p, name in required) for name, p in group["properties"].items()]
    return "\n".join(lines) + "\n"


def row(name: str, p: dict, required: bool) -> str:
    """A parameter as a row of its table."""
    kind = ", ".join(f"`{v}`" for v in p["enum"]) if "enum" in p else p["type"]
    limits = [f"{sign} {p[key]:g}" for key, sign in LIMITS.items() if key in p]
    default = f"`{json.dumps(p['default']).strip(chr(34))}`" if "default" in p else ""
    default = "required" if required else default
    meaning = " ".join(filter(None, [p["description"], p.get("help_text")]))
    return f"| `--{name}` | {meaning} | {' '.join([kind, *limits])} | {default} |"


def main() -> None:
    """Write the page, or with --check compare it."""
    text = page(json.loads((ROOT / "nextflow_schema.json").read_text()))
    if "--check" not in sys.argv:
        PAGE.write_text(text)
    elif not PAGE.is_file() or PAGE.read_text() != text:
        sys.exit("docs/parameters.md is out of date: run tools/make_parameters.py")


if __name__ == "__main__":
    main()
