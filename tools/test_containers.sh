#!/usr/bin/env bash
# Build the images and run the demo in them with no network, then push one to a registry on this machine and run in what
# is pulled from there: `make test-containers`. Needs root and Debian (what lacks is installed); no image registry
# elsewhere is needed. What it runs in, and what came of it, is printed.
#   --without-torch   the stages with a neural network run outside: their image is 7 GB
#   --if-possible     end well, and say so, where this machine can build no images or run none
set -euo pipefail
cd "$(dirname "$0")/.."

images=(core torch bench) if_possible= outside=
for option in "$@"; do
    case $option in
        --without-torch)
            images=(core bench)
            outside="process { withName: 'PRETRAIN_SCGPT|TRAIN_CAE|INFER_CAE|CAE_VARIANT' { container = null } }"
            ;;
        --if-possible) if_possible=yes ;;
        *) echo "error: $option: no such option" >&2 && exit 2 ;;
    esac
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Inside, the machine's own certificates hold, where packages come by way of a company's proxy.
certificates=/etc/ssl/certs/ca-certificates.crt
sed "/^\[containers\]/a volumes = [\"$certificates:$certificates:ro\"]" tools/containers.conf >"$folder/containers.conf"
export CONTAINERS_CONF=$folder/containers.conf ENGINE=podman

first_container() {
    local missing=() program base
    for program in podman buildah runc debootstrap; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || return
    fi
    base=$(tools/stand_in_base.sh trixie) && podman run --rm "$base" true
}
step() { # name, command
    local started=$SECONDS
    if ! "${@:2}" >"$folder/log" 2>&1; then
        tail -20 "$folder/log" >&2
        echo "$1: failed" >&2
        [ -n "$if_possible" ]
        exit
    fi
    echo "$1: $((SECONDS - started)) s"
}
step "a first container" first_container
step images tools/images.sh --stand-in "${images[@]}"
podman images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep nf-lloki-

started=$SECONDS
printf '%s\n' "podman.runOptions = '--network none'" "$outside" >"$folder/offline.config"
nextflow -quiet -c "$folder/offline.config" run . -profile test,podman -ansi-log false -work-dir "$folder/work" \
    --container_registry localhost --outdir results/containers --overwrite
echo "demo: $((SECONDS - started)) s"
test -s results/containers/report.html

# Unpacked, not installed: the package would start a server for all the network.
registry() {
    cd "$folder" && { apt-get download docker-registry || { apt-get update -qq && apt-get download docker-registry; }; } &&
        dpkg -x docker-registry_*.deb registry
}
if command -v docker-registry >/dev/null || (registry) >/dev/null 2>&1; then
    started=$SECONDS
    PATH=$PATH:$folder/registry/usr/bin REGISTRY=yes pytest --quiet tests/executors/test_registry.py
    echo "a registry: $((SECONDS - started)) s"
else
    echo "a registry: skipped, for want of Debian's package docker-registry"
fi
