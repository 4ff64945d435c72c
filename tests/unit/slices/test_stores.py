"""Zarr stores whose arrays claim more than they hold; sound ones are tested on the command."""

import json

import anndata as ad
import numpy as np
import pytest

from lloki.slices import stores
from lloki.support.errors import InputError


@pytest.mark.parametrize("version", [2, 3])
def test_an_array_of_more_pieces_than_its_store_has_bytes_is_refused(tmp_path, version):
    with ad.settings.override(zarr_write_format=version):
        ad.AnnData(np.ones((9, 4), np.float32)).write_zarr(tmp_path / "a.zarr")
    path = tmp_path / "a.zarr/X" / (".zarray" if version == 2 else "zarr.json")
    told = json.loads(path.read_text())
    told["shape"] = [10**9, 4]
    if version == 2:
        told["chunks"] = [1, 4]
    else:
        told["chunk_grid"]["configuration"]["chunk_shape"] = [1, 4]
    path.write_text(json.dumps(told))
    with pytest.raises(InputError, match=f"X/{path.name} is damaged"):
        stores.read(tmp_path / "a.zarr")
