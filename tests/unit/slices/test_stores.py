"""Zarr stores whose arrays claim more than they hold; sound ones are tested on the command."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki.slices import stores
from lloki.support.errors import InputError


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("gathered", [True, False])
def test_an_array_of_more_pieces_than_its_store_has_bytes_is_refused(tmp_path, version, gathered):
    store = tmp_path / "a.zarr"
    with ad.settings.override(zarr_write_format=version):
        data = ad.AnnData(np.ones((9, 4), np.float32), var=pd.DataFrame(index=list("ABCD")))
        data.write_zarr(store)
    assert stores.read(store).data.shape == (9, 4)
    if gathered:  # the metadata of all arrays, at the root
        path = store / (".zmetadata" if version == 2 else "zarr.json")
    else:
        path = store / "X" / (".zarray" if version == 2 else "zarr.json")
    whole = told = json.loads(path.read_text())
    if gathered and version == 2:
        told = told["metadata"]["X/.zarray"]
    elif gathered:
        told = told["consolidated_metadata"]["metadata"]["X"]
    told["shape"] = [10**9, 4]
    if version == 2:
        told["chunks"] = [1, 4]
    else:
        told["chunk_grid"]["configuration"]["chunk_shape"] = [1, 4]
    path.write_text(json.dumps(whole))
    with pytest.raises(InputError, match=f"{path.name} is damaged"):
        stores.read(store)
