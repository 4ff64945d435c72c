"""What every script shares: the command, common options, outputs, the JSON."""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import json
import math
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import click

from lloki import __version__
from lloki.support.errors import DISK_FULL, OUT_OF_MEMORY, DiskFullError, InputError
from lloki.support.progress import Progress

REPORTED_PACKAGES = {  # and the name of the module that each brings
    "anndata": "anndata", "numpy": "numpy", "scipy": "scipy", "scikit-learn": "sklearn",
    "torch": "torch", "pynndescent": "pynndescent", "umap-learn": "umap",
    "scib-metrics": "scib_metrics", "jax": "jax", "matplotlib": "matplotlib",
    "harmonypy": "harmonypy", "scanorama": "scanorama", "scvi-tools": "scvi",
}  # fmt: skip


class Run:
    """One run of a stage: gathers figures and warnings, writes outputs whole or not at all."""

    def __init__(self, stage: str, options: dict) -> None:
        self.stage = stage
        self.options = options
        self.figures: dict = {}
        self.warnings: list[str] = []
        self._start = time.perf_counter()

    def warn(self, message: str) -> None:
        """Show a warning now and keep it for the report."""
        self.warnings.append(message)
        click.echo(f"{self.stage}: warning: {message}", err=True)

    def report(self, **figures: object) -> None:
        """Keep figures for the stage's JSON."""
        self.figures.update(figures)

    def progress(self, total: int, label: str) -> Progress:
        """Progress over `total` steps, on standard error and in the run's progress.log."""
        output = Path(self.options.get("output") or "").name.split(".")[0]
        return Progress(total, f"{self.stage}: {label}", f"{self.stage} {output}: {label}")

    @contextlib.contextmanager
    def output(self, path: str | Path) -> Iterator[Path]:
        """Give a temporary path beside `path` (a file, or a folder to make), renamed at the end.

        When the block fails, the temporary file or folder is removed and `path` stays as it was.
        The suffix is kept, since writers such as NumPy's add their own when it is missing.
        InputError where `path` cannot be written.
        """
        path = Path(path)
        check_folder(path)
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        hooks = sys.unraisablehook, sys.excepthook
        # On a full disk HDF5 prints a traceback for each object that it cannot let go of.
        sys.unraisablehook = sys.excepthook = lambda *_: None
        try:
            yield temporary
            if path.exists() and path.is_dir() != temporary.is_dir():
                kind = "folder" if path.is_dir() else "file"
                raise InputError(path, f"there is a {kind} of this name", "name another output")
            if path.is_dir():
                shutil.rmtree(path)
            os.replace(temporary, path)
        except Exception as error:
            if _is_full(error, path.parent):
                raise DiskFullError(path) from None
            if not isinstance(error, OSError):
                raise
            reason = error.strerror or error
            raise InputError(path, f"cannot be written ({reason})", "mend that") from None
        finally:
            sys.unraisablehook, sys.excepthook = hooks
            if temporary.is_dir():
                shutil.rmtree(temporary)
            temporary.unlink(missing_ok=True)

    @staticmethod
    def write_table(path: Path, rows: Sequence[dict]) -> None:
        """Rows of equal keys as a CSV, numbers with six decimals at most."""
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(
                {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}
                for row in rows
            )

    def write_json(self) -> None:
        """Write the stage's JSON beside its output: `a.graph.npz` has `a.graph.json`."""
        output = Path(self.options["output"])
        record = {
            "stage": self.stage,
            **self.figures,
            "parameters": self.options,
            "warnings": self.warnings,
            "seconds": round(time.perf_counter() - self._start, 3),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "versions": {"lloki": __version__, **package_versions()},
        }
        stem = output if output.is_dir() else output.with_suffix("")
        with self.output(stem.with_name(stem.name + ".json")) as temporary:
            temporary.write_text(json.dumps(plain(record), indent=2, allow_nan=False) + "\n")


seed_option = click.option("--seed", type=int, default=0, help="Of every random choice.")


def device_choice(auto: str) -> Callable:
    """The option --device, and what its default means."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        help=f"Where to compute; auto: {auto}.",
    )


device_option = device_choice("on a GPU if there is one")
fault_option = click.option(
    "--record-fault", is_flag=True,
    help="A faulty input is a line of the JSON, not an end with 2: so all faults are told at once.",
)  # fmt: skip
slice_option = click.option("--input", required=True, help="The slice: SAMPLE.slice.h5ad.")
slices_option = click.option(
    "--slice", required=True, multiple=True, help="SAMPLE.slice.h5ad of each input; repeatable."
)  # fmt: skip


def command(name: str, help: str | None = None, presets: dict[str, dict] | None = None) -> Callable:
    """Make a function `f(run, **options)` the command of a stage.

    The function raises InputError for what a user can mend: one line on standard error, exit
    code 2 (with `fault_option`: `fault` of the stage's JSON, and 0). After it returns, the stage's
    JSON is written beside `--output`. `presets` gives
    `--preset NAME`: other defaults for some options, by name; what the user sets himself holds.
    """

    def decorate(function: Callable) -> click.Command:
        if presets:
            choice = click.Choice(sorted(presets))
            option = click.Option(["--preset"], type=choice, help=_preset_help(presets))
            function.__click_params__.insert(0, option)  # Click turns the list round

        @click.command(
            name,
            help=help or function.__doc__,
            context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
        )
        @click.version_option(__version__, prog_name=name)
        @functools.wraps(function)
        def run_stage(**options: object) -> None:
            run = Run(name, options)
            if presets:
                _apply(presets.get(options["preset"], {}), options)
                options = {key: value for key, value in options.items() if key != "preset"}
            try:
                check_folder(options["output"])  # before the work, not after it
                function(run, **options)
                run.write_json()
            except DiskFullError as error:
                click.echo(f"{name}: {error}: no space is left on the disk; free some, or work "
                           "elsewhere (-work-dir)", err=True)  # fmt: skip
                _leave(DISK_FULL)
            except MemoryError:
                click.echo(f"{name}: out of memory; give it more", err=True)
                sys.exit(OUT_OF_MEMORY)
            except InputError as error:
                line = " ".join(str(error).split())
                click.echo(f"{name}: {line}", err=True)
                if not options.get("record_fault"):
                    sys.exit(2)
                run.report(fault=line)
                run.write_json()

        return run_stage

    return decorate


def _leave(code: int) -> None:
    """End the program, at once where HDF5 still holds a file that it could not write.

    It would try again while Python tidies up, and crash.
    """
    import h5py

    if h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _preset_help(presets: dict[str, dict]) -> str:
    texts = []
    for name, preset in sorted(presets.items()):
        options = (f"--{key.replace('_', '-')} {value}" for key, value in preset.items())
        texts.append(f"{name}: {' '.join(options)}")
    return f"Other defaults ({'; '.join(texts)})."


def _apply(preset: dict, options: dict) -> None:
    """Put a preset's values in place of the options that the user left at their defaults."""
    source = click.get_current_context().get_parameter_source
    options.update(
        {k: v for k, v in preset.items() if source(k) is click.core.ParameterSource.DEFAULT}
    )


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether an error in writing came of a full disk; some libraries do not say so."""
    if isinstance(error, InputError):
        return False
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left" in str(error) or shutil.disk_usage(folder).free < 1 << 12


def check_folder(output: str | Path) -> None:
    """InputError if the folder that `output` goes to is not there."""
    folder = Path(output).parent
    if not folder.is_dir():
        raise InputError(folder, "the output's folder does not exist", "make it first")


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MB (Linux counts kB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide a result and that this run has loaded."""
    loaded = {name.split(".")[0] for name in sys.modules}
    return {p: metadata.version(p) for p, m in REPORTED_PACKAGES.items() if m in loaded}


def plain(value: object) -> object:
    """A value as JSON can hold it; None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # arrays, and NumPy's numbers too
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
