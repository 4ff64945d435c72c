"""The conditional autoencoder: its losses, pairs and training against plain computations."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from devices import DEVICES

from lloki.integration import cae, pairs, training, training_set
from lloki.support import storage
from lloki.support.errors import InputError

TRAINING = training.Training(
    lambda_rec=1, lambda_trip=10, lambda_bc=100, lr=5e-3, weight_decay=1e-4, chunk_size=50,
    epochs=30, margin=1, seed=0,
)  # fmt: skip


def two_technologies(seed=0, cells=90):
    """Two slices of one tissue with three states; the second technology adds a constant."""
    random = np.random.default_rng(seed)
    state = random.integers(0, 3, 2 * cells)
    embedding = np.eye(8)[state] + 0.05 * random.normal(size=(2 * cells, 8))
    embedding[cells:, 6] += 1.0
    slices = np.repeat([0, 1], cells)
    return embedding.astype(np.float32), slices, state


def train(seed=0, settings=TRAINING, embedding=None, device="cpu", **more):
    made, slices, state = two_technologies()
    embedding = made if embedding is None else embedding
    neighbors = pairs.own_neighbors(embedding, slices, 10)
    cells = training_set.Cells(embedding, slices, slices, neighbors, **more)
    rows = np.split(np.arange(len(slices)), 2)
    views = [pairs.view(embedding[r], r, neighbors[r, :5] - r[0]) for r in rows]
    found = pairs.find_partners(views, ["a", "b"], 10)
    torch.manual_seed(seed)
    model = cae.ConditionalAutoencoder(cae.Architecture(8, 16, 4, 2))
    trainer = training.Trainer(cells, found, model, settings, torch.device(device))
    history = [trainer.epoch() for _ in range(settings.epochs)]
    return trainer, history, state


def test_losses_are_the_equations():
    random = np.random.default_rng(0)
    a, p, n = random.normal(size=(3, 20, 5)).astype(np.float32)
    far = np.linalg.norm(a - p, axis=1) - np.linalg.norm(a - n, axis=1) + 0.5
    tensors = [torch.from_numpy(v) for v in (a, p, n)]
    assert training.triplet_loss(*tensors, 0.5).item() == pytest.approx(
        np.maximum(far, 0).mean(), rel=1e-5
    )
    assert training.reconstruction_loss(*tensors[:2]).item() == pytest.approx(
        np.square(a - p).mean(), rel=1e-5
    )
    lengths = np.linalg.norm(a - p, axis=1), np.linalg.norm(a - n, axis=1)
    assert training.conservation_loss(
        training.distance(*tensors[:2]), training.distance(tensors[0], tensors[2])
    ).item() == pytest.approx(np.square(lengths[0] - lengths[1]).mean(), rel=1e-5)


def test_squared_distances_are_those_of_the_losses():
    random = np.random.default_rng(0)
    a, p, n = random.normal(size=(3, 20, 5)).astype(np.float32)
    far = np.square(a - p).sum(axis=1) - np.square(a - n).sum(axis=1) + 0.5
    tensors = [torch.from_numpy(v) for v in (a, p, n)]
    found = training.triplet_loss(*tensors, 0.5, squared=True).item()
    assert found == pytest.approx(np.maximum(far, 0).mean(), rel=1e-5)
    found = training.distance(*tensors[:2], squared=True).numpy()
    np.testing.assert_allclose(found, np.square(a - p).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("distances", "negatives"), product(["plain", "squared"], ["hard", "many"])
)
def test_the_loss_of_a_chunk_is_that_of_a_plain_computation(distances, negatives):
    """Every draw has one outcome: four neighbours, one partner, one hard negative for a cell.

    Of many negatives all are drawn: the anchors and their partners.
    """
    random = np.random.default_rng(0)
    n, of_slice = 60, np.repeat([0, 1, 2], 20)
    x = random.normal(size=(n, 8)).astype(np.float32)
    near = np.array([random.choice(np.flatnonzero(of_slice == s), 4, False) for s in of_slice])
    partner = np.concatenate([20 + random.permutation(40), random.permutation(20)])
    first = np.concatenate([[0], np.cumsum(np.arange(n) % 3 > 0)])  # a third has no partner
    partners = pairs.Partners(first, partner[np.arange(n) % 3 > 0].astype(np.int32))
    negative = np.array([random.choice(np.flatnonzero(of_slice == s)) for s in of_slice])
    settings = replace(TRAINING, margin=0.7, distances=distances, negatives=negatives)
    torch.manual_seed(0)
    model = cae.ConditionalAutoencoder(cae.Architecture(8, 16, 4, 3))
    cells = training_set.Cells(x, of_slice, of_slice, near, negative)
    trainer = training.Trainer(cells, partners, model, settings, torch.device("cpu"))
    chunk = random.permutation(n)[:25]
    found = {name: loss.item() for name, loss in trainer._losses(chunk).items()}

    z, decoded = plain_model(model, x.astype(float), of_slice)
    power = 2 if distances == "squared" else 1

    def gap(values, a, b):
        return np.linalg.norm(values[a] - values[b], axis=-1) ** power

    moved = [gap(z, i, j) - gap(x, i, j) for i in chunk for j in near[i]]
    anchors = chunk[chunk % 3 > 0]
    apart = gap(z, anchors, partner[anchors]) - gap(z, anchors, negative[anchors])
    triplet = np.maximum(apart + 0.7, 0).mean()
    if negatives == "many":
        pool = np.concatenate([chunk, partner[anchors]])
        triplet = np.mean([info_nce(gap, z, i, partner[i], pool, of_slice) for i in anchors])
    expected = {
        "reconstruction": np.square(decoded[chunk] - x[chunk]).mean(),
        "conservation": np.square(moved).mean(),
        "triplet": triplet,
    }
    expected["total"] = (
        expected["reconstruction"] + 10 * expected["triplet"] + 100 * expected["conservation"]
    )
    assert found == pytest.approx(expected, rel=1e-5)


def info_nce(gap, z, cell, partner, pool, of_slice):
    """−log of a partner's share, told from the other cells of the two slices."""
    others = [c for c in pool if c not in (cell, partner)]
    others = [c for c in others if of_slice[c] in (of_slice[cell], of_slice[partner])]
    weight = np.exp(-gap(z, cell, np.array([partner, *others])) / training.TEMPERATURE)
    return -np.log(weight[0] / weight.sum())


def plain_model(model, x, batch):
    """Latent positions and the decoder's output, by NumPy in double precision."""
    w = {name: v.detach().numpy().astype(float) for name, v in model.state_dict().items()}

    def layers(part, h, last):
        h = np.hstack([h, w["batch.weight"][batch]])
        for layer in (0, 2, 4):
            h = h @ w[f"{part}.{layer}.weight"].T + w[f"{part}.{layer}.bias"]
            h = np.maximum(h, 0) if layer < 4 else last(h)
        return h

    z = layers("encoder", x, lambda h: np.logaddexp(h, 0))
    return z, layers("decoder", z, lambda h: h)


@pytest.mark.parametrize("device", [None, *DEVICES])
def test_hard_negatives_are_the_nearest_of_another_type(device):
    embedding, slices, state = two_technologies()
    state[:5] = 7  # of a type of their own
    hard = pairs.hard_negatives(embedding, slices, state, device and torch.device(device))
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    likeness = unit @ unit.T
    likeness[(slices[:, None] != slices) | (state[:, None] == state)] = -2
    np.testing.assert_array_equal(hard, likeness.argmax(axis=1))
    assert (pairs.hard_negatives(embedding, slices, np.zeros(len(slices))) == -1).all()
    trainer = train(settings=replace(TRAINING, epochs=1), hard=np.where(slices == 0, hard, -1))[0]
    place, _, negative = trainer._triplets(np.arange(len(slices)))
    first = place < 90
    np.testing.assert_array_equal(negative[first], hard[place[first]])
    assert (slices[negative] == slices[place]).all() and (negative >= 0).all()


def test_a_memory_map_trains_as_an_array_does(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "WINDOW_BYTES", 1000)  # a few rows at a time
    embedding = two_technologies()[0]
    embedding.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=embedding.shape)
    settings = replace(TRAINING, epochs=3)
    assert train(settings=settings)[1] == train(settings=settings, embedding=mapped)[1]


@pytest.mark.parametrize("device", DEVICES)
def test_a_training_taken_up_again_ends_as_one_that_never_stopped(tmp_path, device):
    def trained(epochs, **more):
        return train(settings=replace(TRAINING, epochs=epochs), device=device, **more)[0]

    whole = trained(6)
    torch.save(trained(3).state(), tmp_path / "state")
    again = trained(0, seed=5)
    again.resume(torch.load(tmp_path / "state", map_location="cpu", weights_only=True))
    for _ in range(3):
        again.epoch()
    exact = dict(rtol=0, atol=0) if device == "cpu" else dict(rtol=1e-3, atol=1e-4)
    for one, other in zip(whole.history, again.history, strict=True):
        np.testing.assert_allclose(list(other.values()), list(one.values()), **exact)
    torch.testing.assert_close(again.model.state_dict(), whole.model.state_dict(), **exact)


def test_adapting_changes_the_new_vectors_alone():
    trainer, _, state = train()
    embedding = two_technologies()[0]
    third = (np.eye(8)[state[:90]] + 0.05).astype(np.float32)
    third[:, 7] += 1.0
    cells = training_set.Cells(
        np.vstack([embedding, third]), np.repeat([0, 1, 2], 90), np.repeat([0, 1, 2], 90), None
    )
    cells.neighbors = pairs.own_neighbors(cells.embedding, cells.slice, 10)
    cells.anchors = np.arange(180, 270)
    views = [pairs.view(cells.embedding[r], r, cells.neighbors[r, :5] - r[0])
             for r in np.split(np.arange(270), 3)]  # fmt: skip
    found = pairs.find_partners(views, ["a", "b", "c"], 10)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    known = trainer.latent()
    model = cae.extended(trainer.model, 3)
    settings = replace(TRAINING, lr=0.05, epochs=120)
    adapted = training.Trainer(cells, found, model, settings, torch.device("cpu"), frozen=2)
    first = adapted.latent()
    for _ in range(settings.epochs):
        adapted.epoch()
    after = model.state_dict()
    assert (after["batch.weight"][:2] == before["batch.weight"]).all()
    assert before["maps"].shape == (0, 8, 8) and after["maps"].shape == (1, 8, 8)
    assert after["maps"].any() and not (after["batch.weight"][2] == model.batch.weight[0]).all()
    own = ("batch.weight", "maps")
    assert all((after[k] == before[k]).all() for k in before if k not in own)
    latent = adapted.latent()
    assert (latent[:180] == known).all()
    where = [latent[:90][state[:90] == c].mean(0) for c in range(3)]
    gap = [
        np.mean([np.linalg.norm(z[180:][state[:90] == c].mean(0) - where[c]) for c in range(3)])
        for z in (first, latent)
    ]
    assert gap[1] < 0.7 * gap[0]
    # One more: what was learnt of the third stays, too.
    fourth = cae.extended(model, 4)
    cells.batch = np.where(cells.batch == 2, 3, cells.batch)
    again = training.Trainer(cells, found, fourth, settings, torch.device("cpu"), frozen=3)
    for _ in range(3):
        again.epoch()
    last = fourth.state_dict()
    assert (last["maps"][:1] == after["maps"]).all() and last["maps"][1].any()
    assert (last["batch.weight"][:3] == after["batch.weight"]).all()


def test_encoder_and_decoder_are_three_layers_told_the_batch():
    torch.manual_seed(0)
    model = cae.ConditionalAutoencoder(cae.Architecture(12, 9, 3, 2))
    x, b = torch.randn(5, 12), torch.tensor([0, 1, 0, 1, 1])
    z, decoded = plain_model(model, x.numpy().astype(float), b.numpy())
    np.testing.assert_allclose(model.encode(x, b).detach(), z, atol=1e-5)
    latent = torch.from_numpy(z.astype(np.float32))
    np.testing.assert_allclose(model.decode(latent, b).detach(), decoded, atol=1e-5)
    w = model.state_dict()
    assert [w[f"encoder.{i}.weight"].shape[0] for i in (0, 2, 4)] == [256, 175, 9]
    assert [w[f"decoder.{i}.weight"].shape[0] for i in (0, 2, 4)] == [175, 256, 12]


def test_an_epoch_has_every_cell_once_and_every_slice_in_each_chunk():
    trainer, _, _ = train(settings=replace(TRAINING, epochs=1))
    chunks = trainer._chunks()
    assert sorted(np.concatenate(chunks)) == list(range(180))
    shares = [trainer.cells.slice[chunk].mean() for chunk in chunks]
    assert len(chunks) == 4 and np.allclose(shares, 0.5, atol=0.05)


def test_training_brings_technologies_together_and_keeps_states_apart():
    trainer, history, state = train()
    assert history[-1]["total"] < history[0]["total"] / 2
    latent, slices = trainer.latent(), trainer.cells.slice
    means = np.array(
        [[latent[(slices == s) & (state == c)].mean(0) for c in range(3)] for s in (0, 1)]
    )
    between_technologies = np.linalg.norm(means[0] - means[1], axis=1).max()
    between_states = np.linalg.norm(means[0][[0, 0, 1]] - means[0][[1, 2, 2]], axis=1).min()
    assert between_technologies < between_states / 3


def test_seeds_decide_everything():
    first, second, other = train()[1], train()[1], train(seed=1)[1]
    assert first == second and first != other


def test_encoding_does_not_depend_on_the_blocks_and_a_model_comes_back(tmp_path):
    trainer, _, _ = train(settings=replace(TRAINING, epochs=1))
    embedding, slices = trainer.cells.embedding, trainer.cells.slice
    cpu = torch.device("cpu")
    whole = cae.encode(trainer.model, embedding, slices, cpu)
    np.testing.assert_allclose(
        cae.encode(trainer.model, embedding, slices, cpu, 7), whole, atol=1e-6
    )
    batches = [{"technology": "A", "panel": "a"}, {"technology": "B", "panel": "b"}]
    cae.save(trainer.model, batches, TRAINING, tmp_path, embedder="mosaic")
    model, config = cae.load(tmp_path)
    assert (cae.encode(model, embedding, slices, cpu) == whole).all()
    assert config["batches"] == batches and config["training"]["lambda_bc"] == 100
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="damaged"):
        cae.load(tmp_path)


@pytest.mark.parametrize("device", DEVICES)
def test_embeddings_on_a_gpu_train_as_those_in_memory(device, monkeypatch):
    settings = replace(TRAINING, epochs=3)
    trainer, there, _ = train(settings=settings, device=device)
    assert (trainer.held is None) == (device == "cpu")
    monkeypatch.setattr(training, "on_gpu", lambda embedding, device: None)
    _, here, _ = train(settings=settings, device=device)
    for one, other in zip(here, there, strict=True):
        assert other == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_a_group_of_one_process_trains_as_it_does_alone(device, monkeypatch):
    settings = replace(TRAINING, epochs=3)
    _, alone, _ = train(settings=settings, device=device)
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1",
             "MASTER_PORT": "0"}  # fmt: skip
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    try:
        assert training.join_processes(torch.device(device)) == 0
        _, together, _ = train(settings=settings, device=device)
    finally:
        training.leave_processes()
    for one, other in zip(alone, together, strict=True):
        assert other == pytest.approx(one, rel=1e-4)


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "99")
    with pytest.raises(InputError, match="process 100"):
        training.join_processes(torch.device("cuda"))
