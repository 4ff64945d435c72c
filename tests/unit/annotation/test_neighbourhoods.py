from itertools import permutations

import numpy as np
import scipy.sparse as sp

from lloki.annotation import neighbourhoods
from lloki.programs.neighbourhood import neighbour_graph


def counted(codes, graph, k):
    """Edges between labels, one by one."""
    found = np.zeros((k, k))
    for i, j in zip(*sp.triu(graph).nonzero(), strict=True):
        a, b = codes[i], codes[j]
        if a >= 0 and b >= 0:
            found[a, b] += 1
            if a != b:
                found[b, a] += 1
    return found


def test_mean_and_variance_are_those_of_all_permutations():
    graph = sp.csr_matrix(np.array([
        [0, 1, 1, 0, 0, 0], [1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 0],
    ], dtype=np.float32))  # fmt: skip
    codes = np.array([0, 0, 0, 1, 1, 2])
    every = np.array([counted(np.array(p), graph, 3) for p in permutations(codes)])
    seen, mean, variance = neighbourhoods.pair_counts(codes, graph, 3)
    np.testing.assert_array_equal(seen, counted(codes, graph, 3))
    np.testing.assert_allclose(mean, every.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(variance, every.var(axis=0), atol=1e-12)


def test_cells_without_a_label_do_not_count():
    rng = np.random.default_rng(0)
    graph = neighbour_graph(rng.random((80, 2)))
    codes = rng.integers(-1, 3, 80)
    known = codes >= 0
    np.testing.assert_allclose(
        neighbourhoods.pair_counts(codes, graph, 3),
        neighbourhoods.pair_counts(codes[known], graph[known][:, known], 3),
    )


def test_labels_side_by_side_stand_out_in_a_slice_and_together():
    rng = np.random.default_rng(1)
    graphs, codes, start = [], [], 0
    for name in "ab":
        places = rng.random((400, 2))
        codes.append(np.where(places[:, 0] < 0.5, 0, rng.integers(1, 3, 400)))
        graphs.append((name, np.arange(start, start + 400), neighbour_graph(places)))
        start += 400
    table = neighbourhoods.enrichment(np.concatenate(codes), graphs, ["x", "y", "z"])
    z = table.set_index(["sample", "label", "neighbour"])["z"]
    assert (z[:, "x", "x"] > 10).all() and (z[:, "x", "y"] < -5).all()
    assert (z[:, "y", "z"] > 5).all() and z["all", "y", "z"] > z["a", "y", "z"]
    np.testing.assert_allclose(z[:, "x", "y"], z[:, "y", "x"])


def test_random_labels_have_z_of_a_normal_distribution_and_labels_that_lack_no_rows():
    rng = np.random.default_rng(2)
    graph = neighbour_graph(rng.random((300, 2)))
    found = []
    for _ in range(60):
        codes = rng.permutation(np.repeat([0, 1, 3], 100))
        table = neighbourhoods.enrichment(codes, [("a", np.arange(300), graph)], list("xyzw"))
        assert "z" not in set(table["label"])
        found.append(table.query("sample == 'a'")["z"])
    found = np.array(found)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.5)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.35)


def test_one_label_leaves_nothing_to_chance():
    graph = neighbour_graph(np.random.default_rng(0).random((20, 2)))
    table = neighbourhoods.enrichment(np.zeros(20, int), [("a", np.arange(20), graph)], ["x"])
    assert table["z"].isna().all()
