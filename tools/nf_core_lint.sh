#!/usr/bin/env bash
# Look at the pipeline with nf-core's eyes: `make lint-nf-core`. Runs `nf-core pipelines lint` as .nf-core.yml says, `nf-core
# pipelines schema lint`, and checks the files for GitHub and GitLab against their schemas; all without a network.
# The first call installs nf-core's tools in an environment of their own (NF_CORE, .venv/share/nf-core by default).
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${NF_CORE:-$PWD/.venv/share/nf-core}
lock=tools/nf-core.lock
if ! cmp --quiet "$lock" "$folder/installed.lock"; then
    rm -rf "$folder"
    .venv/bin/python -m venv --without-pip "$folder"
    .venv/share/uv/bin/uv pip sync --quiet --python "$folder/bin/python" --require-hashes "$lock"
    cp "$lock" "$folder/installed.lock"
fi
export PATH=$PWD/.venv/bin:$folder/bin:$PATH
export NFCORE_NO_VERSION_CHECK=1 HIDE_PROGRESS=1

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
# What the lint keeps of a pipeline from call to call lies by its folder's name, and may be of another state of it.
export XDG_CACHE_HOME=$results XDG_CONFIG_HOME=$results

run() { # file for what it says, command
    "${@:2}" >"$1" 2>&1 || { cat "$1" >&2; return 1; }
}
# It ends with 1 when anything failed; what did is in the JSON, and is judged below.
nf-core pipelines lint --plain-text --json "$results/lint.json" >"$results/lint" 2>&1 || [ -s "$results/lint.json" ] || {
    cat "$results/lint" >&2
    exit 1
}
"$folder/bin/python" - "$results/lint.json" <<'END'
import json
import sys

# What .nf-core.yml has no line for. The drawing of the data flow as HTML would load a program from the network.
EXCEPTED = {"Config ``dag.file`` did not end with ``.html``"}

found = json.load(open(sys.argv[1]))
failed = [(test, text) for test, text in found["tests_failed"] if text not in EXCEPTED]
for kind, rows in (("failed", failed), ("warning", found["tests_warned"])):
    for test, text in rows:
        print(f"{kind}: {test}: {text}")
excepted = len(found["tests_failed"]) - len(failed)
print(f"nf-core pipelines lint: {found['num_tests_pass']} passed, {len(failed)} failed ({excepted} excepted), "
      f"{found['num_tests_warned']} warnings, {found['num_tests_ignored']} switched off in .nf-core.yml")
sys.exit(bool(failed))
END
run "$results/schema" nf-core pipelines schema lint
echo "nf-core pipelines schema lint: passed"
run "$results/hosts" check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
run "$results/hosts" check-jsonschema --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci .gitlab-ci.yml
echo "files for GitHub and GitLab: as their schemas say"
