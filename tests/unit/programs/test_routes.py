"""Shared genes and slices alone, on cells whose metagenes are known."""

import numpy as np
import pytest
import scipy.sparse as sp
from metagene_cases import planted

from lloki.programs import routes


@pytest.fixture(scope="module")
def slices():
    cells, _, z = planted(n=900, slices=3, strength=0.3)
    spans = list(zip(cells.starts[:-1], cells.starts[1:], strict=True))
    names = ["x", "y", "z"]
    kinds = np.array(["a", "b", "c", "d"], dtype=object)[z.argmax(axis=1)]
    pick = lambda what: {s: what[a:b] for s, (a, b) in zip(names, spans, strict=True)}  # noqa: E731
    graphs = {s: cells.graph[a:b, a:b] for s, (a, b) in zip(names, spans, strict=True)}
    return pick(sp.csr_matrix(cells.values)), graphs, pick(kinds), pick(z)


def test_so_many_genes_bear_half_as_many_metagenes():
    assert [routes.k_of(15, genes) for genes in (1000, 10, 3, 1)] == [15, 5, 1, 1]


def test_the_true_mixtures_are_judged_as_good(slices):
    _, graphs, labels, z = slices
    types, middle = routes.judged("true", z, labels, graphs)
    assert types["auc"].min() > 0.9 and types["slices"].max() == 3
    assert middle["sample"].tolist() == ["x", "y", "z"] and middle["moran"].notna().all()


def test_slices_alone_find_each_other(slices):
    expression, graphs, labels, _ = slices
    options = {"plain": 10, "iterations": 3, "strength": 1e-4, "starts": 2, "seed": 0}
    found, table = routes.alone(expression, graphs, labels, 4, lambda: None, **options)
    others = table[table["sample"] != table["reference"]]
    assert others["r"].median() > 0.9 and table["kept"].mean() >= 0.75
    types, _ = routes.judged("each alone", found, labels, graphs)
    assert types["auc"].median() > 0.9


def test_all_routes_are_judged_and_one_that_cannot_be_gone_is_left_out(slices):
    expression, graphs, labels, z = slices
    options = {"plain": 10, "iterations": 2, "starts": 1, "seed": 0}
    same = {s: [f"G{i}" for i in range(40)] for s in expression}
    found = routes.compared(z, expression, same, graphs, labels, 4, **options)
    assert set(found["routes"]["route"]) == {"LLOKI", "shared genes", "each alone"}
    apart = {s: [f"{s}{i}" for i in range(40)] for s in expression}
    found = routes.compared(z, expression, apart, graphs, labels, 4, **options)
    assert set(found["routes_moran"]["route"]) == {"LLOKI", "each alone"}
    assert set(found["mapping"]["sample"]) == set(expression)


def test_cells_of_expression_are_scaled(slices):
    expression, graphs, _, _ = slices
    cells = routes.cells_of(list(expression.values()), list(graphs.values()), 4)
    assert cells.starts.tolist() == [0, 900, 1800, 2700]
    for a, b in zip(cells.starts[:-1], cells.starts[1:], strict=True):
        assert cells.values[a:b].sum(axis=1).mean() == pytest.approx(4, rel=1e-5)
