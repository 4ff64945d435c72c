"""What a host of the project reads: the files for GitHub and GitLab, and nf-core's lint.

Against their full schemas they are checked by `make lint-nf-core`.
"""

import csv
import fnmatch
import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
GITHUB = {path.stem: yaml.safe_load(path.read_text()) for path in ROOT.glob(".github/workflows/*")}
GITLAB = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
NF_CORE = yaml.safe_load((ROOT / ".nf-core.yml").read_text())
with (ROOT / "containers/images.csv").open() as file:
    IMAGES = [row["image"] for row in csv.DictReader(file)]


def steps(job):
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_every_change_is_checked_on_both_hosts():
    on = GITHUB["checks"][True]  # YAML reads `on` so
    assert "pull_request" in on and on["push"]["branches"] == ["main"]
    assert ".ci/run" in steps(GITHUB["checks"]["jobs"]["checks"])
    assert GITLAB["checks"]["script"][-1] == ".ci/run"
    assert any("merge_request_event" in rule["if"] for rule in GITLAB["checks"]["rules"])


def test_a_tag_of_a_version_pushes_every_image_and_keeps_the_digests():
    (pattern,) = GITHUB["images"][True]["push"]["tags"]
    github = GITHUB["images"]["jobs"]["images"]
    assert fnmatch.fnmatch("0.1.0", pattern.replace("+", "")) and pattern.count("+") == 3
    gitlab = GITLAB["images"]
    for commands in (steps(github), "\n".join(gitlab["script"])):
        (pushed,) = re.findall(r'^make images ARGS="--push \S+ (.*)"$', commands, re.M)
        assert pushed.split() == IMAGES
        assert "pyproject.toml" in commands  # the tag is the version
    assert github["steps"][-1]["with"]["path"] == gitlab["artifacts"]["paths"][0]
    assert github["steps"][-1]["with"]["path"] == "containers/digests.csv"


def test_workflows_may_do_what_they_need_and_run_github_s_own_actions_alone():
    for name, workflow in GITHUB.items():
        packages = {"packages": "write"} if name == "images" else {}
        assert workflow["permissions"] == {"contents": "read"} | packages
        for job in workflow["jobs"].values():
            used = [step["uses"] for step in job["steps"] if "uses" in step]
            assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", one) for one in used)


def test_what_nf_core_lint_leaves_out_is_still_so_and_has_a_reason():
    lint = NF_CORE["lint"]
    assert not [path for path in lint["files_exist"] if (ROOT / path).exists()]
    assert all("{{" in (ROOT / path).read_text() for path in lint["template_strings"])
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    parameters = {
        n: p for group in schema["$defs"].values() for n, p in group["properties"].items()
    }
    defaults = [f"params.{n}" for n, p in parameters.items() if {"default", "options"} <= set(p)]
    *names, listed = lint["nextflow_config"]
    assert listed == {"config_defaults": defaults}
    assert {n.removeprefix("params.") for n in names if n.startswith("params.")} <= set(parameters)
    lines = (ROOT / ".nf-core.yml").read_text().split("\nlint:\n")[1].splitlines()
    for above, line in zip(["", *lines], lines, strict=False):
        if re.match(r"  (\w+: false|  - manifest|  - custom)", line):
            assert above.lstrip().startswith("#") or above.endswith(": false"), line


def test_nf_core_s_tools_are_those_that_the_file_is_written_for():
    lock = (ROOT / "tools/nf-core.lock").read_text()
    assert f"nf-core=={NF_CORE['nf_core_version']} \\\n" in lock
