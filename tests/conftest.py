"""How tests are shared out to processes (`-n 2`): those of whole runs to one, others by file."""

import os

import pytest

# Two test processes share the cores, each with as many threads: threads that wait in a loop for one
# another take the cores from the other process, and tests that train took twice as long
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RUNS = ("tests/pipeline/", "tests/executors/")  # they share one run of the demo, and take longest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Long ones first, or one process would wait for the other at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(RUNS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out all tests of whole runs together, and others file by file, in that order."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "runs" if nodeid.startswith(RUNS) else nodeid.split("::")[0]

    config.option.loadscopereorder = False
    return ByFile(config, log)
