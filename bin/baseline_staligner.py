#!/usr/bin/env python3
"""STAligner (Zhou et al. 2023), written anew from its publication on plain PyTorch.

The authors' program is on no package registry. As published: a graph attention autoencoder on each
slice's spatial graph (genes → 512 → 30 → 512 → genes, the decoder with the encoder's weights and
attention), trained for 500 epochs on reconstruction; then, for 500 more, triplets of mutual nearest
neighbours between slices, found again every 100 epochs. Ours: a cell's spatial neighbours are its 6
nearest, and attention is applied on the side of a map that has fewer dimensions, which is the same
product. All slices are trained together, in full batches.
"""

from lloki.scores.baselines import baseline, threads

HIDDEN, LATENT = 512, 30
SPATIAL_NEIGHBOURS, PAIR_NEIGHBOURS = 6, 50
PRETRAINING, EPOCHS, RENEWAL = 500, 1000, 100
MARGIN, LEARNING_RATE, WEIGHT_DECAY, LARGEST_GRADIENT = 1.0, 1e-3, 1e-4, 5.0


@baseline("staligner", "torch")
def main(shared, seed):
    """STAligner on the log-normalised shared genes; needs the cells' coordinates."""
    import numpy as np
    import torch

    torch.set_num_threads(threads())
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    slices = np.unique(shared.cells["sample"].to_numpy(str), return_inverse=True)[1]
    expression = torch.tensor(shared.expression.toarray())
    edges = torch.tensor(spatial_edges(shared.places, slices))
    weights = parameters(expression.shape[1])
    optimiser = torch.optim.Adam(weights, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    pairs = None
    for epoch in range(EPOCHS):
        optimiser.zero_grad()
        latent, reconstructed = autoencoder(expression, edges, weights)
        loss = torch.nn.functional.mse_loss(reconstructed, expression)
        if epoch >= PRETRAINING:
            if (epoch - PRETRAINING) % RENEWAL == 0:
                pairs = mutual_pairs(latent.detach().numpy(), slices)
                negatives = random_cells(pairs[:, 0], slices, rng)
            if len(pairs):
                loss = loss + triplet_loss(latent, pairs, negatives)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)
        optimiser.step()
    with torch.no_grad():
        return autoencoder(expression, edges, weights)[0].numpy()


def spatial_edges(places, slices):
    """Edges within slices (2 × e, int64: cell, its neighbour), both ways, each cell with itself."""
    import numpy as np

    from lloki.support.neighbours import nearest

    first, second = [np.arange(len(places))], [np.arange(len(places))]
    for one in np.unique(slices):
        cells = np.flatnonzero(slices == one)
        here = places[cells]
        found, _ = nearest(here, here, SPATIAL_NEIGHBOURS, "euclidean", np.arange(len(cells)))
        rows, columns = np.repeat(cells, found.shape[1]), cells[found.ravel()]
        first += [rows, columns]
        second += [columns, rows]
    return np.unique([np.concatenate(first), np.concatenate(second)], axis=1)


def parameters(genes):
    """Two maps, and the two vectors of the attention (each side of an edge)."""
    import torch

    shapes = (genes, HIDDEN), (HIDDEN, LATENT), (HIDDEN, 1), (HIDDEN, 1)
    weights = [torch.nn.Parameter(torch.empty(shape)) for shape in shapes]
    for one in weights:
        torch.nn.init.xavier_normal_(one, gain=1.414)
    return weights


def autoencoder(expression, edges, weights):
    """Latent positions (n × 30) and the reconstruction of the expression (n × g)."""
    import torch

    inner, outer, own, others = weights
    attention = softmax_of_edges(
        torch.sigmoid((expression @ (inner @ own))[edges[0], 0]
                      + (expression @ (inner @ others))[edges[1], 0]), edges, len(expression)
    )  # fmt: skip
    hidden = torch.nn.functional.elu(gather(expression, edges, attention) @ inner)
    latent = hidden @ outer
    decoded = torch.nn.functional.elu(gather(latent, edges, attention) @ outer.T)
    return latent, decoded @ inner.T


def softmax_of_edges(values, edges, cells):
    """Weights of the edges (e) that add up to 1 for each cell; values are 0 to 1."""
    import torch

    raised = values.exp()
    return raised / torch.zeros(cells).index_add(0, edges[0], raised)[edges[0]]


def gather(values, edges, attention):
    """For each cell the weighted sum of its neighbours' values (n × d)."""
    import torch

    return torch.zeros_like(values).index_add(0, edges[0], values[edges[1]] * attention[:, None])


def mutual_pairs(latent, slices):
    """Anchors and positives (p × 2): each cell with its nearest mutual neighbour in other slices.

    Mutual: each is among the other's 50 nearest cells of its slice.
    """
    import numpy as np
    import scipy.sparse as sp

    from lloki.support.neighbours import nearest

    cells = [np.flatnonzero(slices == one) for one in np.unique(slices)]
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for i, here in enumerate(cells):
        for there in cells[i + 1 :]:
            ahead, gaps = nearest(latent[here], latent[there], PAIR_NEIGHBOURS, "euclidean")
            back, _ = nearest(latent[there], latent[here], PAIR_NEIGHBOURS, "euclidean")
            shape = len(here), len(there)
            close = sp.csr_matrix(  # by 1 / (1 + gap), so that no pair counts as absent
                (1 / (1 + gaps.ravel()), ahead.ravel(), np.arange(0, gaps.size + 1, gaps.shape[1])),
                shape,
            )
            known = (np.ones(back.size), back.ravel(), np.arange(0, back.size + 1, back.shape[1]))
            mutual = close.multiply(sp.csr_matrix(known, shape[::-1]).T).tocsr()
            for matrix, own, other in ((mutual, here, there), (mutual.T.tocsr(), there, here)):
                anchors = np.flatnonzero(np.diff(matrix.indptr))
                best = np.asarray(matrix[anchors].argmax(axis=1)).ravel()
                pairs.append(np.column_stack([own[anchors], other[best]]))
    return np.concatenate(pairs)


def random_cells(anchors, slices, rng):
    """A random cell of each anchor's slice."""
    import numpy as np

    order = np.argsort(slices, kind="stable")
    sizes = np.bincount(slices)
    starts = np.cumsum(sizes) - sizes
    of = slices[anchors]
    return order[starts[of] + rng.integers(sizes[of])]


def triplet_loss(latent, pairs, negatives):
    """Mean of max(0, d(anchor, positive) - d(anchor, negative) + margin)."""
    import torch

    anchors, positives = latent[pairs[:, 0]], latent[pairs[:, 1]]
    return torch.nn.functional.triplet_margin_loss(
        anchors, positives, latent[negatives], margin=MARGIN
    )


if __name__ == "__main__":
    main()
