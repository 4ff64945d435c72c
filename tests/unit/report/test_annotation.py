"""The report's section on labels carried over: tables, pictures, honest where something lacks."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from report_page import html

from lloki.report import annotation, figures
from lloki.report.material import Material


@pytest.fixture
def material():
    """Two slices of 60 cells, one of them labelled, and all tables."""
    rng = np.random.default_rng(0)
    own = np.repeat([True, False], 60)
    label = np.where(rng.random(120) < 0.5, "<glia>", "neuron").astype(object)
    label[-6:] = "unknown"
    obs = pd.DataFrame({
        "sample": np.repeat(["a", "b"], 60), "technology": np.repeat(["S", "T"], 60),
        "lloki_label": pd.Categorical(label), "lloki_label_probability": rng.random(120),
        "lloki_label_source": pd.Categorical(np.where(own, "given", "slices")),
    }, index=[f"c{i}" for i in range(120)])  # fmt: skip
    obsm = {"spatial": rng.uniform(0, 500, (120, 2)), "X_lloki": rng.uniform(size=(120, 4)),
            "X_umap": rng.uniform(size=(120, 2))}  # fmt: skip
    tables = {
        "held_out": pd.DataFrame({"sample": ["a"], "hidden": ["a"], "cells": [60],
                                  "accuracy": [0.913], "unknown": [np.nan]}),
        "reliability": pd.DataFrame({"sample": "a", "probability": [0.3, 0.8],
                                     "right": [0.25, 0.9], "cells": [20, 40]}),
        "correspondence": pd.DataFrame({
            "label": ["A", "A", "B"], "to": ["p", "q", "q"], "share": [0.8, 0.2, 0.9],
            "proposed": [True, False, True], "vocabulary": "one", "other": "two",
        }),
    }  # fmt: skip
    return Material(records=[], data=ad.AnnData(obs=obs, obsm=obsm), annotation=tables)


def test_the_section_has_tables_and_a_picture_of_each_kind(material):
    content = html(annotation.labels(material))
    for words in ("&lt;glia&gt;", "0.913", "10.0%", "neuron"):
        assert words in content, words
    drawn = annotation.pictures(material)
    kinds = ("umap", "probability", "reliability", "map", "words_1")
    assert set(drawn) == {f"labels_{kind}" for kind in kinds}
    assert content.count("<img") == len(drawn) - 1  # the page colours its own UMAP


def test_the_picture_is_of_lloki_among_other_methods(material):
    other = np.zeros((120, 2))
    embeddings = ad.AnnData(obs=material.data.obs, obsm={"X_umap_imputed": other})
    scores = pd.DataFrame({"embedding": ["X_imputed"], "metric": ["iLISI"], "value": [0.2]})
    many = replace(material, embeddings=embeddings, metrics=scores)
    assert list(many.umaps) == ["LLOKI", "Imputed from the reference"]
    assert annotation.pictures(many)["labels_umap"].axes[0].get_title() == "LLOKI"


def test_proposed_pairs_are_framed(material):
    axes = annotation.pictures(material)["labels_words_1"].axes[0]
    assert [patch.get_xy() for patch in axes.patches] == [(0, 0), (1, 1)]
    np.testing.assert_allclose(axes.collections[0].get_array().ravel(), [0.8, 0.2, 0, 0.9])


def test_unknown_cells_are_grey(material):
    by = figures.colouring_of(material.data, "lloki_label")
    assert set(by.colours) == {"<glia>", "neuron"}


def test_without_labels_that_were_hidden_it_says_so(material):
    for name in list(material.annotation):
        del material.annotation[name]
    assert "not known" in html(annotation.labels(material))
    assert set(annotation.pictures(material)) == {
        "labels_umap", "labels_probability", "labels_map",
    }  # fmt: skip


def test_without_labels_it_says_how_to_get_them(material):
    bare = Material(records=[], data=material.data.copy())
    del bare.data.obs["lloki_label"]
    assert "--reference_labels" in html(annotation.labels(bare))
    assert annotation.pictures(bare) == {}
