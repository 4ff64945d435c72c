"""The page as a whole: the same for the same material; the run for MultiQC."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki.report import glossary, multiqc, next_steps, page, report
from lloki.report.material import Material
from lloki.slices import parts

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def material():
    obs = pd.DataFrame({"sample": list("aabb"), "technology": list("SSTT")}, index=list("wxyz"))
    obsm = {"spatial": np.arange(8.0).reshape(4, 2), "X_lloki": np.eye(4)}
    scores = pd.DataFrame({"embedding": ["X_lloki"], "metric": ["iLISI"], "value": [0.25]})
    record = {"stage": "viewer_files", "formats": {"a": "xenium"},
              "files": {"a": ["cells.csv", "type.csv"]}}  # fmt: skip
    params = {"outdir": "/out/my run", "reference": "ref.h5ad", "input": "sheet.csv"}
    return Material([record], ad.AnnData(obs=obs, obsm=obsm), metrics=scores, params=params)


def rendered(material, date="2026-01-01"):
    return page.render("Run <1>", date, report.sentence(material), report.tiles(material),
                       report.sections(material), report.citations(material), material)  # fmt: skip


def test_the_page_is_the_same_for_the_same_material(material):
    one = rendered(material)
    assert one == rendered(material)
    assert one == rendered(material, "2027-02-02").replace("2027-02-02", "2026-01-01")
    assert "Run &lt;1&gt;" in one and "<b>Alignment.</b>" in one  # what is missing is in one list


def test_commands_name_the_run_s_own_paths(material):
    steps = {step.title: step for step in next_steps.steps(material)}
    assert 'read_h5ad("/out/my run/integrated.h5ad")' in steps["Open in scanpy (Python)"].code
    assert "--add_to '/out/my run'" in steps["Add a slice"].code
    rerun = steps["Run again with other settings"].code
    assert "--input sheet.csv" in rerun and "--reference ref.h5ad" in rerun
    own = replace(material, command="nextflow run . -profile test --niche 'A:B'")
    rerun = {step.title: step for step in next_steps.steps(own)}["Run again with other settings"]
    assert rerun.code == "nextflow run . -profile test --niche 'A:B' \\\n    --overwrite"
    begun = replace(
        material, command="nextflow -log a.log run /opt/lloki -profile gpu,docker --niche A:B"
    )
    steps = {step.title: step for step in next_steps.steps(begun)}
    for title in ("Add a slice", "Map new slices onto the model alone"):
        assert steps[title].code.startswith(
            "nextflow run /opt/lloki -profile gpu,docker --input new.csv --"
        )
    assert "upload type.csv of viewer/a/" in steps["Open in the instrument's viewer"].words


def test_r_lines_are_those_of_the_example(material):
    text = (ROOT / "docs/example.md").read_text()
    assert next_steps.seurat("results/demo", "layers/counts") in text
    bare = {step.title: step for step in next_steps.steps(material)}["Open in Seurat (R)"].code
    assert "hdf5r" not in bare and "/out/my run/embedding.csv" in bare
    expression = parts.Expression(np.ones(4), None, [], None, None)
    code = next_steps.steps(replace(material, expression=expression))[1].code
    assert 'part("X/indices")' in code and "CreateAssayObject(data = values)" in code


def test_the_glossary_knows_a_term_in_any_case():
    assert glossary.explained("iLISI") == glossary.explained("ilisi") != ""
    assert glossary.explained("no such term") == ""


@pytest.mark.slow
def test_multiqc_lists_runs(material, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        text = multiqc.content(material, name, page.verdict(material))
        (tmp_path / name / "lloki_mqc.json").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "multiqc", ".", "--outdir", "out", "--no-version-check",
         "--module", "custom_content"],
        cwd=tmp_path, capture_output=True, text=True, env={"HOME": str(tmp_path), "PATH": "/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/multiqc_data/multiqc_data.json").read_text())
    told = json.dumps(found["report_saved_raw_data"])
    assert "first" in told and "second" in told and "Nothing" not in told
