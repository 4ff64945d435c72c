"""Some dozens of the fuzzer's cases; `make fuzz` runs as many as one likes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_spoilt_files_end_in_one_line_and_leave_nothing():
    path = os.pathsep.join(str(ROOT / folder) for folder in ("bin", "tests"))
    run = subprocess.run(
        [sys.executable, "-m", "fuzzing", "--cases", "60", "--seed", "1"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert "60 cases, 0 failed" in run.stdout
