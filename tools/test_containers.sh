#!/usr/bin/env bash
# Build the images and run the demo in them with no network: `make test-containers`. Needs root and Debian (what
# lacks is installed); no image registry is needed. What it runs in, and what came of it, is printed.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for program in podman buildah runc debootstrap; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Inside, the machine's own certificates hold, where packages come by way of a company's proxy.
certificates=/etc/ssl/certs/ca-certificates.crt
sed "/^\[containers\]/a volumes = [\"$certificates:$certificates:ro\"]" tools/containers.conf >"$folder/containers.conf"
export CONTAINERS_CONF=$folder/containers.conf ENGINE=podman

started=$SECONDS
tools/images.sh --stand-in core torch bench >"$folder/build.log" 2>&1 || { tail -20 "$folder/build.log" >&2; exit 1; }
echo "images: $((SECONDS - started)) s"
podman images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep nf-lloki-

started=$SECONDS
echo "podman.runOptions = '--network none'" >"$folder/offline.config"
nextflow -c "$folder/offline.config" run . -profile test,podman -ansi-log false -work-dir "$folder/work" \
    --container_registry localhost --outdir "${1:-results/containers}"
echo "demo: $((SECONDS - started)) s"
test -s "${1:-results/containers}/report.html"
