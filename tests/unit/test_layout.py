"""The house: wings with a word on what they are for, tests that mirror them, nothing private lent.

Which wing may import which is for `make lint` (pyproject.toml, importlinter).
"""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "bin/lloki"
WINGS = sorted(path.parent for path in LIBRARY.glob("*/__init__.py"))
SOURCES = sorted([*LIBRARY.rglob("*.py"), *(ROOT / "bin").glob("*.py")])


def tree(path):
    return ast.parse(path.read_text())


def test_the_top_of_the_library_holds_wings_alone():
    files = {path.name for path in LIBRARY.iterdir() if path.is_file()}
    folders = {path for path in LIBRARY.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert files == {"__init__.py"} and folders == set(WINGS)


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: wing.name)
def test_a_wing_says_what_it_is_for_and_hands_nothing_on(wing):
    (said,) = tree(wing / "__init__.py").body
    assert len(said.value.value.splitlines()) >= 3
    named = [path.stem for path in wing.glob("*.py") if path.stem != "__init__"]
    assert [name for name in named if f"`{name}`" not in said.value.value] == []


def test_tests_stand_in_the_wing_of_what_they_test():
    folders = {path.name for path in (ROOT / "tests/unit").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} <= {wing.name for wing in WINGS}
    for path in (ROOT / "tests/unit").glob("*/test_*.py"):
        imported = {
            node.module for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)
        }
        assert any(f"lloki.{path.parent.name}" in str(module) for module in imported), path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "bin")))
def test_no_file_uses_what_is_private_to_another(path):
    modules = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [alias.name.split(".")[-1] for alias in node.names]
            private = [n for n in names if n.startswith("_") and not n.startswith("__")]
            ours = isinstance(node, ast.ImportFrom) and str(node.module).startswith("lloki")
            scripts = {source.stem for source in (ROOT / "bin").glob("*.py")}
            if ours or getattr(node, "module", None) in scripts:
                assert not private, private
                modules |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            lent = node.value.id in modules and node.attr.startswith("_")
            assert not lent or node.attr.startswith("__"), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda p: p.stem)
def test_benchmarks_name_what_the_library_has(path):
    """They are run by hand, so nothing else says that what they call has moved."""
    modules = {}
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("lloki"):
            continue
        for alias in node.names:
            whole = importlib.import_module(node.module)
            if not hasattr(whole, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")
            if inspect.ismodule(found := getattr(whole, alias.name)):
                modules[alias.asname or alias.name] = found
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = modules.get(node.value.id)
            assert owner is None or hasattr(owner, node.attr), f"{node.value.id}.{node.attr}"
