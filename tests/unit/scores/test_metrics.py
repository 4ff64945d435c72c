"""Scores against scib-metrics' own functions, and against what they must be on made-up cells."""

import numpy as np
import pandas as pd
import pytest
import scib_metrics
from demo_slices import demo_slice
from hypothesis import given, settings
from hypothesis import strategies as st
from scib_metrics.nearest_neighbors import NeighborsResults
from sklearn.neighbors import NearestNeighbors

from lloki.integration import joined
from lloki.propagation import graph
from lloki.scores import metrics


@pytest.fixture(scope="module")
def cells():
    """PCA on shared genes of 675 real cells, an embedding, labels, batches (technologies)."""
    data = [demo_slice(name) for name in ("osmfish", "starmap", "xenium")]
    keep = [
        np.random.default_rng(i).choice(d.n_obs, 250 - 25 * i, False) for i, d in enumerate(data)
    ]
    data = [d[np.sort(k)].copy() for d, k in zip(data, keep, strict=True)]
    genes = joined.shared_genes([d.var_names for d in data])
    before = graph.principal_components(joined.shared_expression(data, genes).log1p(), 50)
    labels = np.concatenate([d.obs["cell_type_coarse"].astype(str) for d in data])
    batches = np.repeat(["osmFISH", "STARmap", "Xenium"], [d.n_obs for d in data])
    # less of each batch's mean, and more dimensions, as an integration would have it
    after = before - 0.7 * pd.DataFrame(before).groupby(batches).transform("mean").to_numpy()
    rng = np.random.default_rng(0)
    turned = after @ rng.normal(size=(before.shape[1], 24))
    # cells with the same few genes lie at one place: a little noise leaves no ties to break
    return before, (turned + rng.normal(0, 0.02, turned.shape)).astype(np.float32), labels, batches


def exact(space, k):
    """Neighbours of every cell by brute force, the cell itself first."""
    distances, indices = (
        NearestNeighbors(algorithm="brute").fit(space).kneighbors(n_neighbors=k - 1)
    )
    own = np.arange(len(space))
    return NeighborsResults(
        indices=np.column_stack([own, indices]),
        distances=np.column_stack([np.zeros(len(space)), distances]),
    )


def test_every_metric_equals_that_of_scib_metrics(cells):
    before, after, labels, batches = cells
    found = metrics.evaluate(after, labels.astype(object), batches, before)
    clusters = scib_metrics.nmi_ari_cluster_labels_kmeans(after, labels)
    expected = {
        "Isolated labels": scib_metrics.isolated_labels(after, labels, batches),
        "KMeans NMI": clusters["nmi"],
        "KMeans ARI": clusters["ari"],
        "Silhouette label": scib_metrics.silhouette_label(after, labels),
        "cLISI": scib_metrics.clisi_knn(exact(after, 90), labels),
        "Silhouette batch": scib_metrics.silhouette_batch(after, labels, batches),
        "Graph connectivity": scib_metrics.graph_connectivity(exact(after, 15), labels),
        "PCR comparison": scib_metrics.pcr_comparison(before, after, batches, categorical=True),
        "BRAS": scib_metrics.bras(after, labels, batches),
        "iLISI": scib_metrics.ilisi_knn(exact(after, 90), batches),
    }
    # its diffusion maps start at random: within 0.05 of it, and ours is the same again
    near = metrics.neighbours(after)
    theirs = scib_metrics.kbet_per_label(near.subset_neighbors(50), batches, labels)
    assert found["kBET"] == pytest.approx(theirs, abs=0.05)
    assert found["kBET"] == metrics.kbet(near, batches, labels)
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=1e-4), name
        assert 0.01 < found[name] < 0.999, f"{name} cannot tell anything here"
    assert found["Bio conservation"] == pytest.approx(
        np.mean(list(expected.values())[:5]), abs=1e-4
    )
    assert found["Batch correction"] == pytest.approx(
        np.mean(list(expected.values())[5:8]), abs=1e-4
    )
    assert list(found) == [name for name in metrics.GROUPS if name in found]


def test_the_test_of_kbet_is_that_of_scib_metrics():
    from scib_metrics.metrics import _kbet

    rng = np.random.default_rng(0)
    batches = rng.choice(4, 300, p=[0.1, 0.2, 0.3, 0.4]).astype(np.int8)
    near = batches[rng.integers(300, size=(300, 30))]
    theirs = _kbet._kbet(near, batches, 4)
    for ours, other in zip(metrics.batch_test(near, batches, 4), theirs, strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-5)


def test_kbet_that_cannot_be_had_is_no_number(cells):
    _, after, _, batches = cells
    found = metrics.neighbours(after)
    assert np.isnan(metrics.kbet(found, batches, batches))  # every label in one batch alone


def test_spatial_coherence_against_a_loop():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 100, (150, 2))
    samples = np.array(["a"] * 90 + ["b"] * 45 + ["few"] * 15)
    spaces = {"where it lies": places, "noise": rng.normal(size=(150, 5))}
    for name, space in spaces.items():
        found = metrics.spatial_coherence(space, places, samples)
        assert list(found) == ["a", "b"]
        for sample, share in found.items():
            cells = np.flatnonzero(samples == sample)
            hits = []
            for i in cells:
                others = cells[cells != i]
                near = others[np.argsort(np.linalg.norm(places[others] - places[i], axis=1))[:10]]
                gaps = np.linalg.norm(space[others] - space[i], axis=1)
                limit = np.quantile(gaps, 0.1)
                hits += (np.linalg.norm(space[near] - space[i], axis=1) <= limit).tolist()
            assert share == pytest.approx(np.mean(hits)), name
    some = np.flatnonzero(samples == "b")[:10]  # their neighbours are among all cells
    every = [metrics.spatial_coherence(places, places, samples, 0, np.array([c])) for c in some]
    found = metrics.spatial_coherence(places, places, samples, 0, some)
    assert found == {"b": pytest.approx(np.mean([share["b"] for share in every]))}
    chance = metrics.spatial_coherence(rng.normal(size=(3000, 5)), rng.random((3000, 2)),
                                       np.repeat("a", 3000))  # fmt: skip
    assert chance["a"] == pytest.approx(0.1, abs=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.floats(0, 5))
def test_variance_due_to_batches_needs_no_components(seed, kinds, shift):
    rng = np.random.default_rng(seed)
    batches = np.concatenate([np.arange(kinds), rng.integers(kinds, size=40)])
    space = rng.normal(size=(len(batches), 6)) + shift * rng.normal(size=(kinds, 6))[batches]
    expected = scib_metrics.utils.principal_component_regression(
        space.astype(np.float32), batches, categorical=True
    )
    assert metrics.batch_variance(space, batches) == pytest.approx(expected, abs=1e-4)


def test_pcr_comparison_is_never_negative_and_undefined_without_variance():
    rng = np.random.default_rng(0)
    batches = np.repeat([0, 1], 50)
    mixed, apart = rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) + 9 * batches[:, None]
    assert metrics.pcr_comparison(mixed, apart, batches) == 0
    assert metrics.pcr_comparison(apart, mixed, batches) > 0.9
    assert np.isnan(metrics.pcr_comparison(np.zeros((100, 3)), mixed, batches))


def test_silhouette_batch_leaves_out_labels_of_one_batch(cells):
    _, after, labels, batches = cells
    labels = np.where(batches == "Xenium", "only here", labels)
    expected = scib_metrics.silhouette_batch(after, labels, batches)
    assert metrics.silhouette_batch(after, labels, batches) == pytest.approx(
        float(expected), abs=1e-4
    )
    assert np.isnan(metrics.silhouette_batch(after, batches, batches))


def test_isolated_labels_are_those_of_the_fewest_batches():
    labels = np.array(["a", "a", "b", "b", "c", "c"])
    batches = np.array([1, 2, 1, 2, 1, 1])
    widths = np.array([0.9, 0.9, 0.9, 0.9, -0.5, 0.5])
    assert metrics.isolated_labels(widths, labels, batches) == 0.5  # of c alone
    every = metrics.isolated_labels(widths[:4], labels[:4], batches[:4])
    assert every == pytest.approx(0.95)


def test_cells_without_a_label_count_for_pcr_alone(cells):
    before, after, labels, batches = cells
    partly = np.where(np.arange(len(labels)) % 5 == 0, None, labels.astype(object))
    kept = np.array([label is not None for label in partly])
    found = metrics.evaluate(after, partly, batches, before)
    alone = metrics.evaluate(after[kept], labels[kept].astype(object), batches[kept], before[kept])
    for name in set(found) - {"PCR comparison", "Batch correction"}:
        assert found[name] == pytest.approx(alone[name], abs=1e-9), name
    whole = scib_metrics.pcr_comparison(before, after, batches, categorical=True)
    assert found["PCR comparison"] == pytest.approx(whole, abs=1e-4)


def test_without_labels_there_are_only_metrics_of_batches(cells):
    before, after, _, batches = cells
    found = metrics.evaluate(after, None, batches, before)
    assert set(found) == {"PCR comparison", "iLISI"}
    own = scib_metrics.ilisi_knn(exact(after, 90), batches)
    assert found["iLISI"] == pytest.approx(float(own), abs=1e-4)


def test_one_batch_has_no_metrics_of_batches(cells):
    before, after, labels, batches = cells
    here = batches == "Xenium"
    found = metrics.evaluate(after[here], labels[here].astype(object), batches[here], before[here])
    assert set(found) == {*metrics.BIO, "Bio conservation"}


def test_label_transfer_against_a_loop(cells):
    _, after, labels, batches = cells
    unit = after / np.linalg.norm(after, axis=1, keepdims=True)
    scores = []
    for batch in np.unique(batches):
        known, asked = np.flatnonzero(batches != batch), np.flatnonzero(batches == batch)
        asked = [i for i in asked if labels[i] in set(labels[known])]
        guessed = []
        for i in asked:
            near = known[np.argsort(-(unit[known] @ unit[i]), kind="stable")[:15]]
            kinds, votes = np.unique(labels[near], return_counts=True)
            guessed.append(kinds[votes.argmax()])
        guessed, truth = np.array(guessed), labels[asked]
        per_label = []
        for label in np.unique(truth):
            hit = ((guessed == label) & (truth == label)).sum()
            per_label.append(2 * hit / ((guessed == label).sum() + (truth == label).sum()))
        scores.append(np.mean(per_label))
        found = metrics.label_transfer_to(after, labels, batches == batch)
        assert found == pytest.approx(scores[-1], abs=2e-3)
    assert metrics.label_transfer(after, labels, batches) == pytest.approx(
        np.mean(scores), abs=2e-3
    )


def test_label_transfer_asks_only_for_labels_that_can_be_known():
    space = np.repeat(np.eye(3), 20, axis=0)
    labels = np.repeat(["a", "b", "c"], 20)
    batches = np.tile([1, 2], 30)
    assert metrics.label_transfer(space, labels, batches) == 1
    batches = np.where(labels == "c", 1, batches)  # c cannot be known from batch 2
    assert metrics.label_transfer(space, labels, batches) == 1
    assert np.isnan(metrics.label_transfer(space, batches.astype(str), batches))
