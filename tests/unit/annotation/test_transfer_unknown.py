"""The test for cells of types that no source has: its level holds, and it finds them."""

import numpy as np
import pytest

from lloki.annotation import transfer_unknown as unknown
from lloki.annotation.transfer import Votes, averaged, entropy


def test_p_is_the_share_of_held_out_cells_as_foreign():
    rng = np.random.default_rng(0)
    held = [(rng.normal(size=n), rng.integers(0, 2, n)) for n in (200, 300)]
    foreign, label = rng.normal(size=40), rng.integers(0, 2, 40)
    found = unknown.p_values(foreign, label, held)
    for i in range(40):
        own = [(scores[labels == label[i]], 1 / len(scores)) for scores, labels in held]
        weight = sum(w * len(scores) for scores, w in own)
        above = sum(w * (scores >= foreign[i]).sum() for scores, w in own)
        more = weight / sum(len(scores) for scores, _ in own)
        assert found[i] == pytest.approx((above + more) / (weight + more))


def test_the_level_holds_on_cells_of_the_same_kind():
    rng = np.random.default_rng(1)
    draw = lambda n: (rng.normal(size=n), rng.integers(0, 3, n))  # noqa: E731
    held = [draw(2000), draw(3000)]
    p = unknown.p_values(*draw(5000), held)
    for level in (0.01, 0.05, 0.2):
        assert (p < level).mean() == pytest.approx(level, abs=0.3 * level + 0.003)


def test_a_rare_label_is_held_against_all():
    scores = np.linspace(0, 1, 100)
    held = [(scores, np.r_[np.zeros(95, int), np.ones(5, int)])]
    p = unknown.p_values(np.array([0.5]), np.array([1]), held)
    assert p[0] == pytest.approx((50 + 1) / 101)


def test_foreign_is_far_from_all_kinds_of_sources_and_undecided():
    rng = np.random.default_rng(2)
    near = np.array([rng.choice(np.delete(np.arange(20), i), 3, False) for i in range(20)])
    votes = [Votes(None, rng.random(20)), Votes(None, rng.random(20))]
    probability = rng.dirichlet(np.ones(4), 20)
    distance = np.minimum(*(averaged(vote.distance, near) for vote in votes))
    expected = np.log(distance) + entropy(probability)
    np.testing.assert_allclose(unknown.foreignness(votes, probability, near), expected)
    relative = unknown.foreignness(votes, probability, near, relative=True)
    np.testing.assert_allclose(relative, expected - np.log(np.median(distance)))
