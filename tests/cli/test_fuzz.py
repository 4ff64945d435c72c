"""A few cases of the fuzzer; `make fuzz` runs thousands."""

import os
import subprocess
import sys

from nextflow_run import ROOT


def test_spoilt_files_end_in_one_line_or_a_result():
    paths = os.pathsep.join(str(ROOT / name) for name in ("bin", "tests"))
    run = subprocess.run(
        [sys.executable, "-m", "fuzzing", "--cases", "60"],
        env={**os.environ, "PYTHONPATH": paths}, text=True, capture_output=True,
    )  # fmt: skip
    assert run.returncode == 0 and "60 cases, 0 failed" in run.stdout, run.stdout + run.stderr
