"""Many slices in one frame: exact where pairs are, and past a pair that is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import special_ortho_group

from lloki.alignment import joint
from lloki.alignment.pairwise import Alignment
from lloki.alignment.rigid import Motion

NAMES = ["a", "b", "c", "d"]
SIZES = {"a": 10, "b": 1, "c": 3, "d": 2}
BLANK = np.zeros((0, 2), dtype=int)


def motion(rng, d=2):
    rotation = special_ortho_group.rvs(d, random_state=rng)
    return Motion(rotation, rng.uniform(-3000, 3000, size=d))


def pair(moving, fixed, found, share=0.5, rng=None, method="robust"):
    d = len(found.translation)
    points = (rng or np.random.default_rng(0)).uniform(0, 1000, size=(50, d))
    inliers = np.arange(100) < 100 * share
    fit = Alignment(found, method, "", BLANK, inliers, 1.0, 200.0, 1.0, np.zeros(0), 0.0)
    return joint.Pair(moving, fixed, fit, points)


def between(true, moving, fixed):
    return joint.compose(joint.inverse(true[fixed]), true[moving])


def truth(rng, d=2):
    return {"a": Motion(np.eye(d), np.zeros(d)), **{s: motion(rng, d) for s in NAMES[1:]}}


def assert_same(found, true, atol=1e-6):
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-9)
    np.testing.assert_allclose(found.translation, true.translation, atol=atol)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_compose_and_inverse(seed, d):
    rng = np.random.default_rng(seed)
    one, two = motion(rng, d), Motion(motion(rng, d).rotation, rng.normal(size=d), 1.5)
    x = rng.normal(size=(5, d))
    np.testing.assert_allclose(joint.compose(one, two)(x), one(two(x)), atol=1e-8)
    np.testing.assert_allclose(joint.inverse(two)(two(x)), x, atol=1e-8)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_exact_pairs_give_exact_motions_whichever_way_they_point(seed, d):
    rng = np.random.default_rng(seed)
    true = truth(rng, d)
    pairs = [
        pair(m, f, between(true, m, f), share, rng)
        for m, f, share in (("b", "a", 0.2), ("c", "b", 0.7), ("c", "d", 0.6), ("d", "a", 0.1))
    ]
    (frame,) = joint.frames(NAMES, pairs, SIZES, d)
    found = frame.motions
    assert frame.reference == "a" and list(frame.steps) == ["b", "c", "d"]
    for sample in NAMES:
        assert_same(found[sample], true[sample], atol=1e-4)


def test_a_bad_pair_does_not_spoil_the_rest():
    rng = np.random.default_rng(2)
    true = truth(rng)
    good = [
        pair(m, f, between(true, m, f), 0.6, rng)
        for m, f in (("b", "a"), ("c", "b"), ("d", "c"), ("d", "a"))
    ]
    (frame,) = joint.frames(NAMES, [*good, pair("c", "a", motion(rng), 0.3, rng)], SIZES, 2)
    found = frame.motions
    for sample in NAMES:
        assert_same(found[sample], true[sample], atol=1e-3)


def test_pairs_that_disagree_a_little_share_the_error():
    rng = np.random.default_rng(3)
    true = truth(rng)

    def off(moving, fixed, shift):
        found = between(true, moving, fixed)
        return pair(moving, fixed, Motion(found.rotation, found.translation + shift), 0.5, rng)

    shift = np.array([30.0, 0.0])
    pairs = [off("b", "a", shift), off("c", "b", 0), off("c", "a", 0)]
    chained = {"b": joint.compose(true["b"], Motion(np.eye(2), np.zeros(2)))}
    found = joint.frames(["a", "b", "c"], pairs, SIZES, 2)[0].motions
    miss = np.linalg.norm(found["b"].translation - chained["b"].translation)
    assert 10 < miss < 25  # the loop of three takes a third of it from every pair
    assert np.linalg.norm(found["c"].translation - true["c"].translation) < 15


def test_slices_without_a_way_to_the_reference_have_frames_of_their_own():
    rng = np.random.default_rng(0)
    nothing, other = pair("b", "a", motion(rng), method="identity"), pair("d", "c", motion(rng))
    frames = joint.frames(NAMES, [nothing, other], SIZES, 2)
    assert [frame.reference for frame in frames] == ["a", "c", "b"]  # the larger one first
    assert [set(frame.motions) for frame in frames] == [{"a"}, {"c", "d"}, {"b"}]
    assert_same(frames[1].motions["d"], other.fit.motion)
    assert frames[1].steps == {"d": other} and frames[2].steps == {}


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_scale_is_kept(factor):
    rng = np.random.default_rng(1)
    true = truth(rng)
    true["b"] = Motion(true["b"].rotation, true["b"].translation, factor)
    pairs = [
        pair(m, f, between(true, m, f), 0.5, rng) for m, f in (("b", "a"), ("c", "a"), ("c", "b"))
    ]
    motions = joint.frames(["a", "b", "c"], pairs, SIZES, 2)[0].motions
    assert motions["b"].scale == pytest.approx(factor)
    np.testing.assert_allclose(motions["b"].translation, true["b"].translation, atol=1e-3)
