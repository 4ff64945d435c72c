"""report.py as a command: a whole page of few cells, a bare one, and what users get wrong."""

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from click.testing import CliRunner
from demo_slices import demo_slice

import report
from lloki.slices import files

BIN = Path(__file__).parents[2] / "bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the stages leave: the joined cells of two real slices, records and tables."""
    folder = tmp_path_factory.mktemp("stages")
    parts = []
    for name, technology in (("starmap", "STARmap"), ("xenium", "Xenium")):
        part = demo_slice(name)[::6].copy()
        part = files.prepare(part, name, sample=name, technology=technology)
        parts.append(files.without_expression(part))
        record = {
            "stage": "prepare_slice", "sample": name, "cells": part.n_obs, "genes": part.n_vars,
            "parameters": {"sample": name}, "warnings": [f"{name} & <script>alert(1)</script>"],
            "seconds": 1.25, "peak_memory_mb": 180, "versions": {"numpy": "2.0"},
        }  # fmt: skip
        (folder / f"{name}.slice.json").write_text(json.dumps(record))
    data = ad.concat(parts, join="outer")
    rng = np.random.default_rng(0)
    for key, width in (("X_lloki", 8), ("X_umap", 2), ("X_umap_fp", 2), ("X_umap_pca_shared", 2)):
        data.obsm[key] = rng.normal(size=(data.n_obs, width))
    data.obsm["spatial_aligned"] = data.obsm["spatial"] + 1
    data.uns["lloki"] = {"embedder": "mosaic", "shared_genes": ["Gad2"]}
    files.write_h5ad(data, folder / "integrated.h5ad")
    (folder / "metrics.csv").write_text(
        "embedding,metric,group,value\nX_pca_shared,Bio conservation,aggregate,0.41\n"
        "X_lloki,Bio conservation,aggregate,0.57\n"
    )
    (folder / "history.csv").write_text("epoch,total\n1,3.5\n2,1.5\n")
    (folder / "transforms.csv").write_text(
        "sample,reference,method,r00,r01,r10,r11,tx,ty,scale,rmsd\n"
        "starmap,xenium,robust,1,0,0,1,1,1,1,9.5\nxenium,xenium,identity,1,0,0,1,0,0,1,\n"
    )
    listed = [{"slice": "starmap", "stage": "prepare_slice",
               "file": "/o/mine/slices/starmap/starmap.slice.json"},
              {"slice": None, "stage": "integrate", "file": "/o/mine/integrated.h5ad"}]  # fmt: skip
    (folder / "files.json").write_text(json.dumps(listed))
    (folder / "versions.yml").write_text('"LLOKI:ALIGN":\n    python: "3.10"\n')
    (folder / "run.json").write_text(
        '{"parameters": {"neighbors": 40, "outdir": "/o/mine"}, "pipeline": {"name": "x"}}'
    )
    return folder


def arguments(folder, output, *options):
    given = ["--integrated", folder / "integrated.h5ad", "--output", output, *options]
    for path in sorted(folder.glob("*.slice.json")):
        given += ["--input", path]
    return [str(value) for value in given]


def run(folder, output, *options):
    return CliRunner().invoke(report.main, arguments(folder, output, *options))


def refused(result, output, *words):
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert list(output.parent.iterdir()) == []


@pytest.mark.slow
def test_a_page_with_everything(folder, tmp_path):
    """Run as a user does: in the folder of the output, which is named without a path."""
    tables = {
        "--metrics": "metrics.csv", "--history": "history.csv", "--transforms": "transforms.csv",
        "--versions": "versions.yml", "--params": "run.json", "--index": "files.json",
    }  # fmt: skip
    options = [x for option, name in tables.items() for x in (option, folder / name)]
    given = arguments(folder, "report.html", *options, "--label-key", "cell_type_coarse")
    done = subprocess.run(
        [sys.executable, BIN / "report.py", *given], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text()
    # the page needs no network, and holds no text of the data as code
    tags = re.sub(r"(?s)(<(script|style)\b[^>]*>).*?</\2>", r"\1", page)
    assert not re.findall(
        r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", tags
    )
    assert "<script>alert(1)" not in page
    assert "alert(1)" in unescape(page)
    headings = [text.strip() for text in re.findall(r"<h2>(?:<i[^>]*></i>)?([^<]+)</h2>", page)]
    assert headings == [
        "Usable; look at input first", "UMAP and map", "What next", "Alignment",
        "Scores against other methods", "Quality of the cells", "Run details",
        "Not in this report", "How to cite",
    ]  # fmt: skip
    absent = page[page.index('<section id="absent">') :]
    for name in ("Labels carried over", "Clusters", "Tissue domains", "Metagenes",
                 "Niche programs", "Propagation"):  # fmt: skip
        assert f"<b>{name}" in absent, name
    for text in ("0.41 → 0.57", "no pretrained weights", "3.10", "neighbors", "Excitatory",
                 'href="slices/starmap/starmap.slice.json"'):  # fmt: skip
        assert text in page, text
    assert len(page) < 15e6
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    names = "umap slices_labels alignment training scores".split()
    assert made == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "figures", "lloki_mqc.json", "report.html", "report.json",
    ]  # fmt: skip
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["samples"] == ["starmap", "xenium"] and told["verdict"] == "doubt"
    assert json.loads((tmp_path / "lloki_mqc.json").read_text())["data"]["mine"]["slices"] == 2


@pytest.mark.slow
def test_a_page_with_the_least(folder, tmp_path):
    data = files.read_h5ad(folder / "integrated.h5ad")
    for key in [key for key in data.obsm if key not in ("spatial", "X_lloki")]:
        del data.obsm[key]
    data.uns = {}
    (tmp_path / "in").mkdir()
    files.write_h5ad(data, tmp_path / "in/integrated.h5ad")
    (tmp_path / "in/a.slice.json").write_text("{}")
    (tmp_path / "out").mkdir()
    done = run(tmp_path / "in", tmp_path / "out/report.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("Not in this report:") == 2  # UMAPs, scores
    absent = page[page.index('<section id="absent">') :]
    assert absent.count("<li><b>") == 7
    assert "cluster 1" in page and "The run was asked for no UMAP" in page
    assert "Nothing stands in the way" in page
    assert {p.name for p in (tmp_path / "out/figures").iterdir()} == {
        "slices_clusters.png", "slices_clusters.pdf",
    }  # fmt: skip


def test_what_users_get_wrong(folder, tmp_path):
    (tmp_path / "out").mkdir()
    output, bad = tmp_path / "out/report.html", tmp_path / "bad"

    def wrong(*options, words, text=None):
        if text is not None:
            bad.write_text(text)
        refused(run(folder, output, *options), output, *words)

    wrong("--label-key", "type", words=("'type'", "cell_type_coarse"))
    wrong("--metrics", "no.csv", words=("no.csv", "no such file"))
    wrong("--metrics", bad, text="a,b\n1,2\n", words=("bad", "'embedding'"))
    wrong("--history", bad, text="", words=("bad", "not a readable table"))
    wrong("--history", bad, text="epoch,total\n1,nan\n", words=("bad", "'total'", "no numbers"))
    wrong("--history", bad, text="epoch,total\none,1\n", words=("bad", "'epoch'", "no numbers"))
    wrong("--metrics", bad, text="embedding,metric,value\na,b,c\n", words=("'value'", "no numbers"))
    wrong("--transforms", bad, text="sample\nx\n", words=("bad", "'reference'"))
    wrong("--versions", bad, text="- a\n- b\n", words=("bad", "names and values"))
    wrong("--versions", bad, text="a: [", words=("bad", "not readable"))
    wrong("--index", "no.json", words=("no.json", "no such file"))
    wrong("--index", bad, text='{"file": 1}', words=("bad", "no index of files"))
    wrong("--input", "no.json", words=("no.json", "no such file"))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    wrong("--input", broken, words=("broken.json", "not readable"))
    for record in ({"seconds": None}, {"peak_memory_mb": {}}, {"warnings": "none"}):
        broken.write_text(json.dumps(record))
        wrong("--input", broken, words=("broken.json", "not the record of a stage"))
    for change, word in (
        (lambda d: d.obs.pop("technology"), "'technology'"),
        (lambda d: d.obsm.pop("X_lloki"), "X_lloki"),
    ):
        data = files.read_h5ad(folder / "integrated.h5ad")
        change(data)
        (tmp_path / "in").mkdir(exist_ok=True)
        files.write_h5ad(data, tmp_path / "in/integrated.h5ad")
        (tmp_path / "in/a.slice.json").write_text("{}")
        refused(run(tmp_path / "in", output), output, "integrated.h5ad", word)
