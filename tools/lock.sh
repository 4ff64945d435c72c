#!/usr/bin/env bash
# Make every lock from the ranges in pyproject.toml: one for development, then one for each image,
# held to the same versions. What is locked stays as it is unless given `--upgrade` or
# `--upgrade-package NAME`. The locks name no registry: each machine uses its own.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    .venv/share/uv/bin/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url \
        --no-emit-find-links "$@"
}
ours=(--universal --python-version 3.12)
image() { # name, extras
    local lock=containers/$1/requirements.lock
    compile pyproject.toml "${ours[@]}" --no-annotate --constraint requirements.lock "${@:2}" --output-file "$lock"
}

compile pyproject.toml "${ours[@]}" --all-extras --output-file requirements.lock "$@"
image core
image torch --extra torch
image bench --extra bench --extra report
# the baselines of the benchmark, each beside what its image builds on
image harmony containers/harmony/requirements.in
image scanorama containers/scanorama/requirements.in
image scvi containers/scvi/requirements.in --extra torch
# the original scgpt with the PyTorch of its time
compile containers/scgpt/requirements.in --python-version 3.11 --python-platform linux --no-annotate \
    --output-file containers/scgpt/requirements.lock "$@"
# what looks at the pipeline with nf-core's eyes
compile tools/nf-core.in "${ours[@]}" --no-annotate --output-file tools/nf-core.lock "$@"
