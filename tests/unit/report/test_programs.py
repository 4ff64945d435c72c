"""The report's section on metagenes: a table, pictures, honest where something is missing."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from report_page import html

from lloki.report import figures, programs
from lloki.report.material import Material

NAMES = ["M1", "M2", "M3"]
TYPES = ["neurons", "glia"]


@pytest.fixture
def material():
    """Two slices of 60 cells, three metagenes, all tables."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({
        "sample": np.repeat(["a", "b"], 60), "technology": np.repeat(["S", "T"], 60),
    }, index=[f"c{i}" for i in range(120)])  # fmt: skip
    obsm = {"spatial": rng.uniform(0, 500, (120, 2)), "X_lloki": rng.uniform(size=(120, 4)),
            "X_metagenes": rng.dirichlet(np.ones(3), 120).astype(np.float32)}  # fmt: skip
    pairs = [(s, t, m) for s in "ab" for t in TYPES for m in NAMES]
    enrichment = pd.DataFrame(pairs, columns=["sample", "type", "metagene"])
    affinity = pd.DataFrame([[-3, -1, 2], [-1, -2, 1], [2, 1, -1]], columns=NAMES)
    found = {
        "programs": pd.DataFrame({
            "metagene": NAMES, "type": ["<glia>", None, None], "share": [0.5, 0.3, 0.2],
            "leads": [0.6, 0.3, 0.1], "stability": [0.9, 0.6, np.nan],
            "lamp": ["green", "amber", None], "moran": [0.4, 0.1, np.nan],
            "genes": ["Plp1, Mbp", "", None],
        }),
        "enrichment": enrichment.assign(mean=0.2, share=0.5, auc=0.7),
        "moran": pd.DataFrame({"sample": list("aaabbb"), "metagene": NAMES * 2, "I": 0.3}),
        "affinity": affinity.assign(metagene=NAMES),
        "objective": pd.DataFrame({"phase": ["plain", "field"], "objective": [-1.0, -2.0]}),
        "markers": pd.DataFrame({
            "metagene": ["M1", "M1", "M2"], "sample": ["a", "b", "a"],
            "gene": ["Plp1", "Mbp", "Sst"], "share_above": 0.8, "log2_fold_change": 2.0,
        }),
        "routes": pd.DataFrame({
            "route": ["LLOKI", "each alone"], "type": "glia", "auc": [0.9, 0.6],
        }),
        "gene_sets": pd.DataFrame({
            "metagene": ["M1"], "set": ["myelin"], "genes": [7], "auc": [0.9], "fdr": [0.001],
        }),
    }  # fmt: skip
    return Material(records=[], data=ad.AnnData(obs=obs, obsm=obsm), metagenes=found)


def test_the_section_has_the_table_and_a_picture_of_each_kind(material):
    section = programs.metagenes(material)
    for words in ("&lt;glia&gt;", "0.90", "Plp1, Mbp", "myelin", "each alone", "lamp good"):
        assert words in html(section), words
    drawn = programs.pictures(material)
    kinds = ("types", "affinity", "objective", "moran", "markers", *NAMES)
    assert set(drawn) == {f"metagenes_{kind}" for kind in kinds}
    assert html(section).count("<img") == len(drawn)


def test_lines_join_what_lives_side_by_side(material):
    (axes,) = programs.pictures(material)["metagenes_affinity"].axes
    (line,) = axes.lines  # the one negative entry between two metagenes
    first, second = axes.collections[0].get_offsets()[:2]
    np.testing.assert_allclose(line.get_xydata(), [first, second])


def test_dots_are_only_where_a_gene_was_measured(material):
    axes = programs.pictures(material)["metagenes_markers"].axes[0]
    genes = [text.get_text() for text in axes.get_yticklabels()]
    places = {(genes[int(y)], int(x)) for x, y in axes.collections[0].get_offsets()}
    assert places == {("Plp1", 0), ("Mbp", 1), ("Sst", 0)}


def test_without_labels_markers_and_mixtures_the_rest_is_there(material):
    for name in ("enrichment", "markers"):
        material.metagenes[name] = material.metagenes[name][:0]
    for name in ("objective", "routes", "gene_sets"):
        del material.metagenes[name]
    del material.data.obsm["X_metagenes"]
    assert set(programs.pictures(material)) == {"metagenes_affinity", "metagenes_moran"}
    assert "M2" in html(programs.metagenes(material))


def test_without_metagenes_it_says_how_to_get_them(material):
    bare = Material(records=[], data=material.data)
    assert "--metagenes" in html(programs.metagenes(bare))
    assert programs.pictures(bare) == {}


def test_many_cells_are_drawn_as_an_image(material, monkeypatch):
    from lloki.report import figure_metagenes

    monkeypatch.setattr(figure_metagenes, "MAX_POINTS", 50)
    drawn = programs.pictures(material)["metagenes_M1"]
    assert all(len(axes.collections) == 1 for axes in drawn.axes[:2])
    assert len(figures.png(drawn)) > 1000
