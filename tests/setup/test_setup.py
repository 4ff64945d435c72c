"""The set-up: which Python it takes, what it installs, and that the locks say one thing."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE_LOCKS = [
    path
    for path in sorted(ROOT.glob("containers/*/requirements.lock"))
    if path.parent.name != "scgpt"  # the package scgpt with the PyTorch of its time
]
BASELINES = {"harmony", "scanorama", "scvi"}  # and what they bring with them
CONFIG = ROOT / "nextflow.config"
LOCKS = [ROOT / "requirements.lock", *sorted(ROOT.glob("tools/*.lock")), *IMAGE_LOCKS]


@pytest.fixture(scope="module")
def installer():
    path = ROOT / "tools/install_nextflow.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- tools/find_python.sh

BROKEN = "#!/bin/sh\nexit 127\n"
WORKING = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'


def find_python(tmp_path, commands, **environment):
    """Run the finder where these commands (name: script), and no others, are to be found."""
    for name, script in commands.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    (tmp_path / "bin").mkdir(exist_ok=True)
    return subprocess.run(
        [shutil.which("bash"), ROOT / "tools/find_python.sh"],
        env={"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("commands", "chosen"),
    [
        ({"bin/python3.13": WORKING, "bin/python3.12": WORKING}, "bin/python3.13"),
        ({"bin/python3.13": BROKEN, "bin/python3.12": WORKING}, "bin/python3.12"),
        ({"bin/python3.13": BROKEN, "bin/python3": WORKING}, "bin/python3"),
        (
            {"bin/python3.13": BROKEN, ".pyenv/versions/3.13.0/bin/python3": WORKING},
            ".pyenv/versions/3.13.0/bin/python3",
        ),
    ],
    ids=["newest tested", "shim that does not start", "plain python3", "pyenv"],
)
def test_finder_takes_the_first_python_that_starts(tmp_path, commands, chosen):
    run = find_python(tmp_path, commands)
    assert (run.returncode, run.stdout) == (0, f"{tmp_path / chosen}\n")


@pytest.mark.parametrize("environment", [{}, {"PYTHON": "/no/such/python3"}])
def test_finder_says_in_one_line_that_there_is_none(tmp_path, environment):
    run = find_python(tmp_path, {"bin/python3": BROKEN}, **environment)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1


def test_a_python_asked_for_is_not_replaced_by_another(tmp_path):
    commands = {"bin/python3.13": WORKING, "bin/mine": BROKEN}
    assert find_python(tmp_path, commands, PYTHON="mine").returncode == 1
    run = find_python(tmp_path, {**commands, "bin/mine": WORKING}, PYTHON="mine")
    assert run.stdout == f"{tmp_path / 'bin/mine'}\n"


# --- tools/install_nextflow.py


def test_altered_missing_and_unknown_jars_are_refused(installer, tmp_path):
    lib = tmp_path / "lib"
    lib.mkdir()
    for name in ("a.jar", "b.jar"):
        (lib / name).write_text(name)
    hashes = tmp_path / "list.sha256"
    hashes.write_text("".join(f"{installer.sha256(j)}  {j.name}\n" for j in lib.iterdir()))
    installer.check_jars(lib, hashes)

    (lib / "a.jar").write_text("altered")
    (lib / "b.jar").rename(lib / "c.jar")
    with pytest.raises(ValueError, match=r"list\.sha256: a\.jar, b\.jar, c\.jar"):
        installer.check_jars(lib, hashes)


def test_the_newer_nextflow_needs_maven_and_a_network(installer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(installer.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit) as end:
        installer.fetch_newer_jars(tmp_path / "new")
    assert end.value.code == installer.NOT_TO_BE_HAD
    monkeypatch.setattr(installer.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(installer, "OFFLINE", tmp_path)
    with pytest.raises(SystemExit) as end:
        installer.fetch_newer_jars(tmp_path / "new")
    assert end.value.code == installer.NOT_TO_BE_HAD
    first, second = capsys.readouterr().out.splitlines()
    assert "no Maven (mvn)" in first and "not in the bundle" in second


def test_the_jars_of_both_are_listed_and_the_linter_is_of_the_parsers_version(installer):
    names = {
        version: {
            line.split()[1]
            for line in (ROOT / f"tools/nextflow-{version}.sha256").read_text().splitlines()
        }
        for version in (installer.NEXTFLOW, installer.NEWER)
    }
    assert f"nextflow-{installer.NEXTFLOW}.jar" in names[installer.NEXTFLOW]
    assert {"nextflow-25.04.4.jar", "nextflow-25.04.0.jar", "nf-lang-25.04.0.jar"} <= names[
        installer.NEWER
    ]


def test_installed_nextflow_is_the_listed_one_and_starts(installer):
    venv = ROOT / ".venv"
    if not venv.is_dir():
        pytest.skip("no .venv here: the tests run from another environment")
    installer.check_jars(venv / "share/nextflow/lib")
    run = subprocess.run(
        [venv / "bin/nextflow", "-v"],
        env={"PATH": os.defpath, "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
    )
    assert run.stdout.startswith(f"nextflow version {installer.NEXTFLOW}")


# --- locks


def locked(path):
    """Name to version, of each package in a lock."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_lock_has_a_hash_for_every_package_and_names_no_host(path):
    text = path.read_text()
    entries = re.split(r"\n(?=[a-z])", text)
    assert len(entries) == len(locked(path)) > 0
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|index-url|find-links|trusted-host", text)


@pytest.mark.parametrize("path", IMAGE_LOCKS, ids=lambda path: path.parent.name)
def test_images_hold_the_versions_that_the_tests_run_with(path):
    ours, image = locked(ROOT / "requirements.lock"), locked(path)
    assert image.keys() <= ours.keys() or path.parent.name in BASELINES
    assert {name: image[name] for name in image if name in ours}.items() <= ours.items()


def test_images_on_top_of_core_keep_its_packages():
    core = locked(ROOT / "containers/core/requirements.lock")
    for path in IMAGE_LOCKS:
        assert core.items() <= locked(path).items(), path


def test_images_are_built_with_the_uv_of_the_set_up():
    (lock,) = ROOT.glob("tools/uv-*.lock")
    files = [path.read_text() for path in ROOT.glob("containers/**/Containerfile")]
    files = [text for text in files if "requirements.lock" in text]
    assert len(files) == 3
    assert all(f"ARG UV_VERSION={locked(lock)['uv']}\n" in text for text in files)


# --- pyproject.toml

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_that_bin_imports_is_declared():
    extras = PROJECT["optional-dependencies"]
    ranges = PROJECT["dependencies"] + [r for n in extras if n != "dev" for r in extras[n]]
    declared = {normalised(re.match(r"[\w.-]+", r)[0]) for r in ranges}
    own = {path.stem for path in (ROOT / "bin").iterdir()}
    distributions = packages_distributions()
    for path in ROOT.glob("bin/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            optional = {"scgpt", "harmonypy", "scanorama", "scvi"}  # in images of their own
            for name in {n.split(".")[0] for n in names} - own - optional - sys.stdlib_module_names:
                found = {normalised(d) for d in distributions.get(name, [name])}
                assert found & declared, f"{path.relative_to(ROOT)} imports {name}"


def test_pipeline_and_project_have_one_version():
    manifest = re.search(r"manifest \{.*?\bversion\s*=\s*'([^']+)'", CONFIG.read_text(), re.DOTALL)
    assert manifest[1] == PROJECT["version"]
