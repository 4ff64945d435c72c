"""The report in a headless Chromium, desk and phone: 30 slices, 20 cell types, many methods."""

import csv
import json
import time

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from browser import SIZES, Page, find_chromium
from click.testing import CliRunner

import report
from lloki.integration import joined
from lloki.report import figures
from lloki.scores import metrics
from lloki.slices import files

SECTIONS = "verdict explorer next alignment metrics quality sparsity details citations".split()
OTHERS = "harmony scanorama".split()
METHODS = [*joined.NAMES, *(f"X_{name}" for name in OTHERS)]
GENES = ["Gad2", "Sst", "Plp1"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="no Chromium here: see tests/install_chromium.sh"
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of a large made-up run."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    samples = [f"animal_{i:02}_section_with_a_rather_long_name" for i in range(30)]
    n, each = 30 * 100, 100
    data = ad.AnnData(obs=pd.DataFrame({
        "sample": pd.Categorical(np.repeat(samples, each)),
        "technology": pd.Categorical(np.repeat([f"Technology {i % 5}" for i in range(30)], each)),
        "panel": "p",
        "type": pd.Categorical([f"a long name of cell type {i}" for i in rng.integers(20, size=n)]),
    }, index=[f"c{i}" for i in range(n)]), var=pd.DataFrame(index=GENES))  # fmt: skip
    data.X = sp.csr_matrix(rng.poisson(1, (n, len(GENES))).astype("f4"))
    data.obsm["spatial"] = rng.uniform(0, 3000, (n, 2)) * [1, 0.6]
    data.obsm["spatial_aligned"] = data.obsm["spatial"] + 10
    for key in METHODS:
        data.obsm[key] = rng.normal(size=(n, 5))
        data.obsm[joined.umap_key(key)] = rng.normal(size=(n, 2))
    for name in ("technology", "type"):
        data.uns[f"{name}_colors"] = figures.category_colours(data.obs[name])
    data.uns["lloki"] = {"embedder": "mosaic", "shared_genes": GENES}
    files.write_h5ad(data, folder / "integrated.h5ad")
    tables(folder, samples, rng)
    options = {
        "--integrated": "integrated.h5ad", "--embeddings": "integrated.h5ad",
        "--metrics": "metrics.csv", "--coherence": "coherence.csv", "--history": "history.csv",
        "--transforms": "transforms.csv",
    }  # fmt: skip
    given = [x for name, path in options.items() for x in (name, folder / path)]
    for path in sorted(folder.glob("*.json")):
        given += ["--input", path]
    given += ["--label-key", "type", "--output", folder / "report.html"]
    done = CliRunner().invoke(report.main, [str(value) for value in given])
    assert done.exit_code == 0, done.output
    return folder / "report.html"


def tables(folder, samples, rng):
    """Records, scores, losses and motions of the run."""
    rows = [(k, m, g, rng.random()) for k in METHODS for m, g in metrics.GROUPS.items()]
    pd.DataFrame(rows, columns=["embedding", "metric", "group", "value"]).to_csv(
        folder / "metrics.csv", index=False
    )
    rows = [(k, s, rng.random()) for k in METHODS for s in samples]
    pd.DataFrame(rows, columns=["embedding", "sample", "value"]).to_csv(
        folder / "coherence.csv", index=False
    )
    (folder / "history.csv").write_text("epoch,total\n1,3.5\n2,1.5\n3,1.2\n")
    motions = [f"{s},{samples[0]},robust,0.8,-0.6,0.6,0.8,100,50,1,20,25.5" for s in samples[1:]]
    (folder / "transforms.csv").write_text(
        "sample,reference,method,r00,r01,r10,r11,tx,ty,scale,landmarks,rmsd\n" + "\n".join(motions)
    )
    box = {"mean": 0.5, "quantiles": [0.2, 0.3, 0.5, 0.6, 0.8]}
    for i, sample in enumerate(samples):
        record = {
            "stage": "ot_sparsity", "sample": sample, "genes_shared": 20 - (i == 7), "seconds": 1.0,
            "sparsity_before": box, "sparsity_target": box, "versions": {"numpy": "2.1"},
            "parameters": {"min_shared_genes": 10}, "warnings": [f"{sample}: few genes"] * (i < 3),
        }  # fmt: skip
        (folder / f"{sample}.targets.json").write_text(json.dumps(record))
    record = {
        "stage": "benchmark", "cells": 3000, "cells_scored": 3000, "cells_labelled": 2900,
        "label_key": "type", "batch_key": "technology", "scib_metrics": "0.6.1",
        "not_run": {"seurat": "env: ‘Rscript’: No such file or directory"},
    }  # fmt: skip
    (folder / "benchmark.json").write_text(json.dumps(record))


desk = pytest.mark.parametrize("opened", ["desktop"], indirect=True)  # once is enough


@pytest.fixture(scope="module", params=list(SIZES))
def opened(request, page, tmp_path_factory):
    with Page(tmp_path_factory.mktemp("browser"), request.param) as browser:
        browser.open(page)
        browser.wait("window.lloki")
        yield browser


def test_every_section_is_there_and_in_sight(opened):
    shown = opened.run(
        "[...document.querySelectorAll('[id]')].filter(e => e.getClientRects().length)"
        ".map(e => e.id)"
    )
    assert set(SECTIONS) <= set(shown)
    opened.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    text = opened.run("document.body.innerText")
    for words in ("LLOKI", "Scanorama", "was not run: env", "Bio\nconservation", "Haber E",
                  "Mend counts before"):  # fmt: skip
        assert words.split("\n")[-1] in text, words
    assert opened.run("[...document.images].filter(i => !i.naturalWidth).length") == 0
    opened.run("document.querySelectorAll('details').forEach(e => { e.open = false; })")


def test_no_script_fails_and_nothing_is_asked_of_the_network(opened):
    assert opened.errors == []
    asked = [url for url in opened.requests if not url.startswith(("data:", "blob:", "file:"))]
    assert asked == []


def test_nothing_is_wider_than_the_screen_and_what_scrolls_says_so(opened):
    assert opened.run("document.documentElement.scrollWidth <= window.innerWidth")
    cut = opened.run(
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 2"
        " && !e.classList.contains('wide')).length"
    )
    assert cut == 0


def visible(browser):
    """Points in each picture."""
    return browser.run(
        "['umap', 'map'].map(p => lloki.shown[p].reduce((n, rows) => n + rows.length, 0))"
    )


def test_a_category_off_goes_from_both_pictures_and_comes_back(opened):
    assert visible(opened) == [3000, 3000]
    cells = int(opened.run("document.querySelector('.key small').innerText"))
    opened.run("document.querySelector('.key').click()")
    opened.wait(f"lloki.shown.map[1].length === {3000 - cells}")
    assert visible(opened) == [3000 - cells] * 2
    assert opened.run("document.querySelector('.key').getAttribute('aria-pressed')") == "false"
    opened.run("document.querySelector('.legend button').click()")  # show all
    opened.wait("lloki.shown.map[1].length === 3000 && lloki.shown.umap[1].length === 3000")


def choose(browser, query, text):
    browser.run(
        f"""(() => {{ const s = document.querySelector({query!r});
        s.value = [...s.options].find(o => o.text === {text!r}).value; s.onchange(); }})()"""
    )


@desk
def test_colours_and_the_map_are_chosen_from_lists(opened):
    choose(opened, "#colour", "Gad2")
    opened.wait("document.querySelector('.legend .scale')")
    drawn = opened.run("[...document.querySelector('#umap-panel').data[1].marker.color]")
    assert drawn == sorted(drawn) and drawn[-1] == 254  # the highest on top
    one = opened.run("document.querySelector('#map').options[2].text")
    choose(opened, "#map", one)
    opened.wait("lloki.shown.map[1].length === 100")
    assert visible(opened) == [3000, 100]
    choose(opened, "#map", "all slices, each in its own frame")
    choose(opened, "#colour", "label: type")
    opened.wait("lloki.shown.map[1].length === 3000 && document.querySelector('.key')")


@desk
def test_cells_chosen_in_one_picture_are_chosen_in_the_other(opened):
    box = opened.run(
        "(() => { const e = document.querySelector('#umap-panel .nsewdrag'); e.scrollIntoView();"
        " const c = e.getBoundingClientRect(); return [c.left, c.top, c.width, c.height]; })()"
    )
    opened.run("Plotly.relayout('umap-panel', { dragmode: 'select' })")
    left, top, width, height = box
    opened.drag((left + 0.3 * width, top + 0.3 * height), (left + 0.6 * width, top + 0.6 * height))
    opened.wait("lloki.view.chosen && document.querySelector('#map-panel').data[1].selectedpoints")
    chosen = opened.run("[...lloki.view.chosen].sort((a, b) => a - b)")
    seen = opened.run(
        "document.querySelector('#map-panel').data[1].selectedpoints"
        ".map(at => lloki.shown.map[1][at]).sort((a, b) => a - b)"
    )
    assert chosen == seen and 0 < len(chosen) < 3000
    assert f"{len(chosen):,} cells chosen" in opened.run(
        "document.querySelector('.chosen').innerText"
    )
    opened.run("document.querySelector('.chosen button:last-child').click()")
    opened.wait("!document.querySelector('#map-panel').data[1].selectedpoints")


@desk
def test_a_box_zooms_and_the_zoom_outlives_another_colour(opened):
    spread = "(r => r[1] - r[0])(document.querySelector('#umap-panel').layout.xaxis.range)"
    before = opened.run(spread)
    opened.run("Plotly.relayout('umap-panel', { 'xaxis.range': [0, 1], 'yaxis.range': [0, 1] })")
    choose(opened, "#colour", "slice")
    opened.wait("document.querySelector('.legend').innerText.includes('animal_29')")
    assert opened.run(spread) < before / 2
    opened.run(
        "Plotly.relayout('umap-panel', { 'xaxis.autorange': true, 'yaxis.autorange': true })"
    )
    choose(opened, "#colour", "label: type")


@desk
def test_plots_are_drawn_when_they_come_into_sight(opened):
    opened.run("document.querySelector('#quality').scrollIntoView()")
    drawn = "document.querySelectorAll('#quality .plot .scatterlayer .trace').length"
    opened.wait(f"{drawn} >= 3 * 30")  # a line, a box and a median for each slice
    assert opened.errors == []


@desk
def test_the_mouse_on_a_cell_tells_which_it_is(opened):
    opened.run(
        "document.querySelector('#umap-panel').emit('plotly_hover', { points: [{ curveNumber: 1,"
        " pointNumber: 0 }], event: { clientX: 50, clientY: 50 } })"
    )
    opened.wait("!document.querySelector('#tip').hidden")
    told = opened.run("document.querySelector('#tip').innerText").split("\n")
    assert told[0].startswith("c") and told[1].startswith("animal_")
    assert "label: type: a long name" in told[2]
    opened.run("document.querySelector('#umap-panel').emit('plotly_unhover')")


@desk
def test_a_table_is_sorted_filtered_and_saved(opened, tmp_path):
    table = "document.querySelector('table.verdicts')"
    first = f"{table}.tBodies[0].rows[0].cells[0].innerText.trim()"
    heading = f"{table}.querySelectorAll('thead th')[0]"
    opened.run(f"{heading}.click(); {heading}.click()")
    assert opened.run(first).startswith("animal_29")
    assert opened.run(f"{heading}.getAttribute('aria-sort')") == "descending"
    opened.run(
        "(() => { const f = document.querySelector('#verdict input[type=search]');"
        " f.value = 'animal_1 technology'; f.oninput(); })()"
    )
    opened.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    opened.run("document.querySelector('#verdict .tools button').click()")
    saved = tmp_path / "verdicts.csv"
    end = time.monotonic() + 30
    while not saved.exists() and time.monotonic() < end:
        time.sleep(0.1)
    with saved.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:3] == ["slice", "technology", "cells"]
    assert [row[0][:9] for row in rows] == [f"animal_{i}" for i in range(19, 9, -1)]
    assert {row[2] for row in rows} == {"100"}


def test_the_page_is_small_enough(page):
    assert page.stat().st_size < 15e6
