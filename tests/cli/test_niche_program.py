"""niche_program.py as a command, on slices made up with a program and without, and on bad input."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from niche_slices import SYMBOLS, made_up

import niche_program
import report
from lloki.integration import joined
from lloki.slices import files, findings
from lloki.support.errors import InputError

NAMES = ("a", "b")
SMALL = "--k 40 --nulls 39".split()


@pytest.fixture(scope="module")
def run_before(tmp_path_factory):
    """Two slices with a program of F near B, the second without some genes, integrated."""
    folder = tmp_path_factory.mktemp("slices")
    tables, arrays = [], {"X_lloki": [], "spatial": []}
    for i, name in enumerate(NAMES):
        counts, labels, places, space = made_up(i, 900, program=0.8)
        data = ad.AnnData(counts, pd.DataFrame({"kind": labels.astype(str)}),
                          pd.DataFrame(index=SYMBOLS), obsm={"spatial": places})  # fmt: skip
        data.obs_names = [f"{name}{j}" for j in range(len(places))]
        data = data[:, [g for g in SYMBOLS if i == 0 or g not in ("G1", "G7")]].copy()
        data = files.prepare(data, name, sample=name, technology=f"T{name}")
        files.write_h5ad(data, folder / f"{name}.slice.h5ad")
        tables.append(data.obs)
        arrays["spatial"].append(data.obsm["spatial"])
        arrays["X_lloki"].append(np.logaddexp(0, space))
    obs = joined.join_obs(tables)
    obsm = {key: np.concatenate(parts).astype(np.float32) for key, parts in arrays.items()}
    files.write_h5ad(ad.AnnData(obs=obs, obsm=obsm), folder / "integrated.h5ad")
    domain = pd.DataFrame({"lloki_domain": np.where(obsm["spatial"][:, 0] > 500, "2", "1"),
                           "lloki_label": obs["kind"].astype(str).to_numpy()})  # fmt: skip
    findings.write(folder / "domains.cells.h5ad", obs.index, domain)
    return folder


def call(folder, output, *options, names=NAMES, integrated=None):
    arguments = ["--input", integrated or folder / "integrated.h5ad", "--output", output]
    for name in names:
        arguments += ["--slice", folder / f"{name}.slice.h5ad"]
    return CliRunner().invoke(niche_program.main, [str(a) for a in [*arguments, *options]])


@pytest.fixture(scope="module")
def done(run_before, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    made = call(
        run_before, folder / "niches", *SMALL, "--label-key", "kind", "--niche", "F:B", "--niche",
        "C:B", "--found", folder / "niches.cells.h5ad",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    return folder


def test_the_planted_program_is_found_and_said(done, run_before):
    program = json.loads((done / "niches/F_near_B/program.json").read_text())
    assert program["found"] and program["p"] == 1 / 40 and program["r"] > 0.3
    assert program["verdict"].startswith("a program of F near B (r ")
    assert program["held_out"] == "blocks" and len(program["null"]) == 39
    genes = pd.read_csv(done / "niches/F_near_B/genes.csv").set_index("gene")
    assert (genes.loc[["G0", "G2", "G3"], "direction"] == "up").all()
    assert (genes.loc[["G8", "G9"], "direction"] == "down").all()
    assert genes.loc["G1", "slices"] == 1 and genes.loc["G0", "slices"] == 2
    assert genes.loc[["G0", "G2"], "fdr"].max() < 0.05
    by_slice = pd.read_csv(done / "niches/F_near_B/genes_by_slice.csv")
    assert set(by_slice[by_slice["gene"] == "G1"]["sample"]) == {"a"}
    up = by_slice[by_slice["gene"] == "G0"]
    assert (up["change"] > 0).all() and (up["z"] > 2).all()


def test_tables_fit_the_cells(done, run_before):
    whole = ad.read_h5ad(run_before / "integrated.h5ad")
    cells = pd.read_csv(done / "niches/F_near_B/cells.csv")
    focus = whole.obs["kind"] == "F"
    assert set(cells["cell"]) == set(whole.obs_names[focus]) and cells["field"].between(0, 1).all()
    found = ad.read_h5ad(done / "niches.cells.h5ad").obs["niche_F_near_B"]
    assert found.index.equals(whole.obs_names) and (found.notna() == focus).all()
    np.testing.assert_allclose(found[cells["cell"]], cells["score"], rtol=1e-4)
    bands = pd.read_csv(done / "niches/F_near_B/bands.csv")
    assert bands["cells"].sum() == focus.sum()
    assert (
        bands[bands["from_um"] == 0]["score"].mean() > bands[bands["from_um"] == 50]["score"].mean()
    )
    pairs = pd.read_csv(done / "niches/pairs.csv")
    assert set(pairs["focus"]) == {"F", "C"} and (pairs["q"] >= pairs["p"]).all()


def test_a_pair_without_a_program_is_named(done):
    record = json.loads((done / "niches.json").read_text())
    none = next(r for r in record["pairs"] if r["focus"] == "C")
    assert not none["found"] and none["verdict"].startswith("no program of C near B above chance")
    assert none["verdict"] in record["warnings"]


def test_slices_in_any_order_give_the_same_bytes(done, run_before, tmp_path):
    whole = ad.read_h5ad(run_before / "integrated.h5ad")
    turned = tmp_path / "integrated.h5ad"
    order = np.argsort(whole.obs["sample"] == "a", kind="stable")
    files.write_h5ad(whole[order].copy(), turned)
    made = call(run_before, tmp_path / "niches", *SMALL, "--label-key", "kind", "--niche", "F:B",
                names=NAMES[::-1], integrated=turned)  # fmt: skip
    assert made.exit_code == 0, made.output
    for name in ("cells.csv", "genes.csv", "bands.csv", "genes_by_slice.csv"):
        own = (tmp_path / "niches/F_near_B" / name).read_bytes()
        assert own == (done / "niches/F_near_B" / name).read_bytes(), name


def test_all_pairs_domains_and_labels_of_other_stages(run_before, tmp_path):
    made = call(run_before, tmp_path / "niches", "--k", 40, "--nulls", 19, "--cells",
                run_before / "domains.cells.h5ad", "--niche", "all", "--niche",
                "F:lloki_domain=2", "--measure", "distance")  # fmt: skip
    assert made.exit_code == 0, made.output
    pairs = pd.read_csv(tmp_path / "niches/pairs.csv")
    assert len(pairs) == 7 and "lloki_domain=2" in set(pairs["neighbour"])
    assert (tmp_path / "niches/F_near_lloki_domain_2/cells.csv").exists()
    assert json.loads((tmp_path / "niches.json").read_text())["screen"]


def test_slices_without_labels_take_those_that_were_carried_over(done, run_before, tmp_path):
    whole = ad.read_h5ad(run_before / "integrated.h5ad")
    labels = whole.obs["kind"].astype(object)
    whole.obs["kind"] = pd.Categorical(labels.where(whole.obs["sample"] != NAMES[0]))
    files.write_h5ad(whole, tmp_path / "half.h5ad")
    carried = pd.DataFrame({"lloki_label": labels.to_numpy()})
    carried.loc[(whole.obs["sample"] == NAMES[1]).to_numpy(), "lloki_label"] = "unknown"
    found = tmp_path / "l.cells.h5ad"
    findings.write(found, whole.obs_names, carried)
    made = call(run_before, tmp_path / "niches", *SMALL, "--label-key", "kind", "--niche", "F:B",
                "--cells", found, integrated=tmp_path / "half.h5ad")  # fmt: skip
    assert made.exit_code == 0, made.output
    programs = [
        json.loads((folder / "niches/F_near_B/program.json").read_text())
        for folder in (done, tmp_path)
    ]
    assert programs[0]["cells"] == programs[1]["cells"] and programs[0]["r"] == programs[1]["r"]


def test_a_program_of_an_earlier_run_is_scored_in_new_cells(done, run_before, tmp_path):
    before = json.loads((done / "niches/F_near_B/program.json").read_text())
    held = tmp_path / "held/F_near_B/program.json"
    held.parent.mkdir(parents=True)
    held.write_text(json.dumps(before | {"slices": [{"sample": "b"}]}))
    made = call(run_before, tmp_path / "niches", *SMALL, "--label-key", "kind", "--model",
                tmp_path / "held", "--niche", "F:B", "--niche", "F:C")  # fmt: skip
    assert made.exit_code == 0, made.output
    program = json.loads((tmp_path / "niches/F_near_B/program.json").read_text())
    assert program["held_out"] == "model" and program["found"] and program["r"] > 0.3
    assert program["up"] == before["up"] and program["down"] == before["down"]
    assert [one["sample"] for one in program["slices"]] == ["a"]
    assert program["left_out"] == {"b": "the program was made of it"}
    other = json.loads((tmp_path / "niches/F_near_C/program.json").read_text())
    assert other["held_out"] == "blocks"


def test_the_report_reads_the_folder_and_refuses_another(done, tmp_path):
    found = report.read_niches(str(done / "niches"))
    assert [niche.name for niche in found["niches"]] == found["niches_table"]["folder"].tolist()
    assert set(found["niches"][0].tables) == {"cells", "genes", "genes_by_slice", "bands"}
    (tmp_path / "F_near_B").mkdir()
    found["niches_table"].to_csv(tmp_path / "pairs.csv")
    (tmp_path / "F_near_B/program.json").write_text("{}")
    with pytest.raises(InputError, match="it is no niche program"):
        report.read_niches(str(tmp_path))


def test_clusters_may_be_given(run_before, tmp_path):
    made = call(run_before, tmp_path / "niches", *SMALL, "--cells",
                run_before / "domains.cells.h5ad", "--niche", "F:B", "--cluster-key",
                "lloki_domain", "--clusters", "2")  # fmt: skip
    assert made.exit_code == 0, made.output
    cells = pd.read_csv(tmp_path / "niches/F_near_B/cells.csv")
    assert (cells["group"] == (cells["cluster"] == 1)).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--niche", "F:B"], "give --label-key"),
        (["--label-key", "type", "--niche", "F:B"], "obs has no column 'type'; it has: "),
        (["--label-key", "kind"], "give FOCUS:NEIGHBOUR"),
        (["--label-key", "kind", "--niche", "F"], "'F' is not FOCUS:NEIGHBOUR"),
        (["--label-key", "kind", "--niche", "T:B"], "no cell is 'T'; there are: B, C, F"),
        (["--label-key", "kind", "--niche", "F:F"], "name two kinds"),
        (["--label-key", "kind", "--niche", "F:zone=3"], "obs has no column 'zone'"),
        (["--label-key", "kind", "--niche", "F:sample=3"], "sample is one of: a, b"),
        (["--label-key", "kind", "--niche", "F:B", "--clusters", "99"], "there is no cluster 99"),
        (["--label-key", "kind", "--model", "nowhere"], "it holds no niche program"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(run_before, tmp_path, options, said):
    made = call(run_before, tmp_path / "niches", *SMALL, *options)
    assert made.exit_code == 2 and said in made.output, made.output
    assert made.output.count("\n") == 1 and not list(tmp_path.iterdir())


def test_too_few_cells_anywhere_is_a_warning_that_ends_no_run(run_before, tmp_path):
    whole = ad.read_h5ad(run_before / "integrated.h5ad")
    kind = whole.obs["kind"].astype(str).to_numpy(copy=True)
    kind[np.flatnonzero(kind == "B")[40:]] = "C"
    whole.obs["kind"] = kind
    files.write_h5ad(whole, tmp_path / "integrated.h5ad")
    made = call(run_before, tmp_path / "niches", *SMALL, "--label-key", "kind", "--niche", "F:B",
                integrated=tmp_path / "integrated.h5ad")  # fmt: skip
    assert made.exit_code == 0 and "no slice has enough cells" in made.output
    assert "neighbour cells, fewer than 50" in made.output
    table = pd.read_csv(tmp_path / "niches/pairs.csv")
    assert table.empty and {"focus", "neighbour", "r", "verdict"} <= set(table)
    record = json.loads((tmp_path / "niches.json").read_text())
    assert not record["pairs"] and len(record["left_out"]) == 1
