"""What goes wrong outside the scripts: jobs that end in odd ways, a killed head, a full disk."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from nextflow_run import ROOT, nextflow, search_path, trace, write_workflow

pytestmark = pytest.mark.pipeline
DEMO = ROOT / "assets/demo"

# A scheduler in three scripts: jobs run at once; one that asks for it vanishes without a trace.
SCHEDULER = {
    "sbatch": 'job=$(date +%s%N | tail -c 8); script=$1\n'
    "if grep -q VANISH .command.sh && [[ ! -e $VANISHED ]]\n"
    'then touch "$VANISHED" .command.begin  # its node is gone\n'
    'else bash "$script" >/dev/null 2>&1 </dev/null & fi\n'
    'echo "Submitted batch job $job"\n',
    "squeue": "true\n",
    "scancel": "true\n",
}  # fmt: skip
ENDS = """\
process TERMINATED {
    label 'process_single'
    output: val true
    script: "[[ ${task.attempt} == 2 && ${task.memory.toGiga()} == 4 ]] || exit 143"
}
process VANISHED {
    label 'process_single'
    output: val true
    script: "echo VANISH ${task.attempt}"
}
workflow { TERMINATED(); VANISHED() }
"""


def test_jobs_that_are_terminated_or_vanish_on_a_scheduler_run_again(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in SCHEDULER.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("VANISHED", str(tmp_path / "vanished"))
    write_workflow(
        tmp_path, ENDS, "process.executor = 'slurm'\n"
        "executor { pollInterval = '1 sec'\n queueStatInterval = '1 sec'\n"
        " exitReadTimeout = '4 sec' }\n",
    )  # fmt: skip
    run = nextflow(cwd=tmp_path, project="main.nf")
    assert run.returncode == 0, run.stdout
    assert (tmp_path / "vanished").exists()
    ends = Counter((row["name"], row["exit"]) for row in trace(tmp_path))
    assert ends == {
        ("TERMINATED", "143"): 1, ("TERMINATED", "0"): 1,
        ("VANISHED", "-"): 1, ("VANISHED", "0"): 1,
    }  # fmt: skip


def test_after_its_head_is_killed_a_run_goes_on_where_it_was(tmp_path):
    names = [f"slice_{i:02}" for i in range(8)]
    for name in names:  # a slice of its own for each: the same one twice is refused
        (tmp_path / f"{name}.h5ad").symlink_to(DEMO / "osmfish.h5ad")
    (tmp_path / "sheet.csv").write_text(
        "sample,input,technology\n" + "".join(f"{name},{name}.h5ad,osmFISH\n" for name in names)
    )
    arguments = ("-profile", "test", "-stub-run", "--input", "sheet.csv", "--outdir", "results")
    head = subprocess.Popen(
        ["nextflow", "-quiet", "run", str(ROOT), "-ansi-log", "false", *arguments],
        cwd=tmp_path, env={**os.environ, "PATH": search_path()}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def done():
        return sum(path.read_text() == "0" for path in tmp_path.glob("work/*/*/.exitcode"))

    waited_until = time.monotonic() + 300
    while done() < 12 and head.poll() is None and time.monotonic() < waited_until:
        time.sleep(0.2)
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    whole = done()
    assert whole >= 12
    run = nextflow(*arguments, "-resume", cwd=tmp_path)
    assert run.returncode == 0, run.stdout
    status = Counter(row["status"] for row in trace(tmp_path))
    # Tasks that ended in the head's last moment may not be in its book yet.
    assert status["CACHED"] >= whole - 4 and set(status) == {"CACHED", "COMPLETED"}
    assert {row["name"].split("(")[1].rstrip(")") for row in trace(tmp_path)
            if ":INFER_CAE" in row["name"]} == set(names)  # fmt: skip


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_has_its_exit_code_and_leaves_nothing(small_disk):
    run = subprocess.run(
        [sys.executable, ROOT / "bin/prepare_slice.py", "--input", DEMO / "starmap.h5ad",
         "--sample", "a", "--technology", "STARmap",
         "--spatial-unit-um", "0.09", "--output", small_disk / "a.slice.h5ad"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 74, run.stderr
    assert len(run.stderr.splitlines()) == 1 and "no space is left on the disk" in run.stderr
    assert not list(small_disk.iterdir())


def test_input_that_may_only_be_read_is_enough(tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    shutil.copy(DEMO / "osmfish.h5ad", folder / "a.h5ad")
    (folder / "a.h5ad").chmod(0o444)
    folder.chmod(0o555)
    before = (folder / "a.h5ad").stat().st_mtime_ns
    run = subprocess.run(
        [sys.executable, ROOT / "bin/prepare_slice.py", "--input", folder / "a.h5ad",
         "--sample", "a", "--technology", "osmFISH", "--output", tmp_path / "a.slice.h5ad"],
        capture_output=True, text=True,
    )  # fmt: skip
    folder.chmod(0o755)
    assert run.returncode == 0, run.stderr
    assert (folder / "a.h5ad").stat().st_mtime_ns == before
    assert [path.name for path in folder.iterdir()] == ["a.h5ad"]
