"""gather_model and former_slice: the folder that new slices are mapped by, and what fits to it."""

import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from commands import call, good, refused

BIN = Path(__file__).parents[2] / "bin"
sys.path.insert(0, str(BIN))

import former_slice  # noqa: E402
import gather_model  # noqa: E402
import ot_sparsity  # noqa: E402
from lloki.support.checksum import sha256  # noqa: E402

GENES = [f"Gene{i}" for i in range(40)]
BATCHES = [{"technology": "Tech", "panel": "Tech-1"}]


def counts(cells, seed=0, rate=0.7):
    values = np.random.default_rng(seed).poisson(rate, (cells, len(GENES))).astype(np.float32)
    values[:, 0] += 1
    return sp.csr_matrix(values)


def autoencoder(folder, embedder="mosaic 12345678", **more):
    folder.mkdir()
    config = {"embedder": embedder, "batches": BATCHES, **more}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def made(tmp_path):
    """A model of one batch, with a mosaic model and a reference."""
    autoencoder(tmp_path / "cae")
    (tmp_path / "mosaic").mkdir()
    (tmp_path / "mosaic/config.json").write_text("{}")
    (tmp_path / "metagenes").mkdir()
    (tmp_path / "metagenes/model.npz").write_bytes(b"programs")
    (tmp_path / "niches/F_near_B").mkdir(parents=True)
    for name in ("program.json", "cells.csv"):
        (tmp_path / "niches/F_near_B" / name).write_text("{}")
    ad.AnnData(counts(300), var=pd.DataFrame(index=GENES)).write_h5ad(tmp_path / "ref.h5ad")
    good(
        gather_model, "--input", tmp_path / "cae", "--mosaic", tmp_path / "mosaic",
        "--metagenes", tmp_path / "metagenes", "--niches", tmp_path / "niches",
        "--reference", tmp_path / "ref.h5ad",
        "--setting", "neighbors=40", "--setting", "a=b=c",
        "--output", tmp_path / "model",
    )  # fmt: skip
    return tmp_path


def test_a_model_is_one_folder_that_says_what_it_holds(made):
    record = json.loads((made / "model/model.json").read_text())
    assert record["embedder"] == "mosaic" and record["batches"] == BATCHES
    assert record["settings"] == {"neighbors": "40", "a": "b=c"}
    assert record["references"] == ["ref.h5ad"]
    assert (made / "model/metagenes.npz").read_bytes() == b"programs"
    held = [path.name for path in (made / "model/niches").rglob("*.*")]
    assert held == ["program.json"]  # what is needed to score new cells
    for name in ("cae", "mosaic"):
        assert sha256(made / "model" / name) == sha256(made / name)


def test_targets_by_the_kept_reference_are_those_by_the_whole_one(made, monkeypatch):
    data = ad.AnnData(counts(50, 1), var=pd.DataFrame(index=GENES[5:] + list("abcde")))
    data.obs["sample"] = "s"
    data.uns["lloki"] = {"prepare_slice": {"source": "s"}}
    data.write_h5ad(made / "s.slice.h5ad")
    found = {}
    for name in ("ref.h5ad", "model/references/ref.h5ad"):
        good(ot_sparsity, "--input", made / "s.slice.h5ad", "--reference", made / name,
             "--output", made / "s.targets.csv")  # fmt: skip
        found[name] = (made / "s.targets.csv").read_text()
    assert len(set(found.values())) == 1
    kept = ad.read_h5ad(made / "model/references/ref.h5ad")
    assert set(kept.X.data) == {1} and kept.uns["lloki"]["reference"]["cells"] == 300
    # A model of the model keeps it as it is, once; of a large reference some cells are kept.
    monkeypatch.setattr(gather_model, "CELLS", 100)
    (made / "two").mkdir()
    ad.AnnData(counts(200, 2), var=pd.DataFrame(index=GENES)).write_h5ad(made / "two/ref.h5ad")
    base = ["--input", made / "cae", "--mosaic", made / "mosaic"]
    given = ("model/references/ref.h5ad", "ref.h5ad", "two/ref.h5ad")
    references = [f"--reference={made / name}" for name in given]
    programs = ["--metagenes", made / "model/metagenes.npz"]
    good(gather_model, *base, *references, *programs, "--output", made / "next")
    assert (made / "next/metagenes.npz").read_bytes() == b"programs"
    record = json.loads((made / "next/model.json").read_text())
    assert record["references"] == ["ref.h5ad", "2.h5ad"]
    again = [ad.read_h5ad(made / "next/references" / name) for name in record["references"]]
    assert (again[0].X != kept.X).nnz == 0 and again[1].shape == (100, 40)


def test_what_is_no_model_is_refused(tmp_path):
    out = ["--output", tmp_path / "model"]
    (tmp_path / "empty").mkdir()
    refused(call(gather_model, "--input", tmp_path / "empty", *out), "not a trained autoencoder")
    autoencoder(tmp_path / "cae")
    refused(call(gather_model, "--input", tmp_path / "cae", *out), "--mosaic")
    autoencoder(tmp_path / "other", "scgpt 12345678")
    good(gather_model, "--input", tmp_path / "other", *out)
    assert not (tmp_path / "model/mosaic").exists()


def embedded(folder, model_sha256, cells=5):
    """A slice of a former run, embedded by a model: the options that name its two files."""
    names = [f"s:{i}" for i in range(cells)]
    obs = pd.DataFrame({"sample": "s", "technology": "Tech", "panel": "Tech-1"}, index=names)
    data = ad.AnnData(obs=obs, obsm={"X_lloki": np.ones((cells, 3), np.float32)})
    data.uns["lloki"] = {
        "infer_cae": {"model_sha256": model_sha256}, "prepare_slice": {"organism": "mouse"},
    }  # fmt: skip
    data.write_h5ad(folder / "s.lloki.h5ad")
    obs = pd.DataFrame({"sample": ["s"] * 5}, index=[f"s:{i}" for i in range(5)])
    whole = ad.AnnData(counts(5), obs=obs, var=pd.DataFrame(index=GENES))
    whole.write_h5ad(folder / "s.slice.h5ad")
    return ["--input", folder / "s.lloki.h5ad", "--slice", folder / "s.slice.h5ad",
            "--output", folder / "s.former.json"]  # fmt: skip


def test_a_former_slice_fits_its_own_model_and_what_was_adapted_from_it(tmp_path):
    first = autoencoder(tmp_path / "first")
    second = autoencoder(tmp_path / "second", adapted_from=[sha256(first)])
    third = autoencoder(tmp_path / "third", adapted_from=[sha256(first), sha256(second)])
    other = autoencoder(tmp_path / "other", epochs=3)
    files = embedded(tmp_path, sha256(first))
    for model in (first, second, third):
        good(former_slice, *files, "--model", model)
    record = json.loads((tmp_path / "s.former.json").read_text())
    assert (record["sample"], record["cells"]) == ("s", 5)
    assert [record[key] for key in ("technology", "panel", "organism")] == [
        "Tech",
        "Tech-1",
        "mouse",
    ]
    refused(call(former_slice, *files, "--model", other), "another model", "one run")
    refused(call(former_slice, *files, "--model", tmp_path / "none"), "not a trained model")


def test_a_former_slice_without_its_cells_or_its_model_is_refused(tmp_path):
    model = autoencoder(tmp_path / "model")
    files = embedded(tmp_path, sha256(model), cells=4)
    refused(call(former_slice, *files, "--model", model), "not those of the embedding")
    files = embedded(tmp_path, "unknown")
    refused(call(former_slice, *files, "--model", model), "another model")
