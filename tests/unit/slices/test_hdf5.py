import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from lloki.slices import files, hdf5, parts
from lloki.support.errors import InputError


@pytest.fixture
def path(tmp_path):
    names = pd.DataFrame(index=[f"cell {k}" for k in range(300)])
    path = tmp_path / "a.h5ad"
    ad.AnnData(np.ones((300, 2), np.float32), names).write_h5ad(path)
    return path


def test_a_whole_file_passes(path):
    hdf5.check(path)
    assert files.read_h5ad(path).n_obs == 300


def test_text_that_would_be_read_for_ever_is_refused(path):
    """A block of zeros in each heap in turn, as a lost block of a disk leaves it."""
    whole = path.read_bytes()
    starts = list(hdf5._heaps(path))
    assert len(starts) > 2
    for start in starts:
        path.write_bytes(whole[: start + 16] + bytes(64) + whole[start + 80 :])
        with pytest.raises(InputError, match=r"a\.h5ad: it is damaged at byte \d+; copy"):
            files.read_h5ad(path)


def test_heaps_are_found_across_blocks(path, monkeypatch):
    whole = list(hdf5._heaps(path))
    for size in (9, 100, 4096):
        monkeypatch.setattr(hdf5, "BLOCK", size)
        assert list(hdf5._heaps(path)) == whole


def test_more_pieces_than_bytes_are_refused(path):
    with h5py.File(path, "r+") as file:
        file.create_dataset("uns/many", (1 << 40,), "i1", chunks=(16,))
    with pytest.raises(InputError, match="/uns/many is damaged"):
        files.read_h5ad(path)


def test_text_whose_type_is_damaged_is_refused(path):
    """It would be read as lists, and end the program."""
    with h5py.File(path, "r+") as file:
        lists = np.empty(1, object)
        lists[0] = np.ones(2)
        file["obs"].attrs.create("encoding-type", lists, dtype=h5py.vlen_dtype("f8"))
    with pytest.raises(InputError, match="/obs is damaged"):
        files.read_h5ad(path)


def test_values_in_another_file_are_never_read(path, tmp_path):
    elsewhere = tmp_path / "secret.h5"
    with h5py.File(elsewhere, "w") as file:
        file["value"] = np.ones(3)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(elsewhere), "value", (3,))
    ways = {
        "link": lambda uns: uns.__setitem__("x", h5py.ExternalLink(str(elsewhere), "value")),
        "storage": lambda uns: uns.create_dataset(
            "x", (3,), "f8", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
        ),
        "virtual": lambda uns: uns.create_virtual_dataset("x", layout),
    }
    whole = path.read_bytes()
    for way in ways.values():
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            way(file["uns"])
        for read in (files.read_h5ad, lambda path: parts.read_cells(path, "X_pca")):
            with pytest.raises(InputError, match="/uns/x lies in another file; write it"):
                read(path)
