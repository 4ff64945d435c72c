"""Training of the conditional autoencoder: its three losses, and steps on chunks of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lloki.cae import ConditionalAutoencoder, encode


def reconstruction_loss(cells: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Mean squared error between the embeddings and the decoder's output (Eq. 6)."""
    return nn.functional.mse_loss(decoded, cells)


def triplet_loss(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float
) -> torch.Tensor:
    """Mean of max(0, ‖a − p‖ − ‖a − n‖ + margin) over the triplets (Eq. 7)."""
    apart = distance(anchor, positive) - distance(anchor, negative) + margin
    return apart.clamp_min(0).mean()


def conservation_loss(latent_distance: torch.Tensor, distance_before: torch.Tensor) -> torch.Tensor:
    """Mean of (‖Z_i − Z_j‖ − ‖X_i − X_j‖)² over cells i and their neighbours j (Eq. 8)."""
    return (latent_distance - distance_before).square().mean()


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Euclidean distance along the last axis, with a gradient where it is zero."""
    return ((a - b).square().sum(dim=-1) + 1e-12).sqrt()


@dataclass(frozen=True)
class Training:
    """What a training is told; the defaults live in the options of train_cae.py."""

    lambda_rec: float
    lambda_trip: float
    lambda_bc: float
    lr: float
    weight_decay: float
    chunk_size: int
    epochs: int
    margin: float
    sampled_neighbors: int
    seed: int


@dataclass
class Cells:
    """All cells of all slices, one after the other.

    embedding: n × d float32; batch and slice: n int64; neighbors: n × k rows of the same slice.
    """

    embedding: np.ndarray
    batch: np.ndarray
    slice: np.ndarray
    neighbors: np.ndarray


class Trainer:
    """Trains the model on pairs; every draw comes from one seeded generator, on the CPU."""

    def __init__(
        self,
        cells: Cells,
        pairs: np.ndarray,
        model: ConditionalAutoencoder,
        training: Training,
        device: torch.device,
    ) -> None:
        self.training, self.model, self.device = training, model.to(device), device
        self.random = np.random.default_rng(training.seed)
        self.cells = cells
        self.embedding = torch.from_numpy(cells.embedding).to(device)
        self.batch = torch.from_numpy(cells.batch).to(device)
        order = np.argsort(cells.slice, kind="stable")
        self.members = np.split(order, np.flatnonzero(np.diff(cells.slice[order])) + 1)
        self.set_pairs(pairs)
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=training.lr, weight_decay=training.weight_decay
        )

    def set_pairs(self, pairs: np.ndarray) -> None:
        """Take pairs (p × 2, rows of the cells, both directions) as anchors and positives."""
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        self.positives = pairs[:, 1]
        counts = np.bincount(pairs[:, 0], minlength=len(self.cells.batch))
        self.first = np.concatenate([[0], np.cumsum(counts)])

    def epoch(self) -> dict[str, float]:
        """One pass in which every cell is an anchor once; the mean of each loss."""
        totals: dict[str, float] = {}
        chunks = self._chunks()
        for anchors in chunks:
            losses = self._losses(anchors)
            self.optimizer.zero_grad()
            losses["total"].backward()
            self.optimizer.step()
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + loss.item() * len(anchors)
        return {name: total / len(self.cells.batch) for name, total in totals.items()}

    def latent(self) -> np.ndarray:
        """Latent positions of all cells (n × latent_dim, float32)."""
        return encode(self.model, self.cells.embedding, self.cells.batch, self.device)

    def _chunks(self) -> list[np.ndarray]:
        """All cells in chunks, each with cells of every slice in proportion."""
        rank, row = [], []
        for members in self.members:
            row.append(self.random.permutation(members))
            rank.append((np.arange(len(members)) + self.random.random()) / len(members))
        order = np.concatenate(row)[np.argsort(np.concatenate(rank), kind="stable")]
        return np.array_split(order, steps_per_epoch(len(order), self.training.chunk_size))

    def _losses(self, anchors: np.ndarray) -> dict[str, torch.Tensor]:
        """The three losses and their weighted sum on one chunk of anchors."""
        t, k = self.training, self.cells.neighbors.shape[1]
        drawn = min(t.sampled_neighbors, k)
        columns = self.random.random((len(anchors), k)).argpartition(drawn - 1, axis=1)[:, :drawn]
        near = np.take_along_axis(self.cells.neighbors[anchors], columns, axis=1)
        anchor, positive, negative = self._triplets(anchors)
        used, where = np.unique(
            np.concatenate([anchors, near.ravel(), positive, negative]), return_inverse=True
        )
        a, j, p, n = np.split(where, np.cumsum([len(anchors), near.size, len(positive)]))
        cells, batch = self._rows(self.embedding, used), self._rows(self.batch, used)
        latent = self.model.encode(cells, batch)
        decoded = self.model.decode(self._rows(latent, a), self._rows(batch, a))
        i = a.repeat(drawn)
        losses = {
            "reconstruction": reconstruction_loss(self._rows(cells, a), decoded),
            "conservation": conservation_loss(
                distance(self._rows(latent, i), self._rows(latent, j)),
                distance(self._rows(cells, i), self._rows(cells, j)),
            ),
            "triplet": latent.new_zeros(()),
        }
        if len(positive):
            corners = (self._rows(latent, c) for c in (a[anchor], p, n))
            losses["triplet"] = triplet_loss(*corners, t.margin)
        losses["total"] = (
            t.lambda_rec * losses["reconstruction"]
            + t.lambda_trip * losses["triplet"]
            + t.lambda_bc * losses["conservation"]
        )
        return losses

    def _rows(self, values: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """Rows of a tensor. Unlike indexing, its gradient is summed in one order, always."""
        return values.index_select(0, torch.from_numpy(rows).to(self.device))

    def _triplets(self, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places in `anchors` that have positives, a positive and a negative cell for each."""
        count = self.first[anchors + 1] - self.first[anchors]
        place = np.flatnonzero(count)
        chosen = (self.random.random(len(place)) * count[place]).astype(np.int64)
        positive = self.positives[self.first[anchors[place]] + chosen]
        draw = self.random.random(len(place))
        negative = np.empty_like(positive)
        slices = self.cells.slice[anchors[place]]
        for s, members in enumerate(self.members):
            those = slices == s
            negative[those] = members[(draw[those] * len(members)).astype(np.int64)]
        return place, positive, negative


def steps_per_epoch(cells: int, chunk_size: int) -> int:
    """Steps in which all cells are seen once; at least four, so that small data trains too."""
    return max(min(4, cells), -(-cells // chunk_size))
