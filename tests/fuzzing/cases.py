"""A case: one command on one spoilt file, in a process of its own, and the rules it has to keep."""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fuzzing import seeds
from fuzzing.mutations import mutate, mutate_folder

SECONDS = 60  # of the processor, so that other work on the machine does not count
MEMORY = 1 << 30  # bytes that a case may take beyond what is loaded before it
SLOW = {"benchmark": 0.1, "report": 0.3, "pretrain_scgpt": 0.3}  # how often, against the others


@dataclass
class Outcome:
    """What a command made of a spoilt file; `faults` is empty if it kept the rules."""

    case: int
    command: str
    file: str
    mutation: str
    code: int
    seconds: float
    peak_mb: float
    said: str
    faults: list[str] = field(default_factory=list)


class Fuzzer:
    """Seeds in a folder, and cases by number: the same number, the same case."""

    def __init__(self, folder: Path, seed: int, script: str | None, keep: Path | None) -> None:
        self.folder, self.seed, self.keep = folder, seed, keep
        self.commands = [c for c in seeds.COMMANDS if script in (None, c.script, c.name)]
        weights = np.array([SLOW.get(c.name, 1.0) for c in self.commands])
        self.weights = weights / weights.sum()
        self.whole = folder / "seeds"
        self.whole.mkdir()
        scripts = {command.script for command in self.commands}
        seeds.make(self.whole, forms_alone=scripts == {"prepare_slice"})
        _shorten(scripts)
        for command in self.commands:
            self._whole(command)

    def _whole(self, command: seeds.Command) -> None:
        """RuntimeError unless the command takes the whole files."""
        where = self.folder / "whole"
        shutil.copytree(self.whole, where, copy_function=os.link)
        (where / "out").mkdir()
        code, _ = _in_child(command, where)
        if code:
            raise RuntimeError(f"{command.name}: {(where / 'stderr').read_text()}")
        shutil.rmtree(where)

    def case(self, number: int) -> Outcome:
        """Spoil a file, run the command, look at what is left."""
        random = np.random.default_rng([self.seed, number])
        command = self.commands[random.choice(len(self.commands), p=self.weights)]
        name = command.files[random.integers(len(command.files))]
        where = self.folder / f"case{number}"
        shutil.copytree(self.whole, where, copy_function=os.link)
        (where / "out").mkdir()
        inside = sorted(path for path in (where / name).rglob("*") if path.is_file())
        if inside:
            spoilt = inside[random.integers(len(inside))]
            name = str(spoilt.relative_to(where))
        else:
            spoilt = where / name
        if inside and random.random() < 0.15:
            mutation = mutate_folder(spoilt, inside, random)
        else:
            spoilt.unlink()
            shutil.copyfile(self.whole / name, spoilt)
            mutation = mutate(spoilt, random)
        started = time.monotonic()
        code, peak = _in_child(command, where)
        said = (where / "stderr").read_text(errors="replace")
        outcome = Outcome(number, command.name, name, mutation, code,
                          time.monotonic() - started, peak, said[-600:])  # fmt: skip
        outcome.faults = _faults(outcome, command, where, said)
        if outcome.faults and self.keep:
            shutil.copytree(where, self.keep / f"case{number}", dirs_exist_ok=True)
        shutil.rmtree(where)
        return outcome


def _in_child(command: seeds.Command, where: Path) -> tuple[int, float]:
    """Exit code (negative: the signal) and peak memory (MB) of the command, within its limits."""
    child = os.fork()
    if not child:
        code = 1
        try:
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(where / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            limit = _data_bytes() + MEMORY
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            signal.alarm(10 * SECONDS)  # where it only waits
            os.chdir(where)
            command.run(where)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), used.ru_maxrss / 1e3


def _data_bytes() -> int:
    """Size of this process's data segment, as RLIMIT_DATA counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData"):
            return int(line.split()[1]) * 1024
    return 0


def _faults(outcome: Outcome, command: seeds.Command, where: Path, said: str) -> list[str]:
    """The rules that were broken."""
    faults = []
    if outcome.code in (-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL):
        faults.append(f"took more than {SECONDS} s")
    elif outcome.code not in (0, 2):
        faults.append(f"exit code {outcome.code}")
    if "Traceback" in said:
        faults.append("traceback")
    left = sorted(path.name for path in (where / "out").iterdir())
    if outcome.code == 2:
        lines = [line for line in said.splitlines() if ": warning: " not in line]
        if len(lines) != 1 or not lines[0].startswith(f"{command.name}: "):
            faults.append(f"{len(lines)} lines instead of one")
        if left:
            faults.append(f"left {', '.join(left)}")
    if outcome.code == 0 and command.output not in left:
        faults.append("no output")
    if any(name.startswith(".") for name in left):
        faults.append("left a temporary file")
    if list(where.rglob("EXECUTED")) or list(where.parent.glob("escape*")):
        faults.append("ran code or wrote outside")
    return faults


def _shorten(scripts: set[str]) -> None:
    """Load what every case needs once, and leave out what takes long and reads no file."""
    for script in scripts:
        importlib.import_module(script)
    if "integrate" not in scripts:
        return
    from lloki.integration import joined

    joined.umap = lambda embedding, seed: np.asarray(embedding, np.float32)[:, :2]
