"""How far a long task is: on standard error, and in the run's progress.log."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from pathlib import Path

import click


class Progress:
    """A line that renews itself on a terminal; elsewhere a plain line at most every 10 s.

    In a task of Nextflow also a line of `progress.log` in its work folder, at the start, at the end
    and every 5 s at most between: by it a user sees what the tasks of a run are doing.
    """

    def __init__(self, total: int, label: str, log_label: str = "") -> None:
        self.total, self.label, self.done = total, label, 0
        self._log, self._log_label = progress_log(Path.cwd()), log_label or label
        self._terminal = sys.stderr.isatty()
        self._start = self._shown = time.monotonic()
        self._logged = self._start

    def __enter__(self) -> Progress:
        self._write("started")
        return self

    def __exit__(self, *error: object) -> None:
        if self._terminal:
            click.echo("", err=True)
        if self.done < self.total:  # what is repeated until it is good enough
            self._write(f"ended at {self.done}/{self.total}")

    def update(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more, and say so when the last line is old enough."""
        self.done += steps
        now = time.monotonic()
        left = (now - self._start) / max(self.done, 1) * (self.total - self.done)
        line = f"{self.done}/{self.total}, {left:.0f} s left {note}".rstrip()
        if now - self._logged >= 5 or self.done >= self.total:
            self._logged = now
            self._write(f"{100 * self.done // max(self.total, 1)} %, {line}")
        if now - self._shown < (0.1 if self._terminal else 10) and self.done < self.total:
            return
        if not self._terminal and now - self._start < 10:
            return
        self._shown = now
        line = f"{self.label} {line}"
        click.echo(f"\r{line}\033[K" if self._terminal else line, err=True, nl=not self._terminal)

    def _write(self, line: str) -> None:
        """Append a line to the log, if there is one: progress is never worth a failure."""
        if self._log:
            with contextlib.suppress(OSError), self._log.open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {self._log_label} {line}\n")


def progress_log(folder: Path) -> Path | None:
    """The progress.log of the work folder that a task's folder lies in; None of other folders.

    Nextflow names the folder of a task by its hash: `work/ab/30 hexadecimal digits`.
    """
    named = re.fullmatch("[0-9a-f]{2}/[0-9a-f]{30}", "/".join(folder.parts[-2:]))
    return folder.parents[1] / "progress.log" if named else None
