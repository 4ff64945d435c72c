"""benchmark.py as a command, on real cells of the demo and on what users get wrong."""

import json
from importlib import metadata

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from demo_slices import demo_slice

import benchmark
from lloki.integration import joined
from lloki.propagation import graph
from lloki.scores import baselines, metrics
from lloki.slices import files

UNLABELLED = {"PCR comparison", "iLISI", "Spatial coherence"}
NAMES = {"osmfish": "osmFISH", "starmap": "STARmap", "xenium": "Xenium"}


@pytest.fixture(scope="module")
def data():
    """450 real cells as integrate.py writes them; X_lloki has less of each technology's mean."""
    parts = []
    for name, technology in NAMES.items():
        part = demo_slice(name)[::8][:150].copy()
        parts.append(files.prepare(part, name, sample=name, technology=technology))
    whole = ad.AnnData(obs=joined.join_obs([part.obs for part in parts]))
    genes = joined.shared_genes([part.var_names for part in parts])
    before = graph.principal_components(joined.shared_expression(parts, genes), 50)
    means = pd.DataFrame(before).groupby(whole.obs["technology"].to_numpy()).transform("mean")
    whole.obsm["spatial"] = joined.join_coordinates([part.obsm["spatial"] for part in parts])
    whole.obsm["X_pca_shared"] = before
    whole.obsm["X_lloki"] = before - 0.8 * means.to_numpy(np.float32)
    for key in ("X_umap", "X_umap_pca_shared"):
        whole.obsm[key] = before[:, :2]
    return whole


def run(data, folder, *options):
    files.write_h5ad(data, folder / "in.h5ad")
    (folder / "out").mkdir(exist_ok=True)
    arguments = ["--input", folder / "in.h5ad", "--output", folder / "out/bench", *options]
    return CliRunner().invoke(benchmark.main, [str(argument) for argument in arguments])


def read(folder):
    table = pd.read_csv(folder / "out/bench/metrics.csv")
    assert list(table) == ["embedding", "metric", "group", "value", "spread"]
    return table


def refused(result, folder, *words):
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert list((folder / "out").iterdir()) == []


@pytest.mark.slow
def test_scores_and_pictures_of_real_cells(data, tmp_path):
    done = run(data, tmp_path, "--label-key", "cell_type_coarse")
    assert done.exit_code == 0, done.output
    table = read(tmp_path)
    assert table["embedding"].unique().tolist() == ["X_pca_shared", "X_lloki"]
    assert table["value"].between(-0.2, 1).all()
    scores = table.pivot(index="metric", columns="embedding", values="value")
    assert set(scores.index) == set(metrics.GROUPS)
    assert table["spread"].isna().all()  # all cells are scored
    groups = table.set_index("metric")["group"].to_dict()
    for aggregate, group in (("Bio conservation", "bio"), ("Batch correction", "batch")):
        parts = [name for name, of in groups.items() if of == group]
        assert groups[aggregate] == "aggregate"
        np.testing.assert_allclose(scores.loc[aggregate], scores.loc[parts].mean())
    assert scores.loc["PCR comparison", "X_pca_shared"] == 0
    assert (
        scores.loc["Batch correction", "X_lloki"] > scores.loc["Batch correction", "X_pca_shared"]
    )
    # the same as the library's, on cells that have a type ("Other" is none)
    kept = (data.obs["cell_type_coarse"] != "Other").to_numpy()
    space, obs = data.obsm["X_lloki"][kept], data.obs[kept]
    widths = metrics.silhouettes(space, obs["cell_type_coarse"].astype(str).to_numpy())
    assert scores.loc["Silhouette label", "X_lloki"] == pytest.approx((widths.mean() + 1) / 2)
    record = json.loads((tmp_path / "out/bench.json").read_text())
    assert record["scib_metrics"] == metadata.version("scib-metrics")
    assert record["cells_labelled"] == kept.sum() < 450
    for name in ("technology", "cell_type_coarse"):
        assert (tmp_path / f"out/bench/umap_{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"out/bench/umap_{name}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_a_sample_of_the_cells_is_the_same_again(data, tmp_path):
    options = ("--label-key", "cell_type_coarse", "--max-cells", "200", "--embedding", "X_lloki")
    assert run(data, tmp_path, *options).exit_code == 0
    first = read(tmp_path)
    record = json.loads((tmp_path / "out/bench.json").read_text())
    assert (record["cells_scored"], record["draws"]) == (200, 3)
    spread = first.set_index("metric")["spread"]
    assert (spread[["cLISI", "KMeans NMI", "Silhouette label", "Spatial coherence"]] > 0).all()
    assert (spread < 0.2).all()
    assert run(data, tmp_path, *options).exit_code == 0
    pd.testing.assert_frame_equal(first, read(tmp_path))


def test_without_labels(data, tmp_path):
    done = run(data, tmp_path)
    assert done.exit_code == 0, done.output
    assert "no --label-key" in done.stderr
    assert set(read(tmp_path)["metric"]) == UNLABELLED


def test_labels_that_say_nothing(data, tmp_path):
    data = data.copy()
    data.obs["cell_type_coarse"] = "Other"
    done = run(data, tmp_path, "--label-key", "cell_type_coarse")
    assert done.exit_code == 0, done.output
    assert "names 0 cell types" in done.stderr
    assert set(read(tmp_path)["metric"]) == UNLABELLED
    data.obs["cell_type_coarse"] = data.obs_names
    done = run(data, tmp_path, "--label-key", "cell_type_coarse")
    assert "names 450 cell types for 450 cells" in done.stderr


def test_without_a_baseline(data, tmp_path):
    data = data.copy()
    del data.obsm["X_pca_shared"]
    done = run(data, tmp_path, "--embedding", "X_pca_shared", "--embedding", "X_lloki")
    assert done.exit_code == 0, done.output
    assert "PCR comparison is left out" in done.stderr
    assert set(read(tmp_path)["metric"]) == UNLABELLED - {"PCR comparison"}


def test_one_technology(data, tmp_path):
    data = data[data.obs["technology"] == "Xenium"].copy()
    done = run(data, tmp_path, "--label-key", "cell_type_coarse", "--embedding", "X_lloki")
    assert done.exit_code == 0, done.output
    assert "nothing to mix" in done.stderr
    assert set(read(tmp_path)["group"]) == {"bio", "aggregate", "space"}


def test_other_methods_stand_beside_and_those_that_did_not_run_are_named(data, tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    shuffled = data.obs_names[::-1]
    baselines.write_embedding(
        shuffled, data[shuffled].obsm["X_lloki"], folder / "harmony.embedding.csv"
    )
    (folder / "seurat.not_run.txt").write_text("there is no R\n")
    options = ["--embedding", "X_lloki", "--external", folder / "harmony.embedding.csv",
               "--not-run", folder / "seurat.not_run.txt"]  # fmt: skip
    for method in ("pca", "harmony", "seurat", "scvi"):
        options += ["--expected", method]
    done = run(data, tmp_path, *options)
    assert done.exit_code == 0, done.output
    table = read(tmp_path).pivot(index="metric", columns="embedding", values="value")
    assert list(table) == ["X_harmony", "X_lloki"]
    np.testing.assert_allclose(table["X_harmony"], table["X_lloki"], atol=5e-3)
    record = json.loads((tmp_path / "out/bench.json").read_text())
    assert record["not_run"]["seurat"] == "there is no R"
    assert "its task failed" in record["not_run"]["scvi"] and len(record["not_run"]) == 2
    assert "Seurat RPCA was not run: there is no R" in done.stderr
    kept = files.read_h5ad(tmp_path / "out/bench/embeddings.h5ad")
    np.testing.assert_allclose(kept.obsm["X_harmony"], data.obsm["X_lloki"], rtol=1e-4, atol=1e-5)
    assert np.isfinite(kept.obsm["X_umap_harmony"]).all()
    coherence = pd.read_csv(tmp_path / "out/bench/coherence.csv")
    assert len(coherence) == 6 and set(coherence["sample"]) == set(NAMES)
    mean = coherence[coherence["embedding"] == "X_lloki"]["value"].mean()
    assert table.loc["Spatial coherence", "X_lloki"] == pytest.approx(mean)


def test_a_table_that_lacks_a_cell_is_refused(data, tmp_path):
    path = tmp_path / "harmony.embedding.csv"
    baselines.write_embedding(data.obs_names[1:], data.obsm["X_lloki"][1:], path)
    refused(run(data, tmp_path, "--external", path), tmp_path, "harmony.embedding.csv", "missing")
    refused(run(data, tmp_path, "--not-run", path.with_name("x.txt")), tmp_path, "no such file")


def test_what_users_get_wrong(data, tmp_path):
    refused(
        run(data, tmp_path, "--embedding", "X_scvi"), tmp_path, "'X_scvi'", "it has: ", "X_lloki"
    )
    refused(run(data, tmp_path, "--label-key", "type"), tmp_path, "'type'", "cell_type_coarse")
    refused(run(data, tmp_path, "--batch-key", "batch"), tmp_path, "'batch'", "technology")
    broken = data.copy()
    broken.obsm["X_lloki"][0, 0] = np.inf
    refused(run(broken, tmp_path), tmp_path, "in.h5ad", "X_lloki", "infinite")
    broken = data.copy()
    broken.obs["technology"] = [None, *data.obs["technology"][1:]]
    refused(run(broken, tmp_path), tmp_path, "technology", "missing values")
    broken = data.copy()
    for key in list(broken.obsm):
        del broken.obsm[key]
    refused(run(broken, tmp_path), tmp_path, "in.h5ad", "no embedding")
    (tmp_path / "in.h5ad").unlink()
    arguments = ["--input", str(tmp_path / "in.h5ad"), "--output", str(tmp_path / "out/bench")]
    refused(CliRunner().invoke(benchmark.main, arguments), tmp_path, "no such file")
