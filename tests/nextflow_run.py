"""Nextflow as the tests of the pipeline call it."""

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


def search_path():
    """The environment's programs first, as `make` has them."""
    return f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
