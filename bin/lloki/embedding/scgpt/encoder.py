"""The encoder of scGPT for inference: tokens in, one unit vector a cell out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lloki.embedding.scgpt.checkpoint import Checkpoint
from lloki.embedding.scgpt.tokens import (
    EDGES,
    FIRST_GENE,
    Tokens,
    batches,
    cell_keys,
    stream,
    tokenise,
)

CPU_TOKENS = 8_192  # more no longer fit the cache, and gain nothing
GPU_TOKENS = 262_144
# Not cuDNN's: it plans anew for every length of a batch, which takes as long as the batch does.
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class Encoder:
    """A checkpoint on a device, for the genes of one panel.

    Only the panel's rows of the embedding are used. Genes and values are encoded once, as tables:
    a token's value is one of 50 bins, or <cls>'s own.
    """

    def __init__(
        self, checkpoint: Checkpoint, symbols: list[str], device: torch.device, dtype: torch.dtype
    ) -> None:
        """`symbols` are the panel's genes by their names in the vocabulary, in column order."""
        vocabulary = checkpoint.vocabulary
        self.device, self.dim, self.heads = device, checkpoint.dim, checkpoint.heads
        self.ids = torch.tensor([vocabulary[s] for s in symbols], device=device)
        special = torch.tensor([vocabulary["<pad>"], vocabulary["<cls>"]])
        rows = torch.cat([special, self.ids.cpu()])
        assert len(rows) == len(symbols) + FIRST_GENE
        w = {
            key: (t[rows] if key == "encoder.embedding.weight" else t).to(device)
            for key, t in checkpoint.weights.items()
        }
        levels = torch.arange(EDGES + 1, dtype=torch.float32, device=device)
        levels[0] = checkpoint.pad_value
        self.gene_table = _norm(w, "encoder.enc_norm", w["encoder.embedding.weight"]).to(dtype)
        self.value_table = _encode_values(w, levels).to(dtype)
        self.layers: list[dict[str, Tensor]] = [{} for _ in range(checkpoint.layers)]
        for key, tensor in w.items():
            if key.startswith("transformer_encoder."):
                _, _, layer, name = key.split(".", 3)
                self.layers[int(layer)][name] = tensor.to(dtype)

    @torch.inference_mode()
    def __call__(self, tokens: Tokens) -> np.ndarray:
        """The last hidden state of <cls>, scaled to unit length (B × D, float32)."""
        x = self.gene_table[tokens.genes] + self.value_table[tokens.bins]
        mask = None
        if tokens.counts.min() < x.shape[1]:
            counts = torch.from_numpy(tokens.counts).to(self.device)
            places = torch.arange(x.shape[1], device=self.device)
            mask = (places < counts[:, None])[:, None, None]
        with sdpa_kernel(ATTENTION):
            for layer in self.layers[:-1]:
                x = self._layer(layer, x, x, mask)
            # Of the last layer only <cls> is read, so only <cls> has to ask.
            cls = self._layer(self.layers[-1], x[:, :1], x, mask)[:, 0]
        return F.normalize(cls.float(), dim=1).cpu().numpy()

    def _layer(
        self, w: dict[str, Tensor], asking: Tensor, x: Tensor, mask: Tensor | None
    ) -> Tensor:
        """A post-norm layer: h = LN(h + attention(h)), then h = LN(h + W2 relu(W1 h))."""
        weight, bias = w["self_attn.in_proj_weight"], w["self_attn.in_proj_bias"]
        if asking is x:
            q, k, v = F.linear(x, weight, bias).chunk(3, dim=-1)
        else:
            q = F.linear(asking, weight[: self.dim], bias[: self.dim])
            k, v = F.linear(x, weight[self.dim :], bias[self.dim :]).chunk(2, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        h = asking + _linear(w, "self_attn.out_proj", heads.transpose(1, 2).flatten(-2))
        h = _norm(w, "norm1", h)
        return _norm(w, "norm2", h + _linear(w, "linear2", _linear(w, "linear1", h).relu_()))


def embed(
    encoder: Encoder,
    matrix: sp.csr_matrix,
    names: object,
    *,
    max_length: int = 1200,
    batch_size: int | None = None,
    seed: int = 0,
    ties: str = "cell",
    sampling: str = "cell",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and their embeddings (rows × D float32), batch by batch, longest cells first.

    `matrix` is cells × the encoder's genes, CSR float32, positive, at least one gene a cell;
    `names` are the cells'. A cell's embedding depends on its values, its name and the seed; the
    batch that it travels in changes rounding alone (float32: about 1e-7). With `ties` or `sampling`
    "random" bins of tied values, or genes kept of long cells, come from one stream over all cells.
    """
    keys = cell_keys(names, seed)
    given = stream(matrix.indptr, max_length, seed, ties == "random", sampling == "random")
    counts = np.minimum(np.diff(matrix.indptr) + 1, max_length)
    budget = token_budget(encoder) if batch_size is None else batch_size * max_length
    for rows in batches(counts, budget, batch_size or len(counts)):
        yield rows, encoder(tokenise(matrix, rows, keys, encoder.ids, max_length, given))


def token_budget(encoder: Encoder) -> int:
    """Tokens a batch: fixed on a CPU, on a GPU what half of the free memory can hold."""
    if encoder.device.type == "cpu":
        return CPU_TOKENS
    free, _ = torch.cuda.mem_get_info(encoder.device)
    each = 16 * encoder.dim * encoder.gene_table.element_size()
    return max(1, min(GPU_TOKENS, free // 2 // each))


def _linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)


def _encode_values(w: dict[str, Tensor], values: Tensor) -> Tensor:
    """LN(W2 relu(W1 v + b1) + b2) of each value (V × D); scgpt's limit of 512 is out of reach."""
    hidden = _linear(w, "value_encoder.linear1", values[:, None]).relu()
    return _norm(w, "value_encoder.norm", _linear(w, "value_encoder.linear2", hidden))
