"""The pipeline on the demo's slices, and what it says to faulty calls."""

import csv
import hashlib
import json

import anndata as ad
import numpy as np
import pytest
from nextflow_run import ROOT, nextflow, trace

pytestmark = pytest.mark.pipeline
SAMPLES = ("osmfish", "starmap", "xenium")


def test_the_demo_gives_all_results(demo):
    results = demo / "results"
    names = "integrated.h5ad report.html metrics.csv transforms.csv run.json software_versions.yml"
    for name in [*names.split(), "cae/model.safetensors", "mosaic/config.json"]:
        assert (results / name).stat().st_size > 0, name
    for sample in SAMPLES:
        assert (results / "slices" / sample / f"{sample}.slice.h5ad").is_file()
        for stage in ("slice", "graph", "targets", "imputed", "imputed.graph", "denoised", "fp",
                      "lloki"):  # fmt: skip
            record = json.loads(
                (results / "slices" / sample / f"{sample}.{stage}.json").read_text()
            )
            assert record["sample"] == sample and record["seconds"] > 0


def test_integrated_holds_every_cell_once_with_every_embedding(demo):
    whole = ad.read_h5ad(demo / "results" / "integrated.h5ad")
    slices = [
        ad.read_h5ad(demo / "results" / "slices" / s / f"{s}.slice.h5ad", backed="r").obs_names
        for s in SAMPLES
    ]
    assert whole.obs_names.is_unique
    assert sorted(whole.obs_names) == sorted(np.concatenate(slices))
    for key in ("spatial", "spatial_aligned", "X_lloki_fp", "X_lloki", "X_pca_shared", "X_umap"):
        assert np.isfinite(whole.obsm[key]).all(), key
    assert set(whole.obs["technology"]) == {"osmFISH", "STARmap", "Xenium"}


def test_lloki_beats_pca_on_the_shared_genes(demo):
    rows = csv.DictReader((demo / "results" / "metrics.csv").open())
    scores = {
        (r["embedding"], r["metric"]): float(r["value"]) for r in rows if r["group"] == "aggregate"
    }
    for metric in ("Bio conservation", "Batch correction"):
        assert scores["X_lloki", metric] > scores["X_pca_shared", metric], metric


def test_the_record_says_what_was_run_on_what(demo):
    record = json.loads((demo / "results" / "run.json").read_text())
    assert record["parameters"]["cell_type_key"] == "cell_type_coarse"
    hashes = json.dumps(record)
    for sample in SAMPLES:
        slice_json = demo / "results" / "slices" / sample / f"{sample}.slice.json"
        assert json.loads(slice_json.read_text())["input_sha256"] in hashes
    versions = (demo / "results" / "software_versions.yml").read_text()
    assert "TRAIN_CAE" in versions and "torch" in versions


def test_the_run_is_a_crate_of_files_that_are_there(demo):
    folder = demo / "results"
    crate = json.loads((folder / "ro-crate-metadata.json").read_text())
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    root, run = entities["./"], entities["#run"]
    assert "ComputationalWorkflow" in entities[root["mainEntity"]["@id"]]["@type"]
    for part in root["hasPart"]:
        path, entity = folder / part["@id"], entities[part["@id"]]
        assert path.is_file()
        if "sha256" in entity:
            assert entity["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert int(entity["contentSize"]) == path.stat().st_size
    assert {"integrated.h5ad", "report.html"} <= {entity["@id"] for entity in run["result"]}
    read = {entities[entity["@id"]]["name"] for entity in run["object"]}
    assert {f"{sample}.h5ad" for sample in SAMPLES} | {"seed"} <= read

    def references(value):
        if isinstance(value, dict):
            yield from [value["@id"]] if set(value) == {"@id"} else ()
            value = list(value.values())
        if isinstance(value, list):
            for part in value:
                yield from references(part)

    profiles = set(references([entity.get("conformsTo") for entity in entities.values()]))
    assert all(profile.startswith("https://") for profile in profiles)
    assert set(references(crate["@graph"])) - profiles <= set(entities)


def test_the_report_is_one_page_that_says_which_embedder(demo):
    page = (demo / "results" / "report.html").read_text()
    assert 100_000 < len(page) < 15_000_000
    for word in ("mosaic", "osmFISH", "STARmap", "Xenium", "Bio conservation"):
        assert word in page


def test_resume_runs_nothing_again(demo):
    run = nextflow("-profile", "test", "--outdir", "results", "-resume", cwd=demo)
    assert run.returncode == 0, run.stdout
    assert {row["name"] for row in trace(demo) if row["status"] != "CACHED"} == set()


def test_stubs_run_through(tmp_path):
    run = nextflow("-profile", "test", "-stub-run", "--outdir", "results", cwd=tmp_path)
    assert run.returncode == 0, run.stdout
    assert len(trace(tmp_path)) >= 27


def test_a_scgpt_trained_on_the_slices_embeds_them(tmp_path):
    run = nextflow(
        "-profile", "test", "-stub-run", "--outdir", "results", "--pretrain_scgpt", "true",
        "--pretrain_genes_kept", "0.3-0.9", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    names = [row["process"] for row in trace(tmp_path)]
    assert (names.count("PRETRAIN_SCGPT"), names.count("SCGPT_EMBED")) == (1, len(SAMPLES))
    assert not {"FIT_MOSAIC", "MOSAIC_EMBED"} & set(names)
    assert (tmp_path / "results/scgpt/args.json").is_file()
    (script,) = (
        text for path in tmp_path.glob("work/*/*/.command.run")
        if "PRETRAIN_SCGPT" in (text := path.read_text())
    )  # fmt: skip
    assert all(f"{sample}.slice.h5ad" in script for sample in SAMPLES) and "reference" in script


def test_all_faults_of_a_samplesheet_are_listed_before_any_task(tmp_path):
    (tmp_path / "sheet.csv").write_text(
        "sample,input,technology,organism,spatial_unit_um\n"
        "a,none.h5ad,Xenium,mouse,1\n"
        f"a,{ROOT}/assets/demo/xenium.h5ad,Xenium,yeast,-1\n"
        f"b,{ROOT}/assets/demo/xenium.h5ad,,mouse,1\n"
    )
    run = nextflow(
        "--input", "sheet.csv", "--reference", ROOT / "assets/demo/reference.h5ad",
        "--outdir", "results", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode != 0
    assert "'a' is the name of line 2 too" in run.stdout
    for words in ("none.h5ad", "yeast", "-1", "line 2", "line 3", "line 4", "technology", "sample"):
        assert words in run.stdout, run.stdout
    assert "at nextflow." not in run.stdout and not list(tmp_path.glob("work/*/*/.command.sh"))


def test_a_wrong_parameter_is_named_with_the_right_one(tmp_path):
    run = nextflow("-profile", "test", "--neighbours", 30, "--metric", "taxicab", cwd=tmp_path)
    assert run.returncode != 0
    assert "neighbours" in run.stdout and "neighbors" in run.stdout and "taxicab" in run.stdout


def test_two_embedders_at_once_are_refused(tmp_path):
    run = nextflow(
        "-profile", "test", "--pretrain_scgpt", "--scgpt_checkpoint", tmp_path, cwd=tmp_path
    )
    assert run.returncode != 0
    assert "--pretrain_scgpt: given with --scgpt_checkpoint" in run.stdout


def test_help_lists_the_parameters(tmp_path):
    run = nextflow("--help", cwd=tmp_path)
    assert run.returncode == 0
    for name in ("--input", "--reference", "--scgpt_checkpoint", "--lambda_bc"):
        assert name in run.stdout


def test_faulty_data_stops_the_run_with_its_one_line(tmp_path):
    data = ad.read_h5ad(ROOT / "assets/demo/xenium.h5ad")
    del data.obsm["spatial"]
    data.write_h5ad(tmp_path / "flat.h5ad")
    (tmp_path / "sheet.csv").write_text("sample,input,technology\nflat,flat.h5ad,Xenium\n")
    run = nextflow(
        "--input", "sheet.csv", "--reference", ROOT / "assets/demo/reference.h5ad",
        "--outdir", "results", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode != 0
    assert "obsm['spatial'] is missing" in run.stdout
    assert len([row for row in trace(tmp_path) if "PREPARE_SLICE" in row["name"]]) == 1
