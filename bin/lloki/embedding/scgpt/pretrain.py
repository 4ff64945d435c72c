"""Training of a small scGPT: its architecture and file layout, on slices and references at hand.

The transformer sees a random part of a cell's genes, in bins as scGPT makes them. <cls> learns

- the cell's state: its factors in the mosaic model (`embedding.mosaic`), found with all of its
  genes, and the similarities of these factors between the cells of a batch;
- values that were masked (scGPT's MVC), which the masked tokens learn too;
- if wanted, to agree with the <cls> of the cell's other genes.

Every draw of a step comes from the seed and the step's number alone, so a training that was stopped
goes on to the result that it would have had: on a CPU bit by bit, on a GPU but for the order in
which it sums gradients. A GPU masks other values than a CPU.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from lloki.embedding.scgpt.checkpoint import SPECIAL_TOKENS
from lloki.embedding.scgpt.model import MASK_VALUE, MASKED, PAD_VALUE, Model
from lloki.embedding.scgpt.tokens import EDGES, tokenise
from lloki.embedding.scgpt.training_set import Cells

FEWEST = 8  # genes that a cell keeps, if it has as many
PARTS = 4  # of a batch, by length: less padding. On a GPU, where fewer calls count for more, 1


@dataclass(frozen=True)
class Training:
    """What a training is told; the defaults live in the options of pretrain_scgpt.py."""

    steps: int
    batch_size: int
    lr: float
    warmup: int
    mask_ratio: float
    genes_kept: tuple[float, float]
    max_length: int
    weight_state: float
    weight_similarity: float
    weight_masked: float
    weight_mvc: float
    weight_agreement: float
    seed: int


def start_from_loadings(
    model: Model, loadings: np.ndarray, random: np.random.Generator, noise: float = 0.03
) -> None:
    """Set the vectors of all genes to their loadings (genes × rank), turned at random, and noise.

    A gene whose loadings are small is then told by its noise. From such vectors the state of cells
    is learnt many times faster than from random ones.
    """
    vectors = model.encoder["embedding"].weight
    tokens, dim = vectors.shape
    turn, _ = np.linalg.qr(random.normal(size=(max(dim, loadings.shape[1]), dim)))
    start = noise * random.normal(size=(tokens, dim))
    start[: len(loadings)] += loadings @ turn[: loadings.shape[1]]
    vectors.data.copy_(torch.from_numpy(start.astype(np.float32)))


class Trainer:
    """Trains a model step by step."""

    def __init__(
        self, cells: Cells, model: Model, training: Training, device: torch.device
    ) -> None:
        self.cells, self.training, self.device = cells, training, device
        self.model = model.to(device)
        self.model.train()
        self.first = np.cumsum(cells.sizes) - cells.sizes
        self.ids = torch.arange(cells.matrix.shape[1], device=device)
        self.factors = torch.from_numpy(cells.factors).to(device)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=training.lr, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.done = 0

    def step(self) -> dict[str, float]:
        """One step of the optimizer; the losses before it."""
        random = np.random.default_rng([self.training.seed, self.done])
        torch.manual_seed(int(random.integers(2**62)))  # for the dropout
        losses = self.losses(random)
        self.optimizer.zero_grad()
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.lr * rate(self.done, self.training)
        self.optimizer.step()
        self.done += 1
        return {name: loss.item() for name, loss in losses.items()}

    def losses(self, random: np.random.Generator) -> dict[str, Tensor]:
        """Each loss and their weighted sum, on cells that `random` draws."""
        t = self.training
        rows = self._draw(random)
        seen, unseen = split_genes(self.cells.matrix[rows], t, random)
        order, cls, losses = self._encode(seen, random)
        factors = self.factors.index_select(0, torch.from_numpy(rows[order]).to(self.device))
        losses["state"] = state_loss(self.model.state(cls), factors)
        losses["similarity"] = similarity_loss(cls, factors)
        if t.weight_agreement:
            both = np.flatnonzero(np.diff(unseen.indptr)[order])
            again, other, _ = self._encode(unseen[order[both]], random)
            first = cls.index_select(0, torch.from_numpy(both[again]).to(self.device))
            losses["agreement"] = 1 - F.cosine_similarity(first, other).mean()
        losses["total"] = sum(getattr(t, f"weight_{name}") * loss for name, loss in losses.items())
        return losses

    def _draw(self, random: np.random.Generator) -> np.ndarray:
        """Rows of a batch: every data set is as likely as another, every cell within one too."""
        data_set = random.integers(len(self.cells.sizes), size=self.training.batch_size)
        place = random.random(len(data_set)) * self.cells.sizes[data_set]
        return self.first[data_set] + place.astype(np.int64)

    def _encode(
        self, matrix: sp.csr_matrix, random: np.random.Generator
    ) -> tuple[np.ndarray, Tensor, dict[str, Tensor]]:
        """Cells by falling length, their <cls> in that order, the losses on masked values."""
        order = np.argsort(-np.diff(matrix.indptr), kind="stable")
        keys = random.integers(2**63, size=len(order))
        cls, values = [], []
        parts = PARTS if self.device.type == "cpu" else 1
        for part in np.array_split(order, min(parts, len(order))):
            tokens = tokenise(matrix, part, keys, self.ids, matrix.shape[1] + 2)
            genes = self.model.gene_vectors(tokens.genes)
            if not (self.training.weight_masked or self.training.weight_mvc):
                cls.append(self.model(genes, tokens.bins, tokens.counts, cls_alone=True)[:, 0])
                continue
            chance = torch.from_numpy(random.random(tokens.genes.shape)).to(self.device)
            masked = (chance < self.training.mask_ratio) & (tokens.bins > 0)
            hidden = self.model(genes, tokens.bins.masked_fill(masked, MASKED), tokens.counts)
            cls.append(hidden[:, 0])
            values.append(self._masked_values(hidden, genes, masked, tokens.bins))
        losses = {}
        if values:
            context, cell, truth = (torch.cat(parts) for parts in zip(*values, strict=True))
            losses = {"masked": value_loss(context, truth), "mvc": value_loss(cell, truth)}
        return order, torch.cat(cls), losses

    def _masked_values(self, hidden: Tensor, genes: Tensor, masked: Tensor, bins: Tensor):
        """Masked values (bin / 50): from their tokens, from <cls>, and the truth."""
        place = masked.flatten().nonzero().squeeze(1)
        cells = hidden[:, 0].index_select(0, place // masked.shape[1])
        asked = genes.flatten(0, 1).index_select(0, place)
        return (
            self.model.values_from_context(hidden.flatten(0, 1).index_select(0, place)),
            self.model.values_from_cell(cells, asked),
            bins.flatten().index_select(0, place) / EDGES,
        )

    def state(self) -> dict:
        """All that a later training needs to go on from here."""
        return {
            "done": self.done,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def resume(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done = state["done"]


def split_genes(
    matrix: sp.csr_matrix, training: Training, random: np.random.Generator
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """A random part of each cell's genes and the rest, each as long as a smaller panel would be.

    The share kept is drawn for each cell, evenly between the limits of `genes_kept`; no part holds
    more than `max_length` - 1 genes, and the first holds at least FEWEST of them.
    """
    counts = np.diff(matrix.indptr)
    cell = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((random.random(len(cell)), cell))
    rank = np.empty(len(cell), dtype=np.int64)
    rank[order] = np.arange(len(cell)) - matrix.indptr[cell]
    low, high = training.genes_kept
    share = low + (high - low) * random.random(len(counts))
    most = training.max_length - 1
    kept = np.clip(np.rint(share * counts), np.minimum(FEWEST, counts), most).astype(np.int64)
    first, second = rank < kept[cell], (rank >= kept[cell]) & (rank < kept[cell] + most)
    return _part(matrix, cell, first), _part(matrix, cell, second)


def _part(matrix: sp.csr_matrix, cell: np.ndarray, keep: np.ndarray) -> sp.csr_matrix:
    """The stored values `keep` of a matrix."""
    counts = np.bincount(cell[keep], minlength=matrix.shape[0])
    pointer = np.concatenate([[0], np.cumsum(counts)])
    return sp.csr_matrix((matrix.data[keep], matrix.indices[keep], pointer), shape=matrix.shape)


def state_loss(predicted: Tensor, factors: Tensor) -> Tensor:
    """1 - cosine between predicted and true factors (both B × rank), their mean."""
    return 1 - F.cosine_similarity(predicted, factors).mean()


def similarity_loss(cls: Tensor, factors: Tensor) -> Tensor:
    """Mean squared difference of the cosines between cells, of <cls> (B × D) and of factors."""
    unit, true = F.normalize(cls, dim=1), F.normalize(factors, dim=1)
    return (unit @ unit.T - true @ true.T).square().mean()


def value_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of values, 0 where none was masked."""
    return (predicted - truth).square().sum() / max(len(truth), 1)


def rate(step: int, training: Training) -> float:
    """Share of the learning rate at a step: it rises in a line, then falls as a cosine to zero."""
    if step < training.warmup:
        return (step + 1) / training.warmup
    done = (step - training.warmup) / max(training.steps - training.warmup, 1)
    return (1 + math.cos(math.pi * done)) / 2


def save(model: Model, symbols: Sequence[str], training: Training, folder: Path) -> None:
    """Write args.json, vocab.json and best_model.pt into an existing folder.

    A decoder that no loss trained is left out.
    """
    untrained = [
        name for name, weight in (
            ("decoder.", training.weight_masked), ("mvc_decoder.", training.weight_mvc)
        ) if not weight
    ]  # fmt: skip
    state = {
        name: tensor for name, tensor in model.official_state().items()
        if not name.startswith(tuple(untrained))
    }  # fmt: skip
    a = model.architecture
    args = {
        "embsize": a.dim, "nheads": a.heads, "d_hid": a.hidden, "nlayers": a.layers,
        "n_layers_cls": 3, "dropout": a.dropout, "pad_token": "<pad>", "pad_value": PAD_VALUE,
        "mask_value": MASK_VALUE, "n_bins": EDGES + 1, "max_seq_len": training.max_length,
        "mask_ratio": training.mask_ratio, "input_style": "binned",
        "input_emb_style": "continuous", "MVC": training.weight_mvc > 0,
    }  # fmt: skip
    tokens = {token: i for i, token in enumerate([*symbols, *SPECIAL_TOKENS])}
    (folder / "args.json").write_text(json.dumps(args, indent=1) + "\n")
    (folder / "vocab.json").write_text(json.dumps(tokens) + "\n")
    torch.save(state, folder / "best_model.pt")
