"""The processes as text: each has what it needs to run, retry, be stubbed and be understood."""

import csv
import json
import os
import re
import tomllib

import pytest
import yaml
from nextflow_run import ROOT

import lloki
from lloki.scores import baselines

MODULES = sorted(ROOT.glob("modules/*/main.nf"))
PROCESSES = {
    name: (module.parent, text)
    for module in MODULES
    for name, text in re.findall(r"^process (\w+) \{\n(.*?)^\}", module.read_text(), re.M | re.S)
}
METHODS = baselines.methods()
PROGRAMS = [program for program in METHODS["program"] if program]
BASE, GPU, CONTAINERS, PUBLISHED = (
    (ROOT / "conf" / f"{name}.config").read_text()
    for name in ("base", "gpu", "containers", "modules")
)


PROFILES = ("gpu", "slurm", "test", "awsbatch", "googlebatch", "azurebatch", "k8s")


def section(text, name):
    """The lines of a process under `name:`."""
    return re.search(rf"^    {name}:\n(.*?)(?=^    \w+:\n|\Z)", text, re.M | re.S)[1]


def selected(config):
    """Names in the withName selectors of a configuration."""
    selectors = re.findall(r"withName: '?([\w|]+)'?", config)
    return {name for selector in selectors for name in selector.split("|")}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_has_resources_a_stub_versions_and_its_library_in_its_hash(name):
    _, text = PROCESSES[name]
    labels = re.findall(r"label '(\w+)'", text)
    assert labels and all(f"withLabel: {label} " in BASE + GPU for label in labels)
    assert re.search(r"^    memory \{ .* \* task\.attempt \}$", text, re.M)
    assert "val settings" in section(text, "input")
    assert "${prologue(task.cpus, settings)}" in section(text, "script")
    assert "${settings.options}" in section(text, "script")
    assert "versions" in section(text, "stub") and "emit: versions" in section(text, "output")
    assert "    : ${settings.options} " in section(text, "stub")  # where tests see the options


@pytest.mark.parametrize("name", PROCESSES)
def test_the_script_of_a_process_can_be_started(name):
    (script,) = re.findall(r"^    (\w+\.py) ", section(PROCESSES[name][1], "script"), re.M)[:1] or [
        ""
    ]
    paths = [ROOT / "bin" / script] if script else [ROOT / "bin" / program for program in PROGRAMS]
    for path in paths:
        language = {".py": "python3", ".R": "Rscript"}[path.suffix]
        assert os.access(path, os.X_OK)
        assert path.read_text().startswith(f"#!/usr/bin/env {language}\n")


@pytest.mark.parametrize("name", PROCESSES)
def test_its_meta_yml_names_its_inputs_and_outputs(name):
    folder, text = PROCESSES[name]
    meta = yaml.safe_load((folder / "meta.yml").read_text())
    described = meta["processes"][name]
    inputs = re.findall(r"(?:val|path)[ (](\w+)", section(text, "input"))
    outputs = re.findall(r"emit: (\w+)", section(text, "output"))
    assert meta["name"] == folder.name and meta["description"]
    assert [key for entry in described["input"] for key in entry] == inputs
    assert [key for entry in described["output"] for key in entry] == outputs


def test_a_script_that_includes_others_is_included_by_one_script_alone():
    """The strict parser of Nextflow before 25.10.4 stops at any other."""
    scripts = [ROOT / "main.nf", *ROOT.glob("*/**/*.nf")]
    includes = {
        script: {
            (script.parent / name).resolve().with_suffix(".nf")
            for name in re.findall(r"^include \{.*\} from '(.+)'", script.read_text(), re.M)
        }
        for script in scripts if ".venv" not in script.parts
    }  # fmt: skip
    assert set().union(*includes.values()) <= set(includes)
    for script, others in includes.items():
        if others:
            owners = [owner.parent.name for owner, ones in includes.items() if script in ones]
            assert len(owners) == (script != ROOT / "main.nf"), (script, owners)


def test_a_parameter_that_is_no_text_is_read_as_what_its_schema_says():
    """By given() in scripts; a switch in the configuration from the text of false and 'false'."""
    groups = json.loads((ROOT / "nextflow_schema.json").read_text())["$defs"].values()
    kinds = {name: p["type"] for group in groups for name, p in group["properties"].items()}
    scripts = [ROOT / "main.nf", *ROOT.glob("functions/*.nf"), *ROOT.glob("*/*/main.nf")]
    for path in scripts:
        for name in re.findall(r"\bparams\.(\w+)\b(?! \{)", path.read_text()):
            assert kinds[name] == "string", f"{path}: {name}"
    for path in [ROOT / "nextflow.config", *ROOT.glob("conf/*.config")]:
        text = path.read_text()
        for name in [name for name, kind in kinds.items() if kind == "boolean"]:
            read = re.findall(rf'"\$\{{params\.{name}\}}"\.toBoolean\(\)', text)
            assert len(read) == len(re.findall(rf"\bparams\.{name}\b", text)), f"{path}: {name}"


def test_images_and_publishing_are_for_processes_that_exist():
    aliases = {"BUILD_GRAPH_IMPUTED"}
    assert selected(CONTAINERS) <= set(PROCESSES)
    assert selected(PUBLISHED) == set(PROCESSES) | aliases


def test_images_are_named_in_one_file_and_tagged_with_the_version():
    table = ROOT / "containers/images.csv"
    texts = [CONTAINERS, table.read_text()]
    texts += [p.read_text() for p in ROOT.glob("containers/**/Containerfile")]
    assert not any("latest" in text for text in texts)
    assert re.search(r"^    container = ", CONTAINERS, re.M), "an image for every process"
    images = set(re.findall(r"nf-lloki-(\w+):\$\{params.container_tag\}", CONTAINERS))
    images |= set(METHODS["environment"][METHODS["program"] != ""])
    assert "nf-lloki-*:${params.container_tag}" in CONTAINERS
    with table.open() as file:
        built = {row["image"]: row for row in csv.DictReader(file)}
    assert images == set(built) == {p.name for p in (ROOT / "containers").iterdir() if p.is_dir()}
    own = {p.parent.name for p in ROOT.glob("containers/*/Containerfile")}
    for image, row in built.items():
        assert (row["parent"] in built) is (image not in own)
    others = [*MODULES, ROOT / "main.nf", ROOT / "nextflow.config", *ROOT.glob("conf/*.config")]
    naming = [p for p in others if "nf-lloki-" in p.read_text()]
    assert naming == [ROOT / "conf/containers.config"]


def test_the_library_reads_nothing_beside_itself():
    """In a container there is bin, and what a task was given."""
    library = ROOT / "bin/lloki"
    assert not [
        p for p in library.rglob("*.py") if re.search(r"assets|parents\[[2-9]", p.read_text())
    ]


def test_all_say_the_same_version():
    config = (ROOT / "nextflow.config").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tag = re.search(r"container_tag\s+= '(.*)'", config)[1]
    manifest = re.search(r"^    version\s+= '(.*)'", config, re.M)
    assert {tag, lloki.__version__, project["version"]} == {manifest[1] if manifest else None}


def test_no_profile_repeats_a_selector_of_the_base():
    """Nextflow 24.10 would put the profile's selector in the place of the base's."""
    profiles = [ROOT / "conf" / f"{name}.config" for name in PROFILES]
    pattern = re.compile(r"with(?:Name|Label): '?([\w|]+)'?")
    base = set(pattern.findall(BASE + CONTAINERS + PUBLISHED))
    for profile in profiles:
        repeated = base & set(pattern.findall(profile.read_text()))
        assert repeated <= {"process_low"}, profile.name  # there, all of it is set again
