"""Run many cases: python -m fuzzing --cases 20000 --jobs 2 (with bin and tests on PYTHONPATH)."""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def main() -> None:
    """Run the cases; print what came of them; exit code 1 if any broke a rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--script", help="this command alone")
    parser.add_argument("--keep", type=Path, help="folder for the files of the cases that failed")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # read when NumPy is loaded
    from fuzzing.cases import Fuzzer

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        fuzzer = Fuzzer(Path(folder), options.seed, options.script, options.keep)
        cases = range(options.first, options.first + options.cases)
        # forked: what the cases need is loaded once
        with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
            outcomes = pool.map(fuzzer.case, cases, chunksize=8)
    by_command: dict[str, Counter] = {}
    for outcome in outcomes:
        key = "failed" if outcome.faults else f"exit {outcome.code}"
        by_command.setdefault(outcome.command, Counter())[key] += 1
    for name, counts in sorted(by_command.items()):
        print(f"{name:16}", "  ".join(f"{key}: {n}" for key, n in sorted(counts.items())))
    failed = [outcome for outcome in outcomes if outcome.faults]
    for outcome in failed:
        print(json.dumps(outcome.__dict__))
    seconds = [outcome.seconds for outcome in outcomes]
    print(f"{len(outcomes)} cases, {len(failed)} failed, {time.monotonic() - started:.0f} s, "
          f"slowest {max(seconds):.1f} s, most memory "
          f"{max(outcome.peak_mb for outcome in outcomes):.0f} MB")  # fmt: skip
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
