"""What the tasks of a run took, from its execution_trace_TIME.txt."""

import csv
import re
from collections import defaultdict
from pathlib import Path

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
GIGABYTES = {"B": 1e-9, "KB": 2**10 / 1e9, "MB": 2**20 / 1e9, "GB": 2**30 / 1e9}


def stages(path: Path) -> dict[str, dict[str, float]]:
    """By process, in the order of their first tasks: tasks, cpu and wall seconds, GB at most.

    `wall` adds up what each task took by the clock, `cpu` is that times its share of the cores.
    """
    found = defaultdict(lambda: {"tasks": 0, "cpu": 0.0, "wall": 0.0, "gb": 0.0})
    with open(path) as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["status"] not in ("COMPLETED", "CACHED"):
                continue
            stage = found[row["name"].split(" ")[0].split(":")[-1]]
            wall = seconds(row["realtime"])
            stage["tasks"] += 1
            stage["wall"] += wall
            stage["cpu"] += wall * float(row["%cpu"].rstrip("%").replace("-", "0")) / 100
            stage["gb"] = max(stage["gb"], gigabytes(row["peak_rss"]))
    return dict(found)


def seconds(text: str) -> float:
    """Of `1h 2m 3.4s`, as a trace has it; of `-`, none."""
    return sum(float(n) * SECONDS[unit] for n, unit in re.findall(r"([\d.]+)(ms|s|m|h|d)", text))


def gigabytes(text: str) -> float:
    """Of `1.2 GB`, as a trace has it; of `-` or `0`, none."""
    number, _, unit = text.partition(" ")
    return float(number) * GIGABYTES[unit] if unit else 0.0
