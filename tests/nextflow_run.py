"""Nextflow as the tests of the pipeline call it."""

import csv
import os
import signal
import subprocess
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 900  # seconds; the longest run of the tests takes a third of it on two busy cores


def nextflow(*arguments, cwd, project=ROOT, longest=LONGEST):
    """Run Nextflow in `cwd` and return the finished process; what it printed is in stdout.

    Nextflow now and then stands still with nothing to do. Such a run is ended and tried once more,
    and a warning holds what it was doing.
    """
    command = [
        "nextflow", "-quiet", "run", str(project), "-ansi-log", "false", *map(str, arguments)
    ]  # fmt: skip
    run, still = run_once(command, cwd, longest)
    if still:
        warnings.warn(f"stood still for {longest} s: {' '.join(command)}\n{still}", stacklevel=2)
        run, still = run_once(command, cwd, longest)
        assert not still, still
    return run


def run_once(command, cwd, longest):
    """The finished process; and for one that had to be ended, what it was doing."""
    with subprocess.Popen(
        command, cwd=cwd, env={**os.environ, "PATH": search_path()}, text=True,
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
