"""Clusters of one technology: batch, or a place."""

import numpy as np
from sklearn.metrics import cohen_kappa_score

from lloki.annotation.places import ALONE, agreement, alone
from lloki.programs.neighbourhood import neighbour_graph


def tissue(n=400, seed=0):
    """Two slices on a square: cluster 1 is the corner of the first, cluster 2 strewn over it."""
    rng = np.random.default_rng(seed)
    places = rng.random((2 * n, 2)) * 100
    clusters = np.zeros(2 * n, dtype=int)
    first = np.arange(2 * n) < n
    clusters[first & (places < 45).all(axis=1)] = 1
    strewn = np.flatnonzero(first & (clusters == 0))
    clusters[rng.choice(strewn, 60, replace=False)] = 2
    rows = [np.arange(n), np.arange(n, 2 * n)]
    graphs = [(own, neighbour_graph(places[own], "nearest")) for own in rows]
    return clusters, np.where(first, "X", "Y"), graphs


def test_agreement_is_kappa_of_the_edges_ends():
    clusters, _, graphs = tissue()
    rows, graph = graphs[0]
    found = agreement(clusters[rows], [(np.arange(len(rows)), graph)])
    first, second = graph.nonzero()
    own = clusters[rows] == 1
    seen = (own[second] & own[first]).sum() / own[first].sum()
    np.testing.assert_allclose(found[1], (seen - own.mean()) / (1 - own.mean()))
    assert abs(found[1] - cohen_kappa_score(own[first], own[second])) < 0.05
    assert found[1] > 0.6 and abs(found[2]) < 0.2


def test_a_place_is_biology_what_is_strewn_is_batch():
    clusters, technologies, graphs = tissue()
    found = alone(clusters, technologies, agreement(clusters, graphs))
    assert found["flag"].tolist() == ["", "biology", "batch"]
    assert found["technology"].tolist()[1:] == ["X", "X"]
    assert (found["technology_share"][1:] >= ALONE).all()


def test_cells_of_its_label_elsewhere_are_told():
    clusters, technologies, graphs = tissue()
    together = agreement(clusters, graphs)
    labels = np.array(["glia", "granule", "glia"], dtype=object)[clusters]
    labels[np.flatnonzero(technologies == "Y")[:50]] = "granule"
    labels[:3] = None
    found = alone(clusters, technologies, together, labels)
    np.testing.assert_allclose(found["elsewhere"][1:], [50 / 400, 350 / 400])
    assert found["flag"].tolist() == ["", "biology", "batch"]
    labels[:] = None
    assert alone(clusters, technologies, together, labels)["elsewhere"].isna().all()


def test_one_technology_flags_nothing_and_its_size_does_not_count():
    clusters, _, graphs = tissue()
    together = agreement(clusters, graphs)
    assert (alone(clusters, np.full(len(clusters), "X"), together)["flag"] == "").all()
    few = np.where(np.arange(len(clusters)) % 50 == 0, "Y", "X")  # strewn evenly, 2 % of the cells
    assert (alone(clusters, few, together)["flag"] == "").all()


def test_a_slice_that_is_one_cluster_says_nothing():
    graph = neighbour_graph(np.random.default_rng(0).random((50, 2)), "nearest")
    assert np.isnan(agreement(np.zeros(50, dtype=int), [(np.arange(50), graph)])).all()
