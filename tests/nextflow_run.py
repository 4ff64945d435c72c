"""Nextflow as the tests of the pipeline call it."""

import csv
import functools
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 900  # seconds; the longest run of the tests takes a third of it on two busy cores


@dataclass(frozen=True)
class Engine:
    """A Nextflow (its version; none: the one on the PATH) with a parser of its language."""

    version: str | None = None
    environment: dict = field(default_factory=dict)


FLOOR = Engine()
# The strict parser leaves what stands on the command line as text from Nextflow 25.10 on.
STRICT = {"NXF_SYNTAX_PARSER": "v2", "NXF_DISABLE_PARAMS_TYPE_DETECTION": "true"}
ENGINES = {
    "24.10.5": FLOOR,
    "25.04.4": Engine("25.04.4", {"NXF_SYNTAX_PARSER": "v1"}),
    "25.04.4-strict": Engine("25.04.4", STRICT),
}


@functools.cache
def program(version):
    """The program of a version, installed at need; skips the test where it is not to be had."""
    if version is None:
        return "nextflow"
    command = [sys.executable, ROOT / "tools/install_nextflow.py", version]
    run = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode == 3:
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stdout
    return run.stdout.strip().split(": ", 1)[1]


def nextflow(*arguments, cwd, project=ROOT, longest=LONGEST, engine=FLOOR):
    """Run Nextflow in `cwd` and return the finished process; what it printed is in stdout.

    Nextflow now and then stands still with nothing to do. Such a run is ended and tried once more,
    and a warning holds what it was doing.
    """
    command = [
        program(engine.version), "-quiet", "run", str(project), "-ansi-log", "false",
        *map(str, arguments),
    ]  # fmt: skip
    run, still = run_once(command, cwd, longest, engine.environment)
    if still:
        warnings.warn(f"stood still for {longest} s: {' '.join(command)}\n{still}", stacklevel=2)
        run, still = run_once(command, cwd, longest, engine.environment)
        assert not still, still
    return run


def run_once(command, cwd, longest, environment):
    """The finished process; and for one that had to be ended, what it was doing."""
    with subprocess.Popen(
        command, cwd=cwd, env={**os.environ, "PATH": search_path(), **environment}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as head:  # fmt: skip
        still = ""
        try:
            said, _ = head.communicate(timeout=longest)
        except subprocess.TimeoutExpired:
            tree = subprocess.run(
                ["ps", "-eo", "pid,ppid,stat,wchan:20,args", "--forest"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            head.send_signal(signal.SIGQUIT)  # Java prints what each of its threads waits for
            time.sleep(3)
            os.killpg(head.pid, signal.SIGKILL)
            said, _ = head.communicate()
            log = (Path(cwd) / ".nextflow.log").read_text().splitlines()[-40:]
            still = "\n".join([tree.stdout, said, *log])
    return subprocess.CompletedProcess(command, head.returncode, said), still


def trace(folder, results="results"):
    """The tasks of the last run as Nextflow traced them; `process` is the process's own name."""
    traces = (folder / results / "pipeline_info").glob("execution_trace*.txt")
    with max(traces).open() as file:  # named by the time
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [{**row, "process": row["name"].split()[0].split(":")[-1]} for row in rows]


def task_files(folder, name):
    """A file of every task of a launch folder (.command.run, .command.sh), by process."""
    found = {}
    for path in sorted(folder.glob("work/*/*/.command.run")):
        process = re.search(r"name: '[\w:]*?(\w+)[' ]", path.read_text())[1]
        found.setdefault(process, []).append(path.with_name(name).read_text())
    return found


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
