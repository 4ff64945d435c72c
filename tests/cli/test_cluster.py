"""cluster.py as a command, on slices of the demo and on what users get wrong."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from commands import call, good, refused
from demo_slices import NAMES, integrated
from sklearn.metrics import adjusted_rand_score

import cluster
from lloki.annotation import clusters
from lloki.slices import files, findings

KEYS = ["lloki_cluster", "lloki_cluster_fine"]


@pytest.fixture(scope="module")
def run_before(tmp_path_factory):
    """Prepared slices of 400 real cells, integrated with an embedding of their types."""
    folder = tmp_path_factory.mktemp("slices")
    integrated(folder)
    return folder


def options(folder, output, *more, names=NAMES, whole=None):
    given = [text for name in names for text in ("--slice", folder / f"{name}.slice.h5ad")]
    return "--input", whole or folder / "integrated.h5ad", *given, "--output", output, *more


def tables(folder):
    return {path.stem: pd.read_csv(path, dtype={"flag": str}) for path in folder.glob("*.csv")}


@pytest.fixture(scope="module")
def done(run_before, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    good(cluster, *options(run_before, folder / "clusters", "--label-key", "cell_type_coarse",
                           "--cells", folder / "cluster.cells.h5ad"))  # fmt: skip
    return folder


def test_the_cells_have_clusters_on_two_levels_and_neighbours(done, run_before):
    cells, whole = (
        ad.read_h5ad(p) for p in (done / "cluster.cells.h5ad", run_before / "integrated.h5ad")
    )
    assert cells.obs_names.equals(whole.obs_names) and list(cells.obs) == KEYS
    first, second = (cells.obs[key].astype(str) for key in KEYS)
    assert (second.str.partition(".")[0] == first).all()
    known = whole.obs["cell_type_coarse"].astype(str)
    assert adjusted_rand_score(known, first) > 0.8
    graph = cells.obsp["connectivities"]
    assert (graph != graph.T).nnz == 0 and graph.data.min() > 0 and graph.data.max() <= 1
    assert (np.diff(cells.obsp["distances"].indptr) == 14).all()
    here = np.arange(1200)[known == known.iloc[0]]
    share = graph[here][:, here].sum() / graph[here].sum()
    assert share > 0.9  # in the order of the cells


def test_scanpy_finds_the_neighbours(done):
    import scanpy as sc

    cells = ad.read_h5ad(done / "cluster.cells.h5ad")
    sc.tl.leiden(cells, 0.5, flavor="igraph", n_iterations=2, directed=False)
    assert adjusted_rand_score(cells.obs["leiden"], cells.obs["lloki_cluster"]) > 0.7


def test_every_table_fits_the_cells(done):
    found, cells = tables(done / "clusters"), ad.read_h5ad(done / "cluster.cells.h5ad").obs
    assert set(found) == set(
        "clusters clusters_fine sizes sizes_fine markers markers_fine markers_by_panel resolutions"
        .split()
    )  # fmt: skip
    for suffix, key in zip(("", "_fine"), KEYS, strict=True):
        table = found[f"clusters{suffix}"].set_index("cluster")
        assert table["cells"].to_dict() == cells[key].value_counts().to_dict()
        sizes = found[f"sizes{suffix}"].groupby("cluster")["cells"].sum()
        assert sizes.to_dict() == table["cells"].to_dict()
    assert found["clusters"]["name"].str.startswith("Excitatory").any()
    levels = found["resolutions"].set_index("level")["resolution"]
    assert levels["first"] < levels["second"]


def test_genes_of_one_panel_mark_clusters_beside_those_of_all(done, run_before):
    found = tables(done / "clusters")
    name = found["clusters"].set_index("cluster")["name"]
    own = name.index[name.str.startswith("Oligodendrocyte")][0]
    best = found["markers"][found["markers"]["cluster"] == own].head(20)
    assert {1, 2} <= set(best["slices"]) and (best["fdr"] < 0.01).all()
    assert {"Plp1", "Mbp", "Opalin", "Mobp", "Cldn11"} & set(best["gene"])
    panels = [ad.read_h5ad(run_before / f"{s}.slice.h5ad").var_names for s in NAMES]
    genes = set().union(*({gene.upper() for gene in panel} for panel in panels))
    assert len(genes) - 5 < found["markers"]["gene"].nunique() <= len(genes)
    by_panel = found["markers_by_panel"]
    assert by_panel.groupby("gene")["panel"].nunique().min() == 1  # a gap in the other panels
    assert (by_panel.groupby(["gene", "panel"]).size() <= len(name)).all()


def test_the_record_says_what_was_done(done):
    record = json.loads((done / "clusters.json").read_text())
    assert record["samples"] == sorted(NAMES) and record["chosen_on"] == 1200
    assert record["clusters"] < record["clusters_fine"]


def test_cells_in_another_order_are_in_the_same_clusters(done, run_before, tmp_path):
    whole = ad.read_h5ad(run_before / "integrated.h5ad")
    whole = ad.concat([whole[whole.obs["sample"] == name] for name in NAMES[::-1]])
    files.write_h5ad(whole, tmp_path / "turned.h5ad")
    good(cluster, *options(
        run_before, tmp_path / "clusters", "--label-key", "cell_type_coarse", "--cells",
        tmp_path / "cluster.cells.h5ad", names=NAMES[::-1], whole=tmp_path / "turned.h5ad",
    ))  # fmt: skip
    for path in (done / "clusters").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "clusters" / path.name).read_bytes(), path.name
    first, again = (ad.read_h5ad(f / "cluster.cells.h5ad") for f in (done, tmp_path))
    assert first.obs.loc[again.obs_names].equals(again.obs)
    turned = first[again.obs_names].obsp["connectivities"]
    assert (turned != again.obsp["connectivities"]).nnz == 0


def test_doubtful_clusters_are_told(run_before, tmp_path):
    whole = ad.read_h5ad(run_before / "integrated.h5ad")
    noise = np.random.default_rng(0).random((whole.n_obs, 12))
    for name, values, words in (("noise", noise, "rough map"), ("one", 0 * noise, "two clusters")):
        whole.obsm["X_lloki"] = values.astype(np.float32)
        files.write_h5ad(whole, tmp_path / f"{name}.h5ad")
        given = options(run_before, tmp_path / name, whole=tmp_path / f"{name}.h5ad")
        good(cluster, *given)
        warnings = json.loads((tmp_path / f"{name}.json").read_text())["warnings"]
        assert words in " ".join(warnings), name


@pytest.mark.parametrize(("recall", "told"), [(0.6, True), (0.8, False)])
def test_an_index_that_finds_few_neighbours_is_told(
    run_before, tmp_path, monkeypatch, recall, told
):
    found = clusters.neighbours
    monkeypatch.setattr(clusters, "neighbours", lambda *a: found(*a)._replace(recall=recall))
    good(cluster, *options(run_before, tmp_path / "c", "--resolution", 0.1, "--resolution-fine", 1))
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["recall"] == recall
    assert [f"found {recall:.0%}" in text for text in record["warnings"]] == [True] * told


def test_given_resolutions_are_taken_and_labels_may_lack(run_before, tmp_path):
    good(cluster, *options(run_before, tmp_path / "c", "--resolution", 0.1, "--resolution-fine", 1))
    found = tables(tmp_path / "c")
    assert "resolutions" not in found and found["clusters"]["name"].isna().all()
    record = json.loads((tmp_path / "c.json").read_text())
    assert (record["resolution"], record["resolution_fine"], record["chosen_on"]) == (0.1, 1, 0)


def test_labels_that_were_carried_over_name_the_clusters(run_before, tmp_path):
    cells = ad.read_h5ad(run_before / "integrated.h5ad").obs_names
    labels = pd.DataFrame({"lloki_label": ["glia"] * len(cells)})
    findings.write(tmp_path / "annotate.cells.h5ad", cells, labels)
    given = "--resolution", 0.1, "--resolution-fine", 1, "--labels"
    good(cluster, *options(run_before, tmp_path / "c", *given, tmp_path / "annotate.cells.h5ad"))
    assert tables(tmp_path / "c")["clusters"]["name"].str.startswith("glia").all()
    findings.write(tmp_path / "other.cells.h5ad", cells[::-1], labels)
    made = call(
        cluster, *options(run_before, tmp_path / "d", *given, tmp_path / "other.cells.h5ad")
    )
    refused(made, "other.cells.h5ad", "lloki_label")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.obsm.pop("X_lloki"), ["X_lloki", "missing"]),
        (lambda d: d.obsm["X_lloki"].__setitem__((3, 0), np.nan), ["NaN"]),
        (lambda d: d.obs.pop("panel"), ["no column 'panel'"]),
        (lambda d: d.obsm.pop("spatial"), ["spatial", "missing"]),
    ],
)
def test_a_faulty_integrated_file_is_refused(run_before, tmp_path, change, words):
    data = ad.read_h5ad(run_before / "integrated.h5ad")
    change(data)
    files.write_h5ad(data, tmp_path / "faulty.h5ad")
    (tmp_path / "out").mkdir()
    made = call(cluster, *options(run_before, tmp_path / "out/c", whole=tmp_path / "faulty.h5ad"))
    refused(made, "faulty.h5ad", *words)
    assert list((tmp_path / "out").iterdir()) == []


def test_faulty_options_are_refused(run_before, tmp_path):
    made = call(cluster, *options(run_before, tmp_path / "c", "--label-key", "kind"))
    refused(made, "no column 'kind'")
    refused(call(cluster, *options(run_before, tmp_path / "c", names=NAMES[:2])), "xenium")
    assert list(tmp_path.iterdir()) == []
