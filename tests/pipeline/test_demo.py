"""The pipeline on the demo's slices, and what it says to faulty calls."""

import csv
import hashlib
import json
import re
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from nextflow_run import ROOT, nextflow, trace
from scipy.spatial import cKDTree

pytestmark = pytest.mark.pipeline
SAMPLES = ("osmfish", "starmap_a", "starmap_b", "xenium")


def test_the_demo_gives_all_results(demo):
    results = demo / "results"
    names = "integrated.h5ad report.html metrics.csv transforms.csv run.json software_versions.yml"
    models = ["cae/model.safetensors", "mosaic/config.json", "references/reference.h5ad"]
    for name in [
        *names.split(),
        *(f"model/{name}" for name in models),
        *(f"viewer/{sample}/cells.csv" for sample in SAMPLES),
    ]:
        assert (results / name).stat().st_size > 0, name
    for sample in SAMPLES:
        assert (results / "slices" / sample / f"{sample}.slice.h5ad").is_file()
        for name in ("slice", "graph", "targets", "imputed", "imputed.graph", "denoised", "fp",
                     "lloki"):  # fmt: skip
            record = json.loads((results / "slices" / sample / f"{sample}.{name}.json").read_text())
            assert record["sample"] == sample and record["seconds"] > 0


def test_integrated_holds_every_cell_once_with_every_embedding(demo):
    whole = ad.read_h5ad(demo / "results" / "integrated.h5ad")
    slices = [
        ad.read_h5ad(demo / "results" / "slices" / s / f"{s}.slice.h5ad", backed="r").obs_names
        for s in SAMPLES
    ]
    assert whole.obs_names.is_unique
    assert sorted(whole.obs_names) == sorted(np.concatenate(slices))
    keys = "spatial spatial_aligned X_lloki_fp X_lloki X_pca_shared X_umap X_metagenes"
    for key in keys.split():
        assert np.isfinite(whole.obsm[key]).all(), key
    assert set(whole.obs["technology"]) == {"osmFISH", "STARmap", "Xenium"}
    hidden = whole.obs["sample"] == "starmap_b"
    assert (whole.obs["cell_type_coarse"].isna() == hidden).all()
    assert whole.obs["lloki_label"].notna().all()
    assert whole.obs["lloki_cluster"].notna().all() and whole.obsp["connectivities"].nnz
    assert whole.n_vars > 1100 and list(whole.layers["counts"].shape) == list(whole.shape)
    assert whole.varm["measured"].sum().min() == 33


def test_a_metagene_is_of_oligodendrocytes_in_every_technology(demo):
    folder = demo / "results/metagenes"
    with (folder / "programs.csv").open() as file:
        programs = {row["type"]: row for row in csv.DictReader(file)}
    own = programs["Oligodendrocyte"]
    assert own["lamp"] == "green" and {"Plp1", "Opalin", "Mbp"} & set(own["genes"].split(", "))
    with (folder / "enrichment.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["type"] == "Oligodendrocyte"]
    auc = [float(r["auc"]) for r in rows if r["metagene"] == own["metagene"]]
    assert len(auc) == 3 and min(auc) > 0.9


def test_astrocytes_near_neurons_have_a_program(demo):
    folder = demo / "results/niches/Astrocyte_near_Excitatory"
    program = json.loads((folder / "program.json").read_text())
    assert program["found"] and program["r"] > 0.1 and len(program["slices"]) == 4
    assert "Gfap" in {gene.title() for gene in program["down"]}
    with (folder / "genes_by_slice.csv").open() as file:
        gfap = [row for row in csv.DictReader(file) if row["gene"] == "Gfap"]
    assert len(gfap) == 4 and all(float(row["change"]) < 0 for row in gfap)
    scores = ad.read_h5ad(demo / "results/integrated.h5ad").obs["niche_Astrocyte_near_Excitatory"]
    assert scores.notna().sum() == program["cells"]
    assert (demo / "results/model/niches/Astrocyte_near_Excitatory/program.json").is_file()
    assert (demo / "results/figures/niche_Astrocyte_near_Excitatory_null.png").is_file()


def test_the_instruments_folder_is_read_with_its_table_of_labels(demo):
    record = json.loads((demo / "results/slices/xenium/xenium.slice.json").read_text())
    assert (record["format"], record["cells"], record["genes"]) == ("xenium", 1418, 248)
    assert record["labelled"] == {"cell_type_coarse": 1418} and record["warnings"] == []
    assert "cells/xenium_cells.csv" in record["files"] and len(record["files"]) == 4


def test_lloki_beats_pca_on_the_shared_genes(demo):
    rows = csv.DictReader((demo / "results" / "metrics.csv").open())
    scores = {
        (r["embedding"], r["metric"]): float(r["value"]) for r in rows if r["group"] == "aggregate"
    }
    for metric in ("Bio conservation", "Batch correction"):
        assert scores["X_lloki", metric] > scores["X_pca_shared", metric], metric


def test_long_tasks_say_in_the_work_folder_how_far_they_are(demo):
    lines = (demo / "work/progress.log").read_text().splitlines()
    for words in (
        "train_cae cae: epochs started", "train_cae cae: epochs 100 %, ",
        "align_pairs 0: pairs of slices 100 %, 6/6", "integrate integrated: UMAPs 100 %",
    ):  # fmt: skip
        assert any(words in line for line in lines), words


def test_the_tour_is_true_of_the_demo(demo):
    """The numbers of docs/tour.md, within what another machine changes."""
    text = " ".join((ROOT / "docs/tour.md").read_text().split())
    for phrase, (value, within) in toured(demo / "results").items():
        told = re.search(re.escape(phrase).replace("N", r"([-−\d.,]+\d)"), text)
        assert told, phrase
        told = float(told[1].replace(",", "").replace("−", "-"))
        assert abs(told - value) <= within, (phrase, told, value)


def toured(results):
    """What the tour tells in words, `N` for the number: the number, and how far off it may be."""
    whole = ad.read_h5ad(results / "integrated.h5ad")
    truth = ad.read_h5ad(ROOT / "assets/demo/starmap.h5ad")
    a, b = (whole[whole.obs["sample"] == f"starmap_{half}"] for half in "ab")
    truth = truth[[name.split(":")[1] for name in b.obs_names]]
    error = np.linalg.norm(b.obsm["spatial_aligned"] - 0.09 * truth.obsm["spatial"], axis=1)
    near = cKDTree(a.obsm["spatial_aligned"]).query(b.obsm["spatial_aligned"])[1]
    found, true = (np.asarray(d.obs[k], str) for d, k in
                   ((b, "lloki_label"), (truth, "cell_type_coarse")))  # fmt: skip
    domains = [np.asarray(half.obs["lloki_domain"], str) for half in (a, b)]

    def table(name):
        with (results / name).open() as file:
            return list(csv.DictReader(file))

    motion = {row["sample"]: row for row in table("transforms.csv")}["starmap_b"]
    angle = np.degrees(np.arctan2(float(motion["r10"]), float(motion["r00"])))
    scores = {(r["embedding"], r["metric"]): float(r["value"]) for r in table("metrics.csv")}
    kind = "Oligodendrocyte"
    own = {row["type"]: row["metagene"] for row in table("metagenes/programs.csv")}[kind]
    auc = [float(row["auc"]) for row in table("metagenes/enrichment.csv")
           if (row["type"], row["metagene"]) == (kind, own)]  # fmt: skip
    niche = json.loads((results / "niches/Astrocyte_near_Excitatory/program.json").read_text())
    return {
        "N cells in four slices": (whole.n_obs, 0),
        "N genes in common": (len(whole.uns["lloki"]["shared_genes"]), 0),
        **{f"| `{row['sample']}` | {row['technology']} | {int(row['cells']):,} | N |":
           (float(row["genes"]), 0) for row in table("inputs.csv")},
        "turned back by N°": (abs(angle), 1),
        "cells lie N µm from": (np.median(error), 9),
        "domain for N %": (100 * (domains[0][near] == domains[1]).mean(), 8),
        "the hidden label for N %": (100 * (found == true).mean(), 3),
        "N of 328 excitatory": ((found == true)[true == "Excitatory"].sum(), 12),
        "(bio conservation): LLOKI N": (scores["X_lloki", "Bio conservation"], 0.02),
        "PCA on the shared genes N": (scores["X_pca_shared", "Bio conservation"], 0.02),
        "(batch correction): LLOKI N": (scores["X_lloki", "Batch correction"], 0.02),
        "0.89, PCA N": (scores["X_pca_shared", "Batch correction"], 0.02),
        "iLISI N": (scores["X_lloki", "iLISI"], 0.05),
        "of LLOKI-FP N": (scores["X_lloki_fp", "iLISI"], 0.03),
        "AUC is at least N": (min(auc), 0.02),
        "held out is N": (niche["r"], 0.06),
    }  # fmt: skip


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
    bundle = "cells.csv.gz, experiment.xenium, cell_feature_matrix.h5, cells/xenium_cells.csv"
    assert {"osmfish.h5ad", "starmap_a.h5ad", bundle, "seed"} <= read

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


def test_the_index_lists_what_is_there_with_its_slice_and_stage(demo):
    results = demo / "results"
    with (results / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {key: value or "" for key, value in row.items()}
        for row in json.loads((results / "index.json").read_text("utf-8"))
    ]
    listed = [Path(row["file"]) for row in rows]
    assert len(set(listed)) == len(listed) and all(path.exists() for path in listed)
    folders = [path for path in listed if path.is_dir()]
    within = {path for folder in folders for path in folder.rglob("*")}
    unlisted = {p for p in results.rglob("*") if p.is_file()} - {*listed, *within}
    names = {p.relative_to(results).as_posix() for p in unlisted}
    assert {n for n in names if not n.startswith("pipeline_info/")} == {"index.csv", "index.json"}
    assert not any(name.startswith("pipeline_info/stages") for name in names)
    for row in rows:
        path = Path(row["file"])
        if path.suffix == ".json" and path.parent.name in (row["slice"], "stages"):
            record = json.loads(path.read_text())
            assert (record["stage"], record.get("sample") or "") == (row["stage"], row["slice"])
        if row["slice"]:
            assert path.parent == results / "slices" / row["slice"]
            assert row["technology"] and row["panel"] and row["organism"] == "mouse"
    aligned = {row["slice"]: row for row in rows if row["file"].endswith(".lloki.h5ad")}
    assert set(aligned) == set(SAMPLES)
    assert all(row["stage"] == "align" for row in aligned.values())


@pytest.mark.long
def test_new_slices_join_the_demo_and_change_nothing_of_it(demo, tmp_path):
    """Some cells of STARmap, which its model knows, and of osmFISH as if by a new technology."""
    for name in ("starmap_a", "osmfish"):
        data = ad.read_h5ad(ROOT / f"assets/demo/{name}.h5ad")
        data[np.arange(data.n_obs) % 3 > 0].write_h5ad(tmp_path / f"new_{name}.h5ad")
    (tmp_path / "new.csv").write_text(
        "sample,input,technology,organism,spatial_unit_um\n"
        "known,new_starmap_a.h5ad,STARmap,mouse,0.09\nother,new_osmfish.h5ad,osmFISH+,mouse,1\n"
    )
    run = nextflow(
        "--input", "new.csv", "--add_to", demo / "results", "--outdir", "added",
        "--cell_type_key", "cell_type_coarse", "--umap", "false", "--cluster", "false",
        "--domains", "false", "--annotate", "false", "--viewer_files", "false", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    added = tmp_path / "added"
    trained = json.loads((added / "pipeline_info/stages/cae.json").read_text())
    assert trained["samples"] == ["other"] and trained["batches_known"] == 4
    assert [batch["technology"] for batch in trained["batches"]] == [
        "STARmap", "STARmap", "Xenium", "osmFISH", "osmFISH+"
    ]  # fmt: skip
    with (added / "model/cae/history.csv").open() as file:
        losses = [float(row["total"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0] and losses[-1] < 1.2 * min(losses)  # it did not diverge
    told = json.loads((added / "pipeline_info/stages/inputs.json").read_text())["warnings"]
    assert any("osmFISH, osmFISH+ are different batches" in line for line in told)
    targets = json.loads((added / "slices/known/known.targets.json").read_text())
    assert targets["reference_values"] == "as a stage wrote it"  # the model's

    before = ad.read_h5ad(demo / "results/integrated.h5ad")
    after = ad.read_h5ad(added / "integrated.h5ad")
    assert set(after.obs["sample"]) == {*SAMPLES, "known", "other"}
    old = after[before.obs_names]
    for key in ("spatial", "X_lloki_fp", "X_lloki"):
        assert (old.obsm[key] == before.obsm[key]).all(), key
    old = old[old.obs["cell_type_coarse"].notna()]
    labels = after.obs["cell_type_coarse"].astype(str).to_numpy()
    new = ~after.obs_names.isin(before.obs_names)
    found = cKDTree(old.obsm["X_lloki"]).query(after[new].obsm["X_lloki"])[1]
    same = old.obs["cell_type_coarse"].astype(str).to_numpy()[found] == labels[new]
    assert same.mean() > 0.7
    # What was added to can be added to again.
    assert (added / "model/model.json").is_file() and (added / "report.html").is_file()
    programs = [folder / "model/metagenes.npz" for folder in (demo / "results", added)]
    assert len({path.read_bytes() for path in programs}) == 1
    assert {path.parent.name for path in added.glob("slices/*/*.slice.h5ad")} == {
        *SAMPLES, "known", "other"
    }  # fmt: skip


def test_resume_runs_nothing_again(demo):
    run = nextflow("-profile", "test", "--outdir", "results", "-resume", cwd=demo)
    assert run.returncode == 0, run.stdout
    assert {row["name"] for row in trace(demo) if row["status"] != "CACHED"} == set()


def test_the_results_of_another_run_are_kept(demo, tmp_path):
    """Even with -resume, where that takes up another run than the one that made them."""
    (tmp_path / "taken").mkdir()
    record = (demo / "results/run.json").read_text()
    (tmp_path / "taken/run.json").write_text(record)
    session = json.loads(record)["pipeline"]["session"]
    former = ("execution_trace.txt", "pipeline_dag.mmd")
    (tmp_path / "taken/pipeline_info").mkdir()
    for name in former:
        (tmp_path / "taken/pipeline_info" / name).write_text("of the run before\n")
    for more in ([], ["-resume"]):
        run = nextflow("-profile", "test", "--outdir", "taken", *more, cwd=tmp_path)
        assert run.returncode != 0
        assert "--outdir taken: it holds the results of another run; name another" in run.stdout
        assert f"with -resume {session}, or" in run.stdout
        assert (tmp_path / "taken/run.json").read_text() == record
        assert not trace(tmp_path, "taken")
        for name in former:
            assert (tmp_path / "taken/pipeline_info" / name).read_text() == "of the run before\n"


def test_a_label_that_no_slice_has_stops_the_run_before_the_training(demo):
    run = nextflow(
        "-profile", "test", "--outdir", "wrong", "--cell_type_key", "cel_type", "-resume", cwd=demo
    )
    assert run.returncode != 0
    assert "--cell_type_key cel_type: no slice has labels in such a column" in run.stdout
    assert "cell_type_coarse" in run.stdout
    assert not {row["process"] for row in trace(demo, "wrong")} & {"TRAIN_CAE", "REPORT"}


def test_inputs_are_checked_before_the_work_and_all_their_faults_are_told_at_once(tmp_path):
    data = ad.read_h5ad(ROOT / "assets/demo/osmfish.h5ad")[:200].copy()
    data.write_h5ad(tmp_path / "good.h5ad")
    data.obsm["spatial"] = np.column_stack([data.obsm["spatial"], np.arange(len(data)) % 7])
    data.write_h5ad(tmp_path / "deep.h5ad")
    del data.obsm["spatial"]
    data.write_h5ad(tmp_path / "nowhere.h5ad")

    def run(*names, options):
        rows = "".join(f"{name},{name}.h5ad,osmFISH\n" for name in names)
        (tmp_path / "sheet.csv").write_text(f"sample,input,technology\n{rows}")
        return nextflow(
            "--input", "sheet.csv", "--reference", ROOT / "assets/demo/reference.h5ad",
            "--outdir", "results", *options, cwd=tmp_path,
        )  # fmt: skip

    checked = run("good", options=["--check"])
    assert checked.returncode == 0, checked.stdout
    assert f"tail -F '{tmp_path}/work/progress.log'" in checked.stdout
    for words in ("slice  format  cells", "good   h5ad    200", "1 slice, 200 cells: about",
                  "The inputs can be used"):  # fmt: skip
        assert words in checked.stdout, checked.stdout
    names = {path.name for path in (tmp_path / "results").rglob("*") if path.is_file()}
    assert "inputs.csv" in names and not names & {"integrated.h5ad", "run.json", "report.html"}

    options = ["--cell_type_key", "none_such", "-resume"]
    faulty = run("good", "deep", "nowhere", options=options)
    assert faulty.returncode != 0
    for words in (
        "3 faults in the inputs; nothing was computed", "obsm['spatial'] is missing",
        "coordinates are of 2 dimensions in good, of 3 in deep",
        "--cell_type_key none_such: no slice has labels",
    ):  # fmt: skip
        assert words in faulty.stdout, faulty.stdout
    processes = [row["process"] for row in trace(tmp_path)]
    assert sorted(processes) == ["CHECK_INPUTS", "CHECK_REFERENCE", *["PREPARE_SLICE"] * 3]
    again = run("good", "nowhere", options=["-resume"])
    assert "1 fault" in again.stdout or "a fault" in again.stdout
    status = {row["name"]: row["status"] for row in trace(tmp_path)}
    assert status["LLOKI:INPUTS:PREPARE_SLICE (good)"] == "CACHED"  # what the check read
