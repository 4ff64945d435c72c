#!/usr/bin/env bash
# Get the Chromium in which the report is opened, where there is none and it can be had (apt, as root).
# Without one those tests are skipped.
set -euo pipefail
for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    [[ -n $name ]] && command -v "$name" >/dev/null && exit
done
if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    echo "Installing chromium"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "No Chromium here: tests of the report in a browser are skipped"
fi
