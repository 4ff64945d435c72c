"""The embedding by the package scgpt itself, where it is installed: to compare with."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import scipy.sparse as sp
import torch

from lloki.support.errors import InputError


def embed_by_package(
    matrix: sp.csr_matrix,
    symbols: list[str],
    folder: str | Path,
    device: torch.device,
    *,
    max_length: int = 1200,
    batch_size: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """What scgpt.tasks.embed_data gives for cells (CSR, cells × symbols): n × D float32.

    It draws bins of tied values and genes beyond max_length from global generators (seeded here)
    in its workers, one a core: there, other machines may draw other numbers. InputError where the
    package is not installed.
    """
    try:
        import scgpt.tasks
    except ImportError as error:
        raise InputError(
            "--backend reference", f"the package scgpt cannot be imported here ({error})",
            "run in the image nf-lloki-scgpt, or use --backend lloki",
        ) from None  # fmt: skip
    np.random.seed(seed)  # noqa: NPY002  (the package draws from there)
    torch.manual_seed(seed)
    data = ad.AnnData(matrix.toarray())
    data.var_names = symbols
    result = scgpt.tasks.embed_data(
        data, Path(folder), gene_col="index", max_length=max_length, batch_size=batch_size or 64,
        device=str(device), use_fast_transformer=False,
    )  # fmt: skip
    return np.asarray(result.obsm["X_scGPT"], dtype=np.float32)
