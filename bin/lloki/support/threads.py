"""Work spread over the processor's cores by threads: NumPy and SciPy let go of the interpreter."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import numpy as np  # noqa: F401 (its BLAS is looked for once)
from threadpoolctl import ThreadpoolController


def thread_count() -> int:
    """Threads to use: OMP_NUM_THREADS as for every other library here, else the cores allowed."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_libraries = functools.cache(ThreadpoolController)  # looking for them takes a millisecond


def one_blas_thread() -> AbstractContextManager:
    """Within it NumPy's products take one thread, so that many can be made side by side."""
    return _libraries().limit(limits=1, user_api="blas")


def parallel(function: Callable, items: Iterable) -> list:
    """The results of `function` for all items, in their order. The first error is raised."""
    items = list(items)
    if thread_count() == 1 or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(thread_count()) as pool:
        return list(pool.map(function, items))
