"""The demo's slices as h5ad, which the benchmarks take."""

import atexit
import functools
import tempfile
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"


@functools.cache
def path(name: str) -> str:
    """Of a slice or the reference; what lies as the instrument's folder is written anew."""
    from lloki.slices import chosen, detect

    if not (DEMO / name).is_dir():
        return str(DEMO / f"{name}.h5ad")
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    data, _ = chosen.choose(detect.read(DEMO / name).data, DEMO / f"{name}_cells.csv")
    data.uns["technology"] = "Xenium"
    data.write_h5ad(f"{folder.name}/{name}.h5ad")
    return f"{folder.name}/{name}.h5ad"


def slices() -> list[str]:
    """The three slices."""
    return [path(name) for name in ("osmfish", "starmap", "xenium")]
