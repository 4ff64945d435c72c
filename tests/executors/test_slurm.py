"""The pipeline on a real Slurm of one node: GPU requests, and jobs that are stopped in every way.

Runs where SLURM_NODE=yes is set, as root: `make test-executors`.
"""

import os
import threading
import time
from collections import Counter

import pytest
from executors.one_node_slurm import Slurm
from nextflow_run import ROOT, nextflow, trace, write_workflow

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif("SLURM_NODE" not in os.environ, reason="starts Slurm: SLURM_NODE=yes"),
]
POLLING = """\
executor {
    pollInterval = '1 sec'
    queueStatInterval = '2 sec'
    exitReadTimeout = '20 sec'
}
"""
STOPPED = """\
process CANCELLED {
    label 'process_single'
    script: "[[ ${task.attempt} == 2 ]] || sleep 600"
}
process TOO_LONG {
    cpus 1
    time { 1.min * task.attempt * task.attempt }
    script: "[[ ${task.attempt} == 2 ]] || sleep 600"
}
process TOO_LARGE {
    cpus 1
    memory { 200.MB * task.attempt }
    script:
    def megabytes = task.attempt == 2 ? 10 : 600
    "python3 -c 'import time; held = bytearray(${megabytes} << 20); time.sleep(${megabytes} / 20)'"
}
process ON_A_GPU {
    label 'process_gpu'
    label 'process_single'
    output: stdout
    script: 'echo "device $CUDA_VISIBLE_DEVICES"'
}
workflow { CANCELLED(); TOO_LONG(); TOO_LARGE(); ON_A_GPU().view() }
"""


@pytest.fixture(scope="module")
def slurm():
    with Slurm() as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        yield cluster


def test_jobs_that_are_stopped_run_again_and_a_gpu_is_asked_for(slurm, tmp_path):
    write_workflow(
        tmp_path, STOPPED, f"includeConfig '{ROOT}/conf/slurm.config'\n"
        "process { withLabel: process_gpu { accelerator = 1 } }\n" + POLLING,
    )  # fmt: skip

    def cancel():
        for _ in range(300):
            jobs = slurm.run("squeue", "-h", "-n", "nf-CANCELLED", "-t", "running", "-o", "%A")
            if jobs.stdout.strip():
                time.sleep(3)
                slurm.run("scancel", *jobs.stdout.split())
                return
            time.sleep(1)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    run = nextflow(cwd=tmp_path, project="main.nf")
    canceller.join()
    assert run.returncode == 0, run.stdout
    assert "device 0" in run.stdout
    ends = Counter((row["name"], row["exit"]) for row in trace(tmp_path))
    assert ends[("CANCELLED", "143")] == ends[("CANCELLED", "0")] == 1
    assert ends[("TOO_LONG", "140")] == ends[("TOO_LONG", "0")] == 1
    assert ends[("TOO_LARGE", "-")] == ends[("TOO_LARGE", "0")] == 1
    assert ends[("ON_A_GPU", "0")] == 1


def test_the_demo_on_slurm(slurm, tmp_path):
    (tmp_path / "site.config").write_text(
        # a GPU is asked for, and none is there: the work is done on the CPU
        "process { withLabel: process_gpu { accelerator = 1 } }\n" + POLLING
    )
    run = nextflow(
        "-profile", "test,slurm", "-c", "site.config", "--outdir", "results", cwd=tmp_path
    )
    assert run.returncode == 0, run.stdout
    assert (tmp_path / "results/report.html").stat().st_size > 0
    assert {row["status"] for row in trace(tmp_path)} == {"COMPLETED"}
    asked = [p.read_text() for p in tmp_path.glob("work/*/*/.command.run")]
    gpu = [text for text in asked if "#SBATCH --gres=gpu:1" in text]
    assert 4 <= len(gpu) < len(asked)  # the training and an inference for each slice
