#!/usr/bin/env bash
# Build container images: `tools/images.sh [--stand-in] [NAME ...]` (core, torch and bench without names).
# containers/images.csv says what there is and what stands on what; a parent is built first. ENGINE:
# docker or podman. --stand-in: on bases made from Debian packages (tools/stand_in_base.sh), where no image
# registry can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."

stand_in=
if [ "${1:-}" = --stand-in ]; then
    stand_in=yes
    shift
fi
engine=${ENGINE:-$(command -v docker || command -v podman)} || {
    echo "error: neither docker nor podman found" >&2
    exit 1
}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
declare -A built

base_image() { # the name of a public image, or its stand-in
    if [ -z "$stand_in" ]; then
        echo "$1"
        return
    fi
    local suite=${1##*-}
    case $1 in
        python:*) ENGINE=$engine tools/stand_in_base.sh "$suite" ;;
        debian:*) ENGINE=$engine tools/stand_in_base.sh trixie >/dev/null && echo localhost/debian:trixie ;;
    esac
}

build() {
    local image=$1 row parent licenses packages
    [ -z "${built[$image]:-}" ] || return 0
    row=$(grep "^$image," containers/images.csv) || {
        echo "error: $image: no such image; there are $(tail -n +2 containers/images.csv | cut -d, -f1 | xargs)" >&2
        exit 2
    }
    IFS=, read -r _ parent licenses packages _ <<<"$row"
    if [[ $parent == *:* ]]; then
        set -- --file "containers/$image/Containerfile" --build-arg "BASE_IMAGE=$(base_image "$parent")"
    else
        build "$parent"
        set -- --file containers/Containerfile --build-arg "PARENT_IMAGE=nf-lloki-$parent:$version" \
            --build-arg "TITLE=nf-lloki $image" --build-arg "LICENSES=$licenses" --build-arg "BUILD_PACKAGES=$packages"
    fi
    echo "== $image" >&2
    "$engine" build "$@" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
        --tag "nf-lloki-$image:$version" "containers/$image"
    built[$image]=yes
}

[ $# -gt 0 ] || set -- core torch bench
for image in "$@"; do
    build "$image"
done
