"""The devices on which a test runs: the CPU, and a GPU where there is one."""

import pytest
import torch

on_a_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=on_a_gpu)]
