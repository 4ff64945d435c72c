"""Many slices in one frame: a tree of the best pairs, then all pairs that agree with it together.

Each pair of slices has been aligned by itself. The tree reaches every slice from the reference over
the pairs whose landmarks agree best; a pair that aligned badly is left out where a better way
around it exists, and counts nothing in the common refinement where it disagrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lloki.alignment.pairwise import Alignment
from lloki.alignment.rigid import Motion, Unalignable, distances, identity, kabsch

ROUNDS = 100
POINTS = 200  # of a pair, that stand for its motion


@dataclass(frozen=True)
class Pair:
    """How one slice (`moving`) lies on another (`fixed`), and where its landmarks are in it."""

    moving: str
    fixed: str
    fit: Alignment
    source: np.ndarray  # coordinates of the inliers in the moving slice, m × d

    @property
    def share(self) -> float:
        """Share of the landmarks that agree with the motion; 0 where the pair is not aligned."""
        aligned = self.fit.method != "identity"
        return float(self.fit.inliers.mean()) if aligned and len(self.fit.inliers) else 0.0


def tree(samples: Sequence[str], pairs: Sequence[Pair], reference: str) -> dict[str, Pair]:
    """The pair by which each slice is reached from the reference; of the largest inlier shares.

    A maximum spanning tree (Prim 1957), in the order in which slices are reached. Slices that no
    aligned pair connects are not in it.
    """
    reached, steps, inside = {reference}, {}, set(samples)
    while len(reached) < len(samples):
        border = [
            p for p in pairs
            if p.share > 0 and (p.moving in reached) != (p.fixed in reached)
            and {p.moving, p.fixed} <= inside
        ]  # fmt: skip
        if not border:
            break
        best = max(border, key=lambda pair: pair.share)
        new = best.fixed if best.moving in reached else best.moving
        reached.add(new)
        steps[new] = best
    return steps


def solve(
    steps: Mapping[str, Pair], pairs: Sequence[Pair], reference: str, dimensions: int
) -> dict[str, Motion]:
    """The motion of every slice that the tree (`steps`) reaches into the frame of the reference.

    Along the tree first; then each slice in turn is fitted to what its pairs say, given where the
    other slices lie, until nothing moves. A pair weighs by its inlier share and by how well it
    agrees (biweight of its distance, 0 beyond its tolerance).
    """
    motions = {reference: identity(dimensions)}
    for sample, pair in steps.items():
        if sample == pair.moving:
            motions[sample] = compose(motions[pair.fixed], pair.fit.motion)
        else:
            motions[sample] = compose(motions[pair.moving], inverse(pair.fit.motion))
    known = [p for p in pairs if p.share > 0 and p.moving in motions and p.fixed in motions]
    if len(known) == len(steps):  # a tree has nothing to balance
        return motions
    for _ in range(ROUNDS):
        moved = max(_improve(motions, sample, known) for sample in steps)
        if moved < 1e-6:
            break
    return motions


def _improve(motions: dict[str, Motion], sample: str, pairs: Sequence[Pair]) -> float:
    """Fit one slice to its pairs in place; how far that moved it, as a share of the tolerance."""
    here, there, weights = [], [], []
    for pair in pairs:
        if sample not in (pair.moving, pair.fixed):
            continue
        points = pair.source[:: max(1, len(pair.source) // POINTS)]
        image = pair.fit.motion(points)
        own, other, partner = (
            (points, image, pair.fixed) if sample == pair.moving else (image, points, pair.moving)
        )
        target = motions[partner](other)
        off = distances(motions[sample], own, target) / pair.fit.tolerance
        here.append(own)
        there.append(target)
        weights.append(pair.share * np.maximum(1 - off**2, 0) ** 2 / len(points))
    own, target, weight = np.concatenate(here), np.concatenate(there), np.concatenate(weights)
    before = motions[sample]
    try:
        after = kabsch(own, target, weight, mirror=bool(np.linalg.det(before.rotation) < 0))
    except Unalignable:
        return 0.0
    if before.scale != 1:  # scales stay as the tree gave them
        about = np.average(own, 0, weight)
        after = Motion(
            after.rotation, after(about[None])[0] - before.scale * after.rotation @ about,
            before.scale,
        )  # fmt: skip
    motions[sample] = after
    scale = min(pair.fit.tolerance for pair in pairs if sample in (pair.moving, pair.fixed))
    return float(np.linalg.norm(after(own) - before(own), axis=1).max() / scale)


def compose(outer: Motion, inner: Motion) -> Motion:
    """The motion that does `inner` first, then `outer`."""
    return Motion(
        outer.rotation @ inner.rotation,
        outer(inner.translation[None])[0],
        outer.scale * inner.scale,
    )


def inverse(motion: Motion) -> Motion:
    """The motion that takes `motion` back."""
    rotation, scale = motion.rotation.T, 1 / motion.scale
    return Motion(rotation, -scale * rotation @ motion.translation, scale)


@dataclass(frozen=True)
class Frame:
    """Slices in one system of coordinates, that of `reference`: the motion of each into it.

    steps: the pair by which each but the reference was reached.
    """

    reference: str
    motions: Mapping[str, Motion]
    steps: Mapping[str, Pair]


def frames(
    samples: Sequence[str], pairs: Sequence[Pair], sizes: Mapping[str, int], dimensions: int
) -> list[Frame]:
    """The slices of a group in as few frames as their pairs connect, each slice in one.

    samples: the reference first; of those that no pair connects with it, the slice with most cells
    (`sizes`) is the reference of another frame.
    """
    left, found, reference = list(samples), [], samples[0]
    while left:
        steps = tree(left, pairs, reference)
        motions = solve(steps, pairs, reference, dimensions)
        found.append(Frame(reference, motions, steps))
        left = [sample for sample in left if sample not in motions]
        reference = max(left, key=lambda sample: sizes[sample], default=None)
    return found
