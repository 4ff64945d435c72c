"""The command of a stage: outputs whole or not at all, one line for an error, the JSON."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from lloki import __version__
from lloki.support import cli
from lloki.support.checksum import sha256
from lloki.support.cli import Run, command
from lloki.support.errors import InputError

BIN = Path(cli.__file__).parents[2]
SCRIPTS = sorted(path for path in BIN.glob("*.py") if "lloki.support.cli" in path.read_text())
HEAVY = "numpy scipy pandas anndata torch sklearn numba matplotlib multiqc h5py umap ot".split()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help_and_version_import_nothing_heavy(script):
    program = f"""
import runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, {str(BIN)!r})
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""
    commands = [[]]
    if script.stem == "propagate":
        commands = [[], ["impute"], ["denoise"]]
    for before in commands:
        for option, words in (("--help", "Usage:"), ("--version", __version__)):
            if before and option == "--version":
                continue
            command = [sys.executable, "-c", program, str(script), *before, option]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert words in done.stdout and not done.stderr


def made(body, name="trial", **more):
    """A command with --output (and --number) that does `body(run, output, number)`."""

    @command(name, **more)
    @click.option("--output", required=True)
    @click.option("--number", type=int, default=3)
    def main(run, output, number):
        """Do a trial."""
        body(run, output, number)

    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


def writes(text="whole"):
    def body(run, output, number):
        with run.output(output) as temporary:
            temporary.write_text(text)

    return body


def fail(run, output, number):
    with run.output(output) as temporary:
        temporary.write_text("half")
        raise InputError("in.h5ad", "it is\nbroken", "mend it")


def test_an_input_error_is_one_line_and_exit_code_2(tmp_path):
    result = made(fail)("--output", tmp_path / "a.txt")
    assert result.exit_code == 2 and not result.stdout
    assert result.stderr == "trial: in.h5ad: it is broken; mend it\n"
    assert not list(tmp_path.iterdir())


def test_a_programmers_error_is_not_hidden(tmp_path):
    def wrong(run, output, number):
        with run.output(output) as temporary:
            temporary.write_text("half")
            raise KeyError("no such thing")

    result = made(wrong)("--output", tmp_path / "a.txt")
    assert isinstance(result.exception, KeyError)
    assert not list(tmp_path.iterdir())


def test_a_preset_sets_what_the_user_left_and_the_record_says_so(tmp_path):
    seen = []
    run = made(lambda run, output, number: seen.append(number), presets={"high": {"number": 9}})
    for options, expected in (([], 3), (["--preset", "high"], 9),
                              (["--preset", "high", "--number", 3], 3)):  # fmt: skip
        assert run("--output", tmp_path / "a.txt", *options).exit_code == 0
        assert seen.pop() == expected
        record = json.loads((tmp_path / "a.json").read_text())["parameters"]
        assert record["number"] == expected
        assert record["preset"] == ("high" if options else None)
    assert "high: --number 9" in " ".join(run("--help").stdout.split())
    assert run("--output", tmp_path / "a.txt", "--preset", "low").exit_code == 2


def test_a_failed_run_leaves_the_old_output_and_json(tmp_path):
    path = tmp_path / "a.graph.npz"
    assert made(writes())("--output", path).exit_code == 0
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert set(before) == {"a.graph.npz", "a.graph.json"}
    assert made(fail)("--output", path).exit_code == 2
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    made(writes("new"))("--output", path)
    assert path.read_text() == "new"


def test_folders_are_written_whole_too(tmp_path):
    def folder(names, error=None):
        def body(run, output, number):
            with run.output(output) as temporary:
                temporary.mkdir()
                for name in names:
                    (temporary / name).write_text(name)
                if error:
                    raise error

        return body

    path = tmp_path / "model"
    made(folder("ab"))("--output", path)
    assert {p.name for p in path.iterdir()} == {"a", "b"}
    result = made(folder("c", InputError("x", "y", "z")))("--output", path)
    assert result.exit_code == 2 and {p.name for p in path.iterdir()} == {"a", "b"}
    made(folder("c"))("--output", path)
    assert {p.name for p in path.iterdir()} == {"c"}
    assert {p.name for p in tmp_path.iterdir()} == {"model", "model.json"}
    result = made(writes())("--output", path)
    assert result.exit_code == 2 and "a folder of this name" in result.stderr
    (tmp_path / "file").touch()
    result = made(folder("a"))("--output", tmp_path / "file")
    assert result.exit_code == 2 and "a file of this name" in result.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"model", "model.json", "file"}


def test_the_work_does_not_start_without_a_place_for_the_output(tmp_path):
    def never(run, output, number):
        raise AssertionError("it started")

    result = made(never)("--output", tmp_path / "no" / "a.txt")
    assert result.exit_code == 2 and "folder does not exist; make it first" in result.stderr


def test_a_full_disk_is_the_users_to_mend(tmp_path):
    def full(run, output, number):
        with run.output(output) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    result = made(full)("--output", tmp_path / "a.txt")
    assert result.exit_code == cli.DISK_FULL and "a.txt: no space is left" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_suffix_of_the_temporary_file_is_kept(tmp_path):
    run = Run("trial", {"output": tmp_path / "a.npz"})
    with run.output(tmp_path / "a.npz") as temporary:
        assert temporary.suffix == ".npz" and temporary.parent == tmp_path
        np.savez(temporary, x=1)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_the_json_holds_figures_parameters_and_warnings(tmp_path):
    def body(run, output, number):
        run.warn("look here")
        run.report(
            cells=np.int64(7), share=np.float32(0.5), nothing=np.nan, far=float("inf"),
            one=np.array([4]), many=np.arange(3.0), path=Path("a/b"), flag=np.bool_(True),
            nested={"x": [np.nan, (1, np.float64(2))], 5: None},
        )  # fmt: skip
        writes()(run, output, number)

    result = made(body)("--output", tmp_path / "a.b.txt", "--number", 9)
    assert result.stderr == "trial: warning: look here\n"
    text = (tmp_path / "a.b.json").read_text()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert record["stage"] == "trial" and record["warnings"] == ["look here"]
    assert record["parameters"] == {"output": str(tmp_path / "a.b.txt"), "number": 9}
    want = {
        "cells": 7, "share": 0.5, "nothing": None, "far": None, "one": [4], "many": [0, 1, 2],
        "path": "a/b", "flag": True, "nested": {"x": [None, [1, 2]], "5": None},
    }  # fmt: skip
    assert {key: record[key] for key in want} == want
    assert record["seconds"] >= 0 and record["peak_memory_mb"] > 1
    assert record["versions"]["lloki"] == __version__
    assert record["versions"]["numpy"] == np.__version__


def test_hash_of_files_and_folders(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"one")
    assert sha256(tmp_path / "d" / "a") == hashlib.sha256(b"one").hexdigest()
    whole = sha256(tmp_path / "d")
    (tmp_path / "d" / "a").rename(tmp_path / "d" / "b")
    assert sha256(tmp_path / "d") != whole
    (tmp_path / "d" / "b").rename(tmp_path / "d" / "a")
    assert sha256(tmp_path / "d") == whole


def test_out_of_memory_is_for_another_try_with_more(tmp_path):
    def greedy(run, output, number):
        raise MemoryError

    result = made(greedy)("--output", tmp_path / "a.txt")
    assert (result.exit_code, result.stderr) == (137, "trial: out of memory; give it more\n")


def test_a_library_that_does_not_say_that_the_disk_is_full(tmp_path):
    def full(run, output, number):
        with run.output(output):
            raise RuntimeError("write failed: No space left on device (os error 28)")

    assert made(full)("--output", tmp_path / "a.txt").exit_code == cli.DISK_FULL
    assert not list(tmp_path.iterdir())
