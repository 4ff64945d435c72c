"""The report's section on clusters: a table, pictures, gaps where a panel lacks a gene."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from report_page import html

from lloki.report import clusters, figure_clusters
from lloki.report.material import Material

NAMES = ["C1", "C2", "C3"]


@pytest.fixture
def material():
    """Two slices of 60 cells in three clusters, all tables; gene g3 is in panel P alone."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({
        "sample": np.repeat(["a", "b"], 60), "technology": np.repeat(["S", "T"], 60),
        "lloki_cluster": pd.Categorical(np.resize(NAMES, 120)),
    }, index=[f"c{i}" for i in range(120)])  # fmt: skip
    obsm = {"spatial": rng.uniform(0, 500, (120, 2)), "X_lloki": rng.uniform(size=(120, 4)),
            "X_umap": rng.uniform(size=(120, 2))}  # fmt: skip
    genes = ["g1", "g2", "g3"]
    tables = {
        "clusters": pd.DataFrame({
            "cluster": NAMES, "name": ["<glia>", None, None], "name_share": [0.9, np.nan, np.nan],
            "cells": 40, "technology": "S", "technology_share": [0.5, 0.5, 1], "flag":
            [None, None, "batch"], "together": [0.4, np.nan, 0.1], "elsewhere": np.nan,
        }),
        "sizes": pd.DataFrame({
            "cluster": np.repeat(NAMES, 2), "sample": list("ab") * 3,
            "technology": list("ST") * 3, "cells": 20,
        }),
        "markers": pd.DataFrame({
            "cluster": np.repeat(NAMES, 3), "gene": genes * 3, "slices": [2, 2, 1] * 3,
            "auc": np.tile([0.9, 0.8, 0.3], 3), "fdr": [0.01, 0.2, 0.01] * 3,
        }),
        "markers_by_panel": pd.DataFrame(
            [(c, g, p, 0.5, 0.7) for p in "PQ" for g in genes[: 3 - (p == "Q")] for c in NAMES],
            columns=["cluster", "gene", "panel", "share", "auc"],
        ),
    }  # fmt: skip
    return Material(records=[], data=ad.AnnData(obs=obs, obsm=obsm), annotation=tables)


def test_the_section_has_the_table_and_the_pictures(material):
    content = html(clusters.clusters(material))
    for words in ("&lt;glia&gt;", "0.9", "batch", "S 50%", "g1"):
        assert words in content, words
    text = content.split("<img")[0]
    assert "g2" not in text and "g3" not in text  # not sure; lower
    assert content.count("<img") == 2
    assert set(clusters.pictures(material)) == {"clusters_shares", "clusters_markers"}


def test_a_gene_that_a_panel_lacks_is_a_gap_and_no_dot(material):
    dots = material.annotation["markers_by_panel"]
    drawn = figure_clusters.marker_dots(dots, ["g1", "g3"], NAMES)
    first, second = (axes for axes in drawn.axes if axes.get_title(loc="left") in ("P", "Q"))
    assert len(first.collections[0].get_offsets()) == 6 and not first.patches
    assert len(second.collections[0].get_offsets()) == 3
    (gap,) = second.patches
    assert gap.get_x() == 0.5 and gap.get_width() == 1


def test_bars_of_a_technology_add_up(material):
    (axes,) = figure_clusters.shares(material.annotation["sizes"], {"C1": "#ff0000"}).axes
    for row in (0, 1):
        own = [bar for bar in axes.patches if abs(bar.get_y() + 0.375 - row) < 1e-6]
        assert sum(bar.get_width() for bar in own) == pytest.approx(1) and len(own) == 3


def test_without_clusters_or_markers_it_says_so(material):
    bare = Material(records=[], data=material.data)
    assert "--cluster" in html(clusters.clusters(bare)) and not clusters.pictures(bare)
    for name in ("markers", "markers_by_panel"):
        material.annotation[name] = material.annotation[name][:0]
    del material.data.obs["lloki_cluster"]
    assert set(clusters.pictures(material)) == {"clusters_shares"}
    assert "C2" in html(clusters.clusters(material))
    assert material.clusters.values[0].startswith("cluster ")


def test_cells_are_coloured_by_the_clusters_that_were_found(material):
    assert set(material.clusters.values) == set(NAMES)
    assert material.clusters.name == "LLOKI cluster"
