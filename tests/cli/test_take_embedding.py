"""An embedding that slices bring along: prepare_slice, check_inputs, take_embedding."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import call, good, refused
from demo_slices import demo_slice

import check_inputs
import prepare_slice
import take_embedding
from lloki.slices import files

KEY = "X_model"


@pytest.fixture(scope="module")
def data():
    """A slice with an embedding, one of whose cells has no counts."""
    data = demo_slice("osmfish")[:80].copy()
    data.obsm[KEY] = np.random.default_rng(0).normal(size=(80, 5))
    data.X[3] = 0
    return data


def prepared(folder, data, name="a", *more):
    path = folder / f"{name}.h5ad"
    data.write_h5ad(path)
    given = ["--input", path, "--sample", name, "--technology", "osmFISH", "--embedding-key", KEY]
    return [prepare_slice, *given, "--output", folder / f"{name}.slice.h5ad", *more]


def test_an_embedding_is_carried_and_taken_as_it_is(tmp_path, data):
    order = np.random.default_rng(1).permutation(80)
    good(*prepared(tmp_path, data[order], "a", "--embedding-model", "uce"))
    assert json.loads((tmp_path / "a.slice.json").read_text())["embedding"] == {
        "key": KEY, "model": "uce", "dimensions": 5,
    }  # fmt: skip
    out = tmp_path / "a.fp.h5ad"
    good(take_embedding, "--input", tmp_path / "a.slice.h5ad", "--embedding-key", KEY,
         "--output", out)  # fmt: skip
    taken = files.read_embedding(out, "X_lloki_fp")
    given = data[taken.obs_names.str.removeprefix("a:")].obsm[KEY]
    length = np.linalg.norm(given, axis=1, keepdims=True)
    assert len(taken) == 79 and files.embedder(taken) == "uce"
    assert np.allclose(taken.obsm["X_lloki_fp"], given / length, atol=1e-6)


def test_a_table_serves_as_an_array(tmp_path, data):
    table = data.copy()
    table.obsm[KEY] = pd.DataFrame(table.obsm[KEY], index=table.obs_names, columns=list("abcde"))
    good(*prepared(tmp_path, table))
    kept = files.read_h5ad(tmp_path / "a.slice.h5ad").obsm[KEY]
    assert kept.shape == (79, 5)


def spoilt(data, how):
    data = data.copy()
    if how == "absent":
        del data.obsm[KEY]
    elif how == "nan":
        data.obsm[KEY][2, 1] = np.nan
    elif how == "zero":
        data.obsm[KEY][2] = 0
    else:
        data.obsm[KEY] = data.obsm[KEY][:, :1]
    return data


@pytest.mark.parametrize(
    ("how", "said"),
    [("absent", "obsm has no 'X_model' but spatial"), ("nan", "NaN or infinite"),
     ("zero", "zero in 1 of 80 cells"), ("narrow", "one column")],
)  # fmt: skip
def test_what_is_no_embedding_is_refused(tmp_path, data, how, said):
    refused(call(*prepared(tmp_path, spoilt(data, how))), said)
    assert not (tmp_path / "a.slice.h5ad").exists()


def test_coordinates_are_no_embedding(tmp_path, data):
    refused(call(*prepared(tmp_path, data), "--embedding-key", "spatial"), "coordinates")


@pytest.mark.parametrize("apart", ["model", "width"])
def test_slices_with_embeddings_of_two_models_are_refused(tmp_path, data, apart):
    other = data.copy()
    if apart == "width":
        other.obsm[KEY] = other.obsm[KEY][:, :4]
    good(*prepared(tmp_path, data))
    good(*prepared(tmp_path, other, "b", *(["--embedding-model", "uce"] * (apart == "model"))))
    records = [f"--input={tmp_path / s}.slice.json" for s in "ab"]
    refused(call(check_inputs, *records, "--output", tmp_path / "inputs.csv"), "several embeddings")
