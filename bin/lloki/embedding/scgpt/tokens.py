"""Cells to tokens: the expressed genes of each cell, their values in 50 bins, <cls> in front."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

EDGES = 50
"""Bin edges a cell: quantiles of its own values, ends included (scgpt's n_bins=51)."""
PAD, CLS = 0, 1
"""Rows of the table of genes that hold <pad> and <cls>; the panel's genes follow."""
FIRST_GENE = 2

TIES, SAMPLE = 0x5851F42D4C957F2D, 0x14057B7EF767814F
"""Streams of draws: bins of tied values, genes kept of a long cell."""


@dataclass(frozen=True)
class Tokens:
    """A batch of cells: rows of the gene table and bins (both B × L int64), token counts (B)."""

    genes: Tensor
    bins: Tensor
    counts: np.ndarray


def cell_keys(names: object, seed: int) -> np.ndarray:
    """A 64-bit number (int64) for each cell from the seed and the cell's name alone."""
    digests = (hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), dtype="<i8")


@dataclass(frozen=True)
class Stream:
    """Draws for all values of a matrix, one cell after the other, as scgpt makes them.

    uniform: numbers in [0, 1) for tied values; kept: whether a value is kept where its cell is too
    long (both as long as the matrix's data). None: drawn by seed and cell instead.
    """

    uniform: np.ndarray | None = None
    kept: np.ndarray | None = None


def stream(indptr: np.ndarray, max_length: int, seed: int, ties: bool, sampling: bool) -> Stream:
    """Draws from two generators that are seeded once, for the cells of a CSR matrix in order.

    A draw then depends on all cells before: other cells in the file, other embeddings.
    """
    uniform = np.random.RandomState(seed).rand(indptr[-1]) if ties else None
    if not sampling:
        return Stream(uniform)
    kept, generator = np.ones(indptr[-1], dtype=bool), torch.Generator().manual_seed(seed)
    for row in np.flatnonzero(np.diff(indptr) >= max_length):
        order = torch.randperm(indptr[row + 1] - indptr[row], generator=generator)
        kept[indptr[row] + order[max_length - 1 :].numpy()] = False
    return Stream(uniform, kept)


def batches(counts: np.ndarray, budget: int, most: int) -> list[np.ndarray]:
    """Rows in batches of similar length, longest first (rows of equal length in their order).

    `counts` are tokens a cell, <cls> included. A batch padded to its longest cell holds at most
    `budget` tokens (one cell may exceed it) and `most` cells; past an eighth of the budget it takes
    no cell that would be padded by more than a tenth.
    """
    order = np.argsort(-counts, kind="stable")
    falling = -counts[order]
    start, found = 0, []
    while start < len(order):
        longest = -falling[start]
        similar = np.searchsorted(falling, -0.9 * longest, side="right")
        stop = max(similar, start + budget // 8 // longest)
        stop = max(min(stop, start + budget // longest, start + most), start + 1)
        found.append(order[start:stop])
        start = stop
    return found


def tokenise(
    matrix: sp.csr_matrix,
    rows: np.ndarray,
    keys: np.ndarray,
    ids: Tensor,
    max_length: int,
    given: Stream = Stream(),
) -> Tokens:
    """Tokens of the cells `rows`, on the device of `ids`.

    `matrix` is cells × genes, CSR float32 with positive stored values; `keys` (cells) come from
    `cell_keys`; `ids` (genes, int64) are the genes' ids in the vocabulary. A cell with more than
    `max_length` tokens is binned with all its genes, then a random choice of them is kept, as in
    training. `given` holds draws that are made already.
    """
    lengths = np.diff(matrix.indptr)[rows]
    place = np.arange(lengths.max())
    there = place < lengths[:, None]
    at = np.where(there, matrix.indptr[rows][:, None] + place, 0)
    device = ids.device
    values = torch.from_numpy(np.where(there, matrix.data[at], np.inf)).to(device)
    columns = torch.from_numpy(matrix.indices[at].astype(np.int64)).to(device)
    real = torch.from_numpy(there).to(device)
    key = torch.from_numpy(keys[rows]).to(device)[:, None]
    if given.uniform is None:
        chance = draws(key, ids[columns], TIES)
    else:
        chance = torch.from_numpy(given.uniform[at]).to(device)
    bins = bin_values(values, torch.from_numpy(lengths).to(device), chance)
    genes = torch.where(real, columns + FIRST_GENE, PAD)
    bins = torch.where(real, bins, 0)
    if len(place) >= max_length:  # with <cls> one too many
        if given.kept is None:
            chance = draws(key, ids[columns], SAMPLE)
        else:
            chance = torch.from_numpy(np.where(given.kept[at], 0.0, 1.0)).to(device)
        chance = chance.masked_fill_(~real, 2.0)
        keep = chance.topk(max_length - 1, largest=False).indices.sort().values
        genes, bins = genes.gather(1, keep), bins.gather(1, keep)
    genes = torch.nn.functional.pad(genes, (1, 0), value=CLS)
    bins = torch.nn.functional.pad(bins, (1, 0), value=0)
    return Tokens(genes, bins, np.minimum(lengths + 1, max_length))


def bin_values(values: Tensor, lengths: Tensor, uniform: Tensor) -> Tensor:
    """Bin 1 to 50 of each value (B × L float32, padded with inf) among the values of its cell.

    The edges are NumPy's linear quantiles, in NumPy's own arithmetic (differences in float32, the
    rest in float64), so that a value on an edge falls as it does in scgpt. A value that several
    edges share goes to one of their bins by its number in `uniform` (B × L float64, [0, 1)).
    """
    ordered = values.sort(dim=1).values
    last = (lengths - 1)[:, None]
    share = torch.from_numpy(np.linspace(0, 1, EDGES)).to(values.device)
    position = last * share
    # As in NumPy, a position at or past the end is the last value itself.
    below = torch.minimum(position.floor(), last.double()).long()
    above = torch.minimum(below + 1, last)
    weight = position - below
    low, high = ordered.gather(1, below), ordered.gather(1, above)
    step = (high - low).double()
    edges = torch.where(
        weight >= 0.5, high.double() - step * (1 - weight), low.double() + step * weight
    )
    exact = values.double()
    upper = torch.searchsorted(edges, exact, right=True)
    lower = torch.searchsorted(edges, exact)
    return torch.ceil(uniform * (lower - upper) + upper).long()


def draws(key: Tensor, ids: Tensor, stream: int) -> Tensor:
    """Numbers in [0, 1), float64, that depend on cell, gene and stream alone (splitmix64).

    `key` (from `cell_keys`) and `ids` (in the vocabulary) are int64 and broadcast together.
    """
    x = key ^ (ids * _signed(0x9E3779B97F4A7C15) + stream)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ _shift(x, shift)) * _signed(factor)
    return _shift(x ^ _shift(x, 31), 11).double() * 2.0**-53


def _shift(x: Tensor, bits: int) -> Tensor:
    """Right shift of int64 as if unsigned."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned number."""
    return value - (1 << 64) if value >= 1 << 63 else value
