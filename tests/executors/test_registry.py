"""An image is pushed to a registry, and the demo's first stage runs in it, pulled by its digest.

Runs where REGISTRY=yes is set, with podman and Debian's docker-registry: `make test-containers`.
"""

import csv
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from nextflow_run import ROOT, nextflow, trace

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif("REGISTRY" not in os.environ, reason="pushes images: REGISTRY=yes"),
]
FIRST_STAGE = """\
include { PREPARE_SLICE } from './modules/prepare_slice/main'
include { settings } from './functions/parameters'
include { read_samplesheet } from './functions/samplesheet'

workflow {
    samples = channel.fromList(read_samplesheet(file(params.input), params.reference))
    PREPARE_SLICE(samples.map { row -> row.take(4) }, settings('prepare_slice'))
}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Address of an empty registry on this machine, which podman takes images from without TLS.

    Podman keeps what it pulls in a store of its own: nothing of it is there before.
    """
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/images}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    (folder / "registries.conf").write_text(
        f'[[registry]]\nlocation = "{address}"\ninsecure = true\n'
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n'
    )
    with (
        subprocess.Popen(
            ["docker-registry", "serve", folder / "registry.yml"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as server,
        pytest.MonkeyPatch.context() as patch,
    ):  # fmt: skip
        patch.setenv("CONTAINERS_REGISTRIES_CONF", str(folder / "registries.conf"))
        for _ in range(50):
            try:
                urllib.request.urlopen(f"http://{address}/v2/").close()
                break
            except OSError:
                time.sleep(0.1)
        yield address, folder
        server.terminate()
    store = {**os.environ, "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf")}
    subprocess.run(["podman", "rmi", "--all", "--force"], env=store, stdout=subprocess.DEVNULL)
    subprocess.run(["umount", folder / "store/overlay"], stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def pushed(registry):
    """The table of digests, after the image core was built and pushed."""
    address, folder = registry
    table = folder / "digests.csv"
    environment = {**os.environ, "ENGINE": "podman", "DIGESTS": str(table)}
    subprocess.run(
        [ROOT / "tools/images.sh", "--stand-in", "--push", f"{address}/lloki", "core"],
        env=environment, check=True,
    )  # fmt: skip
    return table


@pytest.fixture
def first_stage(tmp_path, registry, monkeypatch):
    """The pipeline as far as its first stage, with podman's other store."""
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(registry[1] / "storage.conf"))
    project = tmp_path / "project"
    for name in "assets bin conf functions modules".split():
        shutil.copytree(ROOT / name, project / name)
    for name in ("nextflow.config", "nextflow_schema.json"):
        shutil.copy(ROOT / name, project)
    (project / "main.nf").write_text(FIRST_STAGE)

    def run(table: Path):
        return nextflow(
            "-profile", "test,podman", "--container_registry", f"{registry[0]}/lloki",
            "--container_digests", table, "--outdir", "results", cwd=tmp_path, project=project,
        )  # fmt: skip

    return run


def test_the_table_says_what_lies_in_the_registry(registry, pushed):
    address, _ = registry
    with pushed.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["image"], row["registry"]) == ("core", f"{address}/lloki")
    request = urllib.request.Request(
        f"http://{address}/v2/lloki/nf-lloki-core/manifests/{row['version']}",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json, "
                           "application/vnd.docker.distribution.manifest.v2+json"},
    )  # fmt: skip
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Docker-Content-Digest"] == row["digest"]


def test_the_first_stage_runs_in_the_image_of_that_digest(pushed, first_stage, tmp_path):
    run = first_stage(pushed)
    assert run.returncode == 0, run.stdout
    digest = pushed.read_text().strip().rsplit(",", 1)[1]
    scripts = [path.read_text() for path in tmp_path.glob("work/*/*/.command.run")]
    assert len(scripts) == 4
    assert all(f"/lloki/nf-lloki-core@{digest}" in text for text in scripts)
    assert {row["exit"] for row in trace(tmp_path)} == {"0"}
    assert len(list(tmp_path.glob("results/slices/*/*.slice.h5ad"))) == 4


def test_an_image_of_another_digest_is_not_taken(pushed, first_stage, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(pushed.read_text()[:-8] + "0000000\n")
    run = first_stage(other)
    assert run.returncode != 0 and "manifest unknown" in run.stdout, run.stdout
