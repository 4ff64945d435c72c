#!/usr/bin/env bash
# Put the original scgpt, which the tests compare with, beside the environment: without its
# dependencies (they would pull in another PyTorch), and out of the way of everything but the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
target=.venv/share/scgpt
[[ -d $target/scgpt-0.2.4.dist-info ]] && exit
.venv/share/uv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes \
    --target "$target" --requirement tests/requirements-scgpt.txt
