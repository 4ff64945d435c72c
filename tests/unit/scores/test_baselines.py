"""The contract of the baselines, and the pieces of STAligner."""

import json
import shlex

import anndata as ad
import click
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from click.testing import CliRunner

import baseline_imputed
import baseline_mnn_fp
import baseline_staligner as staligner
import train_cae
from lloki.scores import baselines, imputed, mnn
from lloki.slices import files
from lloki.support import neighbours
from lloki.support.errors import InputError


@pytest.fixture
def shared():
    """60 cells of two slices on 8 genes; the third cell has no count."""
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(1.0, (60, 8)), dtype=np.float32)
    counts[2] = 0
    counts.eliminate_zeros()
    cells = pd.DataFrame({
        "cell": [f"s:{i}" for i in range(60)], "sample": np.repeat(["NA", "b"], 30),
        "technology": np.repeat(["T1", "T2"], 30), "panel": "p",
        "batch": np.repeat(["T1 p", "T2 p"], 30),
        "x": rng.uniform(0, 100, 60), "y": rng.uniform(0, 100, 60),
    })  # fmt: skip
    genes = [f"g{i}" for i in range(8)]
    return baselines.Shared(sp.csr_matrix(counts.log1p()), counts, cells, genes)


def written(shared, folder):
    (folder / "shared").mkdir()
    baselines.write(shared, folder / "shared")
    return folder / "shared"


def test_the_folder_gives_back_what_was_written(shared, tmp_path):
    found = baselines.read(written(shared, tmp_path))
    np.testing.assert_allclose(found.expression.toarray(), shared.expression.toarray(), rtol=1e-6)
    np.testing.assert_array_equal(found.of_whole_counts().toarray(), shared.counts.toarray())
    pd.testing.assert_frame_equal(found.cells, shared.cells, check_dtype=False)
    assert found.genes == shared.genes
    assert np.flatnonzero(~found.filled).tolist() == [2]
    assert found.places.shape == (60, 2)
    assert set(found.cells["sample"]) == {"NA", "b"}  # a name, not a missing value


def test_what_is_missing_in_the_folder_is_named(shared, tmp_path):
    folder = written(shared, tmp_path)
    (folder / "counts.mtx").unlink()
    with pytest.raises(InputError, match="no raw counts"):
        baselines.read(folder).of_whole_counts()
    shared.cells.drop(columns="batch").to_csv(folder / "cells.csv", index=False)
    with pytest.raises(InputError, match="no column 'batch'"):
        baselines.read(folder)
    shared.cells[:-1].to_csv(folder / "cells.csv", index=False)
    with pytest.raises(InputError, match="not 59 cells"):
        baselines.read(folder)
    (folder / "genes.csv").write_text("gene\n")
    with pytest.raises(InputError, match="not 59 cells × 0 genes"):
        baselines.read(folder)
    (folder / "genes.csv").unlink()
    with pytest.raises(InputError, match="join_shared"):
        baselines.read(folder)


def test_an_embedding_comes_back_in_the_order_asked_for(tmp_path):
    space = np.arange(6, dtype=np.float32).reshape(3, 2)
    baselines.write_embedding(pd.Series(["a", "007", "c"]), space, tmp_path / "x.csv")
    found = baselines.read_embedding(tmp_path / "x.csv", pd.Index(["c", "a", "007"]))
    np.testing.assert_array_equal(found, space[[2, 0, 1]])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cell,a\nc0,1\n", "cell 'c1' is missing"),
        ("cell,a\nc0,1\nc0,1\nc1,1\n", "'c0' is there twice"),
        ("cell,a\nc0,1\nc1,\n", "NaN"),
        ("cell,a\nc0,1\nc1,x\n", "no table|not a table"),
        ("cell\nc0\nc1\n", "no values"),
    ],
)
def test_a_faulty_embedding_is_refused(tmp_path, text, told):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        baselines.read_embedding(tmp_path / "x.csv", pd.Index(["c0", "c1"]))


def run(command, shared, folder, *more):
    output = folder / "method.embedding.csv"
    arguments = ["--input", written(shared, folder), "--output", output, "--seed", "3", *more]
    return CliRunner().invoke(command, [str(argument) for argument in arguments]), output


def test_a_baseline_is_a_function_of_shared_expression_and_seed(shared, tmp_path):
    @baselines.baseline("method", "numpy")
    def command(given, seed):
        """A method."""
        return given.expression.toarray() * seed

    done, output = run(command, shared, tmp_path)
    assert done.exit_code == 0, done.output
    cells = pd.Index(shared.cells["cell"])
    expected = 3 * shared.expression.toarray()
    np.testing.assert_allclose(baselines.read_embedding(output, cells), expected, rtol=1e-5)
    record = json.loads((tmp_path / "method.embedding.json").read_text())
    assert (record["method"], record["cells"], record["dimensions"]) == ("method", 60, 8)
    assert record["cells_without_shared_genes"] == 1


@pytest.mark.parametrize(
    ("package", "result", "told"),
    [
        ("no-such-package", np.zeros((60, 2)), "no-such-package: the package is not installed"),
        ("numpy", np.zeros((2, 60)), "it gave (2, 60) for 60 cells"),
        ("numpy", np.full((60, 2), np.nan), "values not finite"),
    ],
)
def test_a_baseline_that_cannot_run_says_why(shared, tmp_path, package, result, told):
    command = baselines.baseline("method", package)(lambda given, seed: result)
    assert isinstance(command, click.Command)
    done, output = run(command, shared, tmp_path)
    assert done.exit_code == 2
    assert told in done.stderr and done.stderr.count("\n") == 1
    assert not output.exists()


def test_every_method_of_the_table_has_its_program_and_its_name():
    table = baselines.methods()
    assert table.index.is_unique and table["title"].is_unique
    for program in filter(None, table["program"]):
        assert (baselines.TABLE.parents[2] / program).is_file()
    images = {path.name for path in (baselines.TABLE.parents[3] / "containers").iterdir()}
    assert set(table["environment"][table["program"] != ""]) <= images
    assert baselines.title("X_scvi") == "scVI"
    assert baselines.title("X_pca_shared") == "PCA on shared genes"
    assert baselines.title("X_mine") == "mine"


def test_an_ablation_trains_on_an_embedding_and_with_options_that_there_are():
    table = baselines.methods()
    rows = table[table["environment"].isin(["embedder", "ablation"])]
    assert set(rows["embedding"]) == {"fp", "slice", "filled"}
    for method, embedding in table.drop(rows.index)["embedding"].items():
        from_reference = method.startswith(("imputed", "mapped")) or method.endswith("_union")
        kinds = {"fp": method.endswith("_fp"), "reference": from_reference}
        assert [embedding] == [kind for kind, of in kinds.items() if of] or not any(kinds.values())
    for options in rows["options"]:
        train_cae.main.make_context("train_cae", [*shlex.split(options), "--input=a", "--output=b"])
    ablations = rows[rows["environment"] == "ablation"]
    assert not ablations[["embedding", "options"]].duplicated().any()


# --- methods that start from LLOKI-FP


@pytest.fixture
def embedded(shared, tmp_path):
    """--embedding and its files: 3 numbers a cell, the slices and their cells turned round."""
    space = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32) + 2
    options = []
    for rows in (np.arange(59, 29, -1), np.arange(29, -1, -1)):
        obs = shared.cells.iloc[rows].set_index("cell")[["sample"]]
        options += ["--embedding", tmp_path / f"{len(options)}.fp.h5ad"]
        ad.AnnData(obs=obs, obsm={"X_lloki_fp": space[rows]}).write_h5ad(options[-1])
    return space, options


def test_a_method_on_lloki_fp_gets_unit_rows_in_the_order_of_the_cells(shared, embedded, tmp_path):
    space, options = embedded
    command = baselines.baseline("harmony_fp")(lambda given, seed: given.embedding)
    done, output = run(command, shared, tmp_path, *options)
    assert done.exit_code == 0, done.output
    found = baselines.read_embedding(output, pd.Index(shared.cells["cell"]))
    lengths = np.linalg.norm(space, axis=1, keepdims=True)
    np.testing.assert_allclose(found, space / lengths, rtol=1e-4)


def test_without_shared_genes_methods_on_lloki_fp_run_and_others_do_not(shared, embedded, tmp_path):
    none = baselines.Shared(shared.expression[:, :0], None, shared.cells, [])
    done, output = run(baseline_mnn_fp.main, none, tmp_path, *embedded[1])
    assert done.exit_code == 0, done.output
    space = baselines.read_embedding(output, pd.Index(shared.cells["cell"]))
    expected = mnn.correct(neighbours.unit_rows(embedded[0]), shared.batches)
    np.testing.assert_allclose(space, expected, rtol=1e-4, atol=1e-5)
    (tmp_path / "again").mkdir()
    done, _ = run(staligner.main, none, tmp_path / "again")
    assert done.exit_code == 2 and "no gene is in every slice" in done.stderr


def test_faulty_files_of_lloki_fp_are_told(shared, embedded, tmp_path):
    first = embedded[1][:2]
    wide = tmp_path / "wide.fp.h5ad"
    data = ad.read_h5ad(embedded[1][3])
    data.obsm["X_lloki_fp"] = np.ones((30, 4), dtype=np.float32)
    data.write_h5ad(wide)
    for i, (options, told) in enumerate([
        ((), "this method starts from LLOKI-FP; give SAMPLE.fp.h5ad of every slice"),
        (first, "cell 's:0' is missing"),
        (first * 2, "'s:59' is in two files"),
        ((*first, "--embedding", wide), "has 3 or 4 columns"),
    ]):  # fmt: skip
        (tmp_path / str(i)).mkdir()
        done, output = run(baseline_mnn_fp.main, shared, tmp_path / str(i), *options)
        assert done.exit_code == 2 and not output.exists()
        assert "--embedding: " in done.stderr and told in done.stderr
        assert done.stderr.count("\n") == 1


# --- methods that start from whole panels and the reference


@pytest.fixture
def panels(shared, tmp_path):
    """The options of such a method: two slices of 8 and 7 genes, the later first, one reference."""
    names = [f"Gene{i}" for i in range(8)]
    options = []
    for rows, columns in ((np.arange(30, 60), range(8)), (np.arange(30), range(1, 8))):
        obs = shared.cells.iloc[rows].set_index("cell")[["sample"]]
        var = pd.DataFrame(index=[names[c] for c in columns])
        options += ["--slice", tmp_path / f"{len(options)}.slice.h5ad"]
        data = ad.AnnData(shared.expression[rows][:, list(columns)], obs=obs, var=var)
        data.write_h5ad(options[-1])
    counts = sp.csr_matrix(np.random.default_rng(3).poisson(2, (50, 8)), dtype=np.float32)
    ad.AnnData(counts, var=pd.DataFrame(index=names)).write_h5ad(tmp_path / "reference.h5ad")
    return options, ["--reference", tmp_path / "reference.h5ad"]


def test_a_method_on_whole_panels_gets_slices_in_the_order_of_the_cells(shared, panels, tmp_path):
    slices, reference = panels
    done, output = run(baseline_imputed.main, shared, tmp_path, *slices, *reference)
    assert done.exit_code == 0, done.output
    parts = [ad.read_h5ad(slices[i]) for i in (3, 1)]
    assert parts[0].obs_names[0] == shared.cells["cell"][0]
    expected = imputed.components(parts, [files.read_reference(reference[1])])
    space = baselines.read_embedding(output, pd.Index(shared.cells["cell"]))
    np.testing.assert_allclose(space, expected, rtol=1e-4, atol=1e-5)


def test_faulty_files_of_whole_panels_are_told(shared, panels, tmp_path):
    slices, reference = panels
    for i, (options, told) in enumerate([
        (slices, "--reference: this method starts from whole panels"),
        (reference, "--slice: this method starts from whole panels"),
        ((*slices[:2], *reference), "--slice: other cells than in --input"),
    ]):  # fmt: skip
        (tmp_path / str(i)).mkdir()
        done, output = run(baseline_imputed.main, shared, tmp_path / str(i), *options)
        assert done.exit_code == 2 and not output.exists()
        assert told in done.stderr and done.stderr.count("\n") == 1


# --- STAligner


def test_attention_sums_to_one_and_moving_it_before_the_map_changes_nothing():
    torch.manual_seed(0)
    edges = torch.tensor(staligner.spatial_edges(np.random.default_rng(0).random((20, 2)),
                                                 np.repeat([0, 1], 10)))  # fmt: skip
    values, weights = torch.randn(20, 5), torch.randn(5, 3)
    attention = staligner.softmax_of_edges(torch.rand(edges.shape[1]), edges, 20)
    sums = torch.zeros(20).index_add(0, edges[0], attention)
    torch.testing.assert_close(sums, torch.ones(20))
    after = staligner.gather(values @ weights, edges, attention)
    torch.testing.assert_close(staligner.gather(values, edges, attention) @ weights, after)
    dense = torch.zeros(20, 20)
    dense[edges[0], edges[1]] = attention
    torch.testing.assert_close(dense @ values, staligner.gather(values, edges, attention))


def test_the_autoencoder_is_that_of_the_publication():
    """Against the layers written out with a dense attention matrix."""
    torch.manual_seed(0)
    edges = torch.tensor(staligner.spatial_edges(np.random.default_rng(1).random((15, 2)),
                                                 np.zeros(15, dtype=int)))  # fmt: skip
    x, weights = torch.rand(15, 4), staligner.parameters(4)
    inner, outer, own, others = weights
    h = x @ inner
    scores = torch.sigmoid(h @ own + (h @ others).T)
    mask = torch.zeros(15, 15)
    mask[edges[0], edges[1]] = 1
    attention = torch.softmax(torch.where(mask > 0, scores, -torch.inf), dim=1)
    latent = torch.nn.functional.elu(attention @ h) @ outer
    decoded = torch.nn.functional.elu(attention @ (latent @ outer.T)) @ inner.T
    found = staligner.autoencoder(x, edges, weights)
    torch.testing.assert_close(found[0], latent)
    torch.testing.assert_close(found[1], decoded)


def test_edges_join_the_nearest_cells_of_a_slice_both_ways():
    places = np.random.default_rng(0).random((40, 2))
    slices = np.tile([0, 1], 20)
    edges = {tuple(edge) for edge in staligner.spatial_edges(places, slices).T.tolist()}
    assert {(b, a) for a, b in edges} == edges and all((i, i) in edges for i in range(40))
    assert all(slices[a] == slices[b] for a, b in edges)
    here = np.flatnonzero(slices == 0)
    gaps = np.linalg.norm(places[here] - places[0], axis=1)
    assert {(0, int(i)) for i in here[np.argsort(gaps)[1:7]]} <= edges


def test_pairs_are_nearest_mutual_neighbours_of_other_slices(monkeypatch):
    monkeypatch.setattr(staligner, "PAIR_NEIGHBOURS", 3)
    rng = np.random.default_rng(0)
    latent, slices = rng.normal(size=(45, 4)).astype(np.float32), np.repeat([0, 1, 2], 15)
    found = {tuple(pair) for pair in staligner.mutual_pairs(latent, slices).tolist()}
    gaps = np.linalg.norm(latent[:, None] - latent, axis=2)

    def near(cell, other):
        there = np.flatnonzero(slices == other)
        return there[np.argsort(gaps[cell, there])[:3]].tolist()

    expected = set()
    for cell in range(45):
        for other in set(range(3)) - {slices[cell]}:
            mutual = [c for c in near(cell, other) if cell in near(c, slices[cell])]
            if mutual:
                expected.add((cell, min(mutual, key=lambda c: gaps[cell, c])))
    assert found == expected
    negatives = staligner.random_cells(np.array([0, 20, 44]), slices, rng)
    assert slices[negatives].tolist() == [0, 1, 2]


def test_staligner_gives_the_same_again(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(staligner, "PRETRAINING", 40)
    monkeypatch.setattr(staligner, "EPOCHS", 120)
    done, output = run(staligner.main, shared, tmp_path)
    assert done.exit_code == 0, done.output
    cells = pd.Index(shared.cells["cell"])
    space = baselines.read_embedding(output, cells)
    assert space.shape == (60, 30)
    (tmp_path / "again").mkdir()
    _, output = run(staligner.main, shared, tmp_path / "again")
    np.testing.assert_array_equal(baselines.read_embedding(output, cells), space)
