#!/usr/bin/env python3
"""Check all slices and references against each other, before the work, by their records."""

import json
import sys
from pathlib import Path

import click

from lloki.support.cli import Run, command, fault_option
from lloki.support.errors import InputError

TABLE = (  # of the terminal: heading, column of the CSV
    ("slice", "sample"), ("format", "format"), ("cells", "cells"), ("dropped", "cells_dropped"),
    ("genes", "genes"), ("controls", "controls"), ("values from", "values_from"),
    ("unit, µm", "unit_um"), ("axes", "dimensions"), ("in reference", "genes_in_reference"),
    ("fewest shared", "fewest_genes_shared"), ("with", "fewest_genes_shared_with"),
)  # fmt: skip


@command("check_inputs")
@click.option("--input", required=True, multiple=True, help="SAMPLE.slice.json; repeatable.")
@click.option("--reference", multiple=True, help="NAME.reference.json; repeatable.")
@click.option("--label-key", multiple=True, help="Column of obs with labels; repeatable.")
@click.option("--min-shared-genes", type=click.IntRange(1), default=10,
              help="Genes that slice and reference must share.")  # fmt: skip
@click.option("--embedder", type=click.Choice(["mosaic", "scgpt", "brought"]), default="mosaic",
              help="What will embed the cells, for the time that it takes.")  # fmt: skip
@click.option("--methods", type=click.IntRange(0), default=0, help="Other methods to be scored.")
@click.option("--model", help="model.json of the run onto whose embedding the slices are mapped.")
@click.option("--metagenes/--no-metagenes", default=None,
              help="Metagenes are found (for the cost).  [default: of few cells]")  # fmt: skip
@click.option(
    "--niche",
    "niches",
    multiple=True,
    help="Pairs of kinds whose niche programs are found, or all (for the cost).",
)
@click.option("--output", required=True, help="The table to write, a row a slice: inputs.csv; "
              "inputs.txt, for people, comes beside it.")  # fmt: skip
@fault_option
def main(
    run: Run, input, reference, label_key, min_shared_genes, embedder, methods, model, metagenes,
    niches, output, record_fault,
) -> None:  # fmt: skip
    """Say what every slice holds, what does not fit, and what the run will take."""
    from lloki.slices import inspection

    slices = sorted(map(_record, input), key=lambda record: record["sample"])
    references = [_record(path) for path in sorted(reference)]
    faults = inspection.faults(slices, references, label_key, min_shared_genes)
    known = _batches(model) if model else None
    for warning in inspection.doubts(slices, references, label_key, known):
        run.warn(warning)
    rows = inspection.table(slices, references, label_key)
    asked = inspection.pairs_of_kinds(slices, label_key) if "all" in niches else len(niches)
    taken = _cost(inspection.read(slices), embedder, methods, metagenes, asked)
    pairs = {
        f"{a} {b}": n for (a, b), n in inspection.shared_genes(inspection.read(slices)).items()
    }
    run.report(faults=faults, genes_shared=pairs, expected=taken, samples=len(slices))
    own = [w for record in [*slices, *references] for w in record["warnings"]]
    with run.output(output) as temporary:
        run.write_table(temporary, rows)
    with run.output(Path(output).with_suffix(".txt")) as temporary:
        temporary.write_text(
            _text(rows, label_key, [] if record_fault else faults, [*own, *run.warnings], taken)
        )
    if faults and not record_fault:
        for fault in faults:
            click.echo(f"check_inputs: {fault}", err=True)
        run.write_json()
        sys.exit(2)


def _record(path: str) -> dict:
    """A stage's record; InputError where it is none."""
    try:
        record = json.loads(Path(path).read_text())
        if record["stage"] in ("prepare_slice", "check_reference"):
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(path, "no record of prepare_slice or check_reference", "check the path")


def _batches(path: str) -> list[tuple[str, str]]:
    """Technology and panel of each batch of a model; InputError where the file says none."""
    try:
        batches = json.loads(Path(path).read_text())["batches"]
        return [(batch["technology"], batch["panel"]) for batch in batches]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(path, "no model of a run", "give model.json of results/model") from None


def _cost(slices: list[dict], embedder: str, methods: int, metagenes: bool | None,
          niches: int) -> dict:  # fmt: skip
    """Processor hours and gigabytes of the run, in all and by part."""
    from lloki.slices import cost

    sizes = [
        cost.Size(r["cells"], r["genes"], r["genes"] * r["nonzero_fraction"],
                  str(r.get("parameters", {}).get("align_group") or ""))
        for r in slices
    ]  # fmt: skip
    if not sizes:
        return {}
    if metagenes is None:
        metagenes = cost.finds_metagenes(sizes)
    seconds = cost.cpu_seconds(sizes, embedder, 3 + methods, metagenes, niches)
    memory = cost.memory_gb(sizes, embedder, metagenes)
    return {
        "cpu_hours": round(sum(seconds.values()) / 3600, 3),
        "memory_gb": round(max(memory.values()), 1),
        "cpu_seconds": {part: round(value) for part, value in seconds.items()},
        "memory_gb_by_part": {part: round(value, 1) for part, value in memory.items()},
    }  # fmt: skip


def _text(rows: list[dict], labels, faults: list[str], warnings: list[str], taken: dict) -> str:
    """The table, the faults, the warnings and the cost, as a terminal shows them."""
    columns = [*TABLE, *((label, f"labels_{label}") for label in labels)]
    cells = [[name for name, _ in columns]] + [
        ["faulty" if row["fault"] and key == "format" else _cell(row[key]) for _, key in columns]
        for row in rows
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    if taken:
        read = [row for row in rows if not row["fault"]]
        cells = sum(row["cells"] for row in read)
        lines += [
            "", f"{len(read)} slice{'s' * (len(read) > 1)}, {cells:,} cells: about "
            f"{taken['cpu_hours']:.2g} CPU hours without a GPU (half or twice that), "
            f"{taken['memory_gb']:.2g} GB for the largest task",
        ]  # fmt: skip
    for title, said in (("warning", warnings), ("fault", faults)):
        if said:
            lines += ["", f"{len(said)} {title}{'s' if len(said) > 1 else ''}"]
            lines += [f"  {line}" for line in said]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value}"


if __name__ == "__main__":
    main()
