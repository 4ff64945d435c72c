#!/usr/bin/env bash
# Print a Python (3.12 to 3.14) that can make a virtual environment: $PYTHON if given, else the
# first that works on PATH or among pyenv's versions. Each one is started to find out, because a
# name on PATH may be a shim with nothing behind it, and some systems ship Python without venv.
set -euo pipefail

works() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' \
        </dev/null >/dev/null 2>&1
}

if [[ -n "${PYTHON:-}" ]]; then
    works "$PYTHON" && { command -v "$PYTHON"; exit; }
    echo "error: PYTHON=$PYTHON is not a Python 3.12, 3.13 or 3.14 with venv that starts" >&2
    exit 1
fi

pyenv="${PYENV_ROOT:-${HOME:-}/.pyenv}/versions"
for candidate in python3.13 python3.12 python3.14 python3 "$pyenv"/3.{13,12,14}*/bin/python3; do
    works "$candidate" && { command -v "$candidate"; exit; }
done
echo "error: no working Python 3.12 to 3.14 found: install one with its venv module" \
     "(Debian, Ubuntu: python3-venv), or name it: make setup PYTHON=/path/to/python3" >&2
exit 1
