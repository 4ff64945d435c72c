"""Nextflow as the tests of the pipeline call it."""

import csv
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def nextflow(*arguments, cwd, project=ROOT):
    """Run Nextflow in `cwd` and return the finished process; what it printed is in stdout."""
    return subprocess.run(
        ["nextflow", "-quiet", "run", str(project), "-ansi-log", "false", *map(str, arguments)],
        cwd=cwd, env={**os.environ, "PATH": search_path()}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip


def trace(folder, results="results"):
    """The tasks of the last run as Nextflow traced them; `process` is the process's own name."""
    with (folder / results / "pipeline_info/execution_trace.txt").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [{**row, "process": row["name"].split()[0].split(":")[-1]} for row in rows]


def write_workflow(folder, text, more=""):
    """Put a workflow of a few processes into a folder, with the pipeline's base configuration."""
    (folder / "main.nf").write_text(text)
    (folder / "nextflow.config").write_text(
        "params { max_cpus = null\n max_memory = null\n max_time = null }\n"
        f"includeConfig '{ROOT}/conf/base.config'\n"
        "trace { enabled = true\n file = 'results/pipeline_info/execution_trace.txt' }\n" + more
    )


def search_path():
    """The environment's programs first, as `make` has them."""
    return f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
