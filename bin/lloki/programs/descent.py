"""Values of cells by coordinate descent over metagenes: all cells at once, on the CPU or a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import torch

LEAST = 1e-10  # of a value
TILE = 64  # cells that go through the descent together
TOLERANCE = 1e-4  # mean change of a cell's values at which its descent ends


def descend(
    x: np.ndarray,
    target: np.ndarray,
    precision: np.ndarray,
    hold: np.ndarray,
    sweeps: int,
    gpu: torch.device | None = None,
) -> np.ndarray:
    """The least of 1/2 x'(Q + hold)x - target'x over x ≥ LEAST, each cell until it rests.

    x, target: K × n; precision Q: K × K; hold: n, all float32. What a cell gets depends on no
    other; on a `gpu` rounding differs.
    """
    if gpu is not None:
        return _descend_gpu(x, target, precision, hold, sweeps, gpu)
    others, scale = precision.copy(), 1 / (precision.diagonal()[:, None] + hold)
    np.fill_diagonal(others, 0)
    return _descend_tiles(x, target, others, scale, sweeps, np.float32(len(x) * TOLERANCE))


@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _descend_tiles(
    x: np.ndarray, target: np.ndarray, others: np.ndarray, scale: np.ndarray, sweeps: int,
    rest: float,
) -> np.ndarray:  # fmt: skip
    """The descent of TILE cells at a time, side by side in the processor's cache.

    others: Q without its diagonal; scale: 1 / diagonal, K × n; rest: the change of a cell in a
    sweep at which it stays as it is.
    """
    k, n = x.shape
    least = np.float32(LEAST)
    result, value = np.empty_like(x), np.empty((k, TILE), np.float32)
    wanted, share = np.empty_like(value), np.empty_like(value)
    new, moved, moves = np.empty_like(value[0]), np.empty_like(value[0]), np.empty_like(value[0])
    for first in range(0, n, TILE):
        for i in range(k):
            for cell in range(TILE):
                at = min(first + cell, n - 1)  # the last cell fills its tile
                value[i, cell] = x[i, at]
                wanted[i, cell] = target[i, at]
                share[i, cell] = scale[i, at]
        moves[:] = 1
        for _ in range(sweeps):
            moved[:] = 0
            for i in range(k):
                for cell in range(TILE):
                    new[cell] = wanted[i, cell]
                for j in range(k):
                    for cell in range(TILE):
                        new[cell] -= others[i, j] * value[j, cell]
                for cell in range(TILE):
                    change = max(new[cell] * share[i, cell], least) - value[i, cell]
                    change *= moves[cell]
                    moved[cell] += abs(change)
                    value[i, cell] += change
            left = 0
            for cell in range(TILE):
                if moved[cell] < rest:
                    moves[cell] = 0
                left += moves[cell] > 0
            if left == 0:
                break
        for i in range(k):
            for cell in range(min(TILE, n - first)):
                result[i, first + cell] = value[i, cell]
    return result


def _descend_gpu(
    x: np.ndarray, target: np.ndarray, precision: np.ndarray, hold: np.ndarray, sweeps: int,
    gpu: torch.device,
) -> np.ndarray:  # fmt: skip
    """As `descend`; cells that rest are kept as they are instead of being taken out."""
    import torch

    x, target, hold, others = (torch.tensor(a, device=gpu) for a in (x, target, hold, precision))
    scale = 1 / (others.diagonal()[:, None] + hold)
    others.fill_diagonal_(0)
    rests = torch.zeros(x.shape[1], dtype=torch.bool, device=gpu)
    for _ in range(sweeps):
        before = x.clone()
        for i, row in enumerate(others):
            new = ((target[i] - row @ x) * scale[i]).clamp_min_(LEAST)
            x[i] = torch.where(rests, x[i], new)
        rests |= (before - x).abs_().sum(dim=0) < len(x) * TOLERANCE
        if rests.all():
            break
    return x.cpu().numpy()
