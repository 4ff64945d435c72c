from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from report_page import html

from lloki.report import domains, figure_clusters
from lloki.report.material import Material


@pytest.fixture
def material():
    """Two slices with two domains, and neighbours of two labels."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({
        "sample": ["a"] * 20 + ["b"] * 20, "technology": ["X"] * 20 + ["Y"] * 20,
        "lloki_domain": pd.Categorical(rng.choice(["D1", "D2"], 40)),
    }, index=[f"c{i}" for i in range(40)])  # fmt: skip
    sizes = pd.DataFrame({
        "domain": ["D1", "D1", "D2", "D2"], "sample": ["a", "b"] * 2, "technology": ["X", "Y"] * 2,
        "cells": [15, 5, 5, 15], "share": [0.75, 0.25, 0.25, 0.75], "labels": ["glia 60%"] * 4,
    })  # fmt: skip
    pairs = [
        (s, a, b) for s in ("a", "all") for a in ("glia", "neuron") for b in ("glia", "neuron")
    ]
    near = pd.DataFrame(pairs, columns=["sample", "label", "neighbour"])
    near["log2"], near["z"] = [1.5, -1, -1, 1.2] * 2, [9, -9, -9, np.nan] * 2
    tables = {"domains": sizes, "label_neighbours": near}
    data = ad.AnnData(obs=obs, obsm={"spatial": rng.random((40, 2))})
    return Material(records=[], data=data, annotation=tables)


def test_the_section_has_a_row_a_domain_and_a_map_a_slice(material):
    content = html(domains.domains(material))
    assert content.count("<tr>") == 3 and "75%" in content and "glia 60%" in content
    assert content.count("data:image/png") == 3
    material.annotation.pop("domains")
    assert "Not in this report" in html(domains.domains(material))
    assert domains.pictures(replace(material, made={})) == {}


def test_neighbours_are_drawn_with_a_dot_where_they_are_sure(material):
    drawn = figure_clusters.neighbour_map(material.annotation["label_neighbours"])
    axes = drawn.axes[0]
    assert len(axes.collections[0].get_offsets()) == 3
    np.testing.assert_allclose(axes.images[0].get_array(), [[1.5, -1], [-1, 1.2]])
