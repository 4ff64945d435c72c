"""The report's section on niche programs: all pairs, pictures, what is not found by name."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from report_page import html

from lloki.integration import joined
from lloki.report import figure_niches, niches
from lloki.report.material import Material


@pytest.fixture
def material():
    """Two slices of 60 cells; a pair that stands, with all tables, and one that does not."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({
        "sample": np.repeat(["a", "b"], 60), "technology": np.repeat(["S", "T"], 60),
        "kind": np.tile(["F", "B", "C"], 40), "domain": np.tile([1.0, 2.0], 60),
    }, index=[f"c{i}" for i in range(120)])  # fmt: skip
    obsm = {"spatial": rng.uniform(0, 500, (120, 2)), "X_lloki": rng.uniform(size=(120, 4)),
            joined.umap_key("X_lloki"): rng.uniform(size=(120, 2))}  # fmt: skip
    focus = obs["kind"] == "F"
    cells = pd.DataFrame({
        "cell": obs.index[focus], "sample": obs["sample"][focus].to_numpy(),
        "field": rng.random(40), "group": rng.random(40) < 0.5, "score": rng.normal(size=40),
    })  # fmt: skip
    by_slice = pd.DataFrame({
        "gene": ["Up1", "Up1", "Down1"], "sample": ["a", "b", "a"], "change": [1.0, np.nan, -1],
        "share_group": [0.5, np.nan, 0.3], "guarded": [False, True, False],
    })  # fmt: skip
    genes = pd.DataFrame({
        "gene": ["Up1", "Down1", "None1"], "direction": ["up", "down", None],
        "weight": [0.9, -0.8, 0], "r": [0.3, -0.2, 0], "fdr": [0.01, 0.2, 1], "slices": [2, 1, 2],
    })  # fmt: skip
    bands = pd.DataFrame({
        "sample": ["a", "b", "b"], "from_um": [0, 0, 200], "to_um": [20, 20, np.inf],
        "sem": [0.1, 0.2, None], "score": [0.3, 0.2, -0.1],
    })  # fmt: skip
    record = {"focus": "F", "neighbour": "B", "r": 0.3, "naive_r": 0.4, "null": [0.0, 0.1, 0.35],
              "naive_null": [0.1, 0.2, 0.5], "slices": [{"sample": "a"}, {"sample": "b"}],
              "label_key": "kind", "verdict": "a program of F near <B>"}  # fmt: skip
    tables = {"cells": cells, "genes": genes, "genes_by_slice": by_slice, "bands": bands}
    table = pd.DataFrame({
        "focus": ["F", "C"], "neighbour": ["B", "B"], "cells": 40, "slices": 2, "r": [0.3, 0.0],
        "p": [0.005, 0.5], "q": [0.01, 0.5], "naive_r": [0.4, 0.2], "found": [True, False],
        "verdict": ["", ""], "folder": ["F_near_B", "C_near_B"],
    })  # fmt: skip
    shown = [niches.Niche("F_near_B", record, tables)]
    data = ad.AnnData(obs=obs, obsm=obsm)
    return Material([], data, label_key="kind", niches=shown, niches_table=table)


def test_the_section_has_every_pair_and_the_pictures_of_the_first(material):
    section = niches.niches(material)
    for words in ("F near B", "C near B", "not above chance", "a program of F near &lt;B&gt;",
                  "Up1</td>"):  # fmt: skip
        assert words in html(section), words
    drawn = niches.pictures(material)
    kinds = ("null", "genes", "map", "umap")
    assert set(drawn) == {f"niche_F_near_B_{kind}" for kind in kinds}
    assert html(section).count("<img") == len(drawn)


def test_no_pair_with_enough_cells_is_told(material):
    none = replace(material, niches=[], niches_table=material.niches_table[:0])
    assert "No slice has enough cells" in html(niches.niches(none))


def test_the_null_s_picture_tells_both_correlations_and_their_chance(material):
    axes = niches.pictures(material)["niche_F_near_B_null"].axes
    assert axes[0].get_title() == "naive: r 0.40, p 0.5"
    assert axes[1].get_title() == "cross-fitted: r 0.30, p 0.5"
    assert [text.get_text() for text in axes[2].get_xticklabels()] == ["0–20", "≥200"]


def test_neighbours_are_those_of_the_kind_or_of_the_column(material):
    niche = material.niches[0]
    rows = material.data.obs_names.get_indexer(niche.tables["cells"]["cell"])
    found = niches.places(material, niche, niche.tables["cells"], rows)
    assert {name: len(near) for name, (near, _, _) in found.items()} == {"a": 20, "b": 20}
    material.data.obs["lloki_label"] = np.tile(["B", "B", "C"], 40)  # two of three carried over
    material.data.obs.loc[material.data.obs["sample"] == "b", "kind"] = None
    found = niches.places(material, niche, niche.tables["cells"], rows)
    assert {name: len(near) for name, (near, _, _) in found.items()} == {"a": 20, "b": 40}
    niche.record["neighbour"] = "domain=2"
    found = niches.places(material, niche, niche.tables["cells"], rows)
    assert len(found["a"][0]) == 30 and len(found["a"][1]) == 20


def test_no_genes_no_umap_no_program(material):
    material.niches[0].tables["genes"]["direction"] = None
    del material.data.obsm[joined.umap_key("X_lloki")]
    assert set(niches.pictures(material)) == {"niche_F_near_B_null", "niche_F_near_B_map"}
    bare = Material(records=[], data=material.data)
    assert "--niche</code> FOCUS:NEIGHBOUR" in html(niches.niches(bare))
    assert niches.pictures(bare) == {}


def test_genes_that_were_guarded_are_crosses(material):
    tables = material.niches[0].tables
    assert figure_niches.best_genes(tables["genes"]) == ["Up1", "Down1"]
    drawn = figure_niches.gene_dots(
        tables["genes_by_slice"], ["Up1", "Down1"], {"a": "a", "b": "b"}
    )
    axes = drawn.axes[0]
    assert len(axes.collections[0].get_offsets()) == 2
    assert axes.lines[0].get_xydata().tolist() == [[1, 0]]
