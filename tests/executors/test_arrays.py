"""Job arrays (-profile slurm,arrays): what the scheduler is sent, and a task of one that fails."""

import re
from collections import Counter

import pytest
from executors import fake_slurm
from nextflow_run import ROOT, nextflow, trace, write_workflow

pytestmark = pytest.mark.pipeline
SIZED = """\
process BUILD_GRAPH {
    label 'process_low'
    memory { slice.length() * 1.GB * task.attempt }
    input: val slice
    script: "[[ ${slice} == aa && ${task.attempt} == 1 ]] && exit 137 || true"
}
workflow { BUILD_GRAPH(channel.of('a', 'aa', 'aaa')) }
"""


def test_an_array_asks_once_and_a_task_that_is_killed_is_a_job_of_its_own(tmp_path, monkeypatch):
    """Memory by the size of the slice, as the modules have it, gives way: else nothing is sent."""
    jobs = fake_slurm.install(tmp_path / "slurm", monkeypatch)
    write_workflow(
        tmp_path, SIZED,
        "".join(f"includeConfig '{ROOT}/conf/{name}.config'\n" for name in ("slurm", "arrays"))
        + fake_slurm.POLLING,
    )  # fmt: skip
    run = nextflow(cwd=tmp_path, project="main.nf", longest=120)
    assert run.returncode == 0, run.stdout
    assert [(job.get("array"), job["mem"]) for job in jobs()] == [
        ("0-2", "8192M"),
        (None, "16384M"),
    ]
    assert Counter(row["exit"] for row in trace(tmp_path)) == {"0": 3, "137": 1}


def test_the_slices_of_every_stage_go_as_one_array(tmp_path, monkeypatch):
    jobs = fake_slurm.install(tmp_path / "slurm", monkeypatch)
    (tmp_path / "site.config").write_text(fake_slurm.POLLING)
    run = nextflow(
        "-profile", "test,slurm,arrays", "-stub-run", "-c", "site.config", "--outdir", "results",
        cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert {row["status"] for row in trace(tmp_path)} == {"COMPLETED"}
    tasks = Counter(row["process"] for row in trace(tmp_path))
    arrays = [re.sub(r"_\(\d+\)$", "", job["J"]) for job in jobs() if job.get("array") == "0-3"]
    assert len(arrays) == len(set(arrays)) and len(jobs()) == len(tasks)
    for name, count in tasks.items():
        assert any(job.endswith(f"_{name}") for job in arrays) == (count == 4), name
