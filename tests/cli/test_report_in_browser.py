"""The report in a headless Chromium, desk and phone: 30 slices, 20 cell types, 13 methods."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from browser import SIZES, Page, find_chromium
from click.testing import CliRunner

import report
from lloki.integration import joined
from lloki.report import figures
from lloki.scores import metrics
from lloki.slices import files

SECTIONS = (
    "summary warnings slices metrics umap maps alignment sparsity training timings parameters "
    "versions citations"
).split()
OTHERS = (
    "harmony scvi scanorama staligner mosaic no_reconstruction no_triplets no_conservation no_fp "
    "no_transport"
).split()
METHODS = [*joined.NAMES, *(f"X_{name}" for name in OTHERS)]
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
    }, index=[f"c{i}" for i in range(n)]))  # fmt: skip
    data.obsm["spatial"] = rng.uniform(0, 3000, (n, 2)) * [1, 0.6]
    data.obsm["spatial_aligned"] = data.obsm["spatial"] + 10
    for key in METHODS:
        data.obsm[key] = rng.normal(size=(n, 5))
        data.obsm[joined.umap_key(key)] = rng.normal(size=(n, 2))
    for name in ("technology", "type"):
        data.uns[f"{name}_colors"] = figures.category_colours(data.obs[name])
    data.uns["lloki"] = {"embedder": "mosaic", "shared_genes": ["Gad2", "Sst"]}
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
            "stage": "ot_sparsity", "sample": sample, "genes_shared": 20, "seconds": 1.0,
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


@pytest.fixture(scope="module", params=list(SIZES))
def opened(request, page, tmp_path_factory):
    with Page(tmp_path_factory.mktemp("browser"), request.param) as browser:
        browser.open(page)
        yield browser


def test_every_section_is_there_and_in_sight(opened):
    shown = opened.run(
        "[...document.querySelectorAll('[id]')].filter(e => e.getClientRects().length)"
        ".map(e => e.id)"
    )
    missing = [name for name in SECTIONS if not any(name in known for known in shown)]
    assert not missing
    text = opened.run("document.body.innerText").replace("\u00ad", "")  # soft hyphens
    for words in ("LLOKI", "Scanorama", "not run: env", "Bio conservation", "Haber E"):
        assert words in text, words
    broken = opened.run("[...document.images].filter(i => !i.naturalWidth).length")
    assert broken == 0 and opened.run("document.images.length") > 50


def test_no_script_fails_and_nothing_is_asked_of_the_network(opened):
    assert opened.errors == []
    asked = [url for url in opened.requests if not url.startswith(("data:", "blob:", "file:"))]
    assert asked == []


def test_nothing_is_wider_than_the_screen_or_lies_over_another(opened):
    assert opened.run("document.documentElement.scrollWidth <= window.innerWidth")
    covered = opened.run(
        """(() => {
            const [menu, page] = ['.side-nav', '.mainpage']
                .map(e => document.querySelector(e).getBoundingClientRect());
            return menu.left < page.right - 1 && page.left < menu.right - 1
                && menu.top < page.bottom - 1 && page.top < menu.bottom - 1; })()"""
    )
    assert not covered
    overlapping = opened.run(
        """(() => {
            const boxes = [...document.querySelectorAll('.lk-figure, .lk-key, .lk-tile')]
                .map(e => [e, e.getBoundingClientRect()]).filter(([e, b]) => b.width);
            const found = [];
            for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
                const [a, b] = [boxes[i][1], boxes[j][1]];
                if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
                    found.push(boxes[i][0].innerText + ' | ' + boxes[j][0].innerText);
            }
            return found; })()"""  # noqa: E501
    )
    assert overlapping == []


def test_the_page_is_small_enough(page):
    assert page.stat().st_size < 15e6
