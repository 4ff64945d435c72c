"""Training by several processes: torchrun starts them, each takes its share of every step."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Processes:
    """This process among all of them: its number and how many there are."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Processes:
        """Join the processes that torchrun started; alone where it did not."""
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls()
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @staticmethod
    def device(device: torch.device) -> torch.device:
        """The GPU of this process where there are several on this machine."""
        if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
            return device
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        return device

    def share(self, n: int) -> slice:
        """The part of n things that is this process's."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def add(self, tensors: list[torch.Tensor]) -> None:
        """Replace tensors of one kind by their sums over all processes."""
        if self.size > 1:
            flat = torch.cat([t.reshape(-1) for t in tensors])
            distributed.all_reduce(flat)
            for tensor, total in zip(
                tensors, flat.split([t.numel() for t in tensors]), strict=True
            ):
                tensor.copy_(total.view_as(tensor))

    def leave(self) -> None:
        """Wait for all, and take leave."""
        if self.size > 1:
            distributed.barrier()
            distributed.destroy_process_group()
