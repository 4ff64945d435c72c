"""Zarr stores: a SpatialData store as it is written, and arrays that claim more than they hold."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

from lloki.slices import stores
from lloki.support.errors import InputError

RNG = np.random.default_rng(0)
TURN = np.array([[0.8, -0.6], [0.6, 0.8]])


@pytest.fixture
def data():
    """Two samples of 30 cells, the second turned and moved; names that SpatialData refuses."""
    n = 60
    obs = pd.DataFrame({"sample": pd.Categorical(["one"] * 30 + ["the other"] * 30),
                        "cell type": pd.Categorical(np.resize(["a, b", None], n)),
                        "Cell_Type": 1.0}, index=[f"s:{i}" for i in range(n)])  # fmt: skip
    counts = sp.csr_matrix(RNG.poisson(1, (n, 4)).astype(np.float32))
    whole = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=list("ABCD")))
    whole.obsm["spatial"] = RNG.uniform(0, 1000, (n, 3))
    whole.obsm["spatial_aligned"] = whole.obsm["spatial"].copy()
    whole.obsm["spatial_aligned"][30:, :2] = whole.obsm["spatial"][30:, :2] @ TURN.T + [5, 7]
    whole.obsm["X_lloki"] = RNG.normal(size=(n, 3)).astype(np.float32)
    whole.layers["counts"] = whole.X + whole.X
    whole.varm["measured"] = pd.DataFrame({"P": [True, True, False, True]}, index=list("ABCD"))
    whole.uns = {"lloki": {"embedder": "mosaic"}, "cell type_colors": ["#ffffff"]}
    return whole


def test_our_own_reader_reads_the_table_back(data, tmp_path):
    stores.write_spatialdata(data, tmp_path / "i.zarr")
    assert "spatialdata_element" not in data.obs and "cell type" in data.obs
    source = stores.read(tmp_path / "i.zarr")
    assert source.format == "spatialdata"
    found = source.data
    assert found.obs_names.tolist() == data.obs_names.tolist()
    np.testing.assert_array_equal(found.X.toarray(), data.X.toarray())
    assert (found.layers["counts"] != data.layers["counts"]).nnz == 0
    assert found.varm["measured"]["P"].tolist() == data.varm["measured"]["P"].tolist()
    for key, values in data.obsm.items():
        np.testing.assert_array_equal(found.obsm[key], values)
    columns = ["sample", "cell_type", "Cell_Type_", stores.ELEMENT, stores.INSTANCE]
    assert found.obs.columns.tolist() == columns
    assert found.uns["cell_type_colors"].tolist() == ["#ffffff"]
    assert found.obs["cell_type"].isna().sum() == 30


def test_cells_are_circles_in_their_own_frame_and_in_that_of_all(data, tmp_path):
    stores.write_spatialdata(data, tmp_path / "i.zarr")
    root = zarr.open_group(tmp_path / "i.zarr", mode="r")
    assert root.metadata.zarr_format == 2 and root.attrs["spatialdata_attrs"] == {"version": "0.1"}
    table = root["tables/cells"]
    keys = {"region": ["one", "the_other"], "region_key": stores.ELEMENT,
            "instance_key": stores.INSTANCE}  # fmt: skip
    assert {key: table.attrs[key] for key in keys} == keys and table.attrs["version"] == "0.1"
    obs = stores.read(tmp_path / "i.zarr").data.obs
    assert sorted(root["shapes"]) == ["one", "the_other"]
    for element, part in obs.groupby(stores.ELEMENT, observed=True):
        group = root[f"shapes/{element}"]
        assert group["Index"][:].tolist() == part[stores.INSTANCE].tolist()
        rows = part[stores.INSTANCE]
        own = data.obsm["spatial"][rows, :2]
        np.testing.assert_array_equal(group["coords"][:], own)
        assert (group["radius"][:] > 0).all()
        here, there = group.attrs["coordinateTransformations"]
        assert (here["type"], here["output"]["name"]) == ("identity", element)
        assert (there["type"], there["output"]["name"]) == ("affine", "aligned")
        motion = np.array(there["affine"])
        np.testing.assert_allclose(
            own @ motion[:, :2].T + motion[:, 2], data.obsm["spatial_aligned"][rows, :2]
        )


def test_slices_of_one_frame_share_a_system_and_a_slice_alone_has_its_own(data, tmp_path):
    def systems(frames):
        whole = ad.concat([data, data[:30]])
        whole.obs["sample"] = np.repeat(["a", "b", "c d", "e"], [30, 30, 15, 15])
        whole.obs["frame"] = np.repeat(frames, [30, 30, 15, 15])
        whole.obs_names_make_unique()
        stores.write_spatialdata(whole, tmp_path / "i.zarr")
        shapes = zarr.open_group(tmp_path / "i.zarr", mode="r")["shapes"]
        return {
            element: [one["output"]["name"] for one in
                      shapes[element].attrs["coordinateTransformations"]][1:]
            for element in sorted(shapes)
        }  # fmt: skip

    assert systems(["a", "a", "c d", "e"]) == {
        "a": ["aligned"], "b": ["aligned"], "c_d": [], "e": []
    }  # fmt: skip
    assert systems(["a", "a", "c d", "c d"]) == {
        "a": ["aligned_a"], "b": ["aligned_a"], "c_d": ["aligned_c_d"], "e": ["aligned_c_d"]
    }  # fmt: skip


def test_what_no_motion_leads_to_lies_in_its_own_frame_alone(data, tmp_path):
    data = data[[0, 1, *range(30, 60)]].copy()  # two cells do not fix a motion
    data.obsm["spatial_aligned"][-1] += 50  # and one cell goes its own way
    stores.write_spatialdata(data, tmp_path / "i.zarr")
    del data.obsm["spatial_aligned"]
    stores.write_spatialdata(data[[0, 2]], tmp_path / "few.zarr")
    for name in ("i", "few"):
        shapes = zarr.open_group(tmp_path / f"{name}.zarr", mode="r")["shapes"]
        for element in shapes:
            assert len(shapes[element].attrs["coordinateTransformations"]) == 1
            assert (shapes[element]["radius"][:] > 0).all()


def test_spatialdata_itself_reads_it(data, tmp_path):
    """Where it is installed: it wants another anndata than the pipeline's lock has."""
    spatialdata = pytest.importorskip("spatialdata")
    stores.write_spatialdata(data, tmp_path / "i.zarr")
    found = spatialdata.read_zarr(tmp_path / "i.zarr")
    assert set(found.coordinate_systems) == {"one", "the_other", "aligned"}
    assert set(found.shapes) == {"one", "the_other"}
    _, joined = spatialdata.join_spatialelement_table(
        sdata=found, spatial_element_names="the_other", table_name="cells", how="inner"
    )
    assert joined.n_obs == 30


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
