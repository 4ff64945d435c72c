"""Work spread over the processor's cores by threads: NumPy and SciPy let go of the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor


def thread_count() -> int:
    """Threads to use: OMP_NUM_THREADS as for every other library here, else the cores allowed."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel(function: Callable, items: Iterable) -> list:
    """The results of `function` for all items, in their order. The first error is raised."""
    items = list(items)
    if thread_count() == 1 or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(thread_count()) as pool:
        return list(pool.map(function, items))
