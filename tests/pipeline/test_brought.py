"""A run on embeddings that the slices bring along, and slices that are mapped onto its model."""

import anndata as ad
import numpy as np
import pytest
from demo_slices import demo_slice
from nextflow_run import nextflow, trace

pytestmark = [pytest.mark.pipeline, pytest.mark.long]
FEWER = ("--epochs", 1, "--umap", "false", "--cluster", "false", "--domains", "false",
         "--metagenes", "false", "--max_cells", 300)  # fmt: skip


def bring(folder, *names):
    """A samplesheet of demo slices with an embedding made of their types in obsm: its path."""
    rows = ["sample,technology,input,embedding_model"]
    for name in names:
        data = demo_slice(name)
        random = np.random.default_rng(len(name))
        types = data.obs["cell_type_coarse"].astype(str)
        vectors = {kind: np.random.default_rng(list(kind.encode())).normal(size=24)
                   for kind in set(types)}  # fmt: skip
        noise = random.normal(scale=0.3, size=(data.n_obs, 24))
        data.obsm["X_other"] = np.stack([vectors[kind] for kind in types]) + noise
        data.write_h5ad(folder / f"{name}.h5ad")
        rows.append(f"{name},{name},{name}.h5ad,made-1")
    sheet = folder / f"{'_'.join(names)}.csv"
    sheet.write_text("\n".join(rows) + "\n")
    return sheet


def test_an_embedding_brought_along_goes_the_whole_way_and_takes_new_slices(tmp_path):
    sheet = bring(tmp_path, "starmap", "osmfish")
    run = nextflow("-profile", "test", "--input", sheet, "--embedding_key", "X_other", *FEWER,
                   "--outdir", "first", cwd=tmp_path)  # fmt: skip
    assert run.returncode == 0, run.stdout
    tasks = {row["name"].split(":")[-1].split()[0] for row in trace(tmp_path, "first")}
    assert "TAKE_EMBEDDING" in tasks and not {"FIT_MOSAIC", "IMPUTE", "SCGPT_EMBED"} & tasks
    whole = ad.read_h5ad(tmp_path / "first/integrated.h5ad")
    assert whole.obsm["X_lloki_fp"].shape == (whole.n_obs, 24)
    assert np.isfinite(whole.obsm["X_lloki"]).all()

    new = bring(tmp_path, "xenium")
    run = nextflow("-profile", "test", "--input", new, "--embedding_key", "X_other", *FEWER,
                   "--model", "first/model", "--outdir", "second", cwd=tmp_path)  # fmt: skip
    assert run.returncode == 0, run.stdout
    mapped = ad.read_h5ad(tmp_path / "second/integrated.h5ad")
    assert set(mapped.obs["sample"]) == {"xenium"}
    assert mapped.obsm["X_lloki"].shape[1] == whole.obsm["X_lloki"].shape[1]
