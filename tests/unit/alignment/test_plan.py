"""Which slices are aligned with which."""

import numpy as np

from lloki.alignment import plan

MANY = [f"s{i}" for i in range(12)]


def profiles(samples):
    """Slices in a row: each most like those beside it."""
    kinds = np.arange(20)
    shares = [np.exp(-((kinds - 1.5 * i) ** 2) / 8) for i in range(len(samples))]
    return {s: share / share.sum() for s, share in zip(samples, shares, strict=True)}


def pairs(samples, how, depths=None):
    return plan.plan({"": samples}, how, depths or {}, profiles(samples))


def test_a_small_group_has_all_pairs_and_a_large_one_those_that_matter():
    few = MANY[:8]
    assert len(pairs(few, "auto")) == 28 == len(set(map(frozenset, pairs(few, "auto"))))
    found = pairs(MANY, "auto")
    assert {("s0", s) for s in MANY[1:]} <= set(found)
    assert {("s5", "s6"), ("s6", "s7"), ("s4", "s6")} <= set(found)
    assert ("s3", "s11") not in found and len(found) < 50 < len(pairs(MANY, "all")) == 66


def test_a_stack_pairs_neighbours_in_depth():
    depths = {s: -float(i) for i, s in enumerate(MANY)}
    found = pairs(MANY, "auto", depths)
    assert set(found) == {(a, b) for i, a in enumerate(MANY) for b in MANY[i + 1 : i + 3]}
    del depths["s3"]  # one without a depth: not by depth
    assert pairs(MANY, "order", depths) == pairs(MANY, "alike")


def test_a_star_and_nothing():
    assert pairs(MANY, "star") == [("s0", s) for s in MANY[1:]]
    assert pairs(MANY, "none") == [] == pairs(["s0"], "auto")


def test_groups_are_never_compared():
    groups = {"one": ["a", "b"], "two": ["c"], "three": ["d", "e", "f"]}
    found = plan.plan(groups, "all", {}, profiles(list("abcdef")))
    assert found == [("a", "b"), ("d", "e"), ("d", "f"), ("e", "f")]


def test_tasks_hold_pairs_up_to_a_number_of_cells():
    sizes = {"a": 10, "b": 20, "c": 100}
    found = [("a", "b"), ("a", "b"), ("a", "c"), ("b", "c")]
    assert plan.batches(found, sizes, 60) == [0, 0, 1, 2]
    assert plan.batches(found, sizes, 1) == [0, 1, 2, 3]
    assert plan.batches([], sizes, 60) == []
