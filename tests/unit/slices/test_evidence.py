"""What a file holds is told by its values: the forms that people's files have, of the demo."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from demo_slices import demo_slice

from lloki.slices import evidence, files
from lloki.slices.source import Source
from lloki.support.errors import InputError

DEMO = Path(__file__).parents[3] / "assets/demo"


@pytest.fixture(scope="module", params=["osmfish", "starmap", "xenium"])
def slice_(request):
    data = demo_slice(request.param)
    data = data[np.asarray(data.X.sum(axis=1)).ravel() > 0].copy()
    data.X = sp.csr_matrix(data.X, dtype=np.float32)
    return data


def forms(counts):
    """A matrix of counts and what is usually made of it."""
    totals = np.asarray(counts.sum(axis=1)).ravel()
    linear = sp.csr_matrix(sp.diags_array(1e4 / totals) @ counts, dtype=np.float32)
    median = sp.csr_matrix(sp.diags_array(np.median(totals) / totals) @ counts, dtype=np.float32)
    dense = linear.log1p().toarray()
    scaled = (dense - dense.mean(axis=0)) / (dense.std(axis=0) + 1e-9)
    soup = counts.copy()
    soup.data = soup.data * np.random.default_rng(0).uniform(0.7, 1, soup.nnz).astype(np.float32)
    return {
        "counts": counts, "linear": linear, "logged": linear.log1p(),
        "logged median": median.log1p(), "fractional": soup,
        "scaled": sp.csr_matrix(scaled.astype(np.float32)),
    }  # fmt: skip


def test_every_form_is_told_by_its_values(slice_):
    for name, matrix in forms(slice_.X).items():
        found = evidence.of(sp.csr_matrix(matrix))
        assert found.kind == name.split()[0], (name, found)
    assert evidence.of(slice_.X).why == f"whole numbers up to {slice_.X.max():.0f}"
    assert "10,000" in evidence.of(forms(slice_.X)["linear"]).why


def test_counts_are_found_wherever_they_are(slice_):
    made = forms(slice_.X)
    logged = ad.AnnData(made["logged"], obs=slice_.obs, var=slice_.var)
    places = {"X": slice_.copy()}
    for layer in ("counts", "raw_counts"):
        places[f"layers['{layer}']"] = logged.copy()
        places[f"layers['{layer}']"].layers[layer] = slice_.X.copy()
    places["raw.X"] = logged[:, :10].copy()
    places["raw.X"].raw = slice_
    for place, data in places.items():
        matrix, var, found = evidence.find_counts(data, "a")
        assert found == place and list(var.index) == list(slice_.var_names)
        assert (matrix != slice_.X).nnz == 0
    # a layer that is called so and holds other values does not deceive
    turned = slice_.copy()
    turned.layers["counts"] = made["logged"]
    assert evidence.find_counts(turned, "a")[2] == "X"


def test_empty_places_and_layers_of_odd_names_do_not_deceive(slice_):
    empty = slice_.copy()
    empty.layers["counts"] = slice_.X * 0
    assert evidence.find_counts(empty, "a")[2] == "X"
    bare = ad.AnnData(obs=slice_.obs, var=slice_.var, layers={"counts": slice_.X})
    assert evidence.find_counts(bare, "a")[2] == "layers['counts']"
    odd = ad.AnnData(forms(slice_.X)["logged"], obs=slice_.obs, var=slice_.var)
    odd.layers["X"], odd.layers["raw"] = slice_.X * 2, slice_.X
    for name in ("X", "raw"):
        assert evidence.find_counts(odd, "a", name)[2] == f"layers[{name!r}]"
    assert evidence.find_normalised(odd, "a", None)[2] == "X"
    spliced = slice_.copy()
    spliced.layers["spliced"] = slice_.X * 3
    assert evidence.find_counts(spliced, "a")[2] == "X"


def refused(function, *arguments, **more):
    with pytest.raises(InputError) as error:
        function(*arguments, **more)
    return str(error.value)


def test_what_is_none_is_refused_with_the_evidence(slice_):
    made = forms(slice_.X)
    for name, words in (
        ("linear", ("never logged", "10,000", "give raw counts")),
        ("logged", ("log-normalised", "--normalized")), ("scaled", ("negative values",)),
        ("fractional", ("not whole counts", "--fractional-counts")),
    ):  # fmt: skip
        data = ad.AnnData(made[name], obs=slice_.obs, var=slice_.var)
        said = refused(evidence.find_counts, data, "a.h5ad")
        assert said.startswith("a.h5ad: no raw counts: X ") and all(w in said for w in words), said
    data = ad.AnnData(made["fractional"], obs=slice_.obs, var=slice_.var)
    assert evidence.find_counts(data, "a", fractional=True)[2] == "X"
    part = slice_.X.copy()
    some = np.random.default_rng(0).random(part.nnz) < 0.2
    part.data[some] *= 0.37  # as proseg: most counts stay whole
    data = ad.AnnData(part, obs=slice_.obs, var=slice_.var)
    assert "--fractional-counts" in refused(evidence.find_counts, data, "a")
    assert evidence.find_counts(data, "a", fractional=True)[2] == "X"
    assert "no layer 'mine'" in refused(evidence.find_counts, slice_, "a", "mine")
    assert "no raw" in refused(evidence.find_counts, slice_, "a", "raw")


@pytest.mark.parametrize("total", [1e4, 1e6])
def test_whole_numbers_that_were_normalised_are_no_counts(slice_, total):
    totals = np.asarray(slice_.X.sum(axis=1)).ravel()
    rounded = sp.csr_matrix(sp.diags_array(total / totals) @ slice_.X, dtype=np.float32).rint()
    found = evidence.of(rounded)
    assert found.kind == "linear" and "whole numbers" in found.why
    data = ad.AnnData(rounded, obs=slice_.obs, var=slice_.var)
    assert "never logged" in refused(evidence.find_counts, data, "a")
    assert "never logged" in refused(evidence.find_normalised, data, "a")
    assert "after log1p" in evidence.reference_values(data, "a")[2]


def test_counts_drawn_down_to_one_total_are_counts(slice_):
    rng = np.random.default_rng(0)
    dense = slice_.X.toarray().astype(int)
    least = int(np.quantile(dense.sum(axis=1), 0.2))
    drawn = [rng.multivariate_hypergeometric(cell, least) for cell in dense if cell.sum() >= least]
    assert evidence.of(sp.csr_matrix(np.array(drawn, dtype=np.float32))).kind == "counts"
    few = sp.csr_matrix(np.array([[50, 51], [51, 51]], dtype=np.float32))
    assert evidence.of(few).kind == "counts"


def test_what_is_said_names_the_place_that_was_taken(slice_):
    data = slice_.copy()
    data.layers["mine"] = forms(slice_.X)["logged"]
    said = evidence.sift(Source(data, "h5ad", []), "a", layer="mine", normalized=True).warnings
    assert "log-normalised values are taken from layers['mine']" in said
    assert not any(line.startswith("counts") for line in said)
    del data.obsm["spatial"]
    data.obs["x"], data.obs["y"] = np.nan, 1.0
    said = refused(evidence.sift, Source(data, "h5ad", []), "a")
    assert "obs x, y has NaN" in said and "obsm" not in said


def test_a_controls_name_may_come_twice_and_a_genes_may_not(slice_):
    more = sp.csr_matrix(np.ones((slice_.n_obs, 2), dtype=np.float32))
    data = ad.AnnData(
        sp.hstack([slice_.X, more], format="csr"), obs=slice_.obs,
        var=pd.DataFrame(index=[*slice_.var_names, "Blank-1", "Blank-1"]),
        obsm={"spatial": slice_.obsm["spatial"]},
    )  # fmt: skip
    found = evidence.sift(Source(data, "h5ad", []), "a")
    assert list(found.data.var_names) == list(slice_.var_names)
    assert found.controls["blank"]["features"] == 2
    kept = evidence.sift(Source(data, "h5ad", []), "a", keep_controls=True)
    assert (kept.data[:, "Blank-1"].X.toarray() == 2).all()
    data.var_names = [*slice_.var_names, "Blank-1", slice_.var_names[0]]
    assert "more than once" in refused(evidence.sift, Source(data, "h5ad", []), "a")


def test_genes_are_called_by_their_symbols_in_every_form(slice_):
    data = slice_[:, :3].copy()
    data.var_names = ["HLA.A", "GRCh38_CD3E", "ENSG00000141510.18"]
    for form in ("h5ad", "tables", "cosmx"):
        found = evidence.sift(Source(data.copy(), form, []), "a")
        assert list(found.data.var_names) == ["HLA-A", "CD3E", "TP53"]
        (said,) = [line for line in found.warnings if line.startswith("genes: ")]
        assert "HLA.A is HLA-A" in said


def test_normalised_has_to_be_what_it_says(slice_):
    made = forms(slice_.X)
    volumes = np.random.default_rng(0).uniform(0.01, 0.02, slice_.n_obs)
    made["by volume"] = sp.csr_matrix(sp.diags_array(1 / volumes) @ slice_.X, dtype=np.float32)
    made |= {f"to {n}": sp.csr_matrix(made["linear"] * (n / 1e4)) for n in (1, 20)}
    for name, words in (
        ("counts", "holds raw counts"), ("linear", "never logged"), ("to 1", "never logged"),
        ("to 20", "never logged"), ("by volume", "never logged"),
    ):  # fmt: skip
        data = ad.AnnData(made[name], obs=slice_.obs, var=slice_.var)
        assert words in refused(evidence.find_normalised, data, "a"), name
    data = ad.AnnData(made["logged"], obs=slice_.obs, var=slice_.var)
    assert evidence.find_normalised(data, "a")[2] == "X"


BLANKS = ["BLANK_0070", "Blank-12"]


def test_fields_of_view_on_one_another_and_pixels_are_warned_of(slice_):
    xy = np.random.default_rng(0).uniform(0, 500, (slice_.n_obs, 2))
    local = slice_.copy()
    local.obs["fov"], local.obsm["spatial"] = np.arange(slice_.n_obs) % 4, xy
    said = " ".join(evidence.sift(Source(local, "h5ad", []), "a").warnings)
    assert "fields of view lie on one another" in said
    local.obsm["global"] = xy + 600.0 * local.obs["fov"].to_numpy()[:, None]
    found = evidence.sift(Source(local, "h5ad", []), "a")
    np.testing.assert_array_equal(found.data.obsm["spatial"], local.obsm["global"])
    assert "on one another" not in " ".join(found.warnings)
    pixels = slice_.copy()
    del pixels.obsm["spatial"]
    pixels.obs["CenterX_global_px"], pixels.obs["CenterY_global_px"] = xy.T
    assert "spatial_unit_um" in " ".join(evidence.sift(Source(pixels, "h5ad", []), "a").warnings)


def test_a_slice_is_sifted_of_its_controls_and_both_are_told(slice_):
    names = BLANKS
    more = sp.csr_matrix(np.ones((slice_.n_obs, len(names)), dtype=np.float32))
    data = ad.AnnData(
        sp.hstack([slice_.X, more], format="csr"), obs=slice_.obs,
        var=pd.DataFrame(index=[*slice_.var_names, *names]),
        obsm={"spatial": slice_.obsm["spatial"]},
    )  # fmt: skip
    found = evidence.sift(Source(data, "h5ad", []), "a")
    assert list(found.data.var_names) == list(slice_.var_names)
    assert found.controls == {"blank": {"features": 2, "counts": 2.0 * slice_.n_obs}}
    assert (found.data.obs["control_counts"] == 2).all()
    assert "2 blank" in " ".join(found.warnings)
    kept = evidence.sift(Source(data, "h5ad", []), "a", keep_controls=True)
    assert kept.data.n_vars == data.n_vars and "stay" in " ".join(kept.warnings)
    only = refused(evidence.sift, Source(data[:, names].copy(), "h5ad", []), "a")
    assert "no gene, only controls" in only


def test_coordinates_are_found_by_name(slice_):
    xy = np.asarray(slice_.obsm["spatial"])[:, :2].astype(float)

    def sifted(**obsm):
        data = slice_.copy()
        del data.obsm["spatial"]
        data.obsm.update(obsm)
        return evidence.sift(Source(data, "h5ad", []), "a")

    names = slice_.obs_names
    turned = pd.DataFrame(xy[:, ::-1], index=names, columns=["y", "x"])
    numbered = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "fov": 1}, index=names)
    for given in (
        {"spatial": xy}, {"X_spatial": xy}, {"spatial": turned}, {"spatial": numbered},
        {"spatial3d": np.column_stack([xy, np.full(len(xy), 7.0)])},
    ):  # fmt: skip
        np.testing.assert_array_equal(sifted(**given).data.obsm["spatial"], xy)
    bare = slice_.copy()
    del bare.obsm["spatial"]
    assert "obsm['spatial'] is missing" in refused(evidence.sift, Source(bare, "h5ad", []), "a")
    bare.obs["x_centroid"], bare.obs["y_centroid"] = xy.T
    found = evidence.sift(Source(bare, "h5ad", []), "a")
    np.testing.assert_array_equal(found.data.obsm["spatial"], xy)
    assert "coordinates are taken from obs x_centroid" in " ".join(found.warnings)


def ensembl(count):
    return [f"ENSMUSG{i:011d}" for i in range(count)]


def test_a_reference_in_any_form_gives_the_same(tmp_path, slice_):
    made = forms(slice_.X)
    files_ = {}
    for name in ("counts", "linear", "logged"):
        files_[name] = ad.AnnData(
            made[name], obs=slice_.obs[[]], var=pd.DataFrame(index=slice_.var_names)
        )
    scaled = ad.AnnData(
        made["scaled"], obs=slice_.obs[[]], var=pd.DataFrame(index=slice_.var_names)
    )
    scaled.raw = files_["logged"]
    files_["scaled, raw logged"] = scaled
    cut = files_["logged"][:, :12].copy()
    cut.raw = files_["counts"]
    files_["cut, raw counts"] = cut
    cellxgene = files_["logged"].copy()
    cellxgene.var["feature_name"] = pd.Categorical(slice_.var_names)
    cellxgene.var.index = ensembl(slice_.n_vars)
    cellxgene.raw = ad.AnnData(slice_.X, obs=slice_.obs[[]], var=cellxgene.var)
    files_["CELLxGENE"] = cellxgene
    read = {}
    for name, data in files_.items():
        data.write_h5ad(tmp_path / "a.h5ad")
        read[name] = files.read_reference(tmp_path / "a.h5ad")
        assert list(read[name].var_names) == list(slice_.var_names), name
    soup = ad.AnnData(made["fractional"] * 100, obs=slice_.obs[[]], var=slice_.var[[]])
    soup.write_h5ad(tmp_path / "a.h5ad")
    found = files.read_reference(tmp_path / "a.h5ad")
    assert "parts of counts" in found.uns["lloki_reference"]["values"]
    np.testing.assert_allclose(
        found.X.toarray(), files.log_normalise(sp.csr_matrix(soup.X)).toarray(), rtol=1e-5
    )
    for name in ("cut, raw counts", "CELLxGENE"):
        np.testing.assert_allclose(read[name].X.toarray(), read["counts"].X.toarray(), rtol=1e-6)
    for name in ("linear", "scaled, raw logged"):
        np.testing.assert_allclose(read[name].X.toarray(), read["logged"].X.toarray(), rtol=1e-5)
    assert "never logged" in read["linear"].uns["lloki_reference"]["values"]
    assert "feature_name" in read["CELLxGENE"].uns["lloki_reference"]["genes"]
    scaled.raw = None
    scaled.write_h5ad(tmp_path / "a.h5ad")
    assert "negative values" in refused(files.read_reference, tmp_path / "a.h5ad")


def test_symbols_that_come_twice_are_added_up(tmp_path):
    values = np.array([[1, 2, 4], [3, 0, 5]], dtype=np.float32)
    var = pd.DataFrame({"gene_symbols": ["Gad1", "Sst", "Gad1"]}, index=ensembl(3))
    data = ad.AnnData(sp.csr_matrix(values), obs=pd.DataFrame(index=["a", "b"]), var=var)
    data.write_h5ad(tmp_path / "a.h5ad")
    found = files.read_reference(tmp_path / "a.h5ad")
    assert list(found.var_names) == ["Gad1", "Sst"]
    assert "1 of a name again added up" in found.uns["lloki_reference"]["genes"]
    expected = files.log_normalise(sp.csr_matrix(np.array([[5, 2], [8, 0]], dtype=np.float32)))
    np.testing.assert_allclose(found.X.toarray(), expected.toarray())


def test_counts_divided_by_a_number_of_each_cell_were_never_logged():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.4, (60, 80)) + (rng.random((60, 80)) < 0.1)
    per_volume = sp.csr_matrix((counts / rng.uniform(80, 900, (60, 1))).astype(np.float32))
    found = evidence.of(per_volume)
    assert found.kind == "linear" and "multiples of its smallest" in found.why
    assert evidence.of(sp.csr_matrix(counts * 0.5)).kind != "linear"  # one number for all
    assert evidence.of(sp.csr_matrix(np.log1p(per_volume.toarray() * 500))).kind != "linear"
