"""Slices made up for niche programs: states of the focus cells lie in patches, neighbours too."""

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

GENES, STATES = 60, 4
SYMBOLS = [f"G{i}" for i in range(GENES)]
TYPES = ("F", "B", "C")  # focus, neighbours, others
UP, DOWN = np.arange(0, 6), np.arange(6, 12)  # of a planted program
SHARED = np.arange(20, 25)  # genes of F, of which B has more


def smooth(places, rng, waves=6, longest=1.0):
    """A random smooth field over the unit square, standard."""
    angle, phase = rng.uniform(0, 2 * np.pi, (2, waves))
    pace = rng.uniform(0.3, longest, waves) * 2 * np.pi * 2
    at = places @ np.stack([np.cos(angle), np.sin(angle)]) * pace + phase
    value = np.cos(at).sum(axis=1)
    return (value - value.mean()) / value.std()


def made_up(seed, cells=1500, program=0.0, leak=0.0, side=1000.0):
    """Counts (n × GENES), labels, places (µm), space (n × 10) of a slice.

    Genes 0 to 24 are those of F, 25 to 39 those of B, the rest of C. F cells are in STATES that lie
    in patches, whatever B does. program: log fold of UP genes (DOWN: less) for a standard deviation
    of B's field. leak: share of a cell's counts that goes to its 5 nearest neighbours; B is then
    rarer and rich, also in the SHARED genes.
    """
    rng = np.random.default_rng(seed)
    places = rng.random((cells, 2))
    dense = smooth(places, rng)
    other = smooth(places, rng)
    score = np.column_stack([np.zeros(cells), 1.2 * dense - (leak > 0), 1.2 * other])
    labels = np.array(TYPES, dtype=object)[(score + rng.gumbel(size=score.shape)).argmax(axis=1)]
    patches = np.column_stack([smooth(places, rng) for _ in range(STATES)])
    state = (patches + rng.gumbel(size=patches.shape) * 0.5).argmax(axis=1)
    rate = np.full((cells, GENES), 0.15)
    for kind, genes in zip(TYPES, (slice(0, 25), slice(25, 40), slice(40, GENES)), strict=True):
        rate[labels == kind, genes] = 1.5
    if leak:
        rate[np.ix_(labels == "B", SHARED)] = 3
        rate[labels == "B"] *= 3
    focus = labels == "F"
    for s in range(STATES):  # genes 8 and on of F go with its states
        rate[np.ix_(focus & (state == s), np.arange(8 + 4 * s, 12 + 4 * s))] *= 3
    rate[np.ix_(focus, UP)] *= np.exp(program * dense[focus])[:, None]
    rate[np.ix_(focus, DOWN)] *= np.exp(-program * dense[focus])[:, None]
    rate *= rng.gamma(8, 1 / 8, (cells, 1))
    counts = rng.poisson(rate).astype(np.float64)
    if leak:
        near = cKDTree(places).query(places, 6)[1][:, 1:]
        graph = sp.csr_matrix(
            (np.full(near.size, leak / 5), (near.ravel(), np.repeat(np.arange(cells), 5))),
            (cells, cells),
        )
        counts = rng.poisson(counts * (1 - leak) + graph @ counts)
    counts = sp.csr_matrix(counts.astype(np.float32))
    return counts, labels, places * side, embedding(counts, labels)


def embedding(counts, labels, width=10):
    """Principal components of log counts (n × width float32)."""
    dense = np.log1p(counts.toarray())
    dense = (dense - dense.mean(axis=0)) / np.maximum(dense.std(axis=0), 1e-6)
    u, s, _ = np.linalg.svd(dense, full_matrices=False)
    return (u * s)[:, :width].astype(np.float32)


def fitted(slices, k=50, nulls=39, seed=0, leak_guard=True, wanted=None):
    """Fit, sides and genes of F near B in slices of `made_up`, each with a name and a unit."""
    from lloki.programs import niche_groups, niches
    from lloki.programs.niche_sides import sides_of, tissue

    tissues, spaces = [], []
    for name, (counts, labels, places, space) in slices.items():
        focus = labels == "F"
        tissues.append(
            tissue(name, "T", name, places, counts, SYMBOLS, focus, {"B": labels == "B"}, labels)
        )
        spaces.append(space[focus])
    clusters = niche_groups.focus_clusters(np.concatenate(spaces), 1.0, 0)
    starts = np.cumsum([0, *map(len, spaces)])
    clusters = {t.name: clusters[a:b] for t, a, b in
                zip(tissues, starts[:-1], starts[1:], strict=True)}  # fmt: skip
    sides, genes, own = sides_of(tissues, clusters, "B", k=k, guard=leak_guard, wanted=wanted)
    return niches.fit(sides, genes, nulls=nulls, seed=seed), sides, own
