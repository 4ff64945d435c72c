"""The processes as text: each has what it needs to run, retry, be stubbed and be understood."""

import csv
import json
import os
import re
import subprocess
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
# not those that a run in this folder leaves among its results
SCRIPTS = [ROOT / "main.nf"] + [
    path
    for room in "functions modules subworkflows".split()
    for path in (ROOT / room).rglob("*.nf")
]
SUBWORKFLOWS = sorted(ROOT.glob("subworkflows/*/main.nf"))
METHODS = baselines.methods()
PROGRAMS = [program for program in METHODS["program"] if program]
BASE, GPU, CONTAINERS, PUBLISHED = (
    (ROOT / "conf" / f"{name}.config").read_text()
    for name in ("base", "gpu", "containers", "modules")
)


PROFILES = "gpu slurm test test_full awsbatch googlebatch azurebatch k8s arrays".split()


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


def channels(text, where):
    """Channels of a process as main.nf declares them: (is a tuple, elements, name of the output).

    An element is (val or path, name or expression, options such as stageAs).
    """
    quoted = r"""'[^']*'|"[^"]*\""""
    one = re.compile(rf"\b(val|path)[ (]({quoted}|\w+)((?:, \w+: (?:{quoted}|\w+))*)")
    for line in filter(None, map(str.strip, section(text, where).splitlines())):
        elements = [
            (kind, name.strip("'\""), dict(re.findall(r", (\w+): ['\"]?([^'\",]+)", options)))
            for kind, name, options in one.findall(line)
        ]
        assert elements, line
        emitted = re.search(r"emit: (\w+)", line)
        yield line.startswith("tuple "), elements, emitted and emitted[1]


def described(channel, is_tuple):
    """Elements of a channel in meta.yml as (name, what is said of it)."""
    assert isinstance(channel, list) is is_tuple
    elements = channel if is_tuple else [channel]
    assert all(len(element) == 1 for element in elements)
    return [pair for element in elements for pair in element.items()]


def check_general_part(meta):
    """What nf-core's schemas of meta.yml demand, whatever is described."""
    assert meta["description"] and "authors" in meta and "maintainers" in meta
    assert len(set(meta["keywords"])) == len(meta["keywords"]) >= 3
    for tool in meta.get("tools", []):
        ((_, facts),) = tool.items()
        assert facts["description"] and facts["licence"] and {"homepage", "doi"} & set(facts)
        assert re.fullmatch(r"10\.\d{4,9}/[^,]+", facts.get("doi", "10.1000/none"))


@pytest.mark.parametrize("name", PROCESSES)
def test_its_meta_yml_is_what_main_nf_says(name):
    """By nf-core's schema: every channel with its elements, their types and patterns, in order."""
    folder, text = PROCESSES[name]
    alone = sum(one == folder for one, _ in PROCESSES.values()) == 1
    file = folder / ("meta.yml" if alone else f"{name.lower()}.meta.yml")
    meta = yaml.safe_load(file.read_text())
    assert set(meta) == set(
        "name description keywords tools input output authors maintainers".split()
    )
    assert meta["name"] == name.lower() and meta["tools"]
    check_general_part(meta)
    kinds = {"val": {"map", "string", "integer", "float", "boolean", "list"},
             "path": {"file", "directory"}}  # fmt: skip

    inputs = list(channels(text, "input"))
    assert len(inputs) == len(meta["input"])
    for (is_tuple, elements, _), channel in zip(inputs, meta["input"], strict=True):
        said = described(channel, is_tuple)
        assert [key for key, _ in said] == [name for _, name, _ in elements]
        for (kind, _, options), (key, facts) in zip(elements, said, strict=True):
            assert facts["type"] in kinds[kind] and facts["description"], key
            assert ("pattern" in facts) is (kind == "path"), key
            staged = options.get("name", options.get("stageAs", "*"))
            assert set(staged) & set("*?") or facts["pattern"] == staged, key

    outputs = list(channels(text, "output"))
    assert list(meta["output"]) == [emitted for _, _, emitted in outputs]
    for is_tuple, elements, emitted in outputs:
        (channel,) = meta["output"][emitted]
        said = described(channel, is_tuple)
        assert [key for key, _ in said] == [name for _, name, _ in elements]
        for (kind, expression, _), (key, facts) in zip(elements, said, strict=True):
            assert facts["type"] in kinds[kind] and facts["description"], key
            if kind == "path":
                assert facts["pattern"] == re.sub(r"\$\{[^}]*\}", "*", expression)
                made = re.search(rf"^ +mkdir {re.escape(expression)}$", section(text, "stub"), re.M)
                assert (facts["type"] == "directory") is bool(made), key


@pytest.mark.parametrize("file", SUBWORKFLOWS, ids=lambda file: file.parent.name)
def test_the_meta_yml_of_a_subworkflow_is_what_main_nf_says(file):
    text, meta = file.read_text(), yaml.safe_load((file.parent / "meta.yml").read_text())
    assert set(meta) == set(
        "name description keywords components input output authors maintainers".split()
    )
    check_general_part(meta)
    assert meta["name"] == file.parent.name
    included = re.findall(r"^include \{ (.*?) \} from '[./\w]+/main'$", text, re.M)
    names = {one.split(" as ")[0].strip().lower() for line in included for one in line.split(";")}
    assert meta["components"] == sorted(names)
    body = re.search(rf"^workflow {meta['name'].upper()} \{{\n(.*?)^\}}", text, re.M | re.S)[1]
    taken, _, emitted = (section(body, where) for where in ("take", "main", "emit"))
    for part, lines in (("input", taken), ("output", emitted)):
        declared = re.findall(r"^    (\w+)(?: = .*?)?(?: // (\[.*?\]))?", lines, re.M)
        assert [key for one in meta[part] for key in one] == [name for name, _ in declared]
        for one, (name, structure) in zip(meta[part], declared, strict=True):
            assert one[name]["type"] in {"file", "directory", "map"} and one[name]["description"]
            assert not structure or f"Structure: {structure}" in one[name]["description"]


@pytest.mark.parametrize(("program", "told"), [
    ("#!/usr/bin/env no-such-language\n", "no-such-language is not installed here"),
    ("#!/bin/sh\necho a >&2; echo 'baseline: a: too small' >&2; exit 2\n", "a: too small"),
    ("#!/bin/sh\nexit 137\n", None),  # out of memory: another try
])  # fmt: skip
def test_a_method_that_cannot_run_says_why_in_a_line(program, told, tmp_path):
    script = section(PROCESSES["BASELINE"][1], "script").strip().strip('"')
    script = script.replace("${method.program}", "./program").replace("${method.method}", "name")
    script = re.sub(r"(?<!\\)\$\{[^}]*\}", "", script).replace("\\$", "$").replace("\\\\\n", "\\\n")
    (tmp_path / "program").write_text(program)
    (tmp_path / "program").chmod(0o755)
    done = subprocess.run(["bash", "-ue", "-c", script], cwd=tmp_path, capture_output=True)
    assert done.returncode == (0 if told else 137), done.stderr
    # env quotes a name by the language of the machine
    reasons = [re.sub("[‘’']", "", p.read_text()) for p in tmp_path.glob("name.not_run.txt")]
    assert reasons == ([f"{told}\n"] if told else [])


def test_a_script_that_includes_others_is_included_by_one_script_alone():
    """The strict parser of Nextflow before 25.10.4 stops at any other."""
    includes = {
        script: {
            (script.parent / name).resolve().with_suffix(".nf")
            for name in re.findall(r"^include \{.*\} from '(.+)'", script.read_text(), re.M)
        }
        for script in SCRIPTS
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
    for path in SCRIPTS:
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
    listed = re.search(r"^params\.container_images = \[(.*)\]$", CONTAINERS, re.M)[1]
    images = set(re.findall(r"'(\w+)'", listed))
    assert set(re.findall(r"params\.container_images\.(\w+)", CONTAINERS)) <= images
    assert set(METHODS["environment"][METHODS["program"] != ""]) <= images
    assert "ext.images = params.container_images\n" in CONTAINERS
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
