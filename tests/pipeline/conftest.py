"""One run of the demo, shared by all tests of the pipeline."""

import pytest
from nextflow_run import nextflow


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The folder of a finished demo: its launch folder, with the results in `results`.

    Its name has a space and letters beyond ASCII: no path of a user may stop a run.
    """
    folder = tmp_path_factory.mktemp("demo") / "Gehirn, Größe 1"
    folder.mkdir()
    run = nextflow("-profile", "test", "--outdir", "results", cwd=folder)
    assert run.returncode == 0, run.stdout
    return folder
