"""Aligned pairs as files: what comes back is what was written, to the bit."""

import numpy as np
import pytest

from lloki.alignment import joint, pairwise, stored
from lloki.alignment.rigid import Motion
from lloki.support.errors import InputError


def test_pairs_come_back_equal(tmp_path):
    rng = np.random.default_rng(0)
    motion = Motion(np.linalg.qr(rng.normal(size=(2, 2)))[0], rng.normal(size=2), 1.25)
    fit = pairwise.Alignment(
        motion, "robust", "", rng.integers(0, 9, (30, 2)), rng.random(30) < 0.5, 12.5, 300.0, 7.0,
        rng.random(8), 1e-9,
    )  # fmt: skip
    pairs = [joint.Pair("a", "b", fit, rng.normal(size=(15, 2))),
             joint.Pair("ä ö", "c", pairwise.itself(2), np.zeros((0, 2)))]  # fmt: skip
    stored.write_pairs(pairs, tmp_path / "x.pairs.npz")
    again = stored.read_pairs(tmp_path / "x.pairs.npz")
    for one, other in zip(pairs, again, strict=True):
        assert (one.moving, one.fixed, one.share) == (other.moving, other.fixed, other.share)
        assert str(one.fit.figures("a", "b")) == str(other.fit.figures("a", "b"))
        np.testing.assert_array_equal(one.source, other.source)
        np.testing.assert_array_equal(one.fit.pairs, other.fit.pairs)
        np.testing.assert_array_equal(one.fit.motion.rotation, other.fit.motion.rotation)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_what_is_no_file_of_pairs_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match="not a readable file of aligned pairs"):
        stored.read_pairs(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", told=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="not a readable file"):
        stored.read_pairs(tmp_path / "y.npz")
    with pytest.raises(InputError, match="no such file"):
        stored.read_pairs(tmp_path / "none.npz")
