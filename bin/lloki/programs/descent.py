"""Values of cells by coordinate descent over metagenes: all cells at once, on the CPU or a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

LEAST = 1e-10  # of a value
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
    x, result, left = x.copy(), np.empty_like(x), np.arange(x.shape[1])
    rests = np.zeros(x.shape[1], dtype=bool)
    others, scale = precision.copy(), 1 / (precision.diagonal()[:, None] + hold)
    np.fill_diagonal(others, 0)
    for _ in range(sweeps):
        before = x.copy()
        for i, row in enumerate(others):
            new = target[i] - row @ x
            new *= scale[i]
            np.maximum(new, LEAST, out=x[i])
        before -= x
        np.abs(before, out=before)
        just = before.sum(axis=0) < len(x) * TOLERANCE
        just &= ~rests
        result[:, left[just]] = x[:, just]
        rests |= just
        if rests.all():
            return result
        if rests.mean() > 0.3:
            go = ~rests
            x, target, scale, left, rests = (
                x[:, go],
                target[:, go],
                scale[:, go],
                left[go],
                rests[go],
            )
    result[:, left[~rests]] = x[:, ~rests]
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
