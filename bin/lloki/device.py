"""Which device the tensors live on, chosen in one place for every stage that uses PyTorch."""

from __future__ import annotations

import torch

from lloki.cli import InputError


def choose_device(name: str) -> torch.device:
    """The device for 'auto' (a GPU if there is one), 'cpu' or 'cuda'.

    InputError if 'cuda' is asked for and PyTorch sees no GPU.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(
            "--device cuda",
            "PyTorch sees no GPU here",
            "use --device auto or cpu, or run where the driver and the GPU are visible",
        )
    return torch.device("cuda")


def device_name(device: torch.device) -> str:
    """The device in words for people and reports, such as 'cuda (NVIDIA A100)'."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else "cpu"
