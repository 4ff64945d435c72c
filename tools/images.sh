#!/usr/bin/env bash
# Build container images: `tools/images.sh [OPTION ...] [NAME ...]` (core, torch and bench without names).
# containers/images.csv says what there is and what stands on what; a parent is built first. ENGINE:
# docker or podman.
#   --stand-in       on bases made from Debian packages (tools/stand_in_base.sh), where no image registry can be reached
#   --push REGISTRY  then push each to REGISTRY/nf-lloki-NAME:VERSION, and write its digest there into a table, DIGESTS
#                    (containers/digests.csv), by which --container_digests pins it; log in before (docker login)
set -euo pipefail
cd "$(dirname "$0")/.."

stand_in= registry=
while [[ "${1:-}" == --* ]]; do
    case $1 in
        --stand-in) stand_in=yes ;;
        --push)
            [[ "${2:---}" != --* ]] || { echo "error: --push needs a registry, such as ghcr.io/you" >&2 && exit 2; }
            registry=${2%/}
            shift
            ;;
        *) echo "error: $1: no such option" >&2 && exit 2 ;;
    esac
    shift
done
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

digest() { # of an image as it lies in the registry, where it is compressed
    if [ "$(basename "$engine")" = podman ]; then
        "$engine" push --digestfile "$folder/digest" "$1" "$2" >&2 && cat "$folder/digest"
    else # docker says it, and keeps another where images are podman's
        "$engine" tag "$1" "$2" && "$engine" push "$2" | tee /dev/stderr | sed -n 's/.*digest: \(sha256:[0-9a-f]*\) .*/\1/p' | tail -n 1
    fi
}

push() { # the image, and its row in the table; rows of another version or registry go
    local image=$1 found
    echo "== $image to $registry" >&2
    found=$(digest "nf-lloki-$image:$version" "$registry/nf-lloki-$image:$version") && [[ $found == sha256:* ]] || {
        echo "error: $image: not pushed to $registry" >&2
        exit 1
    }
    {
        echo image,registry,version,digest
        { [ ! -f "$table" ] || grep ",$registry,$version," "$table" | grep -v "^$image," || true; } |
            cat - <(echo "$image,$registry,$version,$found") | sort
    } >"$folder/table"
    cp "$folder/table" "$table"
}

[ $# -gt 0 ] || set -- core torch bench
for image in "$@"; do
    build "$image"
done
[ -n "$registry" ] || exit 0
table=${DIGESTS:-containers/digests.csv}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for image in "$@"; do
    push "$image"
done
echo "$table: $(($(wc -l <"$table") - 1)) images by digest" >&2
