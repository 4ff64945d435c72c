"""Joining slices: tables, coordinates, shared genes, neighbours, UMAP."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

from lloki.integration import joined


def tables():
    first = pd.DataFrame(
        {
            "sample": pd.Categorical(["a", "a"]),
            "type": pd.Categorical(["T", "B"], categories=["T", "B", "unused"]),
            "area": [1.5, 2.5],
            "hit": [True, False],
            "mixed": [1, 2],
        },
        index=["a:1", "a:2"],
    )
    second = pd.DataFrame(
        {"sample": pd.Categorical(["b"]), "type": ["NK"], "mixed": ["x"], "n": [3]}, index=["b:1"]
    )
    return first, second


def test_obs_of_all_slices_keep_every_column_and_their_kinds(tmp_path):
    whole = joined.join_obs(tables())
    assert whole.index.tolist() == ["a:1", "a:2", "b:1"]
    assert list(whole) == ["sample", "type", "area", "hit", "mixed", "n"]
    assert whole["type"].tolist() == ["T", "B", "NK"]
    assert whole["type"].cat.categories.tolist() == ["T", "B", "NK"]
    assert whole["area"].tolist()[:2] == [1.5, 2.5]
    assert np.isnan(whole["area"].iloc[2])
    assert whole["hit"].tolist()[:2] == ["True", "False"]
    assert whole["hit"].isna().tolist() == [False, False, True]
    assert whole["mixed"].tolist() == ["1", "2", "x"]
    assert whole["n"].isna().tolist() == [True, True, False]
    ad.AnnData(obs=whole).write_h5ad(tmp_path / "joined.h5ad")
    again = ad.read_h5ad(tmp_path / "joined.h5ad").obs
    pd.testing.assert_frame_equal(again, whole, check_names=False)


def test_ids_of_many_cells_beside_a_slice_without_any():
    """What grows with the square of the cells would not end here."""
    ids = [str(2**62 + i) for i in range(30_000)]
    tables = [pd.DataFrame({"cell_id": ids}, [f"a:{i}" for i in ids]), pd.DataFrame(index=["b:0"])]
    found = joined.join_obs(tables)["cell_id"]
    assert found.tolist()[:-1] == ids and pd.isna(found.iloc[-1])


def test_flat_slices_beside_deep_ones_lie_at_zero():
    flat, deep = np.ones((2, 2)), np.full((1, 3), 5.0)
    whole = joined.join_coordinates([flat, deep])
    np.testing.assert_array_equal(whole, [[1, 1, 0], [1, 1, 0], [5, 5, 5]])
    assert joined.join_coordinates([flat, flat]).shape == (4, 2)


def test_shared_genes_meet_under_any_spelling_and_in_one_order():
    panels = (
        ["Gad1", "Tmem2", "Sst", "Pvalb"],
        ["PVALB", "CEMIP2", "gad1"],
        ["GAD1", "Tmem2", "X"],
    )
    assert joined.shared_genes(panels).tolist() == ["Gad1", "Tmem2"]
    assert joined.shared_genes([["A"], ["B"]]).tolist() == []
    values = [np.arange(1, 9).reshape(2, 4), np.array([[3, 2, 1]]), np.array([[7, 8, 9]])]
    slices = [
        ad.AnnData(sp.csr_matrix(v, dtype=np.float32), var=pd.DataFrame(index=panel))
        for v, panel in zip(values, panels, strict=True)
    ]
    found = joined.shared_expression(slices, joined.shared_genes(panels))
    np.testing.assert_array_equal(found.toarray(), [[1, 2], [5, 6], [1, 2], [7, 8]])


PANELS = (["Gad1", "Tmem2", "Sst", "SST"], ["PVALB", "CEMIP2", "gad1"], ["PVALB", "CEMIP2"])


@pytest.mark.parametrize(
    ("which", "names"),
    [("union", ["Gad1", "Tmem2", "Sst", "PVALB"]), ("shared", ["Tmem2"])],
)
def test_values_of_panels_are_spread_over_all_genes_or_the_shared_ones(which, names):
    found, places = joined.genes_of(PANELS, which)
    assert found.tolist() == names
    rng = np.random.default_rng(0)
    keys = [{"CEMIP2": "TMEM2"}.get(n.upper(), n.upper()) for n in names]
    for panel, place in zip(PANELS, places, strict=True):
        dense = rng.poisson(1, (5, len(panel))).astype(np.float32)
        wide = joined.spread(sp.csr_matrix(dense), place, len(names))
        wanted = np.zeros((5, len(names)))
        for i, gene in reversed(list(enumerate(panel))):
            key = {"CEMIP2": "TMEM2"}.get(gene.upper(), gene.upper())
            if key in keys:
                wanted[:, keys.index(key)] = dense[:, i]
        np.testing.assert_array_equal(wide.toarray(), wanted)
        assert wide.has_sorted_indices and wide.dtype == np.float32


def test_what_a_panel_measures_is_told_and_slices_that_differ():
    genes, places = joined.genes_of(PANELS)
    table, differ = joined.measured(genes, places, ["P", "Q", "Q"])
    assert table["P"].tolist() == [True, True, True, False]
    assert table["Q"].tolist() == [False, True, False, True] and differ == ["Q"]
    assert joined.measured(genes, places, ["P", "Q", "R"])[1] == []


def test_neighbours_are_the_nearest_with_the_cell_itself_first():
    space = np.random.default_rng(0).normal(size=(200, 7)).astype(np.float32)
    indices, distances = joined.neighbour_table(space, 10)
    expected = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(space).kneighbors(space)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_allclose(distances, expected[0], atol=1e-3)
    assert joined.neighbour_table(space[:4], 10)[0].shape == (4, 4)


@pytest.mark.slow
def test_umap_keeps_groups_apart_and_is_the_same_again():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 60)
    space = rng.normal(size=(180, 8)) + 12 * np.eye(8)[groups]
    found = joined.umap(space, seed=4)
    assert found.shape == (180, 2)
    assert found.dtype == np.float32
    near = NearestNeighbors(n_neighbors=11).fit(found).kneighbors(return_distance=False)
    assert (groups[near] == groups[:, None]).mean() > 0.99
    np.testing.assert_array_equal(found, joined.umap(space, seed=4))
    assert np.isfinite(joined.umap(space[:40, :1], seed=4)).all()  # one shared gene


def test_names_of_umaps():
    assert joined.umap_key("X_lloki") == "X_umap"
    assert joined.umap_key("X_lloki_fp") == "X_umap_fp"
    assert joined.umap_key("X_pca_shared") == "X_umap_pca_shared"
