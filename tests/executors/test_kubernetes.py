"""What the profiles k8s and gpu ask of a cluster, read off a small API that runs the pods here."""

import os
from collections import defaultdict

import pytest
from executors.fake_kubernetes import Cluster
from nextflow_run import ROOT, nextflow, search_path, trace, write_workflow

pytestmark = pytest.mark.pipeline
PROCESSES = """\
process TRAIN_CAE {
    label 'process_medium'
    label 'process_gpu'
    memory { 3.GB * task.attempt }
    script: "[[ ${task.attempt} == 2 ]] || exit 137"
}
process INTEGRATE {
    label 'process_single'
    script: "true"
}
workflow { TRAIN_CAE(); INTEGRATE() }
"""


def test_pods_carry_gpu_memory_image_and_are_tried_again_with_more(tmp_path):
    with Cluster({**os.environ, "PATH": search_path()}) as cluster:
        write_workflow(
            tmp_path, PROCESSES, "params { container_registry = 'registry.example'\n"
            " container_tag = '0.1.0'\n container_digests = null\n"
            " gpu_container_options = null\n backend = null }\n"
            + "".join(f"includeConfig '{ROOT}/conf/{name}.config'\n"
                      for name in ("containers", "gpu", "k8s"))
            + f"""k8s {{
                client {{ server = '{cluster.address}'; token = 'none'; verifySsl = false }}
                namespace = 'lloki'
                storageClaimName = 'claim'
                storageMountPath = '{tmp_path}'
            }}
            executor {{ pollInterval = '1 sec' }}
            """,
        )  # fmt: skip
        run = nextflow(cwd=tmp_path, project="main.nf")
    assert run.returncode == 0, run.stdout
    assert [(r["name"], r["exit"]) for r in trace(tmp_path) if r["name"] == "TRAIN_CAE"] == [
        ("TRAIN_CAE", "137"), ("TRAIN_CAE", "0"),
    ]  # fmt: skip
    pods = defaultdict(list)
    for pod in cluster.pods:
        assert pod["metadata"]["namespace"] == "lloki"
        (container,) = pod["spec"]["containers"]
        (volume,) = pod["spec"]["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": "claim"}
        pods[container["image"]].append(container["resources"])
    trained, (integrated,) = (
        pods[f"registry.example/nf-lloki-{image}:0.1.0"] for image in ("torch", "bench")
    )
    assert [one["limits"]["nvidia.com/gpu"] for one in trained] == [1, 1]
    assert [one["limits"]["memory"] for one in trained] == ["3072Mi", "6144Mi"]
    assert [one["requests"]["cpu"] for one in trained] == [4, 4]
    assert "nvidia.com/gpu" not in integrated["limits"]
