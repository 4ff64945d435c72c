"""scGPT's architecture for training: parameters by their names in the official file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lloki.embedding.scgpt.checkpoint import SPECIAL_TOKENS
from lloki.embedding.scgpt.tokens import EDGES

PAD_VALUE, MASK_VALUE = -2, -1
MASKED = EDGES + 1
"""Code of a masked value; 0 is that of <pad> and <cls>, 1 to 50 are bins."""


@dataclass(frozen=True)
class Architecture:
    """Sizes; scGPT's names for them are embsize (dim), nlayers, nheads and d_hid (hidden)."""

    dim: int
    layers: int
    heads: int
    hidden: int
    dropout: float


class Attention(nn.Module):
    """The projections of one layer's attention."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.Wqkv = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)


class Layer(nn.Module):
    """A post-norm layer: h = LN(h + attention(h)), then h = LN(h + W2 relu(W1 h)).

    Unlike scGPT's it drops no attention weights, only what the two branches add.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.heads, self.dropout = a.heads, a.dropout
        self.self_attn = Attention(a.dim)
        self.linear1, self.linear2 = nn.Linear(a.dim, a.hidden), nn.Linear(a.hidden, a.dim)
        self.norm1, self.norm2 = nn.LayerNorm(a.dim), nn.LayerNorm(a.dim)

    def forward(self, x: Tensor, mask: Tensor | None, asking: int) -> Tensor:
        """Hidden states (B × asking × D) of the next layer for the first `asking` tokens.

        x: B × L × D; `mask` is true where a token is (None: everywhere).
        """
        weight, bias = self.self_attn.Wqkv.weight, self.self_attn.Wqkv.bias
        dim = x.shape[-1]
        k, v = F.linear(x, weight[dim:], bias[dim:]).chunk(2, dim=-1)
        x = x[:, :asking]
        q = F.linear(x, weight[:dim], bias[:dim])
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.norm1(x + self._drop(self.self_attn.out_proj(mixed.transpose(1, 2).flatten(-2))))
        return self.norm2(x + self._drop(self.linear2(self._drop(self.linear1(x).relu()))))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Model(nn.Module):
    """scGPT and its two decoders, and a linear head that reads a cell's factors from <cls>.

    Unlike scGPT's, the decoders give a bin divided by the number of edges; `official_state` puts
    that number into their last weights.
    """

    def __init__(self, architecture: Architecture, genes: int, rank: int) -> None:
        """Random weights; `genes` in the vocabulary, followed by the special tokens."""
        super().__init__()
        a, d = architecture, architecture.dim
        self.architecture = a
        self.encoder = nn.ModuleDict(
            {"embedding": nn.Embedding(genes + len(SPECIAL_TOKENS), d), "enc_norm": nn.LayerNorm(d)}
        )
        self.value_encoder = nn.ModuleDict(
            {"linear1": nn.Linear(1, d), "linear2": nn.Linear(d, d), "norm": nn.LayerNorm(d)}
        )
        layers = nn.ModuleList(Layer(a) for _ in range(a.layers))
        self.transformer_encoder = nn.ModuleDict({"layers": layers})
        fc = [nn.Linear(d, d), nn.LeakyReLU(), nn.Linear(d, d), nn.LeakyReLU(), nn.Linear(d, 1)]
        self.decoder = nn.ModuleDict({"fc": nn.Sequential(*fc)})
        self.mvc_decoder = nn.ModuleDict(
            {"gene2query": nn.Linear(d, d), "W": nn.Linear(d, d, bias=False)}
        )
        nn.init.zeros_(self.mvc_decoder["W"].weight)  # at random its sums would drown <cls>
        self.state = nn.Linear(d, rank)
        ids = torch.tensor([genes, genes + 1, *range(genes)])  # as in `Tokens`: <pad>, <cls>, genes
        levels = torch.tensor([PAD_VALUE, *range(1, EDGES + 1), MASK_VALUE], dtype=torch.float32)
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("levels", levels[:, None], persistent=False)

    def gene_vectors(self, genes: Tensor) -> Tensor:
        """Encodings (B × L × D) of genes (B × L, rows as in `Tokens`).

        Each gene is encoded once; rows are taken by index_select, whose gradient is summed in one
        order on a CPU.
        """
        used, place = torch.unique(genes, return_inverse=True)
        vectors = self.encoder["embedding"].weight.index_select(0, self.ids.index_select(0, used))
        return rows_of(self.encoder["enc_norm"](vectors), place)

    def value_vectors(self, codes: Tensor) -> Tensor:
        """Encodings (B × L × D) of values by code (B × L): 0 <cls>, 1 to 50 a bin, 51 masked."""
        v = self.value_encoder
        table = v["norm"](v["linear2"](v["linear1"](self.levels).relu()))
        return rows_of(table, codes)

    def forward(
        self, gene_vectors: Tensor, codes: Tensor, counts: np.ndarray, cls_alone: bool = False
    ) -> Tensor:
        """Last hidden states (B × L × D) of cells with `counts` tokens each, the rest padding.

        With `cls_alone` only those of <cls> (B × 1 × D).
        """
        x, mask = gene_vectors + self.value_vectors(codes), None
        if counts.min() < x.shape[1]:
            places = torch.arange(x.shape[1], device=x.device)
            mask = (places < torch.from_numpy(counts).to(x.device)[:, None])[:, None, None]
        layers = self.transformer_encoder["layers"]
        for i, layer in enumerate(layers):
            x = layer(x, mask, 1 if cls_alone and i == len(layers) - 1 else x.shape[1])
        return x

    def values_from_context(self, hidden: Tensor) -> Tensor:
        """Values (bin / 50) of masked tokens from their last hidden states (M × D)."""
        return self.decoder["fc"](hidden).squeeze(-1)

    def values_from_cell(self, cls: Tensor, gene_vectors: Tensor) -> Tensor:
        """Values (bin / 50) of genes (M × D) from the last hidden state of their cells' <cls>."""
        query = self.mvc_decoder["gene2query"](gene_vectors).sigmoid()
        return (self.mvc_decoder["W"](query) * cls).sum(dim=-1)

    def official_state(self) -> dict[str, Tensor]:
        """The tensors of the official file, on the CPU; the state head is not among them."""
        state = {name: t.detach().cpu().clone() for name, t in self.state_dict().items()}
        for name in ("decoder.fc.4.weight", "decoder.fc.4.bias", "mvc_decoder.W.weight"):
            state[name] *= EDGES
        return {name: t for name, t in state.items() if not name.startswith("state.")}


def rows_of(table: Tensor, place: Tensor) -> Tensor:
    """Rows of a table (R × D) at places of any shape."""
    return table.index_select(0, place.flatten()).view(*place.shape, -1)
