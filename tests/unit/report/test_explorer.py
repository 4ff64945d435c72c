"""What the page's pictures are made of: a fair sample, colours by name, columns that unpack."""

import base64
import gzip
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lloki.report import colourings, explorer, figures, sampling
from lloki.report.material import Material
from lloki.slices import files, parts


def unpacked(text, dtype):
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), dtype)


def test_few_cells_are_all_shown_in_a_fixed_random_order():
    names, kinds = ["a"] * 50, ["x"] * 50
    order = sampling.draw(names, kinds, 50)
    assert sorted(order) == list(range(50)) and list(order) != list(range(50))
    np.testing.assert_array_equal(order, sampling.draw(names, kinds, 50))


def test_of_many_each_slice_gets_as_many_and_rare_kinds_stay():
    slices = np.repeat(["large", "middle", "small"], [5000, 900, 100])
    kinds = np.array(["common"] * 6000, dtype=object)
    kinds[:20] = "rare"
    shown = sampling.draw(slices, kinds, most=1000)
    assert len(shown) == len(set(shown)) == 1000
    assert pd.Series(slices[shown]).value_counts().to_dict() == {
        "large": 450, "middle": 450, "small": 100,
    }  # fmt: skip
    assert (kinds[shown] == "rare").sum() == 20
    assert sampling.quotas(np.array([3, 100, 1]), 10).tolist() == [3, 6, 1]


def test_places_come_back_to_a_step_and_what_is_nowhere_stays_so():
    places = np.array([[-5.0, 2.0], [95.0, 3.0], [np.nan, 1.0], [20.0, 2.5]])
    low, sides = explorer.span(places)
    found = explorer.steps(places, low, sides)
    assert (found[2] == explorer.STEPS + 1).all()
    back = low + sides * found[[0, 1, 3]] / explorer.STEPS
    np.testing.assert_allclose(back, places[[0, 1, 3]], atol=100 / explorer.STEPS)
    np.testing.assert_array_equal(unpacked(explorer.pack(found.T.copy()), "<u2"), found.T.ravel())


@pytest.fixture
def material(tmp_path):
    """Two slices of two panels, one of which lacks a gene; read as report.py reads them."""
    obs = pd.DataFrame({
        "sample": list("aaabbb"), "technology": list("SSSTTT"), "panel": list("pppqqq"),
        "kind": ["x", "y", None, "x", "x", "x"], "lloki_label_probability": [1, 0.5, np.nan] * 2,
    }, index=[f"c{i}" for i in range(6)])  # fmt: skip
    counts = sp.csr_matrix(np.array([[2, 0], [0, 0], [4, 1], [1, 0], [0, 0], [8, 0]], float))
    data = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=["Gad1", "Sst"]))
    data.layers["counts"] = counts
    data.varm["measured"] = pd.DataFrame({"p": [True, True], "q": [True, False]}, data.var_names)
    data.obsm = {"spatial": np.arange(12.0).reshape(6, 2), "X_lloki": np.eye(6),
                 "X_umap": np.arange(12.0).reshape(6, 2) ** 2}  # fmt: skip
    data.obsm["spatial_aligned"] = data.obsm["spatial"]
    data.uns["lloki"] = {"shared_genes": ["Gad1", "Sst", "Absent"]}
    files.write_h5ad(data, tmp_path / "integrated.h5ad")
    read = parts.read_some_genes(tmp_path / "integrated.h5ad", ["Sst", "Gad1"], rows=4)
    transforms = pd.DataFrame({"sample": list("ab"), "reference": list("bb"),
                               "method": ["robust", "identity"]})  # fmt: skip
    return Material([], data, label_key="kind", expression=read, transforms=transforms)


def test_expression_is_read_in_parts(material):
    found = material.expression
    assert found.genes == ["Gad1", "Sst"]
    assert found.detected.tolist() == [1, 0, 2, 1, 0, 1]
    assert found.counts.tolist() == [2, 0, 5, 1, 0, 8]
    np.testing.assert_array_equal(found.values.toarray(), material.data.X.toarray())


def test_what_cells_can_be_coloured_by(material):
    offered = {by.title: by for by in colourings.offered(material)}
    assert list(offered)[:4] == ["label: kind", "slice", "technology", "panel"]
    bare = [by.title for by in colourings.offered(replace(material, label_key=None))]
    assert bare[:3] == ["slice", "technology", "cluster"]
    label = offered["label: kind"]
    assert label.names == ["x", "y"] and label.codes.tolist() == [0, 1, 2, 0, 0, 0]
    assert label.head()["counts"] == [4, 1, 1]
    assert label.head()["missing"] == "not labelled"
    assert not offered["probability of the label"].more and offered["counts of the cell"].more
    gene = offered["Sst"]
    assert np.isnan(gene.values).tolist() == [False] * 3 + [True] * 3  # q did not measure it
    assert offered["counts of the cell"].limits[0] == 0 and "Absent" not in offered


def test_a_slice_that_is_called_as_a_missing_label_keeps_its_name(material):
    material.data.obs["sample"] = list("aaa") + ["NA"] * 3
    (by,) = (by for by in colourings.offered(material) if by.title == "slice")
    assert by.names == ["NA", "a"] and by.codes.tolist() == [1, 1, 1, 0, 0, 0]


def test_beyond_the_palette_its_colours_come_again_paler():
    by = figures.colouring("type", [f"t{i}" for i in range(30)])
    shades = colourings.category(by, "type", "type").colours
    assert len(set(shades)) == 30 and figures.GREY not in shades


def test_columns_are_those_of_the_head(material):
    made = explorer.explorer(material)
    assert made.head["n"] == 6 and made.note == "All 6 cells are shown."
    order = unpacked(made.columns["names"], "S1").tobytes().decode().split("\n")
    rows = [int(name[1:]) for name in order]
    colours = {c["title"]: c for c in made.head["colours"]}
    codes = unpacked(made.columns[colours["slice"]["column"]], "u1")
    names = colours["slice"]["names"]
    assert [names[code] for code in codes] == [material.slices_of_cells[row] for row in rows]
    shade = unpacked(made.columns[colours["Gad1"]["column"]], "u1")
    assert shade[rows.index(5)] == 254 and shade[rows.index(1)] == 0
    missing = unpacked(made.columns[colours["Sst"]["column"]], "u1")
    assert missing[rows.index(4)] == 255
    (frame,) = made.head["frames"]
    assert frame["name"] == "b" and frame["slices"] == ["a", "b"] and "aligned" in made.columns
    assert made.head["umaps"][0]["title"] == "LLOKI"


def test_what_does_not_fit_is_left_out_and_told(material, monkeypatch):
    whole = explorer.explorer(material)
    room = sum(map(len, whole.columns.values())) - 1
    monkeypatch.setattr(explorer, "MOST_BYTES", room)
    assert "names" not in explorer.explorer(material).columns
    monkeypatch.setattr(explorer, "MOST_BYTES", room // 2)
    told = explorer.explorer(material)
    assert "Left out to keep the page small: " in told.note
    assert len(told.columns) < len(whole.columns)


def test_a_sample_is_told_with_the_density_of_all(material, monkeypatch):
    monkeypatch.setattr(sampling, "MOST", 4)
    made = explorer.explorer(material)
    assert made.note.startswith("4 of 6 cells are shown: equal numbers of each slice")
    assert made.head["slices"][0]["behind"].startswith("data:image/png;base64,")
    assert made.head["umaps"][0]["behind"]
