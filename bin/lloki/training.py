"""Training of the conditional autoencoder: its three losses, and steps on chunks of cells."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from lloki.cae import ConditionalAutoencoder, encode
from lloki.processes import Processes

if TYPE_CHECKING:
    from lloki.storage import StoredRows


def reconstruction_loss(cells: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Mean squared error between the embeddings and the decoder's output (Eq. 6)."""
    return nn.functional.mse_loss(decoded, cells)


def triplet_loss(
    anchor: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    margin: float,
    squared: bool = False,
) -> torch.Tensor:
    """Mean of max(0, ‖a − p‖ − ‖a − n‖ + margin) over the triplets (Eq. 7).

    With `squared`, of max(0, ‖a − p‖² − ‖a − n‖² + margin).
    """
    apart = distance(anchor, positive, squared) - distance(anchor, negative, squared) + margin
    return apart.clamp_min(0).mean()


def conservation_loss(latent_distance: torch.Tensor, distance_before: torch.Tensor) -> torch.Tensor:
    """Mean of (‖Z_i − Z_j‖ − ‖X_i − X_j‖)² over cells i and their neighbours j (Eq. 8)."""
    return (latent_distance - distance_before).square().mean()


def distance(a: torch.Tensor, b: torch.Tensor, squared: bool = False) -> torch.Tensor:
    """Euclidean distance along the last axis, or its square; with a gradient where it is zero."""
    square = (a - b).square().sum(dim=-1)
    return square if squared else (square + 1e-12).sqrt()


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
    trip_distance: str = "plain"
    bc_distance: str = "plain"


@dataclass
class Cells:
    """All cells of all slices, one after the other.

    embedding: n × d float32, an array or rows on disk; batch and slice: n int64; neighbors: n × k
    rows of the same slice; negatives: n rows of the same slice that are a cell's negative, −1 for
    one drawn from the slice (None: all are drawn).
    """

    embedding: np.ndarray | StoredRows
    batch: np.ndarray
    slice: np.ndarray
    neighbors: np.ndarray
    negatives: np.ndarray | None = None


@dataclass(frozen=True)
class Positives:
    """Positives of every cell: those of cell i are cells[first[i] : first[i + 1]], int32."""

    first: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, pairs: list[np.ndarray], n: int) -> Positives:
        """From pairs (each p × 2 rows of n cells: anchor, positive); the list is emptied."""
        matrix = sp.csr_matrix((n, n), dtype=bool)
        while pairs:
            row, column = pairs.pop().T
            row, column = row.astype(np.int32), column.astype(np.int32)
            matrix += sp.csr_matrix((np.ones(len(row), dtype=bool), (row, column)), shape=(n, n))
        matrix.sort_indices()
        return cls(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False))


class Trainer:
    """Trains the model on pairs; every draw comes from one seeded generator, on the CPU.

    With `known`, the model's first so many batches are known to it already: anchors are the cells
    of the other batches, and nothing but these batches' vectors changes. Several processes draw
    the same numbers; each takes its share of a chunk's anchors, and the gradients are summed.
    """

    def __init__(
        self,
        cells: Cells,
        positives: Positives,
        model: ConditionalAutoencoder,
        training: Training,
        device: torch.device,
        known: int = 0,
        processes: Processes | None = None,
    ) -> None:
        self.training, self.model, self.device = training, model.to(device), device
        self.random = np.random.default_rng(training.seed)
        self.cells, self.positives = cells, positives
        self.processes = processes or Processes()
        order = np.argsort(cells.slice, kind="stable")
        self.members = np.split(order, np.flatnonzero(np.diff(cells.slice[order])) + 1)
        self.kept = model.batch.weight.detach()[:known].clone()
        if known:
            model.requires_grad_(False).batch.requires_grad_(True)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=training.lr, weight_decay=training.weight_decay
        )
        self.anchors = [m for m in self.members if cells.batch[m[0]] >= known]
        self.history: list[dict] = []

    def epoch(self) -> dict[str, float]:
        """One pass in which every cell is an anchor once; the mean of each loss, kept too."""
        totals: dict[str, float] = {}
        chunks = self._chunks()
        for anchors in chunks:
            losses = self._step(anchors)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + loss * len(anchors)
        cells = sum(len(chunk) for chunk in chunks)
        means = {name: total / cells for name, total in totals.items()}
        self.history.append({"epoch": len(self.history) + 1, **means})
        return means

    def state(self) -> dict:
        """Everything that the rest of the training depends on, for `resume`."""
        draws = {"random": self.random.bit_generator.state, "history": self.history}
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "draws": json.dumps(draws),
        }

    def resume(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        draws = json.loads(state["draws"])
        self.random.bit_generator.state, self.history = draws["random"], draws["history"]

    def save_checkpoint(self, path: Path) -> None:
        """Write the state to a file, whole or not at all; by the first process alone."""
        if self.processes.rank == 0:
            temporary = path.with_name(f".{os.getpid()}.{path.name}")
            torch.save({**self.state(), "fingerprint": self.fingerprint()}, temporary)
            os.replace(temporary, path)

    def load_checkpoint(self, path: Path) -> int | None:
        """Go on from a file that `save_checkpoint` wrote; the epochs that were done by then.

        0 if there is none; None if it is damaged, or of other data or settings.
        """
        if not path.is_file():
            return 0
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            if state["fingerprint"] != self.fingerprint():
                return None
        except Exception:  # whatever a file that is no checkpoint makes torch.load raise
            return None
        self.resume(state)
        return len(self.history)

    def fingerprint(self) -> str:
        """Hash of the settings, the model's sizes and the data: a checkpoint fits only its own."""
        digest = hashlib.sha256(repr((self.training, self.model.architecture)).encode())
        cells = self.cells
        some = np.arange(0, len(cells.batch), max(1, len(cells.batch) // 1000))
        digest.update(self.kept.cpu().numpy().tobytes())
        for values in (
            cells.embedding[some], cells.batch, cells.slice, cells.neighbors, cells.negatives,
            self.positives.first, self.positives.cells,
        ):  # fmt: skip
            digest.update(b"" if values is None else np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def latent(self) -> np.ndarray:
        """Latent positions of all cells (n × latent_dim, float32)."""
        return encode(self.model, self.cells.embedding, self.cells.batch, self.device)

    def _chunks(self) -> list[np.ndarray]:
        """All anchors in chunks, each with cells of every slice in proportion."""
        rank, row = [], []
        for members in self.anchors:
            row.append(self.random.permutation(members))
            rank.append((np.arange(len(members)) + self.random.random()) / len(members))
        order = np.concatenate(row)[np.argsort(np.concatenate(rank), kind="stable")]
        return np.array_split(order, steps_per_epoch(len(order), self.training.chunk_size))

    def _step(self, anchors: np.ndarray) -> dict[str, float]:
        """One step down the gradient of a chunk's loss; the losses."""
        losses = self._losses(anchors)
        self.optimizer.zero_grad()
        if losses["total"].requires_grad:
            losses["total"].backward()
        for parameter in self.parameters:
            if parameter.grad is None:  # this process has no share of a small chunk
                parameter.grad = torch.zeros_like(parameter)
        self.processes.add([parameter.grad for parameter in self.parameters])
        values = torch.stack([loss.detach() for loss in losses.values()])
        self.processes.add([values])
        self.optimizer.step()
        if len(self.kept):
            with torch.no_grad():
                self.model.batch.weight[: len(self.kept)] = self.kept
        return dict(zip(losses, values.tolist(), strict=True))

    def _losses(self, anchors: np.ndarray) -> dict[str, torch.Tensor]:
        """The three losses and their weighted sum on one chunk; in shares, these add up to them."""
        t = self.training
        near = self._near(anchors)
        anchor, positive, negative = self._triplets(anchors)
        share = self.processes.share(len(anchors))
        own = (anchor >= share.start) & (anchor < share.stop)
        part, triplets = (share.stop - share.start) / len(anchors), len(anchor)
        anchors, near = anchors[share], near[share]
        anchor, positive, negative = anchor[own] - share.start, positive[own], negative[own]
        used, where = np.unique(
            np.concatenate([anchors, near.ravel(), positive, negative]), return_inverse=True
        )
        a, j, p, n = np.split(where, np.cumsum([len(anchors), near.size, len(positive)]))
        cells = torch.from_numpy(self.cells.embedding[used]).to(self.device)
        batch = torch.from_numpy(self.cells.batch[used]).to(self.device)
        latent = self.model.encode(cells, batch)
        if not len(anchors):
            names = ("reconstruction", "conservation", "triplet", "total")
            return dict.fromkeys(names, latent.new_zeros(()))
        decoded = self.model.decode(self._rows(latent, a), self._rows(batch, a))
        i, squared = a.repeat(near.shape[1]), t.bc_distance == "squared"
        losses = {
            "reconstruction": part * reconstruction_loss(self._rows(cells, a), decoded),
            "conservation": part * conservation_loss(
                distance(self._rows(latent, i), self._rows(latent, j), squared),
                distance(self._rows(cells, i), self._rows(cells, j), squared),
            ),
            "triplet": latent.new_zeros(()),
        }  # fmt: skip
        if len(positive):
            corners = (self._rows(latent, c) for c in (a[anchor], p, n))
            loss = triplet_loss(*corners, t.margin, t.trip_distance == "squared")
            losses["triplet"] = len(positive) / triplets * loss
        losses["total"] = (
            t.lambda_rec * losses["reconstruction"]
            + t.lambda_trip * losses["triplet"]
            + t.lambda_bc * losses["conservation"]
        )
        return losses

    def _rows(self, values: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """Rows of a tensor. Unlike indexing, its gradient is summed in one order, always."""
        return values.index_select(0, torch.from_numpy(rows).to(self.device))

    def _near(self, anchors: np.ndarray) -> np.ndarray:
        """Some neighbours of each anchor, drawn without repetition."""
        k = self.cells.neighbors.shape[1]
        drawn = min(self.training.sampled_neighbors, k)
        columns = self.random.random((len(anchors), k)).argpartition(drawn - 1, axis=1)[:, :drawn]
        return np.take_along_axis(self.cells.neighbors[anchors], columns, axis=1)

    def _triplets(self, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places in `anchors` that have positives, a positive and a negative cell for each."""
        first = self.positives.first
        count = first[anchors + 1] - first[anchors]
        place = np.flatnonzero(count)
        chosen = (self.random.random(len(place)) * count[place]).astype(np.int64)
        positive = self.positives.cells[first[anchors[place]] + chosen]
        draw = self.random.random(len(place))
        negative = np.empty_like(positive)
        slices = self.cells.slice[anchors[place]]
        for s, members in enumerate(self.members):
            those = slices == s
            negative[those] = members[(draw[those] * len(members)).astype(np.int64)]
        if self.cells.negatives is not None:
            hard = self.cells.negatives[anchors[place]]
            negative = np.where(hard >= 0, hard, negative)
        return place, positive, negative


def steps_per_epoch(cells: int, chunk_size: int) -> int:
    """Steps in which all cells are seen once; at least four, so that small data trains too."""
    return max(min(4, cells), -(-cells // chunk_size))
