"""The scGPT encoder against the original package and dense NumPy; checkpoints that do not fit."""

import json
import pickle

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scgpt_reference
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scgpt_checkpoint import write_checkpoint

from lloki.embedding.scgpt import tokens
from lloki.embedding.scgpt.checkpoint import canonical, read_checkpoint
from lloki.embedding.scgpt.encoder import Encoder, embed
from lloki.support import errors
from lloki.support.errors import InputError

GENES = [f"GENE{i}" for i in range(250)]
EXPRESSED = [1, 2, 3, 1, 7, 8, 49, 50, 51, 99, 100, 148, 197, 249, 250, 60, 61, 120, 2, 246]
"""Genes a cell; of 7 k + 1 genes some bin edge falls on a value, where rounding decides."""

needs_scgpt = pytest.mark.skipif(
    not (scgpt_reference.FOLDER / "scgpt").is_dir(),
    reason="the original scgpt is not there: run tests/install_scgpt.sh",
)


def cells(kind="continuous", expressed=EXPRESSED, seed=0) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    shape = (len(expressed), len(GENES))
    values = np.exp(rng.normal(size=shape)) if kind == "continuous" else 1 + rng.poisson(1, shape)
    for row, count in zip(values, expressed, strict=True):
        row[rng.permutation(len(GENES))[count:]] = 0
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(len(expressed))])
    return ad.AnnData(
        sp.csr_matrix(values.astype(np.float32)), obs=obs, var=pd.DataFrame(index=GENES)
    )


def encode(data, folder, dtype=torch.float32, **options) -> np.ndarray:
    model = read_checkpoint(folder)
    encoder = Encoder(model, list(data.var_names), torch.device("cpu"), dtype)
    vectors = np.full((data.n_obs, model.dim), np.nan, dtype=np.float32)
    for rows, part in embed(encoder, data.X, data.obs_names, **options):
        assert np.isnan(vectors[rows]).all()
        vectors[rows] = part
    return vectors


def draws(data, folder, stream, seed=0) -> list[np.ndarray]:
    """Our random numbers for the expressed genes of each cell, for the package to use."""
    vocabulary = read_checkpoint(folder).vocabulary
    ids = torch.tensor([vocabulary[name] for name in data.var_names])
    keys = torch.from_numpy(tokens.cell_keys(data.obs_names, seed).copy())
    rows = np.split(data.X.indices, data.X.indptr[1:-1])
    return [tokens.draws(k, ids[row], stream).numpy() for k, row in zip(keys, rows, strict=True)]


def largest(a, b) -> float:
    return float(np.abs(a - b).max())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("scgpt") / "small", GENES, layers=3)


# --- the original package -------------------------------------------------------------------------


@needs_scgpt
@pytest.mark.parametrize("naming", ["Wqkv.", "in_proj_"])
@pytest.mark.parametrize("specials", [True, False])
def test_equals_the_package(tmp_path, naming, specials):
    folder = write_checkpoint(tmp_path, GENES, naming=naming, specials=specials, hidden=96)
    data = cells()
    expected = scgpt_reference.embed(
        data, folder, batch_size=8, uniform=draws(data, folder, tokens.TIES)
    )
    assert largest(encode(data, folder), expected) <= 2e-6


@needs_scgpt
def test_equals_the_package_at_its_published_shape_of_heads(tmp_path):
    folder = write_checkpoint(tmp_path, GENES, d=512, heads=8, layers=2)
    data = cells(expressed=[2, 60, 250, 148])
    assert largest(encode(data, folder), scgpt_reference.embed(data, folder)) <= 2e-6


@needs_scgpt
def test_equals_the_package_on_ties_with_the_same_draws(folder):
    data = cells("counts")
    uniform = draws(data, folder, tokens.TIES)
    expected = scgpt_reference.embed(data, folder, uniform=uniform)
    assert largest(encode(data, folder), expected) <= 2e-6
    other = scgpt_reference.embed(data, folder, uniform=draws(data, folder, tokens.TIES, seed=1))
    assert largest(other, expected) > 1e-4


@needs_scgpt
def test_equals_the_package_beyond_the_maximal_length_with_the_same_choice(folder):
    data = cells(expressed=[20, 39, 40, 41, 90, 250])
    chances = draws(data, folder, tokens.SAMPLE)
    long = [np.argsort(chance) for chance in chances if len(chance) + 1 > 40]
    expected = scgpt_reference.embed(data, folder, max_length=40, orders=long)
    assert largest(encode(data, folder, max_length=40), expected) <= 2e-6


@needs_scgpt
def test_equals_the_package_with_its_own_stream_of_draws(folder):
    data = cells("counts")
    np.random.seed(7)  # noqa: NPY002  (the package draws from there)
    expected = scgpt_reference.embed(data, folder)
    assert largest(encode(data, folder, ties="random", seed=7), expected) <= 2e-6
    assert largest(encode(data, folder, ties="random", seed=8), expected) > 1e-4


@needs_scgpt
def test_equals_the_package_with_one_stream_of_permutations(folder):
    data = cells(expressed=[20, 39, 40, 41, 90, 250])
    generator = torch.Generator().manual_seed(3)
    orders = [torch.randperm(n, generator=generator).numpy() for n in (40, 41, 90, 250)]
    expected = scgpt_reference.embed(data, folder, max_length=40, orders=orders)
    found = encode(data, folder, max_length=40, sampling="random", seed=3)
    assert largest(found, expected) <= 2e-6


# --- NumPy ----------------------------------------------------------------------------------------


def dense(model, genes, values) -> np.ndarray:
    """<cls> after the encoder for one cell, in float64 NumPy, from the published description."""
    w = {key: tensor.double().numpy() for key, tensor in model.weights.items()}

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    hidden = np.maximum(linear("value_encoder.linear1", np.asarray(values, float)[:, None]), 0)
    x = norm("encoder.enc_norm", w["encoder.embedding.weight"][genes])
    x = x + norm("value_encoder.norm", linear("value_encoder.linear2", hidden))
    for i in range(model.layers):
        layer = f"transformer_encoder.layers.{i}"
        projected = x @ w[f"{layer}.self_attn.in_proj_weight"].T
        projected = projected + w[f"{layer}.self_attn.in_proj_bias"]
        q, k, v = projected.reshape(len(x), 3, model.heads, -1).transpose(1, 2, 0, 3)
        scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(x), -1)
        x = norm(f"{layer}.norm1", x + linear(f"{layer}.self_attn.out_proj", mixed))
        hidden = np.maximum(linear(f"{layer}.linear1", x), 0)
        x = norm(f"{layer}.norm2", x + linear(f"{layer}.linear2", hidden))
    return x[0] / np.linalg.norm(x[0])


def numpy_bins(values) -> tuple[np.ndarray, np.ndarray]:
    """The last and the first bin open to each value, by np.quantile and np.digitize."""
    edges = np.quantile(values, np.linspace(0, 1, 50))
    return np.digitize(values, edges), np.digitize(values, edges, right=True) + 1


def test_equals_dense_numpy(folder):
    model = read_checkpoint(folder)
    data = cells(expressed=[2, 30, 250])
    vectors = encode(data, folder)
    for row, vector in zip(data.X, vectors, strict=True):
        ids = [model.vocabulary["<cls>"], *(model.vocabulary[GENES[i]] for i in row.indices)]
        values = [model.pad_value, *numpy_bins(row.data)[0]]
        assert largest(vector, dense(model, ids, values)) <= 2e-6
        values[-1] -= 1  # the bound sees one gene of one cell in the next bin
        assert largest(vector, dense(model, ids, values)) > 2e-6


lengths = st.lists(st.integers(1, 300), min_size=1, max_size=6)


@settings(deadline=None)
@given(lengths, st.integers(0, 2**32 - 1), st.sampled_from(["continuous", "counts", "close"]))
def test_bins_are_numpys_bit_by_bit(lengths, seed, kind):
    rng = np.random.default_rng(seed)
    rows = []
    for n in lengths:
        row = {
            "continuous": rng.gamma(1, 1, n) + 1e-3,
            "counts": rng.integers(1, 9, n),
            "close": 1 + rng.integers(1, 5, n) * 2.0**-23,
        }[kind]
        rows.append(row.astype(np.float32))
    padded = np.full((len(rows), max(lengths)), np.inf, dtype=np.float32)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    uniform = rng.random(padded.shape)
    found = tokens.bin_values(*map(torch.from_numpy, (padded, np.array(lengths), uniform))).numpy()
    for row, bins, u in zip(rows, found, uniform, strict=True):
        last, first = numpy_bins(row)
        expected = np.ceil(u[: len(row)] * (first - 1 - last) + last)
        np.testing.assert_array_equal(bins[: len(row)], expected)
        assert expected.min() >= 1
        assert expected.max() <= 50


def test_tied_values_spread_over_their_bins():
    n = 2000
    uniform = (torch.arange(n).double()[:, None] + 0.5) / n
    bins = tokens.bin_values(torch.ones(n, 1), torch.ones(n, dtype=torch.int64), uniform)
    assert np.bincount(bins.ravel().numpy(), minlength=51)[1:].tolist() == [n // 50] * 50


# --- what an embedding may depend on --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["continuous", "counts"])
@pytest.mark.parametrize("max_length", [1200, 40])
def test_batches_order_and_company_change_rounding_alone(folder, kind, max_length):
    data = cells(kind)
    expected = encode(data, folder, max_length=max_length)
    for size in (1, 3, 64):
        assert (
            largest(encode(data, folder, batch_size=size, max_length=max_length), expected) < 1e-6
        )
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(data.n_obs)[:9], rng.permutation(data.n_vars)
    part = data[rows][:, columns].copy()
    part.X.sort_indices()
    assert largest(encode(part, folder, max_length=max_length), expected[rows]) < 1e-6


def test_threads_change_rounding_alone(folder):
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(encode(cells("counts"), folder))
    finally:
        torch.set_num_threads(threads)
    assert largest(*results) < 1e-6


def test_seed_and_name_decide_ties_and_nothing_else(folder):
    tied, free = cells("counts"), cells(expressed=[2, 50, 250])
    assert largest(encode(free, folder), encode(free, folder, seed=1)) == 0
    first = encode(tied, folder)
    assert largest(first, encode(tied, folder)) == 0
    assert largest(first, encode(tied, folder, seed=1)) > 1e-4
    tied.obs_names = [f"other{name}" for name in tied.obs_names]
    assert largest(first, encode(tied, folder)) > 1e-4


def test_rows_have_unit_length(folder):
    np.testing.assert_allclose(np.linalg.norm(encode(cells(), folder), axis=1), 1, atol=1e-6)


def test_bf16_is_close(tmp_path):
    folder = write_checkpoint(tmp_path, GENES, layers=4, d=128)
    full, half = (encode(cells(), folder, dtype=kind) for kind in (torch.float32, torch.bfloat16))
    assert (full * half).sum(axis=1).min() > 0.999
    assert half.dtype == np.float32


def test_long_cells_keep_cls_and_a_fair_choice_of_their_genes():
    names = [f"c{i}" for i in range(400)]
    matrix = sp.csr_matrix(np.tile(np.arange(1, 101, dtype=np.float32), (400, 1)))
    ids = torch.arange(100) + 7
    chosen = tokens.tokenise(matrix, np.arange(400), tokens.cell_keys(names, 0), ids, 31)
    assert chosen.genes.shape == (400, 31)
    assert (chosen.genes[:, 0] == tokens.CLS).all()
    kept = chosen.genes[:, 1:].numpy() - tokens.FIRST_GENE
    assert all(len(set(row)) == 30 for row in kept)
    # Each gene is kept in 120 of 400 cells, give or take five standard deviations.
    assert np.abs(np.bincount(kept.ravel(), minlength=100) - 120).max() < 5 * np.sqrt(400 * 0.21)
    # Bins are those of the whole cell: values 1 to 100 in order.
    expected, _ = numpy_bins(np.arange(1, 101, dtype=np.float32))
    np.testing.assert_array_equal(chosen.bins[:, 1:].numpy(), expected[kept])


@settings(deadline=None)
@given(
    st.lists(st.integers(2, 300), min_size=1, max_size=200),
    st.integers(1, 4000),
    st.integers(1, 50),
)
def test_batches_hold_each_cell_once_within_the_budget(counts, budget, most):
    counts = np.array(counts)
    parts = tokens.batches(counts, budget, most)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(counts)))
    for rows in parts:
        padded = counts[rows].max() * len(rows)
        assert len(rows) <= most
        assert padded <= budget or len(rows) == 1
        assert padded <= budget / 8 or counts[rows].min() >= 0.9 * counts[rows].max()


# --- checkpoints ----------------------------------------------------------------------------------


def test_spellings_and_formats_are_one_checkpoint(tmp_path):
    data = cells(expressed=[5, 50])
    variants = {
        "Wqkv.": {}, "in_proj_": {}, "_impl.Wqkv.": {}, "_impl.in_proj_": {"safetensors": True},
    }  # fmt: skip
    vectors = [
        encode(data, write_checkpoint(tmp_path / name, GENES, naming=name, **more))
        for name, more in variants.items()
    ]
    for other in vectors[1:]:
        np.testing.assert_array_equal(other, vectors[0])


def test_sizes_and_specials_come_from_the_files(tmp_path):
    model = read_checkpoint(
        write_checkpoint(tmp_path, GENES[:9], d=24, heads=3, layers=1, hidden=40, specials=False)
    )
    assert (model.dim, model.heads, model.layers, model.pad_value) == (24, 3, 1, -2)
    assert [model.vocabulary[t] for t in ("<pad>", "<cls>", "<eoc>")] == [9, 10, 11]
    assert not any(key.startswith(("decoder", "mvc_decoder", "flag")) for key in model.weights)


def change_weights(folder, change):
    state = torch.load(folder / "best_model.pt", weights_only=True)
    torch.save(change(state) or state, folder / "best_model.pt")


LAYER = "transformer_encoder.layers.1"
BROKEN = {
    "missing": (lambda s: s.pop(f"{LAYER}.norm2.bias") * 0, f"{LAYER}.norm2.bias"),
    "prefix": (lambda s: {f"module.{k}": v for k, v in s.items()}, "module.encoder.embedding"),
    "layer too many": (
        lambda s: s.update({f"{LAYER[:-1]}2.norm1.bias": torch.zeros(64)}),
        "layers.2.norm1.bias",
    ),
    "two spellings": (
        lambda s: s.update({f"{LAYER}.self_attn.in_proj_bias": torch.zeros(192)}),
        "two spellings",
    ),
    "vocabulary": (
        lambda s: s.update({"encoder.embedding.weight": torch.zeros(99, 64)}),
        r"encoder.embedding.weight.*\(99, 64\).*\(253, 64\)",
    ),
    "transposed": (
        lambda s: s.update({f"{LAYER}.self_attn.Wqkv.weight": torch.zeros(64, 192)}),
        "self_attn.Wqkv.weight",
    ),
    "not finite": (
        lambda s: s[f"{LAYER}.linear1.bias"].fill_(torch.nan) * 0,
        r"linear1.bias.*NaN",
    ),
    "nested": (lambda s: {"model": dict(s)}, "flat dictionary"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_weights_that_do_not_fit_are_named(tmp_path, name):
    change, words = BROKEN[name]
    folder = write_checkpoint(tmp_path, GENES)

    def apply(state):
        changed = change(state)
        return changed if isinstance(changed, dict) else state

    change_weights(folder, apply)
    with pytest.raises(InputError, match=words) as error:
        read_checkpoint(folder)
    assert str(folder / "best_model.pt") in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nheads": 7}, "embsize 64 is no multiple of nheads 7"),
        ({"nlayers": 0}, "nlayers is 0"),
        ({"embsize": "64"}, "embsize is '64'"),
        ({"pad_value": None}, "pad_value is None"),
        ({"pad_token": "<none>"}, "pad_token '<none>' is not in vocab.json"),
        ({"nlayers": 3}, "layers.2.*is missing"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        read_checkpoint(write_checkpoint(tmp_path, GENES, **changes))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("args.json", None, r"args.json: no such file"),
        ("args.json", "{}", "'embsize' is missing"),
        ("args.json", "{", "not readable JSON"),
        ("vocab.json", "[]", "not hold a JSON object"),
        ("vocab.json", json.dumps({"A": 0, "B": 2}), "ids of its 2 tokens"),
        ("vocab.json", json.dumps({"A": 0, "B": "1"}), "ids of its 2 tokens"),
        ("best_model.pt", None, "neither best_model.pt nor model.safetensors"),
        ("best_model.pt", "no tensors", "not a readable file of tensors"),
        ("model.safetensors", "no tensors", "not a readable file of tensors"),
    ],
)
def test_files_that_are_missing_or_broken_are_named(tmp_path, file, content, words):
    folder = write_checkpoint(tmp_path, GENES)
    if file == "model.safetensors":
        (folder / "best_model.pt").unlink()
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(InputError, match=words):
        read_checkpoint(folder)
    with pytest.raises(InputError, match="no such checkpoint folder"):
        read_checkpoint(folder / "nothing")


class Payload:
    """A pickle that runs code where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_code_in_a_checkpoint_is_never_run(tmp_path, save):
    folder = write_checkpoint(tmp_path / "model", GENES)
    save({"encoder.embedding.weight": Payload(tmp_path / "ran")}, folder / "best_model.pt")
    with pytest.raises(InputError, match="not a readable file of tensors"):
        read_checkpoint(folder)
    assert not (tmp_path / "ran").exists()


def test_checkpoint_saved_in_the_format_before_zip(tmp_path, folder):
    state = torch.load(folder / "best_model.pt", weights_only=True)
    old = write_checkpoint(tmp_path, GENES, layers=3)
    torch.save(state, old / "best_model.pt", _use_new_zipfile_serialization=False)
    data = cells(expressed=[9])
    np.testing.assert_array_equal(encode(data, old), encode(data, folder))


def test_names_of_flash_attention():
    assert canonical("a.self_attn._impl.Wqkv.bias") == "a.self_attn.in_proj_bias"
    assert canonical("encoder.embedding.weight") == "encoder.embedding.weight"


@pytest.mark.parametrize(("room", "raised"), [(True, InputError), (False, MemoryError)])
def test_too_little_memory_is_told_from_a_damaged_length(folder, monkeypatch, room, raised):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(torch, "load", fail)
    if not room:
        monkeypatch.setattr(errors, "bytearray", fail, raising=False)
    with pytest.raises(raised):
        read_checkpoint(folder)
