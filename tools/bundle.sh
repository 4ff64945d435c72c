#!/usr/bin/env bash
# Pack the pipeline with all that it needs into one archive, for a machine without a network: `make bundle`, or
# `tools/bundle.sh [--images] [FILE]`. There: unpack, `make setup`, `make demo`. The wheels are for the Python and the
# platform that this runs on; --images adds the container images that are built (docker or podman).
set -euo pipefail
cd "$(dirname "$0")/.."

images=
if [ "${1:-}" = --images ]; then
    images=yes
    shift
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
name=nf-lloki-$version
file=$(realpath -m "${1:-$name-offline.tar}")
stage=$(mktemp -d -p "$(dirname "$file")")
trap 'rm -rf "$stage"' EXIT
offline=$stage/$name/offline

git archive --prefix="$name/" HEAD | tar -x -C "$stage"
mkdir -p "$offline/jars" "$offline/wheels"
cp .venv/share/nextflow/lib/*.jar "$offline/jars"
for lock in requirements.lock tools/uv-*.lock tests/requirements-scgpt.txt; do
    .venv/share/uv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$offline/wheels" --require-hashes --requirement "$lock"
done
if [ -n "$images" ]; then
    engine=$(command -v podman || command -v docker)
    mkdir "$offline/images"
    for image in $("$engine" images --format '{{.Repository}}:{{.Tag}}' | grep "nf-lloki-[a-z]*:$version$"); do
        "$engine" save --output "$offline/images/$(basename "${image%:*}").tar" "$image"
    done
fi
tar -C "$stage" -cf "$file.part" "$name"
mv "$file.part" "$file"
echo "$file: $(du -h "$file" | cut -f1)"
