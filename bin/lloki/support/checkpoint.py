"""The state of a training beside its output, for the same command, given again, to go on from."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from lloki import __version__
from lloki.support.checksum import sha256
from lloki.support.cli import Run


def identity(
    options: Mapping[str, object], left_out: Collection[str], files: Iterable[str | None], *more
) -> str:
    """What decides a training's result: its options but for some, contents of files, the code."""
    kept = {name: value for name, value in options.items() if name not in left_out}
    hashes = [sha256(path) if path else None for path in files]
    return json.dumps([kept, hashes, __version__, *more], sort_keys=True)


class Checkpoint:
    """One file, written whole or not at all, that says of which training it is.

    told: what `identity` gives. What is damaged, or of another training, is warned of.
    """

    def __init__(self, run: Run, path: str | Path, told: str) -> None:
        self.run, self.path, self.told = run, Path(path), told

    def restore(self) -> dict | None:
        """The state that is there, on the CPU; None without one of this very training."""
        import torch

        if not self.path.is_file():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            if saved["told"] == self.told:
                return saved
            self.run.warn(f"{self.path}: of other options or inputs, not resumed")
        except Exception:  # a damaged pickle may raise anything
            self.run.warn(f"{self.path}: damaged, or no checkpoint; not resumed")
        return None

    def save(self, state: Mapping[str, object]) -> None:
        """Write a state in place of the one before."""
        import torch

        with self.run.output(self.path) as temporary:
            torch.save({"told": self.told, **state}, temporary)

    def remove(self) -> None:
        """Take the state away: the training is done, or cannot go on."""
        self.path.unlink(missing_ok=True)
