"""domains.py on made-up slices: files, regions carried over, refusals."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from commands import call, good, refused
from sklearn.metrics import adjusted_rand_score

import domains
from lloki.slices import files, findings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two slices with a left and a right half of other cells; one has its halves named."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("integrated")
    places = rng.uniform(0, 100, (500, 2))
    right = places[:, 0] > 50
    kind = np.where(rng.random(500) < 0.8, right, ~right).astype(int)
    sample = np.repeat(["b", "a"], 250)
    obs = pd.DataFrame({
        "sample": sample, "technology": np.where(sample == "a", "Xenium", "STARmap"),
        "type": np.array(["glia", "neuron"])[kind],
        "region": pd.Categorical(np.where(sample == "a", np.array(["left", "right"])[right * 1],
                                          None)),
    }, index=[f"c{i}" for i in range(500)])  # fmt: skip
    space = np.eye(2)[kind] @ rng.random((2, 8)) * 3 + rng.normal(0, 0.3, (500, 8))
    obsm = {"X_lloki": space.astype(np.float32), "spatial": places}
    files.write_h5ad(ad.AnnData(obs=obs, obsm=obsm), folder / "integrated.h5ad")
    np.save(folder / "right.npy", right)
    return folder


def run(folder, out, *more, name="integrated.h5ad"):
    return call(domains, "--input", folder / name, "--output", out / "domains", *more)


def test_domains_regions_and_neighbours(folder, tmp_path):
    done = run(folder, tmp_path, "--cells", tmp_path / "d.cells.h5ad", "--label-key", "type",
               "--region-key", "region")  # fmt: skip
    assert done.exit_code == 0, done.output
    whole, cells = (
        ad.read_h5ad(p) for p in (folder / "integrated.h5ad", tmp_path / "d.cells.h5ad")
    )
    right = np.load(folder / "right.npy")
    assert cells.obs_names.equals(whole.obs_names)
    b = (whole.obs["sample"] == "b").to_numpy()
    named = np.where(right, "right", "left")
    assert (cells.obs["lloki_region"][b] == named[b]).mean() > 0.85
    assert (cells.obs["lloki_region"][~b] == whole.obs["region"][~b]).all()
    assert cells.obs["lloki_region_share"].isna().to_numpy().tolist() == (~b).tolist()
    tables = {p.stem: pd.read_csv(p) for p in (tmp_path / "domains").glob("*.csv")}
    assert set(tables) == {"domains", "label_neighbours", "domain_numbers"}
    sizes = tables["domains"]
    assert sizes["cells"].sum() == 500 and sizes["technology"].tolist()[0] == "Xenium"
    np.testing.assert_allclose(sizes.groupby("sample")["share"].sum(), 1, atol=1e-5)
    counts = pd.crosstab(cells.obs["lloki_domain"], whole.obs["sample"])
    for row in sizes.itertuples():
        assert counts.loc[row.domain, row.sample] == row.cells
    assert set(tables["label_neighbours"]["sample"]) == {"a", "b", "all"}
    record = json.loads((tmp_path / "domains.json").read_text())
    assert record["domains"] == sizes["domain"].nunique() and record["regions_carried_to"] == ["b"]


def test_slices_in_any_order_give_the_same(folder, tmp_path):
    whole = ad.read_h5ad(folder / "integrated.h5ad")
    files.write_h5ad(whole[np.r_[250:500, :250]].copy(), tmp_path / "turned.h5ad")
    found = []
    for where, name in ((folder, "integrated.h5ad"), (tmp_path, "turned.h5ad")):
        out = tmp_path / f"of {name}"
        out.mkdir()
        done = run(where, out, "--cells", out / "c.h5ad", "--number", 3, name=name)
        assert done.exit_code == 0, done.output
        found.append(ad.read_h5ad(out / "c.h5ad").obs["lloki_domain"].reindex(whole.obs_names))
    assert found[0].equals(found[1])


def test_what_was_before_integration_is_seen_too_but_not_what_sets_panels_apart(folder, tmp_path):
    whole = ad.read_h5ad(folder / "integrated.h5ad")
    upper = whole.obsm["spatial"][:, 1] > 50
    a = (whole.obs["sample"] == "a").to_numpy()
    before = upper[:, None] * 4 + np.random.default_rng(1).normal(size=(500, 5))
    whole.obsm["X_lloki_fp"] = (before + 4 * a[:, None]).astype("f4")
    whole.obs["panel"] = np.where(a, "one", "other")
    files.write_h5ad(whole, tmp_path / "both.h5ad")
    found = []
    for where, name in ((folder, "integrated.h5ad"), (tmp_path, "both.h5ad")):
        out = tmp_path / f"of {name}"
        out.mkdir()
        done = run(where, out, "--cells", out / "c.h5ad", "--number", 4, name=name)
        assert done.exit_code == 0, done.output
        found.append(ad.read_h5ad(out / "c.h5ad").obs["lloki_domain"].astype(str))
    one, both = (adjusted_rand_score(upper, cells) for cells in found)
    assert both > 0.3 > 0.1 > one
    assert adjusted_rand_score(a, found[1]) < 0.1
    del whole.obs["panel"]
    files.write_h5ad(whole, tmp_path / "i.h5ad")
    refused(run(tmp_path, tmp_path, name="i.h5ad"), "i.h5ad", "panel")


def test_labels_that_were_carried_over_are_taken(folder, tmp_path):
    cells = ad.read_h5ad(folder / "integrated.h5ad").obs_names
    labels = pd.DataFrame({"lloki_label": ["x", "unknown"] * 250})
    findings.write(tmp_path / "l.cells.h5ad", cells, labels)
    good(domains, "--input", folder / "integrated.h5ad", "--output", tmp_path / "domains",
         "--number", 2, "--labels", tmp_path / "l.cells.h5ad")  # fmt: skip
    assert set(pd.read_csv(tmp_path / "domains/label_neighbours.csv")["label"]) == {"x"}
    findings.write(tmp_path / "few.h5ad", cells[:9], labels[:9])
    (tmp_path / "again").mkdir()
    refused(run(folder, tmp_path / "again", "--labels", tmp_path / "few.h5ad"), "few.h5ad",
            "lloki_label")  # fmt: skip


def test_regions_of_all_slices_or_of_none_are_told(folder, tmp_path):
    done = run(folder, tmp_path, "--number", 2, "--region-key", "type")
    assert done.exit_code == 0 and "none is carried over" in done.stderr


@pytest.mark.parametrize("lacks", ["X_lloki", "spatial", "sample", "technology", "region"])
def test_what_lacks_is_told(folder, tmp_path, lacks):
    data = ad.read_h5ad(folder / "integrated.h5ad")
    del (data.obsm if lacks in data.obsm else data.obs)[lacks]
    files.write_h5ad(data, tmp_path / "i.h5ad")
    more = ["--region-key", "region"] if lacks == "region" else []
    refused(run(tmp_path, tmp_path, *more, name="i.h5ad"), "i.h5ad", lacks)
    assert not (tmp_path / "domains").exists()
