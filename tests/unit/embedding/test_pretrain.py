"""Training of a small scGPT: its file, its losses, and going on after a stop."""

import io

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scgpt_reference
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.embedding.mosaic import MosaicModel
from lloki.embedding.scgpt import pretrain, training_set
from lloki.embedding.scgpt.checkpoint import read_checkpoint
from lloki.embedding.scgpt.encoder import Encoder, embed
from lloki.embedding.scgpt.model import MASKED, Architecture, Model
from lloki.slices import genes

CPU = torch.device("cpu")
SYMBOLS = [f"GENE{i}" for i in range(40)]
RANK = 6

needs_scgpt = pytest.mark.skipif(
    not (scgpt_reference.FOLDER / "scgpt").is_dir(),
    reason="the original scgpt is not there: run tests/install_scgpt.sh",
)


def training(**changes) -> pretrain.Training:
    values = dict(
        steps=40, batch_size=24, lr=3e-3, warmup=5, mask_ratio=0.2, genes_kept=(0.5, 1.0),
        max_length=30, weight_state=1.0, weight_similarity=1.0, weight_masked=0.5, weight_mvc=0.5,
        weight_agreement=0.0, seed=3,
    )  # fmt: skip
    return pretrain.Training(**(values | changes))


def made_cells(sizes=(90, 30), seed=0) -> training_set.Cells:
    """Cells of two panels whose factors decide what they express."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(sum(sizes), RANK)).astype(np.float32)
    values = np.exp(factors @ rng.normal(size=(RANK, len(SYMBOLS))) / 2)
    values[values < 0.7] = 0
    values[: sizes[0], 30:] = 0
    values[sizes[0] :, :12] = 0
    values[:, 20] += 1
    return training_set.Cells(
        sp.csr_matrix(values.astype(np.float32)), np.array(sizes), training_set.smoothed(factors, 0)
    )


def made_model(seed=0, dropout=0.0, layers=2, d=16) -> Model:
    torch.manual_seed(seed)
    model = Model(Architecture(d, layers, 2, 24, dropout), len(SYMBOLS), RANK)
    with torch.no_grad():  # scgpt's norms and biases start at 1 and 0: those would hide a mistake
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def trainer(model=None, cells=None, **changes) -> pretrain.Trainer:
    return pretrain.Trainer(cells or made_cells(), model or made_model(), training(**changes), CPU)


# --- the file -------------------------------------------------------------------------------------


def test_the_checkpoint_embeds_as_the_model_that_was_trained(tmp_path):
    model, cells = made_model(), made_cells()
    pretrain.save(model, SYMBOLS, training(), tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    assert (checkpoint.dim, checkpoint.heads, checkpoint.layers) == (16, 2, 2)
    encoder = Encoder(checkpoint, SYMBOLS, CPU, torch.float32)
    names = [f"c{i}" for i in range(len(cells.factors))]
    vectors = np.empty((len(names), 16), dtype=np.float32)
    for rows, part in embed(encoder, cells.matrix, names):
        vectors[rows] = part
    rows = np.arange(len(names))
    keys = pretrain_keys(names)
    tokens = pretrain.tokenise(cells.matrix, rows, keys, torch.arange(len(SYMBOLS)), 99)
    assert tokens.counts.min() < tokens.counts.max()
    with torch.no_grad():
        for alone in (False, True):
            hidden = model(model.gene_vectors(tokens.genes), tokens.bins, tokens.counts, alone)
            expected = torch.nn.functional.normalize(hidden[:, 0], dim=1).numpy()
            assert np.abs(vectors - expected).max() <= 2e-6


def pretrain_keys(names):
    from lloki.embedding.scgpt.tokens import cell_keys

    return cell_keys(names, 0)


def test_decoders_are_in_the_file_where_they_were_trained(tmp_path):
    for told in (training(), training(weight_masked=0.0), training(weight_mvc=0.0)):
        pretrain.save(made_model(), SYMBOLS, told, tmp_path)
        names = torch.load(tmp_path / "best_model.pt", weights_only=True)
        assert ("decoder.fc.0.weight" in names) == (told.weight_masked > 0)
        assert ("mvc_decoder.W.weight" in names) == (told.weight_mvc > 0)
        assert not any(name.startswith("state.") for name in names)
        read_checkpoint(tmp_path)


@needs_scgpt
def test_the_checkpoint_embeds_in_the_package_as_here(tmp_path):
    pretrain.save(made_model(), SYMBOLS, training(weight_masked=0.0), tmp_path)
    rng = np.random.default_rng(0)
    values = sp.csr_matrix(np.exp(rng.normal(size=(9, 40))).astype(np.float32))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(9)])
    data = ad.AnnData(values, obs=obs, var=pd.DataFrame(index=SYMBOLS))
    encoder = Encoder(read_checkpoint(tmp_path), SYMBOLS, CPU, torch.float32)
    vectors = np.empty((9, 16), dtype=np.float32)
    for rows, part in embed(encoder, data.X, data.obs_names):
        vectors[rows] = part
    assert np.abs(vectors - scgpt_reference.embed(data, tmp_path)).max() <= 2e-6


@needs_scgpt
def test_the_decoders_give_the_packages_values(tmp_path):
    """Masked values from context and from <cls>, by scgpt's own model from our file."""
    scgpt_reference.load()
    from scgpt.model import TransformerModel

    model, n = made_model(), len(SYMBOLS)
    torch.nn.init.normal_(model.mvc_decoder["W"].weight)
    state = {k.replace("Wqkv.", "in_proj_"): t for k, t in model.official_state().items()}
    theirs = TransformerModel(
        n + 3, 16, 2, 24, 2, vocab={"<pad>": n}, dropout=0.0, do_mvc=True,
        use_fast_transformer=False,
    )  # fmt: skip
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected and all(key.startswith("cls_decoder") for key in missing)
    theirs.eval()
    draw = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.randperm(n, generator=draw)[:12] for _ in range(5)])
    codes = torch.randint(1, 51, ids.shape, generator=draw)
    codes[:, :3] = MASKED
    codes = torch.nn.functional.pad(codes, (1, 0))
    values = torch.where(codes == MASKED, -1, torch.where(codes == 0, -2, codes)).float()
    source = torch.nn.functional.pad(ids, (1, 0), value=n + 1)
    with torch.no_grad():
        expected = theirs(source, values, torch.zeros_like(source, dtype=torch.bool), MVC=True)
        vectors = model.gene_vectors(torch.nn.functional.pad(ids + 2, (1, 0), value=1))
        hidden = model(vectors, codes, np.full(5, 13))
        context = 50 * model.values_from_context(hidden)
        cell = 50 * model.values_from_cell(hidden[:, :1], vectors)
    torch.testing.assert_close(context, expected["mlm_output"], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(cell, expected["mvc_output"], atol=1e-4, rtol=1e-5)


# --- losses ---------------------------------------------------------------------------------------


def test_losses_equal_plain_computation():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 4))
    cls = rng.normal(size=(5, 7))

    def cosine(x, y):
        return x @ y / np.linalg.norm(x) / np.linalg.norm(y)

    expected = np.mean([1 - cosine(x, y) for x, y in zip(a, b, strict=True)])
    found = pretrain.state_loss(torch.from_numpy(a), torch.from_numpy(b))
    assert found.item() == pytest.approx(expected)
    apart = [cosine(cls[i], cls[j]) - cosine(a[i], a[j]) for i in range(5) for j in range(5)]
    found = pretrain.similarity_loss(torch.from_numpy(cls), torch.from_numpy(a))
    assert found.item() == pytest.approx(np.mean(np.square(apart)))
    found = pretrain.value_loss(torch.from_numpy(a[0]), torch.from_numpy(b[0]))
    assert found.item() == pytest.approx(np.mean((a[0] - b[0]) ** 2))
    assert pretrain.value_loss(torch.empty(0), torch.empty(0)).item() == 0


def test_the_total_is_the_weighted_sum():
    subject = trainer(weight_agreement=0.25, weight_mvc=2.0)
    losses = subject.losses(np.random.default_rng(0))
    assert set(losses) == {"masked", "mvc", "state", "similarity", "agreement", "total"}
    expected = sum(
        getattr(subject.training, f"weight_{name}") * loss
        for name, loss in losses.items() if name != "total"
    )  # fmt: skip
    assert losses["total"].item() == pytest.approx(expected.item())


def test_without_masked_values_none_is_masked_and_the_rest_is_the_same():
    """The short way through the last layer gives the state's losses that the long way gives."""
    short = trainer(weight_masked=0.0, weight_mvc=0.0).losses(np.random.default_rng(0))
    long = trainer(mask_ratio=0.0).losses(np.random.default_rng(0))
    assert set(short) == {"state", "similarity", "total"} and long["masked"] == 0
    for name in ("state", "similarity"):
        assert short[name].item() == pytest.approx(long[name].item(), abs=1e-6)


def test_every_loss_falls():
    subject = trainer(steps=80, mask_ratio=0.3, batch_size=32)
    history = [subject.step() for _ in range(80)]
    for name in history[0]:
        first, last = (np.mean([h[name] for h in part]) for part in (history[:10], history[-10:]))
        assert last < first * (0.99 if name in ("masked", "mvc") else 0.85), name


# --- what a step sees -----------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 99),
       st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted), st.integers(2, 50))  # fmt: skip
def test_parts_of_a_cell_share_no_gene(counts, seed, kept, most):
    rng = np.random.default_rng(seed)
    dense = np.zeros((len(counts), 60), dtype=np.float32)
    for row, count in zip(dense, counts, strict=True):
        row[rng.permutation(60)[:count]] = rng.random(count) + 0.1
    told = training(genes_kept=tuple(kept), max_length=most)
    first, second = pretrain.split_genes(sp.csr_matrix(dense), told, rng)
    one, two = first.toarray(), second.toarray()
    assert not (one * two).any()
    assert (((one + two) == dense) | ((one + two) == 0)).all()
    lengths = np.count_nonzero(one, axis=1)
    for count, length, rest in zip(counts, lengths, np.count_nonzero(two, axis=1), strict=True):
        least = min(pretrain.FEWEST, count, most - 1)
        assert least <= length <= min(most - 1, max(np.ceil(kept[1] * count), least))
        assert length >= min(np.floor(kept[0] * count), most - 1)
        assert rest == min(count - length, most - 1)


def test_data_sets_count_the_same_whatever_their_size():
    subject = trainer(cells=made_cells((900, 30)), batch_size=4000)
    rows = subject._draw(np.random.default_rng(0))
    assert np.mean(rows >= 900) == pytest.approx(0.5, abs=0.04)
    assert set(rows[rows >= 900]) == set(range(900, 930)) and len(set(rows)) > 700


def test_the_rate_rises_then_falls_to_nothing():
    told = training(steps=100, warmup=10)
    rates = [pretrain.rate(step, told) for step in range(101)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == 1 and rates[100] == pytest.approx(0)
    assert (np.diff(rates[10:]) < 0).all() and rates[55] == pytest.approx(0.5)


def test_vocabularies_hold_human_symbols_and_every_gene_finds_its_own():
    panels = [["Gad1", "Ctgf", "H2-Ab1", "Lyz2"], ["GAD1", "C9orf72"]]
    tables = [{"Gad1": "GAD1", "H2-Ab1": "HLA-DQB1"}, {}]
    symbols = training_set.vocabulary(panels, tables)
    assert symbols == ["C9ORF72", "CCN2", "GAD1", "HLA-DQB1", "LYZ2"]
    matches = [
        genes.match_vocabulary(*pair) for pair in zip(panels, [symbols] * 2, tables, strict=True)
    ]
    assert matches[0].symbols == ["GAD1", "CCN2", "HLA-DQB1", "LYZ2"]
    matrix = sp.csr_matrix(np.array([[1, 2, 0, 4], [0, 0, 3, 0]], dtype=np.float32))
    wide = training_set.vocabulary_columns(matrix, matches[0], symbols).toarray()
    np.testing.assert_array_equal(wide, [[0, 2, 1, 0, 4], [0, 0, 0, 3, 0]])
    mosaic = MosaicModel(np.array(["CCN2", "GAD1"]), np.eye(2, dtype=np.float32), 5.0)
    loadings = training_set.symbol_loadings(mosaic, panels, matches, symbols)
    np.testing.assert_array_equal(loadings, [[0, 0], [1, 0], [0, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize("d", [4, 16])
def test_genes_start_as_alike_as_their_loadings(d):
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(len(SYMBOLS), RANK)).astype(np.float32)
    model = made_model(d=d)
    pretrain.start_from_loadings(model, loadings, rng, noise=1e-6)
    vectors = model.encoder["embedding"].weight.detach().numpy()
    assert np.isfinite(vectors).all() and np.abs(vectors[-3:]).max() < 1e-4
    if d >= RANK:
        found = vectors[:-3] @ vectors[:-3].T
        np.testing.assert_allclose(found, loadings @ loadings.T, atol=1e-3)


# --- stopping and going on ------------------------------------------------------------------------


def test_a_stopped_training_goes_on_to_the_same_weights():
    options = dict(steps=12, weight_agreement=0.1)
    whole = trainer(made_model(dropout=0.2), **options)
    losses = [whole.step() for _ in range(12)]
    stopped = trainer(made_model(dropout=0.2), **options)
    for _ in range(5):
        stopped.step()
    file = io.BytesIO()
    torch.save(stopped.state(), file)
    file.seek(0)
    torch.rand(7)  # what others draw in between is no matter
    later = trainer(made_model(seed=9, dropout=0.2), **options)
    later.resume(torch.load(file, weights_only=True))
    assert later.done == 5
    assert [later.step() for _ in range(7)] == losses[5:]
    for one, two in zip(whole.model.parameters(), later.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_dropout_drops_in_training_alone():
    model, cells = made_model(dropout=0.5), made_cells()
    rows = np.arange(4)
    tokens = pretrain.tokenise(cells.matrix, rows, rows, torch.arange(len(SYMBOLS)), 99)

    def hidden():
        with torch.no_grad():
            return model(model.gene_vectors(tokens.genes), tokens.bins, tokens.counts)

    assert not torch.equal(hidden(), hidden())
    model.eval()
    assert torch.equal(hidden(), hidden())
