"""Which device the tensors live on, chosen in one place for every stage that can use a GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from lloki.support.errors import InputError

if TYPE_CHECKING:
    import torch

DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, Windows' Linux, AMD


def choose_device(name: str) -> torch.device:
    """The device for 'auto' (a GPU if there is one), 'cpu' or 'cuda'.

    InputError if 'cuda' is asked for and PyTorch sees no GPU.
    """
    import torch

    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise _no_gpu("PyTorch sees no GPU here")
    return torch.device("cuda")


def choose_gpu(name: str, worth: bool = True) -> torch.device | None:
    """The GPU for 'auto' or 'cuda', None for the CPU: for stages that do without PyTorch there.

    worth: whether 'auto' may take one: to start PyTorch and a GPU takes seconds, too.
    InputError if 'cuda' is asked for and PyTorch is missing or sees no GPU.
    """
    there = worth and any(Path(d).exists() for d in DRIVERS)
    if name == "cpu" or (name == "auto" and not there):
        return None
    if importlib.util.find_spec("torch") is None:
        if name == "cuda":
            raise _no_gpu("PyTorch is not installed here")
        return None
    device = choose_device(name)
    return device if device.type == "cuda" else None


def device_name(device: torch.device | None) -> str:
    """The device in words for people and reports, such as 'cuda (NVIDIA A100)'."""
    if device is None or device.type == "cpu":
        return "cpu"
    import torch

    return f"cuda ({torch.cuda.get_device_name(device)})"


def _no_gpu(fact: str) -> InputError:
    remedy = "use --device auto or cpu, or run where the driver and the GPU are visible"
    return InputError("--device cuda", fact, remedy)
