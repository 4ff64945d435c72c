#!/usr/bin/env bash
# Make a virtual environment for each baseline of the benchmark that needs one of its own, from the
# lock of its image: .venv/share/baselines/NAME. Without arguments: for all of them. Seurat is not
# among them: it needs R and its package Seurat (Debian: apt-get install r-cran-seurat).
set -euo pipefail
cd "$(dirname "$0")/.."

names=("$@")
[[ $# -gt 0 ]] || names=(harmony scanorama scvi)
for name in "${names[@]}"; do
    lock=containers/$name/requirements.lock
    target=$PWD/.venv/share/baselines/$name
    key=$(git hash-object "$lock")
    [[ "$(cat "$target/.complete" 2>/dev/null)" != "$key" ]] || continue
    echo "Setting up $target"
    rm -rf "$target"
    .venv/bin/python -m venv --without-pip "$target"
    .venv/share/uv/bin/uv pip sync --python "$target/bin/python" --require-hashes "$lock"
    echo "$key" >"$target/.complete"
done
command -v Rscript >/dev/null || echo "Seurat RPCA: there is no R here (Debian: apt-get install r-cran-seurat)"
