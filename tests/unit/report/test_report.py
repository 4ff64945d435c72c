"""The report's sections and pictures: right with all material, honest without."""

import io
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_page import html

from lloki.report import figures, material, page, report, results, run, scores
from lloki.report.blocks import Note, Picture, Plot, Section, Table, shown
from lloki.report.material import Material

BIN = Path(__file__).parents[3] / "bin"


def joined(samples=("a", "b"), cells=40, labels=3, **obsm):
    """Slices side by side, as integrate.py writes them, of made-up cells."""
    rng = np.random.default_rng(0)
    n = cells * len(samples)
    data = ad.AnnData(
        obs=pd.DataFrame(
            {
                "sample": np.repeat(samples, cells),
                "technology": np.repeat([f"T{i % 3}" for i in range(len(samples))], cells),
                "panel": "p",
                "type": [f"type {i}" for i in rng.integers(labels, size=n)],
            },
            index=[f"c{i}" for i in range(n)],
        ),
        obsm={
            "spatial": rng.uniform(0, 800, (n, 2)), "X_lloki": rng.normal(size=(n, 4)),
            "X_umap": rng.normal(size=(n, 2)), "X_umap_fp": rng.normal(size=(n, 2)), **obsm,
        },
        uns={"lloki": {"embedder": "mosaic", "shared_genes": ["Gad1", "Sst"]}},
    )  # fmt: skip
    return data


def summary_of(low):
    return {"mean": low + 0.2, "quantiles": [low, low + 0.1, low + 0.2, low + 0.3, low + 0.4]}


@pytest.fixture
def whole():
    """Material for every section."""
    data = joined()
    data.obsm["spatial_aligned"] = data.obsm["spatial"] + 5
    records = [
        {
            "stage": "ot_sparsity", "sample": "a", "genes_shared": 12, "seconds": 2.5,
            "peak_memory_mb": 200, "warnings": ["few <genes>"], "versions": {"numpy": "2.1"},
            "parameters": {"min_shared_genes": 10}, "sparsity_before": summary_of(0.2),
            "sparsity_target": summary_of(0.5),
        },
        {"stage": "impute", "sample": "a", "sparsity_after": summary_of(0.4)},
        {"stage": "mosaic_embed", "sample": "a", "genes_found": 31},
        {
            "stage": "benchmark", "cells": 80, "cells_scored": 80, "cells_labelled": 70,
            "label_key": "type", "batch_key": "technology", "scib_metrics": "0.6.1",
            "versions": {"numpy": "2.2"},
        },
        {"stage": "something new", "seconds": 1.0},
    ]  # fmt: skip
    scores = [("X_lloki", "cLISI", "bio", 0.9), ("X_other", "cLISI", "bio", 0.4)]
    return Material(
        records=records, data=data, label_key="type",
        metrics=pd.DataFrame(scores, columns=["embedding", "metric", "group", "value"]),
        history=pd.DataFrame({"epoch": [1, 2, 3], "total": [3.0, 2.0, 1.5], "note": list("xyz")}),
        transforms=pd.DataFrame({
            "sample": ["a", "b"], "reference": ["b", "b"], "method": ["robust", "identity"],
            "r00": [0.0, 1], "r01": [-1.0, 0], "r10": [1.0, 0], "r11": [0.0, 1], "tx": [5.0, 0],
            "rmsd": [12.5, np.nan], "reason": [None, "the reference itself"],
        }),
        versions={"ALIGN": {"python": "3.13.0"}}, params={"seed": 0},
    )  # fmt: skip


def test_every_section_is_there_with_material_and_without(whole):
    bare = Material(records=[], data=joined())
    full, empty = report.sections(whole), report.sections(bare)
    assert [s.id for s in full] == [s.id for s in empty]
    assert len({s.id for s in full}) == 10
    left = {s.id for s in full if page.is_absent(s)}
    assert left == {"labels", "clusters", "domains", "metagenes", "niches"}
    assert {s.id for s in empty if page.is_absent(s)} == left | {"alignment", "sparsity"}
    assert "Not in this report: scores" in html(next(s for s in empty if s.id == "metrics"))


def test_figures_of_the_stages_stand_in_their_sections(whole):
    sections = {s.id: s for s in report.sections(whole)}
    (table,) = (b for b in sections["quality"].blocks if b.kind == "table")
    assert table.rows[0][:4] == ("a", "T0", "p", 40) and table.rows[0][4] is None  # not recorded
    (plot,) = (b for b in run.training(whole) if b.kind == "plot")
    assert [(t["name"], t["x"], t["y"]) for t in plot.traces] == [("total", [1, 2, 3], [3, 2, 1.5])]
    assert "no pretrained weights" in report.sentence(whole)
    details = html(sections["details"])
    for words in ("something new", "2.1 (Target sparsity", "2.2 (Scores)", "3.13.0"):
        assert words in details, words
    whole.records[3]["not_run"] = {"harmony": "no <image>"}
    told = html(scores.scores(whole))
    assert "70 of them with a label" in told
    assert "Harmony was not run: no &lt;image&gt;" in told
    assert "90.0°" in html(sections["alignment"])


def test_files_are_linked_from_the_folder_of_the_results():
    rows = [{"slice": "a", "stage": "prepare_slice", "file": "s3://b/out/slices/a/a.slice.json"},
            {"slice": None, "stage": "report", "file": "s3://b/out/report.html"}]  # fmt: skip
    content = html(run.details(Material(records=[], data=joined(), index=rows)))
    assert 'href="slices/a/a.slice.json"' in content and 'href="report.html"' in content
    assert "Slices read and normalised" in content


def test_scores_by_samples_say_so(whole):
    assert "samples:" not in html(scores.scores(whole))
    found = next(record for record in whole.records if record["stage"] == "benchmark")
    found["draws"] = 3
    whole.metrics["spread"] = [0.012, 0.004]
    said = html(scores.scores(whole))
    assert "So many in each of 3 samples" in said and "(0.012 at most, cLISI)" in said


def test_an_scgpt_embedding_is_named_and_cited():
    data = joined()
    data.uns["lloki"]["embedder"] = "scgpt"
    material = Material(records=[{"stage": "scgpt_embed", "checkpoint": "human_v1"}], data=data)
    assert "scGPT, a pretrained transformer (checkpoint human_v1)" in report.sentence(material)
    assert any("Cui H" in work for work in report.citations(material))
    data.uns = {}
    unknown = report.sentence(Material(records=[], data=data))
    assert "an embedder that the file does not name" in unknown


def test_slices_of_a_frame_are_pictured_together_the_others_named(whole):
    ((frame, (before, after)),) = results.overlays(whole).items()
    assert frame == "b" and set(before) == {"a", "b"}
    np.testing.assert_allclose(before["a"].mean(axis=0), 0, atol=1e-9)
    np.testing.assert_array_equal(after["a"], whole.data.obsm["spatial_aligned"][:40])
    assert "a, b lie in the frame of b." in html(results.alignment(whole))
    whole.transforms["method"] = "identity"
    whole.transforms["reason"] = ["landmarks <disagree>", "the reference itself"]
    alone = Material(records=[], data=whole.data, transforms=whole.transforms)
    said = html(results.alignment(alone))
    assert "a, b are not aligned with any other" in said and "landmarks &lt;disagree&gt;" in said
    assert "<img" not in said and results.overlays(alone) == {}


@pytest.mark.parametrize(
    ("matrix", "told"),
    [((0, -1, 1, 0), "90.0°"), ((1, 0, 0, -1), "0.0°, mirrored"), (("", 0, 0, 1), None)],
)
def test_rotation_in_words(matrix, told):
    row = dict(zip(("r00", "r01", "r10", "r11"), matrix, strict=True))
    assert results.turn(row) == told
    assert results.turn({}) is None


def test_score_table_is_in_one_order_and_marks_the_best():
    rows = [
        ("X_lloki", "Batch correction", "aggregate", 0.8), ("X_lloki", "cLISI", "bio", 0.9),
        ("mine", "cLISI", "bio", 0.95), ("X_pca_shared", "cLISI", "bio", 0.5),
        ("X_lloki", "Isolated labels", "bio", 0.3),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["embedding", "metric", "group", "value"])
    rows.append(("mine", "Batch correction", "aggregate", 0.9))
    table = pd.DataFrame(rows, columns=["embedding", "metric", "group", "value"])
    wide = scores.score_table(table)
    assert wide.index.tolist() == ["Batch correction", "Isolated labels", "cLISI"]
    assert wide.columns.tolist() == ["mine", "X_lloki", "X_pca_shared"]  # the best first
    best = [scores.is_best(wide.loc["cLISI"], v) for v in wide.loc["cLISI"]]
    assert best == [True, False, False]
    assert not scores.is_best(wide.loc["Isolated labels"], 0.3)  # there is no other
    content = html(Section("x", "x", "", [scores.score_rows(wide)]))
    assert content.count('best"') == 2
    assert scores.groups(wide) == {
        "Means": ["Batch correction"], "Biology conserved": ["Isolated labels", "cLISI"]
    }  # fmt: skip


def test_records_that_lack_a_key_do_no_harm():
    records = [
        {"stage": "ot_sparsity", "sample": "a", "sparsity_before": {"mean": 0.2}},
        {"stage": "ot_sparsity", "sample": "b", "sparsity_before": 0.2},
        {"sample": "b"},
        {"stage": "align", "parameters": {}, "warnings": []},
    ]
    assert run.sparsities(Material(records=records, data=joined())) == {}
    material = Material(records=records, data=joined())
    assert all(html(section) for section in report.sections(material))
    assert page.verdict(material).level == "good"


def test_slices_without_labels_are_shown_by_cluster_too():
    data = joined()
    material = Material(records=[], data=data, label_key="type")
    assert [by.name for by in results.map_colourings(material)] == ["type"]
    data.obs.loc[data.obs["sample"] == "b", "type"] = None
    material = Material(records=[], data=data, label_key="type")
    names = [by.name for by in results.map_colourings(material)]
    assert names == ["type", "LLOKI cluster"]
    material = Material(records=[], data=data)
    assert [by.name for by in results.map_colourings(material)] == ["LLOKI cluster"]


def test_clusters_of_many_cells_are_those_of_a_draw(monkeypatch):
    data, rng = joined(cells=400), np.random.default_rng(0)
    kind = np.arange(data.n_obs) % material.CLUSTERS
    data.obsm["X_lloki"] = (10 * np.eye(12)[kind] + rng.normal(size=(data.n_obs, 12)) / 9).astype(
        "f4"
    )
    whole = Material(records=[], data=data).clusters.values
    monkeypatch.setattr(material, "DRAWN", 200)
    drawn = Material(records=[], data=data).clusters.values
    assert len(set(zip(whole, drawn, strict=True))) == len(set(kind)) == len(set(drawn))


def test_slices_of_one_technology_are_coloured_by_slice():
    data = joined()
    assert Material(records=[], data=data).batches.name == "technology"
    data.obs["technology"] = "T0"
    by = Material(records=[], data=data).batches
    assert (by.name, set(by.colours)) == ("slice", {"a", "b"})


def test_text_from_the_data_is_escaped():
    blocks = [Table("t", ["<b>x"], [["<b>y"]]), Picture(b"", '">'), Note("<b>z"),
              Plot("p", [{"name": "</script><b>"}], {"height": 9})]  # fmt: skip
    content = html(Section("s", "<b>", "<b>", blocks))
    assert "<b>" not in content and content.count("</script>") == 1
    assert 'alt="&#34;&gt;' in content
    assert [shown(v) for v in (None, float("nan"), True, 12345, 0.00051, 1234.5)] == [
        "–", "–", "yes", "12,345", "0.00051", "1,234",
    ]  # fmt: skip


def lab(rgb, vision):
    """CIE L*a*b* (D65) of linear colours as an eye of this kind sees them."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(vision).T, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = linear @ np.array(to_xyz).T / [0.9505, 1, 1.089]
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.column_stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])]
    )


@pytest.mark.parametrize(
    "vision",
    [
        np.eye(3),
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],  # protanopia
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],  # deuteranopia
    ],
)
def test_colours_can_be_told_apart(vision):
    colours = [*figures.PALETTE, figures.GREY]
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    seen = lab(rgb, vision)
    pairs = itertools.combinations(range(len(colours)), 2)
    apart = {(i, j): np.linalg.norm(seen[i] - seen[j]) for i, j in pairs}
    assert min(apart.values()) > 7, min(apart, key=apart.get)
    assert min(d for (_, j), d in apart.items() if j < figures.FIRST) > 14
    assert (100 - seen[:, 0]).min() > 9  # none drowns in the white of the page


def test_a_colour_hangs_on_the_name():
    types = ["Excitatory", "Inhibitory", "Astrocyte", "Oligodendrocyte", "OPC", "Microglia"]
    alone = {name: figures.colouring("type", [name]).colours[name] for name in types}
    together = figures.named_colours(types)
    assert sum(together[name] == alone[name] for name in types) >= 5
    assert figures.named_colours(types[::-1]) == together
    common = figures.colouring("type", types + 9 * types[-1:])
    assert common.colours == together
    assert next(iter(common.colours)) == "Microglia"  # the commonest leads the legend
    # Whatever comes in, few change; what goes out again leaves no trace.
    for new in ("Mural", "Ependymal", "Endothelial", "Other"):
        more = figures.named_colours([*types, new])
        assert sum(more[name] != together[name] for name in types) <= 1
        assert len(set(more.values())) == 7
    many = figures.named_colours([f"t{i}" for i in range(24)])
    assert sorted(many.values()) == sorted(figures.PALETTE)
    assert set(figures.named_colours([f"t{i}" for i in range(16)]).values()) == set(
        figures.PALETTE[: figures.FIRST]
    )


def test_two_that_want_one_colour_share_it_not():
    wanted = {}
    for i in range(40):
        (shade,) = figures.named_colours([f"t{i}"]).values()
        wanted.setdefault(shade, []).append(f"t{i}")
    one, two = next(names for names in wanted.values() if len(names) > 1)[:2]
    found = figures.named_colours([one, two])
    assert found[one] != found[two]
    assert found == figures.named_colours([two, one])
    shade = figures.named_colours([one])[one]
    assert shade in found.values()  # one of them keeps it


def test_the_commonest_values_lead_and_get_colours():
    by = figures.colouring("type", ["b", "b", "a", "c", "c", None])
    assert list(by.colours) == ["b", "c", "a"]
    assert by.entries()[-1] == (figures.UNKNOWN, figures.GREY)
    many = figures.colouring("type", [f"t{i}" for i in range(30)])
    assert len(many.colours) == 24
    assert many.entries()[-1] == ("6 rarer", figures.GREY)
    assert many.of(np.array([3])).colours == many.colours  # the same in every picture


@pytest.mark.parametrize("samples", [1, 30])
def test_legends_do_not_overlap_the_maps(samples):
    names = [f"sample_{i}_with_a_rather_long_name" for i in range(samples)]
    data = joined(names, cells=30, labels=20)
    data.obs["type"] = "a rather long name of a cell " + data.obs["type"]
    material = Material(records=[], data=data, label_key="type")
    for name, drawn in report.pictures(material).items():
        drawn.draw_without_rendering()
        axes = [a for part in (drawn, *drawn.subfigs) for a in part.axes]
        legends = [a.get_legend().get_window_extent() for a in axes if a.get_legend()]
        maps = [a.get_window_extent() for a in set(axes) if a.collections]
        assert legends, name
        for box in legends:
            assert not any(box.overlaps(m) for m in maps), name
            assert box.x0 >= 0, name
            assert box.y0 >= 0, name
            assert box.x1 <= drawn.bbox.x1, name
            assert box.y1 <= drawn.bbox.y1, name
        assert not any(m.overlaps(o) for m, o in itertools.combinations(maps, 2)), name


def test_pictures_as_files(whole):
    drawn = report.pictures(whole)
    assert set(drawn) == {
        "umap",
        "slices_labels",
        "alignment",
        "sparsity",
        "training",
        "scores",
    }
    made = figures.files(drawn["sparsity"])
    assert made[".pdf"].startswith(b"%PDF")
    again = report.pictures(replace(whole, made={}))["sparsity"]
    assert again is not drawn["sparsity"] and made == figures.files(again)  # nothing of the hour
    small = Image.open(io.BytesIO(figures.png(drawn["umap"], 100)))
    assert small.size == tuple(round(100 * side) for side in drawn["umap"].get_size_inches())


def test_rare_cells_keep_their_colour_in_a_small_picture():
    rng = np.random.default_rng(0)
    values = np.array([f"t{i}" for i in range(12)])[np.minimum(rng.geometric(0.5, 4000) - 1, 11)]
    by = figures.colouring("type", values)
    drawn = figures.png(figures.umap_grid({"one": rng.normal(size=(4000, 2))}, [by]), 110)
    seen = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB"), dtype=int).reshape(-1, 3)
    for value, colour in by.colours.items():
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert np.abs(seen - wanted).max(axis=1).min() <= 24, value


@pytest.mark.parametrize("width", [300.0, 1.0])
def test_scale_bar_is_round_and_fits(width):
    places = np.array([[0, 0], [width, 2000.0]])
    by = figures.colouring("x", ["a", "a"])
    axes = figures.spatial_grid({"one": places}, {"one": by}, by).subfigs[0].axes[0]
    (bar,) = axes.lines
    length = float(np.ptp(bar.get_xdata()))
    assert length == 200
    assert axes.texts[0].get_text() == "200 µm"


def test_drawing_needs_no_display():
    code = (
        "import sys; from lloki.report import report; sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=BIN, check=True)
