"""The profiles as Nextflow resolves them: the pipeline's own, and those of an institution."""

import csv
import os
import re
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from nextflow_run import ENGINES, FLOOR, ROOT, nextflow, program, search_path

pytestmark = pytest.mark.pipeline
CONFIG = (ROOT / "nextflow.config").read_text()

# As nf-core's own collection has it: every profile in a file of its own, found from the same place.
COLLECTION = """\
profiles {
    the_site {
        includeConfig "${params.custom_config_base}/conf/the_site.config"
    }
}
"""
SITE = """\
params {
    config_profile_description = 'The cluster of the site'
    config_profile_contact     = 'The site'
    config_profile_url         = 'https://site.example'
    max_cpus                   = 3
    max_memory                 = 370.GB
    igenomes_base              = '/genomes' // for other pipelines
}
process {
    executor = 'slurm'
    queue    = 'long'
}
singularity.enabled = true
"""


def resolved(profile, cwd, project=ROOT, engine=FLOOR):
    """The configuration of a profile, as flat lines."""
    return subprocess.run(
        [program(engine.version), "config", str(project), "-flat", "-profile", profile],
        cwd=cwd, env={**os.environ, "PATH": search_path(), **engine.environment},
        text=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def institution(tmp_path_factory):
    """A folder with the profile `the_site`."""
    folder = tmp_path_factory.mktemp("the institution")
    (folder / "conf").mkdir()
    (folder / "nfcore_custom.config").write_text(COLLECTION)
    (folder / "conf/the_site.config").write_text(SITE)
    return folder


@pytest.mark.parametrize(
    ("profile", "executor"),
    [("awsbatch", "awsbatch"), ("googlebatch", "google-batch"), ("azurebatch", "azurebatch"),
     ("k8s", "k8s"), ("slurm", "slurm")],
)  # fmt: skip
def test_an_executor_with_gpus(profile, executor, tmp_path):
    run = resolved(f"{profile},gpu", tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"process.executor = '{executor}'" in run.stdout
    assert "process.'withLabel:process_gpu'.accelerator = 1" in run.stdout
    # that is the executor's affair
    assert "process.'withLabel:process_gpu'.maxForks = 0" in run.stdout
    assert "params.device = 'cuda'" in run.stdout
    assert "process.errorStrategy" in run.stdout
    assert "process.'withLabel:process_medium'.time" in run.stdout
    assert "nf-lloki-torch:0.1.0" in run.stdout and "nf-lloki-bench:0.1.0" in run.stdout


@pytest.fixture(params=["24.10.5", "25.04.4-strict"])
def with_parameter(request, tmp_path):
    """Resolves a profile with parameters set.

    They stand in a copy of the configuration: `nextflow config` takes none.
    """

    def run(profile, **parameters):
        text = CONFIG
        for name, value in parameters.items():
            text, count = re.subn(rf"^( +{name} +=) .*$", rf"\1 '{value}'", text, flags=re.M)
            assert count == 1
        (tmp_path / "nextflow.config").write_text(text)
        for name in ("conf", "main.nf"):
            (tmp_path / name).symlink_to(ROOT / name)
        done = resolved(profile, tmp_path, tmp_path, ENGINES[request.param])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    return run


def test_the_profile_of_an_institution(with_parameter, institution):
    assert {
        "process.executor = 'slurm'", "process.queue = 'long'", "params.max_cpus = 3",
        "singularity.enabled = true", "params.cell_type_key = 'cell_type_coarse'",
    } <= set(with_parameter("test,the_site", custom_config_base=institution))  # fmt: skip


def test_images_by_digest(with_parameter, tmp_path):
    table = tmp_path / "digests.csv"
    rows = [f"{name},ghcr.io/you,0.1.0,sha256:{name}\n" for name in ("bench", "core", "torch")]
    table.write_text("image,registry,version,digest\n" + "".join(rows))
    lines = with_parameter(
        "test", container_digests=table, container_registry="ghcr.io/you", backend="reference"
    )
    image = "container = 'ghcr.io/you/nf-lloki"
    assert f"process.{image}-core@sha256:core'" in lines
    assert any(
        line.endswith(f"TRAIN_CAE|INFER_CAE|CAE_VARIANT'.{image}-torch@sha256:torch'")
        for line in lines
    )
    assert (
        f"process.'withName:INTEGRATE|COMPLETE|BENCHMARK|REPORT'.{image}-bench@sha256:bench'"
        in lines
    )
    # what the table has not is no image that could be had
    missing = f"sha256:none-of-scgpt-in-{table}"
    assert f"process.'withName:SCGPT_EMBED'.{image}-scgpt@{missing}'" in lines


def test_the_pipeline_starts_with_an_institution_at_an_address(institution, tmp_path):
    """What such profiles set about themselves, and for other pipelines, is no fault."""
    handler = partial(SimpleHTTPRequestHandler, directory=institution)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = nextflow(
            "-preview", "-profile", "test,the_site", "--custom_config_base",
            f"http://127.0.0.1:{server.server_port}", cwd=tmp_path,
        )  # fmt: skip
        server.shutdown()
    assert run.returncode == 0, run.stdout


def test_what_the_user_wrote_is_a_fault_with_an_institution_too(institution, tmp_path):
    run = nextflow(
        "-preview", "-profile", "test,the_site", "--custom_config_base", institution,
        "--neighbours", 20, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode != 0
    assert "a fault in the parameters" in run.stdout and "--igenomes_base" not in run.stdout
    assert "--neighbours: no such parameter; did you mean --neighbors?" in run.stdout


def test_no_institution_is_asked_unless_given(tmp_path):
    run = resolved("test,the_site", tmp_path)
    assert run.returncode != 0
    assert "Unknown configuration profile: 'the_site'" in run.stdout + run.stderr
    run = resolved("test", tmp_path)
    assert "params.custom_config_base = null" in run.stdout.splitlines()
    # the only line that could fetch anything
    assert re.findall(r"https?://(?!doi\.org)\S+/", CONFIG) == [
        "https://raw.githubusercontent.com/nf-core/configs/"
    ]


def test_an_institution_that_is_not_there_is_named(tmp_path):
    run = nextflow(
        "-preview", "-profile", "test", "--custom_config_base", tmp_path / "none", cwd=tmp_path
    )
    assert run.returncode != 0
    assert f"does not exist: {tmp_path}/none/nfcore_custom.config" in run.stdout


def test_the_full_test_takes_its_slices_from_the_launch_folder(tmp_path):
    with (ROOT / "assets/test_full/samplesheet.csv").open() as file:
        rows = list(csv.DictReader(file))
    paths = {path for row in rows for path in (row["input"], row["reference"])}
    assert len(rows) == 5 and len(paths) == 6
    run = nextflow("-preview", "-profile", "test_full", cwd=tmp_path)
    assert run.returncode != 0 and "no task was started" in run.stdout
    for path in paths:
        assert f"'{path}' does not exist" in run.stdout
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    run = nextflow("-preview", "-profile", "test_full", cwd=tmp_path)
    assert run.returncode == 0, run.stdout


def test_the_manifest_is_whole_and_24_10_knows_all_of_it(tmp_path):
    run = resolved("test", tmp_path)
    manifest = dict(re.findall(r"^manifest\.(\w+) = (.*)$", run.stdout, re.M))
    assert re.fullmatch(r"'[\w-]+/[\w-]+'", manifest["name"])
    doi = manifest["doi"].strip("'")
    assert manifest["homePage"] == f"'https://doi.org/{doi}'"
    assert doi in (ROOT / "CITATIONS.md").read_text()
    assert manifest["license"] == "'MIT'" and "nf-lloki contributors" in manifest["contributors"]
    assert (ROOT / manifest["icon"].strip("'")).is_file()
    (tmp_path / "main.nf").write_text("workflow { assert workflow.manifest.license == 'MIT' }\n")
    (tmp_path / "nextflow.config").write_text(CONFIG[CONFIG.index("manifest {") :])
    run = nextflow(cwd=tmp_path, project="main.nf")
    assert run.returncode == 0 and "Invalid" not in run.stdout, run.stdout
