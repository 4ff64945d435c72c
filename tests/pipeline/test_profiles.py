"""The profiles as Nextflow resolves them."""

import os
import subprocess

import pytest
from nextflow_run import ROOT, search_path

pytestmark = pytest.mark.pipeline


def resolved(profile, cwd):
    """The configuration of a profile, as flat lines."""
    run = subprocess.run(
        ["nextflow", "config", str(ROOT), "-flat", "-profile", profile],
        cwd=cwd, env={**os.environ, "PATH": search_path()}, text=True, capture_output=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize(
    ("profile", "executor"),
    [("awsbatch", "awsbatch"), ("googlebatch", "google-batch"), ("azurebatch", "azurebatch"),
     ("k8s", "k8s"), ("slurm", "slurm")],
)  # fmt: skip
def test_an_executor_with_gpus(profile, executor, tmp_path):
    text = resolved(f"{profile},gpu", tmp_path)
    assert f"process.executor = '{executor}'" in text
    assert "process.'withLabel:process_gpu'.accelerator = 1" in text
    assert "process.'withLabel:process_gpu'.maxForks = 0" in text  # that is the executor's affair
    assert "params.device = 'cuda'" in text
    assert "process.errorStrategy" in text and "process.'withLabel:process_medium'.time" in text
    assert "nf-lloki-torch:0.1.0" in text and "nf-lloki-bench:0.1.0" in text
