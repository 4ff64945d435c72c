"""The choice of a device."""

import pytest
import torch

from lloki.cli import InputError
from lloki.device import choose_device, device_name


@pytest.mark.parametrize(("there", "expected"), [(False, "cpu"), (True, "cuda")])
def test_auto_takes_a_gpu_if_there_is_one(monkeypatch, there, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device("auto").type == expected
    assert choose_device("cpu").type == "cpu"


def test_cuda_without_a_gpu_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU"):
        choose_device("cuda")
    assert device_name(torch.device("cpu")) == "cpu"
