"""How well a space keeps the labels of a slice together: neighbours, k-means and Leiden."""

import random

import igraph
import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

from lloki.support import neighbours

NAMES = ("purity", "k-means NMI", "Leiden NMI", "Leiden ARI")
SEEDS = 5


def scores(space, labels):
    """The four figures of NAMES, and their standard deviations over the seeds of the clusterings.

    Purity is the share of a cell's 15 nearest cells (cosine) that have its label; Leiden runs on
    the graph of those neighbours. Both clusterings get the number of labels.
    """
    near, _ = neighbours.nearest(space, space, 15, exclude=np.arange(len(space)))
    k = len(np.unique(labels))
    means = [KMeans(k, n_init=3, random_state=s).fit_predict(space) for s in range(SEEDS)]
    groups = leiden(near, k)
    seeds = np.array([
        [normalized_mutual_info_score(labels, found) for found in means],
        [normalized_mutual_info_score(labels, found) for found in groups],
        [adjusted_rand_score(labels, found) for found in groups],
    ])  # fmt: skip
    purity = (labels[near] == labels[:, None]).mean()
    return np.array([purity, *seeds.mean(axis=1)]), np.array([0, *seeds.std(axis=1)])


def leiden(near, clusters):
    """Leiden communities by modularity, a list over seeds, at the resolution nearest `clusters`."""
    n, k = near.shape
    edges = np.column_stack([np.repeat(np.arange(n), k), near.ravel()])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    graph = igraph.Graph(n, edges)

    def run(resolution, seed):
        random.seed(seed)
        igraph.set_random_number_generator(random)
        return np.array(graph.community_leiden(
            "modularity", resolution=resolution, n_iterations=5).membership)  # fmt: skip

    low, high, best = np.log(0.02), np.log(20), (np.inf, 0.0)
    for _ in range(12):
        middle = (low + high) / 2
        found = run(np.exp(middle), 0).max() + 1
        best = min(best, (abs(found - clusters), middle))
        if found == clusters:
            break
        low, high = (middle, high) if found < clusters else (low, middle)
    return [run(np.exp(best[1]), seed) for seed in range(SEEDS)]


def transfer(known, labels, asked, truth):
    """Macro F1 of the majority label of the 15 nearest known cells, over labels known there."""
    labels, truth = labels.astype(str).to_numpy(), truth.astype(str).to_numpy()
    there = np.isin(truth, labels)
    model = KNeighborsClassifier(15, metric="cosine", algorithm="brute").fit(known, labels)
    names = np.unique(truth[there])
    return f1_score(truth[there], model.predict(asked[there]), labels=names, average="macro")
