"""The conditional autoencoder: its losses, pairs and training against plain computations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lloki import cae, cells, pairs, processes, storage, training

TRAINING = training.Training(
    lambda_rec=1, lambda_trip=10, lambda_bc=100, lr=5e-3, weight_decay=1e-4, chunk_size=50,
    epochs=30, margin=1, sampled_neighbors=4, seed=0,
)  # fmt: skip


def two_technologies(seed=0, cells=90):
    """Two slices of one tissue with three states; the second technology adds a constant."""
    random = np.random.default_rng(seed)
    state = random.integers(0, 3, 2 * cells)
    embedding = np.eye(8)[state] + 0.05 * random.normal(size=(2 * cells, 8))
    embedding[cells:, 6] += 1.0
    slices = np.repeat([0, 1], cells)
    return embedding.astype(np.float32), slices, state


def train(seed=0, settings=TRAINING):
    embedding, slices, state = two_technologies()
    neighbors = pairs.own_neighbors(embedding, slices, 10)
    everything = training.Cells(embedding, slices, slices, neighbors)
    rows = np.split(np.arange(len(slices)), 2)
    views = [pairs.view(embedding[r], r, neighbors[r, :5] - r[0]) for r in rows]
    found = pairs.find_pairs(views, ["a", "b"], 10)
    torch.manual_seed(seed)
    model = cae.ConditionalAutoencoder(cae.Architecture(8, 16, 4, 2))
    positives = training.Positives.of([found], len(slices))
    trainer = training.Trainer(everything, positives, model, settings, torch.device("cpu"))
    history = [trainer.epoch() for _ in range(settings.epochs)]
    return trainer, history, state


@pytest.mark.parametrize("squared", [False, True])
def test_losses_are_the_equations(squared):
    random = np.random.default_rng(0)
    a, p, n = random.normal(size=(3, 20, 5)).astype(np.float32)
    positive, negative = (np.linalg.norm(a - v, axis=1) ** (1 + squared) for v in (p, n))
    tensors = [torch.from_numpy(v) for v in (a, p, n)]
    assert training.triplet_loss(*tensors, 0.5, squared).item() == pytest.approx(
        np.maximum(positive - negative + 0.5, 0).mean(), rel=1e-5
    )
    assert training.reconstruction_loss(*tensors[:2]).item() == pytest.approx(
        np.square(a - p).mean(), rel=1e-5
    )
    lengths = (training.distance(tensors[0], t, squared) for t in tensors[1:])
    assert training.conservation_loss(*lengths).item() == pytest.approx(
        np.square(positive - negative).mean(), rel=1e-5
    )


def forward(weights, part, values, batch):
    """A part of the model by plain NumPy."""
    h = np.hstack([values, weights["batch.weight"][batch]])
    for layer in (0, 2, 4):
        h = h @ weights[f"{part}.{layer}.weight"].T + weights[f"{part}.{layer}.bias"]
        if layer < 4:
            h = np.maximum(h, 0)
    return np.logaddexp(h, 0) if part == "encoder" else h


def settled(settings, known=0):
    """A trainer that draws nothing: one positive a cell, hard negatives, all neighbours."""
    embedding, slices, state = two_technologies(cells=20)
    neighbors = pairs.own_neighbors(embedding, slices, settings.sampled_neighbors)
    partner = np.column_stack([np.arange(40), (np.arange(40) + 20) % 40])[5:]
    hard = [cells.hardest(embedding[r], state[r]) for r in (slice(0, 20), slice(20, 40))]
    negatives = np.concatenate([hard[0], 20 + hard[1]]).astype(np.int32)
    torch.manual_seed(0)
    model = cae.ConditionalAutoencoder(cae.Architecture(8, 16, 4, 2))
    everything = training.Cells(embedding, slices, slices, neighbors, negatives)
    positives = training.Positives.of([partner], 40)
    trainer = training.Trainer(everything, positives, model, settings, torch.device("cpu"), known)
    return trainer, partner


@pytest.mark.parametrize("kinds", [("plain", "plain"), ("squared", "plain"), ("plain", "squared")])
def test_a_chunks_losses_are_those_of_plain_arrays(kinds):
    kind = dict(zip(("trip_distance", "bc_distance"), kinds, strict=True))
    trainer, partner = settled(replace(TRAINING, lambda_rec=3, **kind))
    found = {name: loss.item() for name, loss in trainer._losses(np.arange(40)).items()}
    data, weights = trainer.cells, trainer.model.state_dict()
    weights = {name: value.numpy().astype(float) for name, value in weights.items()}
    z = forward(weights, "encoder", data.embedding, data.batch)
    back = forward(weights, "decoder", z, data.batch)

    def lengths(values, i, j, name):
        return np.linalg.norm(values[i] - values[j], axis=-1) ** (1 + (kind[name] == "squared"))

    cell, (anchor, positive) = np.arange(40)[:, None], partner.T
    apart = lengths(z, anchor, positive, "trip_distance")
    apart = apart - lengths(z, anchor, data.negatives[anchor], "trip_distance") + 1
    before = lengths(data.embedding, cell, data.neighbors, "bc_distance")
    expected = {
        "reconstruction": np.square(back - data.embedding).mean(),
        "conservation": np.square(lengths(z, cell, data.neighbors, "bc_distance") - before).mean(),
        "triplet": np.maximum(apart, 0).mean(),
    }
    weight = {"reconstruction": 3, "conservation": 100, "triplet": 10}
    expected["total"] = sum(weight[name] * loss for name, loss in expected.items())
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_hardest_negative_is_the_closest_cell_of_another_type():
    embedding, _, state = two_technologies(cells=30)
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    cosine = np.where(state[:, None] == state, -2, unit @ unit.T)
    assert (cells.hardest(embedding, state) == cosine.argmax(axis=1)).all()
    assert (cells.hardest(embedding, np.zeros(60)) == -1).all()


def test_positives_are_the_pairs_of_each_cell():
    found = np.array([[3, 9], [0, 7], [3, 8]])
    positives = training.Positives.of([found, np.array([[5, 1]]), np.empty((0, 2), int)], 10)
    of_cell = np.split(positives.cells, positives.first[1:-1])
    assert [p.tolist() for p in of_cell] == [[7], [], [], [8, 9], [], [1], [], [], [], []]
    assert positives.cells.dtype == np.int32


def test_without_hard_negatives_they_come_from_the_anchors_slice():
    trainer, _ = settled(TRAINING)
    trainer.cells.negatives = None
    place, positive, negative = trainer._triplets(np.arange(40))
    slices = trainer.cells.slice
    assert (slices[negative] == slices[place]).all() and (slices[positive] != slices[place]).all()


def test_adapting_changes_the_vectors_of_new_batches_alone():
    trainer, _ = settled(replace(TRAINING, lr=0.05, weight_decay=0.1), known=1)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    latent = trainer.latent()
    history = [trainer.epoch() for _ in range(30)]
    after = trainer.model.state_dict()
    for name in before.keys() - {"batch.weight"}:
        assert torch.equal(before[name], after[name])
    assert torch.equal(before["batch.weight"][0], after["batch.weight"][0])
    assert not torch.equal(before["batch.weight"][1], after["batch.weight"][1])
    assert (trainer.latent()[:20] == latent[:20]).all()
    assert history[-1]["total"] < history[0]["total"]
    assert sorted(np.concatenate(trainer._chunks())) == list(range(20, 40))


def test_a_model_is_extended_by_batches_that_start_in_the_middle():
    model = cae.ConditionalAutoencoder(cae.Architecture(8, 16, 4, 2))
    wider = cae.extended(model, 2)
    known, new = wider.batch.weight[:2], wider.batch.weight[2:]
    assert torch.equal(known, model.batch.weight)
    torch.testing.assert_close(new, model.batch.weight.mean(0).expand(2, 4))


def test_training_goes_on_from_a_checkpoint_to_the_same_result(tmp_path):
    whole, cut = settled(TRAINING)[0], settled(TRAINING)[0]
    for _ in range(6):
        whole.epoch()
    for _ in range(3):
        cut.epoch()
    file = tmp_path / "checkpoint"
    assert cut.load_checkpoint(file) == 0
    cut.save_checkpoint(file)
    cut.epoch()
    again = settled(TRAINING)[0]
    assert again.load_checkpoint(file) == 3
    for _ in range(3):
        again.epoch()
    assert again.history == whole.history
    one, two = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert settled(replace(TRAINING, lr=1e-4))[0].load_checkpoint(file) is None
    file.write_bytes(b"cut")
    assert settled(TRAINING)[0].load_checkpoint(file) is None
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_rows_on_disk_are_the_rows(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    stored = storage.StoredRows(50, 3, tmp_path)
    stored[slice(0, 20)], stored[slice(20, 50)] = values[:20], values[20:]
    assert (stored[slice(10, 30)] == values[10:30]).all() and len(stored) == 50
    assert (stored[np.array([4, 49, 4])] == values[[4, 49, 4]]).all()
    assert not list(tmp_path.iterdir())


def test_shares_of_processes_are_everything_once():
    shares = [np.arange(11)[processes.Processes(r, 3).share(11)] for r in range(3)]
    assert np.concatenate(shares).tolist() == list(range(11))


def test_encoder_and_decoder_are_three_layers_told_the_batch():
    torch.manual_seed(0)
    model = cae.ConditionalAutoencoder(cae.Architecture(12, 9, 3, 2))
    x, b = torch.randn(5, 12), torch.tensor([0, 1, 0, 1, 1])
    w = {k: v.detach().numpy().astype(np.float64) for k, v in model.state_dict().items()}
    h = np.hstack([x.numpy(), w["batch.weight"][b.numpy()]])
    for layer in (0, 2, 4):
        h = h @ w[f"encoder.{layer}.weight"].T + w[f"encoder.{layer}.bias"]
        h = np.logaddexp(h, 0) if layer == 4 else np.maximum(h, 0)
    np.testing.assert_allclose(model.encode(x, b).detach(), h, atol=1e-5)
    assert [w[f"encoder.{i}.weight"].shape[0] for i in (0, 2, 4)] == [256, 175, 9]
    assert [w[f"decoder.{i}.weight"].shape[0] for i in (0, 2, 4)] == [175, 256, 12]


def test_an_epoch_has_every_cell_once_and_every_slice_in_each_chunk():
    trainer, _, _ = train(settings=training.Training(**{**TRAINING.__dict__, "epochs": 1}))
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
    trainer, _, _ = train(settings=training.Training(**{**TRAINING.__dict__, "epochs": 1}))
    embedding, slices = trainer.cells.embedding, trainer.cells.slice
    cpu = torch.device("cpu")
    whole = cae.encode(trainer.model, embedding, slices, cpu)
    np.testing.assert_allclose(
        cae.encode(trainer.model, embedding, slices, cpu, 7), whole, atol=1e-6
    )
    batches = [{"technology": "A", "panel": "a"}, {"technology": "B", "panel": "b"}]
    cae.save(trainer.model, batches, tmp_path, training={"lambda_bc": 100})
    model, config = cae.load(tmp_path)
    assert (cae.encode(model, embedding, slices, cpu) == whole).all()
    assert config["batches"] == batches and config["training"]["lambda_bc"] == 100
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="damaged"):
        cae.load(tmp_path)
