"""Clients of a Slurm that is none: jobs run here at once, and what each asked for is kept."""

import json
import os
import sys

SBATCH = """\
#!{python}
import json, os, re, subprocess, sys
asked = dict(re.findall(r"^#SBATCH -+([\\w-]+)(?:[ =](.*))?$", open(sys.argv[-1]).read(), re.M))
with open("{log}", "a") as log:
    log.write(json.dumps(asked) + "\\n")
for index in range(int(asked.get("array", "0-0").split("-")[1]) + 1):
    subprocess.Popen(
        ["bash", sys.argv[-1]], env=os.environ | {{"SLURM_ARRAY_TASK_ID": str(index)}},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )
print("Submitted batch job", os.getpid())
"""
POLLING = "executor { pollInterval = '1 sec'\n queueStatInterval = '2 sec' }\n"


def install(folder, patch):
    """Put the clients on the PATH; returns a function that gives the jobs so far."""
    folder.mkdir()
    log = folder / "jobs"
    for name, text in {
        "sbatch": SBATCH.format(python=sys.executable, log=log),
        "squeue": "#!/bin/sh\n",
        "scancel": "#!/bin/sh\n",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]
