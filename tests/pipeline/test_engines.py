"""Each Nextflow and parser that the pipeline runs on: every switch on and off, faults, the help."""

import json
import shlex
from pathlib import Path

import pytest
from nextflow_run import ENGINES, ROOT, nextflow, task_files, trace

from lloki.scores import baselines

pytestmark = pytest.mark.pipeline
SAMPLES = ("osmfish", "starmap_a", "starmap_b", "xenium")
GROUPS = json.loads((ROOT / "nextflow_schema.json").read_text())["$defs"].values()
SWITCHES = {
    name: property.get("options", {})
    for group in GROUPS for name, property in group["properties"].items()
    if property["type"] == "boolean" and name not in ("help", "version", "check", "overwrite")
}  # fmt: skip

# What a switch does that is no option of a script: the process that it starts.
STARTS = {
    "benchmark": "BASELINE",
    "ablation": "CAE_VARIANT",
    "benchmark_alignment": "BENCHMARK_ALIGNMENT",
    "pretrain_scgpt": "PRETRAIN_SCGPT",
    "viewer_files": "VIEWER_FILES",
    "annotate": "ANNOTATE",
    "metagenes": "METAGENES",
    "cluster": "CLUSTER",
    "domains": "DOMAINS",
}
ALWAYS = """
PREPARE_SLICE CHECK_REFERENCE CHECK_INPUTS
BUILD_GRAPH OT_SPARSITY IMPUTE BUILD_GRAPH_IMPUTED DENOISE FIT_MOSAIC MOSAIC_EMBED
TRAIN_CAE INFER_CAE GATHER_MODEL ALIGN_PLAN ALIGN_PAIRS ALIGN INTEGRATE NICHE_PROGRAM COMPLETE
BENCHMARK REPORT RUN_RECORD
""".split()

# An engine that has no image of Harmony; it runs the command of any other container on the spot.
DOCKER = """\
#!/bin/bash
[[ $1 == run ]] || exit 0
[[ "$*" != *nf-lloki-harmony:* ]] || { echo "no such image" >&2; exit 125; }
while [[ $1 != /bin/bash ]]; do shift; done
exec "$@"
"""


# Every engine with all switches on; with all off one of each parser, which is what reads `false`.
OFTEN = [("24.10.5", "true"), ("25.04.4-strict", "false")]
SELDOM = [("25.04.4", "true"), ("25.04.4-strict", "true"), ("24.10.5", "false")]
RUNS = [*OFTEN, *(pytest.param(run, marks=pytest.mark.long) for run in SELDOM)]


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: "-".join(run))
def switched(request, tmp_path_factory):
    """A stub run with every switch on, or off: its folder, and whether they are on."""
    engine, on = request.param
    folder = tmp_path_factory.mktemp("switched")
    docker = folder / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    switches = [text for name in SWITCHES for text in (f"--{name}", on)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(docker.parent), prepend=":")
        run = nextflow(
            "-profile", "test,docker", "-stub-run", "--outdir", "results", *switches,
            "--help", "false", "--version", "false", "--check", "false", "--overwrite", "false",
            cwd=folder, engine=ENGINES[engine],
        )  # fmt: skip
    assert run.returncode == 0, run.stdout
    return folder, on == "true"


def test_a_switch_is_given_to_the_scripts_whose_option_it_is(switched):
    folder, on = switched
    scripts = task_files(folder, ".command.sh")
    for name, options in SWITCHES.items():
        for stage, option in options.items():
            yes, _, no = option.partition("/")
            process = stage.upper()
            if process not in scripts and process in STARTS.values() and not on:
                continue
            for script in scripts[process]:
                (line,) = [line for line in script.splitlines() if line.startswith(": ")] or [":"]
                given = {yes, no} & set(shlex.split(line))
                assert given == ({yes} if on else {no} - {""}), name


def test_a_switch_starts_its_processes(switched):
    folder, on = switched
    names = [row["process"] for row in trace(folder)]
    for name, process in STARTS.items():
        assert (process in names) is on, name
    kept = {path.name for path in folder.glob("results/slices/*/*")}
    for sample in SAMPLES:
        for name in ("graph.npz", "imputed.h5ad", "imputed.graph.npz", "fp.h5ad"):
            assert (f"{sample}.{name}" in kept) is on, "save_intermediates"
    others = {name for name, options in SWITCHES.items() if not options}
    started = {name for name in STARTS if not SWITCHES[name]}
    assert others == {*started, "save_intermediates"}
    if not on:
        assert set(names) == set(ALWAYS)
        assert names.count("MOSAIC_EMBED") == len(SAMPLES)


def test_everything_published_is_in_the_index_and_the_other_way_round(switched):
    results = switched[0] / "results"
    rows = json.loads((results / "index.json").read_text())
    places = [Path(row["file"]).relative_to(results).as_posix() for row in rows]
    assert len(set(places)) == len(places)
    models = {place for place in places if (results / place).is_dir()}
    there = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    there = {place for place in there if place.split("/")[0] not in models} | models
    names = ("execution_report", "execution_timeline", "execution_trace_", "pipeline_dag_")
    started = tuple(f"pipeline_info/{name}" for name in names)
    unlisted = {"index.csv", "index.json", *(place for place in there if place.startswith(started))}
    assert there - unlisted == set(places)
    for row, place in zip(rows, places, strict=True):
        assert (row["slice"] is not None) is place.startswith(f"slices/{row['slice']}/")


def test_every_method_and_every_ablation_has_its_task(switched):
    folder, on = switched
    if not on:
        return  # test_a_switch_starts_its_processes: there are none
    rows = {row["name"].removeprefix("LLOKI:"): row for row in trace(folder)}
    for method, line in baselines.methods().iterrows():
        if line["program"]:
            code = rows[f"COMPARE:BASELINE ({method})"]["exit"]
            assert code == ("125" if line["environment"] == "harmony" else "0"), method
        if line["environment"] == "ablation":
            assert f"COMPARE:CAE_VARIANT ({method})" in rows
    assert "COMPARE:EXPORT_EMBEDDING (scgpt)" in rows
    staged = task_files(folder, ".command.run")["BASELINE"]
    (on_embedding,) = (text for text in staged if "BASELINE (mnn_fp)" in text)
    (on_panels,) = (text for text in staged if "BASELINE (imputed)" in text)
    (on_genes,) = (text for text in staged if "BASELINE (scvi)" in text)
    assert all(f"{sample}.fp.h5ad" in on_embedding for sample in SAMPLES)
    assert all(f"{sample}.slice.h5ad" in on_panels for sample in SAMPLES)
    assert "reference.h5ad" in on_panels and ".fp.h5ad" not in on_panels
    assert ".h5ad" not in on_genes
    variants = task_files(folder, ".command.sh")["CAE_VARIANT"]
    ablations = baselines.methods().query("environment == 'ablation'")
    for options in filter(None, ablations["options"]):
        assert len([script for script in variants if f" {options} " in script]) == 1
    (inputs,) = task_files(folder, ".command.run")["BENCHMARK"]
    assert "harmony.embedding.csv" not in inputs and "scvi.embedding.csv" in inputs
    assert "mosaic.not_run.txt" in inputs and "no_transport.embedding.csv" in inputs


def test_one_scgpt_trained_on_all_slices_embeds_what_there_is(switched):
    folder, on = switched
    if not on:
        return
    names = [row["process"] for row in trace(folder)]
    assert (names.count("PRETRAIN_SCGPT"), names.count("SCGPT_EMBED")) == (1, 3 * len(SAMPLES))
    assert not {"FIT_MOSAIC", "MOSAIC_EMBED"} & set(names)
    assert (folder / "results/scgpt/args.json").is_file()
    (inputs,) = task_files(folder, ".command.run")["PRETRAIN_SCGPT"]
    assert all(f"{sample}.slice.h5ad" in inputs for sample in SAMPLES) and "reference" in inputs


@pytest.fixture(scope="module", params=["24.10.5", "25.04.4-strict"])
def parser(request):
    """One engine of each parser."""
    return ENGINES[request.param]


def test_all_faults_of_a_samplesheet_are_listed_before_any_task(parser, tmp_path):
    (tmp_path / "sheet.csv").write_text(
        "sample,input,technology,organism,spatial_unit_um,region,fov,train\n"
        "a,none.h5ad,Xenium,mouse,1,,,\n"
        f"a,{ROOT}/assets/demo/xenium,Xenium,yeast,-1,,,\n"
        f"b,{ROOT}/assets/demo/osmfish.h5ad,,mouse,1,,,\n"
        "c,run,MERSCOPE,mouse,,,,\n"
        "d,run,MERSCOPE,mouse,,region_7,1-3,,4\n"
        "e,run,MERSCOPE,mouse,,region_7,one,\n"
        "f,run,MERSCOPE,mouse,,region_1,,\n"
        "g,run,MERSCOPE,mouse,,region_1,,\n"
        "h,nothing,Xenium,mouse,,,,\n"
        f"i,{ROOT}/assets/demo/starmap.h5ad,STARmap,mouse,,,,false\n"
    )
    for name in ("region_0", "region_1"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "cell_by_gene.csv").touch()
    (tmp_path / "nothing").mkdir()
    run = nextflow(
        "--input", "sheet.csv", "--reference", ROOT / "assets/demo/reference.h5ad",
        "--outdir", "results", cwd=tmp_path, engine=parser,
    )  # fmt: skip
    assert run.returncode != 0
    assert "'a' is the name of line 2 too" in run.stdout
    for words in (
        "none.h5ad", "yeast", "-1", "line 2", "line 3", "line 4", "technology", "sample",
        "line 5, column region: empty, while input is a run of 2 regions; name one of region_0, "
        "region_1", "line 6: 9 fields", "line 7, column fov: 'one'", "no folder 'region_7'",
        "line 9, column input: the same as of line 8", "line 10, column input: the folder holds no",
        "line 11, column train: false in all slices of STARmap",
    ):  # fmt: skip
        assert words in run.stdout, run.stdout
    assert "at nextflow." not in run.stdout and not list(tmp_path.glob("work/*/*/.command.sh"))


def test_a_samplesheet_of_semicolons_or_tabs_is_told_to_be_one(parser, tmp_path):
    for mark, name in (";", "semicolons"), ("\t", "tabs"):
        (tmp_path / "sheet.csv").write_text(mark.join(("sample", "input", "technology")) + "\n")
        run = nextflow("--input", "sheet.csv", "--outdir", "results", cwd=tmp_path, engine=parser)
        assert run.returncode != 0 and run.stdout.count("line 1") == 1
        assert f"its columns are separated by {name}; save it with commas" in run.stdout


def test_all_faults_of_the_parameters_are_listed_with_what_is_right(parser, tmp_path):
    run = nextflow(
        "-profile", "test", "--neighbours", 30, "--metric", "taxicab", "--n_pcs", 2.5, "--seed",
        "--umap", "maybe", "--report_title", "--max_cells", 99, "--pretrain_scgpt",
        "--scgpt_checkpoint", tmp_path, "--benchmark", "--baselines", "pca,harmonie",
        "--reference_labels", "cell_type",
        cwd=tmp_path, engine=parser,
    )  # fmt: skip
    assert run.returncode != 0
    for words in (
        "10 faults", "--neighbours: no such parameter; did you mean --neighbors?",
        "--metric taxicab: not one of cosine, euclidean", "--n_pcs 2.5: not a whole number",
        "--seed true: it needs a value", "--umap maybe: not true or false",
        "--report_title true: it needs a value", "--max_cells 99: less than 100",
        "--pretrain_scgpt: given with --scgpt_checkpoint",
        "--reference_labels: the embedder scgpt places no reference",
        "--baselines harmonie: no such method; there are pca", "did you mean harmony?",
    ):  # fmt: skip
        assert words in run.stdout, run.stdout
    assert not list(tmp_path.glob("work/*/*/.command.sh"))


def test_niches_without_labels_are_a_fault(tmp_path):
    run = nextflow("--input", "sheet.csv", "--reference", "r.h5ad", "--niche", "A:B", cwd=tmp_path)
    assert run.returncode != 0
    assert "--niche: it needs kinds of cells; give --cell_type_key" in run.stdout


def test_help_lists_the_parameters(parser, tmp_path):
    run = nextflow("--help", cwd=tmp_path, engine=parser)
    assert run.returncode == 0
    for name in ("--input", "--reference", "--scgpt_checkpoint", "--lambda_bc"):
        assert name in run.stdout
    if parser is not ENGINES["25.04.4-strict"]:  # its configuration does not see the command line
        assert not (tmp_path / "results").exists()
