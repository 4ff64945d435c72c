"""Verdicts of slices and of the run: each threshold from both sides, the words by name."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki.report import page, verdicts
from lloki.report.cautions import cautions
from lloki.report.material import Material

SAMPLES = ("a", "b")


def material(*records, expression=None, **tables):
    """Two slices of four cells, with these records and tables."""
    obs = pd.DataFrame(
        {"sample": np.repeat(SAMPLES, 4), "technology": np.repeat(["S", "T"], 4)},
        index=[f"c{i}" for i in range(8)],
    )
    obsm = {"spatial": np.arange(16.0).reshape(8, 2), "X_lloki": np.eye(8)}
    data = ad.AnnData(obs=obs, obsm={**obsm, "spatial_aligned": obsm["spatial"]})
    return Material(records=records, data=data, expression=expression, **tables)


def found(topic, *records, **tables):
    """The level and words of a topic of slice a, or None."""
    own = [one for one in verdicts.of_slice(material(*records, **tables), "a")
           if one.topic == topic]  # fmt: skip
    return (own[0].level, own[0].words) if own else None


def of(stage, **figures):
    return {"stage": stage, "sample": "a", **figures}


@pytest.mark.parametrize(("dropped", "level"), [(19, "good"), (21, "doubt"), (51, "bad")])
def test_dropped_cells(dropped, level):
    record = of("prepare_slice", cells_chosen=100, cells_dropped=dropped)
    assert found("cells", record)[0] == level


@pytest.mark.parametrize(("rate", "level"), [(0.04, None), (0.06, "doubt"), (0.3, "bad")])
def test_controls(rate, level):
    one = found("controls", of("prepare_slice", control_rate=rate))
    assert (one and one[0]) == level


@pytest.mark.parametrize(("shared", "level"), [(20, "good"), (19, "doubt"), (9, "bad")])
def test_genes_in_the_reference(shared, level):
    record = of("ot_sparsity", genes_shared=shared, genes=33)
    assert found("reference", record) == (level, f"{shared} of its 33 genes are in the reference.")


@pytest.mark.parametrize(("shared", "level"), [(7, "good"), (6, "doubt"), (0, "bad")])
def test_genes_shared_with_other_slices(shared, level):
    names = [f"g{i}" for i in range(9)]
    other = {"stage": "prepare_slice", "sample": "b", "gene_names": [*names[:shared], "other"]}
    one = found("shared genes", of("prepare_slice", gene_names=names), other)
    assert one == (level, f"It shares {shared} genes with b, its closest slice.")


def test_propagation_that_did_nothing_is_told_first_of_a_good_slice():
    figures = {"nonzero_fraction_before": 0.71, "nonzero_fraction_after": 0.71}
    record = of("impute", values_imputed=0, nonzero_fraction_target=0.18, **figures)
    level, words = found("propagation", record)
    assert level == "good" and words.startswith("Nothing imputed: denser than the reference (71%")
    assert page.verdict(material(record)).slices[0].words == words
    record = of("impute", values_imputed=5, **figures)
    assert found("propagation", record)[1].startswith("Propagation raised")


@pytest.mark.parametrize(("share", "level"), [(0.19, "good"), (0.3, "doubt"), (0.6, "bad")])
def test_unknown_cells(share, level):
    record = {"stage": "annotate", "unknown": {"a": share}}
    assert found("unknown cells", record)[0] == level
    assert found("unknown cells", {"stage": "annotate", "unknown": {"a": 0.0}}) is None


@pytest.mark.parametrize(("right", "level"), [(0.6, None), (0.59, "doubt"), (0.3, "bad")])
def test_labels_found_again(right, level):
    one = found("labels", {"stage": "annotate", "held_out": [{"sample": "a", "accuracy": right}]})
    assert (one and one[0]) == level


def motions(method, reason=None):
    return pd.DataFrame({
        "sample": ["a", "b"], "reference": ["b", "b"], "method": [method, "identity"],
        "rmsd": [12.4, np.nan], "reason": [reason, "the reference itself"],
    })  # fmt: skip


def test_a_slice_on_which_others_lie_is_aligned():
    table = motions("robust")
    table.loc[2] = ["c", "c", "identity", np.nan, "the reference itself"]
    table.loc[1, ["reference", "reason"]] = "c", "chance"
    (one,) = [
        f for f in verdicts.of_slice(material(transforms=table), "b") if f.topic == "alignment"
    ]
    assert (one.level, one.words) == ("good", "Aligned to it: a.")


def test_a_slice_without_labels_is_no_doubt():
    warning = "a has no column 'type' (none): its cells count as not labelled"
    record = of("prepare_slice", warnings=[warning])
    assert found("input", record) is None
    (one,) = cautions([record], ["a"])
    assert one.level == "good" and "carried over" in one.remedy


def test_alignment_of_a_slice_and_of_the_run():
    level, words = found("alignment", transforms=motions("robust"))
    assert (level, words) == ("good", "Aligned to b; landmarks lie 12 µm from their partners.")
    refused = motions("identity", "too few landmarks")
    assert found("alignment", transforms=refused) == (
        "doubt", "Not aligned to b: too few landmarks."
    )  # fmt: skip
    for table, level in ((motions("robust"), "good"), (refused, "doubt")):
        (one,) = [f for f in verdicts.of_run(material(transforms=table)) if f.topic == "alignment"]
        assert one.level == level


@pytest.mark.parametrize(
    ("metric", "before", "after", "level"),
    [("iLISI", 0.1, 0.2, "good"), ("iLISI", 0.1, 0.09, "doubt"),
     ("Bio conservation", 0.5, 0.49, "good"), ("Bio conservation", 0.5, 0.47, "doubt")],
)  # fmt: skip
def test_scores_against_what_was_before(metric, before, after, level):
    rows = [("X_pca_shared", metric, before), ("X_lloki", metric, after)]
    table = pd.DataFrame(rows, columns=["embedding", "metric", "value"])
    (one,) = verdicts.of_run(material(metrics=table))
    assert one.level == level


@pytest.mark.parametrize(
    ("losses", "level"),
    [(np.r_[np.linspace(9, 1, 80), np.ones(20)], "good"), (np.linspace(9, 1, 100), "doubt"),
     (np.ones(100), "bad")],
)  # fmt: skip
def test_training(losses, level):
    history = pd.DataFrame({"epoch": range(len(losses)), "total": losses})
    (one,) = verdicts.of_run(material(history=history))
    assert (one.topic, one.level) == ("training", level)


def test_the_worst_names_the_run_s_verdict():
    records = (of("prepare_slice", control_rate=0.3), of("ot_sparsity", genes_shared=19))
    whole = page.verdict(material(*records))
    assert (whole.level, whole.words) == ("bad", "Mend controls before using these results")
    assert [one.level for one in whole.slices] == ["bad", "good"]
    assert page.verdict(material()).words.startswith("Nothing stands in the way")


def test_warnings_name_slices_weigh_and_say_what_to_do():
    records = [
        {"stage": "prepare_slice", "sample": "a", "warnings": ["a: 3 of 9 cells were dropped"]},
        {"stage": "impute", "sample": "a",
         "warnings": ["a.slice.h5ad: every cell holds its target, so nothing was imputed"]},
        {"stage": "align", "warnings": ["b is not aligned to a: no landmarks"]},
        {"stage": "check_inputs", "warnings": ["a and b are files of the same content"]},
        {"stage": "new", "warnings": ["something odd; do this", "something odd; do this"]},
    ]  # fmt: skip
    told = [(one.sample, one.level, one.text, one.remedy) for one in cautions(records, SAMPLES)]
    assert told[0][:3] == (None, "bad", "a and b are files of the same content")
    assert (None, "doubt", "something odd", "do this") in told and len(told) == 5
    assert {one[0] for one in told if "aligned" in one[2]} == {"b"}
    imputed = next(one for one in told if "imputed" in one[2])
    assert imputed[1] == "good" and imputed[2].startswith("every cell")
    topics = {one.topic for one in verdicts.of_run(material(*records))}
    assert topics == {"inputs checked against each other", "new"}


def test_a_remedy_that_a_stage_tells_is_told_once():
    said = "C1: strewn among others in space; brought together too little: raise --lambda_bc"
    lost = "9 of 12 cells have no count in any shared gene; they are kept"
    told = cautions([{"stage": "cluster", "warnings": [said, lost]}], ["a"])
    assert [(one.level, one.text, one.remedy) for one in told] == [
        (
            "doubt",
            "C1: strewn among others in space",
            "brought together too little: raise --lambda_bc",
        ),
        ("good", "9 of 12 cells have no count in any shared gene", "they are kept"),
    ]
