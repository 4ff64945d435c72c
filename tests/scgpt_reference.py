"""The original package scgpt 0.2.4, unmodified, run for comparison.

Three packages that it imports and does not need here are stood in for: torchtext (dead, bound to an
old PyTorch) by a dictionary, IPython and datasets by nothing.
"""

import contextlib
import importlib.util
import io
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from unittest import mock

import anndata as ad
import numpy as np
import torch

FOLDER = Path(sys.prefix) / "share" / "scgpt"


class Vocab:
    """What scgpt uses of torchtext's Vocab: tokens in the order of their ids, a default id."""

    def __init__(self, vocab):
        self.vocab = self
        self.tokens = list(getattr(vocab, "tokens", vocab))
        self.ids = {token: i for i, token in enumerate(self.tokens)}

    def insert_token(self, token, index):
        assert index == len(self.tokens)
        self.append_token(token)

    def append_token(self, token):
        self.ids[token] = len(self.tokens)
        self.tokens.append(token)

    def set_default_index(self, index):
        self.default = index

    def __getitem__(self, token):
        return self.ids.get(token, self.default) if hasattr(self, "default") else self.ids[token]

    def __call__(self, tokens):
        return [self[token] for token in tokens]

    def __contains__(self, token):
        return token in self.ids

    def __len__(self):
        return len(self.tokens)


def _module(name: str, **content: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    return module


def load():
    """The package, or None where tests/install_scgpt.sh has not been run."""
    if "scgpt" in sys.modules:
        return sys.modules["scgpt"]
    if not (FOLDER / "scgpt").is_dir():
        return None
    vocab = _module(
        "torchtext.vocab", Vocab=Vocab, vocab=lambda ordered, min_freq: Vocab(list(ordered))
    )
    stand_ins = {"torchtext": _module("torchtext", vocab=vocab), "torchtext.vocab": vocab}
    if importlib.util.find_spec("IPython") is None:
        stand_ins["IPython"] = _module("IPython", get_ipython=lambda: None)
    if importlib.util.find_spec("datasets") is None:
        stand_ins["datasets"] = _module("datasets", Dataset=object, load_dataset=None)
    sys.modules.update(stand_ins)
    sys.path.insert(0, str(FOLDER))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import scgpt.tasks
    finally:
        sys.path.remove(str(FOLDER))
        for name in stand_ins:
            del sys.modules[name]
    return scgpt


def embed(
    data: ad.AnnData,
    folder: Path,
    *,
    batch_size: int = 64,
    max_length: int = 1200,
    uniform: list[np.ndarray] | None = None,
    orders: list[np.ndarray] | None = None,
) -> np.ndarray:
    """`embed_data` on the CPU, in this process (its workers would each draw other numbers).

    `uniform` (an array a cell) are the numbers that it draws for bins, `orders` (one for each cell
    above max_length) the permutations of which it keeps the first genes.
    """
    scgpt = load()
    data = ad.AnnData(data.X.toarray(), obs=data.obs.copy(), var=data.var.copy())
    with contextlib.ExitStack() as stack:
        if uniform is not None:
            drawn = iter(uniform)
            stack.enter_context(mock.patch.object(np.random, "rand", lambda n: next(drawn)))
        if orders is not None:
            permuted = iter(orders)
            permute = lambda n, device: torch.from_numpy(next(permuted))  # noqa: E731
            stack.enter_context(mock.patch.object(torch, "randperm", permute))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        # No usable core: no workers
        stack.enter_context(mock.patch.object(os, "sched_getaffinity", lambda pid: (), create=True))
        warnings.simplefilter("ignore")
        result = scgpt.tasks.embed_data(
            data, folder, gene_col="index", batch_size=batch_size, max_length=max_length,
            device="cpu", use_fast_transformer=False,
        )  # fmt: skip
    return np.asarray(result.obsm["X_scGPT"])
