#!/usr/bin/env bash
# Make a stand-in for the public base image of containers/, from Debian packages alone, where no image
# registry can be reached: `tools/stand_in_base.sh [trixie|bookworm]`. Needs root, debootstrap and docker
# or podman. It has Debian's Python of that release, not the newest patch, and is otherwise alike.
set -euo pipefail

suite=${1:-trixie}
case $suite in
    trixie) python=3.13 ;;
    bookworm) python=3.11 ;;
    *) echo "error: $suite: no such base; give trixie (Python 3.13) or bookworm (3.11)" >&2; exit 2 ;;
esac
engine=${ENGINE:-$(command -v podman || command -v docker)} || {
    echo "error: neither podman nor docker found" >&2
    exit 1
}
image=localhost/python:$python-slim-$suite
if "$engine" image inspect "$image" >/dev/null 2>&1; then
    echo "$image"
    exit
fi
command -v debootstrap >/dev/null || { echo "error: debootstrap not found: apt-get install debootstrap" >&2; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=ca-certificates "$suite" "$folder/root" >"$folder/log" 2>&1 || {
    tail -5 "$folder/log" >&2
    exit 1
}
tar -C "$folder/root" -c . | "$engine" import --message "debootstrap $suite" - "localhost/debian:$suite" >/dev/null

# What the public images do too: no package caches in layers, Python's headers, python without its version, pip free
# to install. uv reads the system's certificates, as pip does.
mkdir "$folder/build"
"$engine" build --tag "$image" --file - "$folder/build" <<EOF >&2
FROM localhost/debian:$suite
RUN printf '%s\n' 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' \
        'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";' 'Acquire::Languages "none";' \
        > /etc/apt/apt.conf.d/docker-clean && \
    apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-minimal \
        python3-venv libpython3-dev >/dev/null && \
    rm -rf /var/lib/apt/lists/* && \
    ln -s /usr/bin/python3 /usr/local/bin/python && ln -s /usr/bin/python3 /usr/local/bin/python3 && \
    rm -f /usr/lib/python$python/EXTERNALLY-MANAGED && \
    mkdir -p /etc/uv && echo 'system-certs = true' > /etc/uv/uv.toml
EOF
echo "$image"
