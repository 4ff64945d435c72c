"""One run of the demo, shared by all tests of the pipeline."""

import pytest
from nextflow_run import nextflow


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The folder of a finished demo: its launch folder, with the results in `results`."""
    folder = tmp_path_factory.mktemp("demo")
    run = nextflow("-profile", "test", "--outdir", "results", cwd=folder)
    assert run.returncode == 0, run.stdout
    return folder
