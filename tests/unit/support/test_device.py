"""The choice of a device."""

import pytest
import torch

from lloki.support import device
from lloki.support.device import choose_device, choose_gpu, device_name
from lloki.support.errors import InputError


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


def test_stages_without_networks_leave_pytorch_alone_where_no_driver_is(monkeypatch):
    monkeypatch.setattr(device, "DRIVERS", ("/nowhere",))
    monkeypatch.setattr(device, "choose_device", lambda name: pytest.fail("asked PyTorch"))
    assert choose_gpu("auto") is None and choose_gpu("cpu") is None
    assert device_name(None) == "cpu"


def test_a_gpu_is_taken_by_stages_without_networks_too(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "DRIVERS", (str(tmp_path),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_gpu("auto").type == choose_gpu("cuda").type == "cuda"
    assert choose_gpu("cpu") is None and choose_gpu("auto", worth=False) is None
    assert choose_gpu("cuda", worth=False).type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_gpu("auto") is None
    with pytest.raises(InputError, match="no GPU"):
        choose_gpu("cuda")
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: None)
    assert choose_gpu("auto") is None
    with pytest.raises(InputError, match="not installed"):
        choose_gpu("cuda")
