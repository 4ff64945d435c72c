"""Training of LLOKI-CAE: its three losses (Eq. 6-9), and the draws of cells, pairs and negatives.

Memory does not grow with the cells beyond their neighbours and pairs: embeddings may be a memory
map. Several processes of one torch.distributed group share each step: every one makes the same
draws, computes its share of the anchors, and the gradients are added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from lloki.integration.cae import ConditionalAutoencoder, encode
from lloki.integration.pairs import Partners
from lloki.integration.training_set import Cells
from lloki.support.errors import InputError
from lloki.support.storage import blocks, take

STEPS = 600  # what `epochs_for` aims at: losses of the real slices are flat from there on
SAMPLED_NEIGHBORS = 4  # conserved neighbours that a step looks at, of each anchor
CONTRASTED, TEMPERATURE = 256, 0.1  # cells that all anchors of a step are told from; of InfoNCE


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
    """Mean of max(0, ‖a − p‖ − ‖a − n‖ + margin) over the triplets (Eq. 7), or of squares."""
    near, far = distance(anchor, positive, squared), distance(anchor, negative, squared)
    return (near - far + margin).clamp_min(0).mean()


def contrastive_loss(
    anchor: torch.Tensor,
    positive: torch.Tensor,
    others: torch.Tensor,
    told_from: torch.Tensor,
    squared: bool = False,
) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018) by distances, or by their squares.

    anchor, positive: t × d; others: m × d; told_from: those that each anchor is told from, t × m.
    A cell at a distance s weighs exp(−s / TEMPERATURE); the loss is the mean of −log of the share
    that the positive has of its own weight and those of the others.
    """
    near = distance(anchor, positive, squared)[:, None]
    far = anchor.square().sum(dim=1, keepdim=True) + others.square().sum(dim=1)
    far = (far - 2 * anchor @ others.T).clamp_min(0)
    far = (far if squared else (far + 1e-12).sqrt()).masked_fill(~told_from, torch.inf)
    scores = torch.cat([near, far], dim=1) / -TEMPERATURE
    return (scores.logsumexp(dim=1) - scores[:, 0]).mean()


def conservation_loss(latent_distance: torch.Tensor, distance_before: torch.Tensor) -> torch.Tensor:
    """Mean of (‖Z_i − Z_j‖ − ‖X_i − X_j‖)² over cells i and their neighbours j (Eq. 8)."""
    return (latent_distance - distance_before).square().mean()


def distance(a: torch.Tensor, b: torch.Tensor, squared: bool = False) -> torch.Tensor:
    """Euclidean distance along the last axis (with a gradient where it is zero), or its square."""
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
    seed: int
    distances: str = "plain"
    negatives: str = "random"


class Trainer:
    """Trains the model on pairs; every draw comes from one seeded generator, on the CPU.

    frozen: so many first batches, and all shared weights, stay as they are, to the bit; of the
    others their vectors are learnt, and a linear map of their embeddings.
    """

    def __init__(
        self,
        cells: Cells,
        partners: Partners,
        model: ConditionalAutoencoder,
        training: Training,
        device: torch.device,
        frozen: int = 0,
    ) -> None:
        self.training, self.model, self.device = training, model.to(device), device
        self.random = np.random.default_rng(training.seed)
        self.cells, self.history = cells, []
        self.batch = self._there(cells.batch)
        self.held = on_gpu(cells.embedding, device)
        self.members = _by_slice(np.arange(len(cells.slice)), cells.slice)
        self.anchors = self.members
        if cells.anchors is not None:
            self.anchors = _by_slice(cells.anchors, cells.slice)
        self.cells_seen = sum(map(len, self.anchors))
        self.first, self.positives = partners.first, partners.cells
        trained, decay = list(model.parameters()), training.weight_decay
        if frozen:
            model.requires_grad_(False)
            trained, decay = [model.batch.weight, model.maps], 0.0
            first = model.architecture.batches - model.architecture.adapted
            for rows, kept in zip(trained, (frozen, frozen - first), strict=True):
                rows.requires_grad_(True)
                rows.register_hook(partial(_without_rows, frozen=kept))
        self.optimizer = torch.optim.Adam(trained, lr=training.lr, weight_decay=decay)

    def epoch(self) -> dict[str, float]:
        """One pass in which every anchor is seen once; the mean of each loss, kept in `history`."""
        totals: dict[str, torch.Tensor] = {}
        for anchors in self._chunks():
            losses = self._losses(anchors)
            self.optimizer.zero_grad()
            losses["total"].backward()
            if dist.is_initialized():
                self._add_up(losses)
            self.optimizer.step()
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + loss.detach().double() * len(anchors)
        means = {name: total.item() / self.cells_seen for name, total in totals.items()}
        self.history.append({"epoch": len(self.history) + 1, **means})
        return means

    def latent(self) -> np.ndarray:
        """Latent positions of all cells (n × latent_dim, float32)."""
        return encode(self.model, self.cells.embedding, self.cells.batch, self.device)

    def state(self) -> dict:
        """All that a later run of the same training needs to go on as if it had never stopped."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.bit_generator.state,
            "history": self.history,
        }

    def resume(self, state: dict) -> None:
        """Go on from a `state` of this very training."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.bit_generator.state = state["random"]
        self.history = list(state["history"])

    def _chunks(self) -> list[np.ndarray]:
        """All anchors in chunks, each with cells of every slice in proportion."""
        rank, row = [], []
        for members in self.anchors:
            row.append(self.random.permutation(members))
            rank.append((np.arange(len(members)) + self.random.random()) / len(members))
        order = np.concatenate(row)[np.argsort(np.concatenate(rank), kind="stable")]
        return np.array_split(order, steps_per_epoch(len(order), self.training.chunk_size))

    def _losses(self, anchors: np.ndarray) -> dict[str, torch.Tensor]:
        """The three losses and their weighted sum on one chunk of anchors.

        With several processes: this one's part of each, so that the sum over processes is the loss.
        """
        t, squared = self.training, self.training.distances == "squared"
        k = self.cells.neighbors.shape[1]
        drawn = min(SAMPLED_NEIGHBORS, k)
        columns = self.random.random((len(anchors), k)).argpartition(drawn - 1, axis=1)[:, :drawn]
        place, positive, negative = self._triplets(anchors)
        triplets = len(place)
        parts = dist.get_world_size() if dist.is_initialized() else 1
        share = np.arange(dist.get_rank() if parts > 1 else 0, len(anchors), parts)
        mine = np.isin(place, share)
        place, positive, told_from = place[mine], positive[mine], None
        if t.negatives == "many":
            told_from = self._told_from(anchors[place], positive, negative)
        else:
            negative = negative[mine]
        place = np.searchsorted(share, place)
        weight, weight_triplets = len(share) / len(anchors), mine.sum() / max(triplets, 1)
        anchors = anchors[share]
        near = np.take_along_axis(self.cells.neighbors[anchors], columns[share], axis=1)
        used, where = np.unique(
            np.concatenate([anchors, near.ravel(), positive, negative]), return_inverse=True
        )
        cells, batch = self._embedding(used), self.batch.index_select(0, self._there(used))
        sizes = len(anchors), near.size, len(positive), len(negative)
        a, j, p, n = self._there(where).split(sizes)
        latent = self.model.encode(cells, batch)
        before = self.model.levelled(cells, batch).detach()
        decoded = self.model.decode(_rows(latent, a), _rows(batch, a))
        i = a.repeat_interleave(drawn)
        losses = {
            "reconstruction": weight * reconstruction_loss(_rows(cells, a), decoded),
            "conservation": weight * conservation_loss(
                distance(_rows(latent, i), _rows(latent, j), squared),
                distance(_rows(before, i), _rows(before, j), squared),
            ),
            "triplet": latent.new_zeros(()),
        }  # fmt: skip
        if len(positive):
            corners = [_rows(latent, c) for c in (_rows(a, self._there(place)), p, n)]
            if told_from is None:
                loss = triplet_loss(*corners, t.margin, squared)
            else:
                loss = contrastive_loss(*corners, told_from, squared)
            losses["triplet"] = weight_triplets * loss
        losses["total"] = (
            t.lambda_rec * losses["reconstruction"]
            + t.lambda_trip * losses["triplet"]
            + t.lambda_bc * losses["conservation"]
        )
        return losses

    def _add_up(self, losses: dict[str, torch.Tensor]) -> None:
        """Gradients and losses, added up over the processes in place."""
        for weights in self.model.parameters():
            if weights.grad is not None:
                dist.all_reduce(weights.grad)
        for name, loss in losses.items():
            losses[name] = loss.detach().clone()
            dist.all_reduce(losses[name])

    def _embedding(self, rows: np.ndarray) -> torch.Tensor:
        """The embeddings of some cells (sorted rows), on the device."""
        if self.held is not None:
            return self.held.index_select(0, self._there(rows))
        return torch.from_numpy(take(self.cells.embedding, rows)).to(self.device)

    def _there(self, numbers: np.ndarray) -> torch.Tensor:
        """Whole numbers on the device, int64."""
        return torch.from_numpy(numbers.astype(np.int64)).to(self.device)

    def _triplets(self, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places in `anchors` that have positives, a positive and a negative cell for each.

        With many negatives these are some of the anchors and positives, for all alike.
        """
        count = self.first[anchors + 1] - self.first[anchors]
        place = np.flatnonzero(count)
        chosen = (self.random.random(len(place)) * count[place]).astype(np.int64)
        positive = self.positives[self.first[anchors[place]] + chosen]
        if self.training.negatives == "many":
            rows = np.concatenate([anchors, positive])
            return place, positive, rows[self.random.permutation(len(rows))[:CONTRASTED]]
        draw = self.random.random(len(place))
        negative = np.empty_like(positive)
        slices = self.cells.slice[anchors[place]]
        for members in self.members:
            those = slices == self.cells.slice[members[0]]
            negative[those] = members[(draw[those] * len(members)).astype(np.int64)]
        if self.cells.hard is not None:
            hard = self.cells.hard[anchors[place]]
            negative = np.where(hard < 0, negative, hard)
        return place, positive, negative

    def _told_from(self, anchors: np.ndarray, positives: np.ndarray, others: np.ndarray):
        """Which of the others each pair is told from (t × m): those of its two slices."""
        pair = np.stack([anchors, positives])[:, :, None]
        ours = (self.cells.slice[pair] == self.cells.slice[others]).any(axis=0)
        return torch.from_numpy(ours & (pair != others).all(axis=0)).to(self.device)


def steps_per_epoch(cells: int, chunk_size: int) -> int:
    """Steps in which all cells are seen once; at least four, so that small data trains too."""
    return max(min(4, cells), -(-cells // chunk_size))


def epochs_for(steps: int) -> int:
    """Epochs of so many steps that make about STEPS together; 20 at least."""
    return max(20, round(STEPS / steps))


def on_gpu(embedding: np.ndarray, device: torch.device) -> torch.Tensor | None:
    """Embeddings (n × d) on a GPU, if half of its free memory holds them, to be read from there."""
    if device.type != "cuda" or embedding.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
        return None
    held = torch.empty(embedding.shape, device=device)
    for rows, block in blocks(embedding):
        held[rows] = torch.from_numpy(block)
    return held


def _rows(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows of a tensor. Unlike indexing, its gradient is summed in one order, always, on a CPU."""
    return values.index_select(0, rows)


def _by_slice(rows: np.ndarray, slices: np.ndarray) -> list[np.ndarray]:
    """These rows by their slices."""
    rows = rows[np.argsort(slices[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(slices[rows])) + 1)


def _without_rows(gradient: torch.Tensor, frozen: int) -> torch.Tensor:
    gradient = gradient.clone()
    gradient[:frozen] = 0
    return gradient


def join_processes(where: torch.device) -> int:
    """This process's number among those that were started together, as by torchrun.

    On GPUs each has one of its own: InputError where they are too few.
    """
    if where.type == "cuda":
        place, there = dist.get_node_local_rank(fallback_rank=0), torch.cuda.device_count()
        if place >= there:
            fact = f"process {place + 1} on this machine, which has {there} GPUs"
            raise InputError("--device cuda", fact, "start one process a GPU")
        torch.cuda.set_device(place)
        dist.init_process_group("nccl", device_id=torch.device("cuda", place))
    else:
        dist.init_process_group("gloo")
    return dist.get_rank()


def leave_processes() -> None:
    """Waits for the others: whoever goes first would close their connections."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
