"""What tasks are given and when they run again: images, devices, retries, options, the library."""

import json
import os
import re
import shutil
from collections import Counter

import anndata as ad
import pytest
from demo_slices import demo_slice
from nextflow_run import ENGINES, ROOT, nextflow, task_files, trace, write_workflow
from scgpt_checkpoint import write_checkpoint

from lloki.slices import detect

pytestmark = pytest.mark.pipeline
CODE = ("main.nf", "nextflow.config", "nextflow_schema.json", "modules", "functions",
        "subworkflows", "conf", "bin", "assets")  # fmt: skip
GPU = {"SCGPT_EMBED", "TRAIN_CAE", "INFER_CAE"}
BENCH = {"INTEGRATE", "COMPLETE", "BENCHMARK", "REPORT"}

# An engine that runs the command of a container on the spot.
ENGINE = """\
#!/bin/bash
[[ $1 == run ]] || exit 0
while [[ $1 != /bin/bash ]]; do shift; done
exec "$@"
"""


def statuses(folder):
    return Counter(row["status"] for row in trace(folder))


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory):
    """A stub run in containers on a GPU, of a copy of the pipeline on an untidy samplesheet."""
    folder = tmp_path_factory.mktemp("stubbed")
    project = folder / "project"
    project.mkdir()
    for name in CODE:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, project / name)
    engine = folder / "bin/docker"
    engine.parent.mkdir()
    engine.write_text(ENGINE)
    engine.chmod(0o755)

    (folder / "sheet").mkdir()
    demo = ROOT / "assets/demo"
    shutil.copy(demo / "starmap.h5ad", folder / "sheet/beside.h5ad")
    shutil.copy(demo / "osmfish.h5ad", folder / "below, launch.h5ad")
    for name in ("counts.csv", "cells.csv"):
        (folder / "sheet" / name).write_text("cell,a\n1,2\n")
    for name in ("cell_feature_matrix.h5", "cells.csv.gz", "cells.parquet", "morphology.ome.tif"):
        (folder / "sheet/xenium run").mkdir(exist_ok=True)
        (folder / "sheet/xenium run" / name).write_text("x")
    for name in ("region_0", "region_1"):
        (folder / "run" / name / "images").mkdir(parents=True)
        for table in ("cell_by_gene.csv", "cell_metadata.csv", "detected_transcripts.csv"):
            (folder / "run" / name / table).write_text(name)
    (folder / "sheet/samplesheet.csv").write_bytes(
        "\ufeffinput,technology,sample,panel,coordinates,spatial_unit_um,region,fov\r\n"
        "beside.h5ad,STARmap,a,,,,,\r\n"
        "\r\n"
        '"below, launch.h5ad", "osm FISH" ,b,"p 1",,0.5,,\r\n'
        "counts.csv,STARmap,c,,cells.csv,,,\r\n"
        "xenium run,Xenium,d,,,,,\r\n"
        "run,MERSCOPE,e,,,,region_1,1-3 7\r\n".encode()
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(engine.parent), prepend=":")

        def run(*arguments):
            finished = nextflow(
                "-profile", "test,docker,gpu", "-stub-run", "--outdir", "results",
                "--input", "sheet/samplesheet.csv", *arguments, cwd=folder, project=project,
            )  # fmt: skip
            assert finished.returncode == 0, finished.stdout
            return folder

        run()
        yield folder, project, run


def test_a_samplesheet_with_quotes_and_windows_line_ends_is_read(stubbed):
    names = {row["name"] for row in trace(stubbed[0]) if row["process"] == "PREPARE_SLICE"}
    assert names == {f"LLOKI:INPUTS:PREPARE_SLICE ({sample})" for sample in "abcde"}


def test_of_an_instruments_folder_the_few_files_that_are_read_are_staged(stubbed):
    staged = {
        re.search(r"PREPARE_SLICE \((\w)\)", text)[1]: set(re.findall(r" input/(\S+)$", text, re.M))
        for text in task_files(stubbed[0], ".command.run")["PREPARE_SLICE"]
    }
    assert staged["a"] == {"beside.h5ad"}
    assert staged["d"] == {"cell_feature_matrix.h5", "cells.csv.gz"}
    assert staged["e"] == {"cell_by_gene.csv", "cell_metadata.csv"}
    (text,) = (t for t in task_files(stubbed[0], ".command.run")["PREPARE_SLICE"] if "(e)" in t)
    assert "region_1/cell_by_gene.csv" in text and "region_0" not in text


def test_processes_run_in_their_images_and_gpus_go_to_those_that_use_them(stubbed):
    scripts = task_files(stubbed[0], ".command.run")
    assert {"PREPARE_SLICE", "BUILD_GRAPH_IMPUTED", "TRAIN_CAE", "REPORT"} <= set(scripts)
    assert {"METAGENES", "ANNOTATE", "CLUSTER", "DOMAINS", "COMPLETE"} <= set(scripts)  # unasked
    for process, texts in scripts.items():
        image = "torch" if process in GPU else "core"
        image = "bench" if process in BENCH else image
        for text in texts:
            assert f"nf-lloki-{image}:" in text, process
            assert ("--gpus all" in text) == (process in GPU), process


def test_a_second_run_repeats_nothing_and_a_change_of_the_library_repeats_all(stubbed):
    folder, project, run = stubbed
    tasks = len(trace(folder))
    run("-resume")
    assert statuses(folder) == {"CACHED": tasks}
    with (project / "bin/lloki/slices/genes.py").open("a") as library:
        library.write("\n# changed\n")
    run("-resume", "--save_intermediates")
    assert statuses(folder) == {"COMPLETED": tasks}
    for name in ("a.graph.npz", "a.imputed.graph.npz", "a.imputed.h5ad", "a.fp.h5ad"):
        assert (folder / "results/slices/a" / name).is_file()


def test_a_slice_more_is_told_with_what_it_costs(stubbed):
    folder, project, _ = stubbed
    sheet = (folder / "sheet/samplesheet.csv").read_bytes()
    shutil.copy(folder / "sheet/beside.h5ad", folder / "sheet/more.h5ad")
    (folder / "sheet/more.csv").write_bytes(sheet + b"more.h5ad,STARmap,f,p 2,,,,\r\n")
    run = nextflow("-profile", "test,docker,gpu", "-stub-run", "--outdir", "results", "-resume",
                   "--input", "sheet/more.csv", cwd=folder, project=project)  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert (
        "Of the slices new are f. Computed again is what sees all slices: the mosaic" in run.stdout
    )
    assert "--add_to results with the new ones alone" in run.stdout
    again = {row["name"] for row in trace(folder) if row["status"] == "COMPLETED"}
    assert "LLOKI:LLOKI_FP:FILL:IMPUTE (f)" in again
    assert "LLOKI:LLOKI_FP:FILL:IMPUTE (a)" not in again


def test_new_slices_are_mapped_onto_a_model_beside_its_own_or_alone(stubbed):
    folder, project, _ = stubbed
    (folder / "sheet/new.csv").write_text("sample,input,technology\nn,beside.h5ad,STARmap\n")

    def run(*arguments):
        return nextflow("-profile", "test,docker", "-stub-run", "--input", "sheet/new.csv",
                        *arguments, cwd=folder, project=project)  # fmt: skip

    held = {path.name for path in (folder / "results/slices").iterdir()}
    assert held >= set("abcde")
    for name, more, former in (("alone", ["--model", "results/model"], set()),
                               ("added", ["--add_to", "results"], held)):  # fmt: skip
        finished = run("--outdir", name, *more)
        assert finished.returncode == 0, finished.stdout
        tasks = Counter(row["process"] for row in trace(folder, name))
        assert tasks["FORMER_SLICE"] == len(former)
        assert tasks["MOSAIC_EMBED"] == tasks["INFER_CAE"] == tasks["GATHER_MODEL"] == 1
        assert "FIT_MOSAIC" not in tasks
        there = {path.parent.name for path in (folder / name).glob("slices/*/*.slice.h5ad")}
        assert there == {*former, "n"}
        joined = [
            text for text in task_files(folder, ".command.run")["INTEGRATE"] if "n.sl" in text
        ]
        names = {f"{sample}.slice.h5ad" for sample in former}
        assert any(all(name in text for name in names) for text in joined)
    assert any("adapt_from" in text for text in task_files(folder, ".command.run")["TRAIN_CAE"])

    (folder / "odd/model").mkdir(parents=True)
    (folder / "odd/model/model.json").write_text(
        '{"embedder": "scgpt", "references": [], "settings": {"neighbors": "30"}}'
    )
    sheet = ["--input", "sheet/samplesheet.csv"]
    for more, words in (
        (["--model", "results"], ["no model.json in it; give results/model"]),
        (["--add_to", "sheet"], ["no model in it; give the results"]),
        (["--model", "results/model", "--add_to", "results"], ["--model: given with --add_to"]),
        (["--model", "results/model", "--ablation"], ["--ablation: given with --model"]),
        (["--add_to", "results", "--outdir", "results"], ["it is the folder of --add_to"]),
        (["--add_to", "results", *sheet], ["column sample: 'a' is among the slices of --add_to"]),
        (["--model", "odd/model", "--embedder", "mosaic"],
         ["--neighbors 40: the model was made with 30", "--embedder mosaic: the model's is scgpt",
          "--scgpt_checkpoint: missing"]),
    ):  # fmt: skip
        refused = run("--outdir", "none", *more)
        assert refused.returncode != 0
        assert all(word in refused.stdout for word in words), refused.stdout


FLAKY = """\
process KILLED {
    label 'process_single'
    output: val true
    script: "[[ ${task.attempt} == 2 && ${task.memory.toGiga()} == 4 ]] || exit 137"
}
process FAULTY {
    label 'process_low'
    input: val go
    script: "echo 'stage: x.h5ad: it is wrong; mend it' >&2; exit 2"
}
workflow { FAULTY(KILLED()) }
"""


def test_a_killed_task_gets_more_memory_and_faulty_input_no_second_try(tmp_path):
    write_workflow(tmp_path, FLAKY)
    run = nextflow(cwd=tmp_path, project="main.nf")
    assert run.returncode != 0
    assert [(r["process"], r["exit"]) for r in trace(tmp_path)] == [
        ("KILLED", "137"), ("KILLED", "0"), ("FAULTY", "2")
    ]  # fmt: skip


SIZED = """\
include { memory_for } from '%s/functions/task'
process SIZED {
    label 'process_medium'
    memory { memory_for(slices, 1) * task.attempt }
    input: path slices
    output: stdout
    script: "echo ${task.cpus} CPUs ${task.time.toMinutes()} min ${task.memory.toMega()} MB"
}
workflow { SIZED(channel.of([file('a'), file('b')], file('a'))) | view }
"""


def sized(folder, *arguments, **how):
    """What two tasks of a slice each asked for, the smaller first: CPUs, minutes, MB."""
    write_workflow(folder, SIZED % ROOT)
    for name, megabytes in (("a", 2), ("b", 1 << 20)):  # sparse files: b is a terabyte
        with (folder / name).open("wb") as file:
            file.truncate(megabytes << 20)
    run = nextflow(*arguments, cwd=folder, project="main.nf", **how)
    assert run.returncode == 0, run.stdout
    lines = [line.split() for line in run.stdout.splitlines() if line.endswith("MB")]
    return sorted([int(words[4]), int(words[0]), int(words[2])] for words in lines)


def test_memory_goes_by_the_size_of_the_slices_and_ends_with_that_of_the_machine(tmp_path):
    small, large = sized(tmp_path)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    assert small[0] == 1024 + 50 * 2
    assert large[0] == pytest.approx(whole, rel=0.02)


def test_limits_from_the_command_line_hold(tmp_path):
    limits = ("--max_cpus", 1, "--max_memory", "1500.MB", "--max_time", "20.min")
    asked = sized(tmp_path, *limits, engine=ENGINES["25.04.4-strict"])
    assert asked == [[1024 + 50 * 2, 1, 20], [1500, 1, 20]]


SHEET = """\
sample,input,technology,organism,spatial_unit_um
osmfish,{0}/osmfish.h5ad,osmFISH,mouse,1.0
starmap_a,{0}/starmap_a.h5ad,STARmap,mouse,0.09
xenium,{0}/xenium,Xenium,mouse,
"""


def test_scgpt_a_slice_without_labels_and_options_of_all_kinds_reach_the_scripts(demo):
    """The demo's slices, the Xenium one without its table of labels: only that is new of it."""
    (demo / "sheet.csv").write_text(SHEET.format(ROOT / "assets/demo"))
    slices = [demo_slice(name) for name in ("reference", "xenium", "osmfish")]
    genes = {gene.upper() for data in slices for gene in data.var_names}
    run = nextflow(
        "-profile", "test", "-resume", "--outdir", "scgpt", "--input", "sheet.csv",
        "--scgpt_checkpoint", write_checkpoint(demo / "checkpoint", sorted(genes)),
        "--empty_cells", "zero", "--min_genes_share", 0.05, "--epochs", 1, "--lr", "1e-3",
        "--align_plain", "--umap", "false", "--max_cells", 300, "--ignore_label", "Other,It's new",
        "--cluster", "false", "--domains", "false", "--metagenes", "false", cwd=demo,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    status = {row["name"].split(":")[-1]: row["status"] for row in trace(demo, "scgpt")}
    assert status["DENOISE (starmap_a)"] == "CACHED" and status["DENOISE (xenium)"] == "COMPLETED"
    assert status["SCGPT_EMBED (starmap_a)"] == "COMPLETED"
    assert "MOSAIC_EMBED (starmap_a)" not in status

    def parameters(stage):
        return json.loads((demo / f"scgpt/pipeline_info/stages/{stage}.json").read_text())[
            "parameters"
        ]

    assert parameters("cae")["lr"] == 1e-3 and str(parameters("cae")["epochs"]) == "1"
    assert parameters("0.pairs")["plain"] is True
    assert parameters("integrated")["umap"] is False
    assert parameters("benchmark")["ignore_label"] == ["Other", "It's new"]
    record = json.loads((demo / "scgpt/run.json").read_text())
    assert any("checkpoint_sha256" in entry for entry in record["inputs"])
    whole = ad.read_h5ad(demo / "scgpt/integrated.h5ad", backed="r")
    assert whole.obsm["X_lloki_fp"].shape[1] == 64
    labels = whole.obs.groupby("sample", observed=True)["cell_type_coarse"].count()
    assert labels["xenium"] == 0 < labels["starmap_a"]
    assert whole.obs["cell_id"][whole.obs["sample"] == "xenium"].notna().all()


STAGED = """\
include { slice_files } from '%s/functions/slice_files'
workflow {
    channel.of('rooted', 'rootless', 'slide', 'several')
        .map { name -> [name, slice_files(file(name), null)] }
        .map { name, read -> "${name}: ${read.fault ?: read.files*.name.sort().join(' ')}" } | view
}
"""


def test_what_is_staged_of_a_folder_is_what_the_reader_takes(tmp_path):
    """The parts of detect.py: a SpatialData, with its root or without; one bundle in a folder."""
    for name in (
        "rooted/zarr.json", "rooted/tables/table/zarr.json", "rootless/tables/table/zarr.json",
        "slide/bundle/experiment.xenium", "slide/bundle/image.tif", "several/a/experiment.xenium",
        "several/b/cell_by_gene.csv",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    write_workflow(tmp_path, STAGED % ROOT)
    run = nextflow(cwd=tmp_path, project="main.nf")
    assert run.returncode == 0, run.stdout
    for line in ("rooted: tables zarr.json", "rootless: tables", "slide: experiment.xenium",
                 "several: empty, while input is a run of 2 regions"):  # fmt: skip
        assert line in run.stdout.splitlines(), run.stdout
    for name, forms in (("rooted", ["spatialdata"]), ("rootless", ["spatialdata"]), ("slide", [])):
        assert detect.detect(tmp_path / name) == forms
