"""Gene names: keys, shared genes, vocabularies, the ortholog table."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.slices import genes
from lloki.support.errors import InputError

TABLE = Path(__file__).parents[3] / "assets" / "orthologs.csv.gz"


@pytest.fixture(scope="module")
def orthologs():
    with gzip.open(TABLE, "rt", newline="") as handle:
        return [(row["mouse"], row["human"]) for row in csv.DictReader(handle)]


def test_keys_are_upper_case_and_current():
    assert genes.match_keys(["Gad1", " gad1", "Ctgf", "CCN2"]).tolist() == [
        "GAD1", "GAD1", "CCN2", "CCN2",
    ]  # fmt: skip


def test_a_renamed_symbol_is_final_and_not_itself():
    for old, new in genes.RENAMED.items():
        assert old != new
        assert old == old.upper()
        assert new not in genes.RENAMED


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdABCD"), max_size=8), st.lists(st.sampled_from("abcdABCD")))
def test_shared_genes_against_a_plain_search(first, second):
    left, right = genes.shared(first, second)
    upper = [name.upper() for name in second]
    expected = {}
    for i, name in enumerate(first):
        if name.upper() in upper:
            expected.setdefault(name.upper(), (i, upper.index(name.upper())))
    assert list(zip(left, right, strict=True)) == list(expected.values())


def test_a_name_in_the_form_of_r_meets_the_other_sides():
    mine = ["HLA.A", "RP11.34P13.7", "AC1.1", "X10Rik", "A.B", "C.D", "C-D"]
    theirs = ["10Rik", "HLA-A", "RP11-34P13.7", "AC1-1", "AC1.1", "A-B", "A/B", "C-D"]
    left, right = genes.shared(mine, theirs)
    pairs = [(mine[i], theirs[j]) for i, j in zip(left, right, strict=True)]
    assert pairs == [
        ("HLA.A", "HLA-A"), ("RP11.34P13.7", "RP11-34P13.7"), ("AC1.1", "AC1.1"),
        ("X10Rik", "10Rik"), ("C-D", "C-D"),
    ]  # fmt: skip
    turned = genes.shared(theirs, mine)
    assert {(i, j) for j, i in zip(*turned, strict=True)} == set(zip(left, right, strict=True))
    found = genes.match_vocabulary(mine, theirs).symbols
    assert found == ["HLA-A", "RP11-34P13.7", "AC1.1", "10Rik", None, None, "C-D"]


def test_rules_in_their_order():
    vocabulary = ["GAD1", "C9orf72", "CA4", "CAR4", "HLA-A", "CCN2", "TP53"]
    names = ["Gad1", "C9orf72", "Car4", "C9ORF72", "HLA.A", "Ctgf", "Trp53", "Blank-1", "CAR4"]
    match = genes.match_vocabulary(names, vocabulary, {"Car4": "CA4", "Trp53": "tp53"})
    assert match.symbols == [
        "GAD1", "C9orf72", "CA4", "C9orf72", "HLA-A", "CCN2", "TP53", None, "CAR4",
    ]  # fmt: skip
    assert match.rules == [
        "case", "exact", "ortholog", "case", "case", "case", "ortholog", "none", "exact",
    ]  # fmt: skip
    assert match.found == ["GAD1", "C9orf72", "CA4", "HLA-A", "CCN2", "TP53", "CAR4"]
    assert match.merged == {"C9orf72": [1, 3]}
    assert match.share == pytest.approx(8 / 9)


def test_an_ortholog_that_the_vocabulary_lacks_leaves_the_upper_case_name():
    match = genes.match_vocabulary(["Car4"], ["CAR4"], {"Car4": "CA4"})
    assert (match.symbols, match.rules) == (["CAR4"], ["case"])


def test_symbols_that_differ_in_case_alone():
    ambiguous = genes.match_vocabulary(["abc"], ["Abc", "aBC"])
    assert ambiguous.symbols == [None]
    assert genes.match_vocabulary(["abc"], ["Abc", "ABC"]).symbols == ["ABC"]
    assert genes.match_vocabulary(["Abc"], ["Abc", "ABC"]).symbols == ["Abc"]


def test_columns_of_one_gene_are_added_up():
    rng = np.random.default_rng(0)
    dense = rng.poisson(1, (7, 5)).astype(np.float32)
    match = genes.match_vocabulary(["b", "x", "A", "B", "a"], ["A", "B"])
    collected = genes.collect_columns(sp.csr_matrix(dense), match)
    assert match.found == ["B", "A"]
    expected = np.stack([dense[:, 0] + dense[:, 3], dense[:, 2] + dense[:, 4]], axis=1)
    np.testing.assert_array_equal(collected.toarray(), expected)
    assert collected.dtype == np.float32
    assert collected.has_sorted_indices


def test_ensembl_ids_are_recognised():
    ids = ["ENSG00000141510", "ENSMUSG00000059552.12", "ENSRNOG00000010756"]
    assert genes.ensembl_share(ids) == 1
    assert genes.ensembl_share([*ids, "ENSA", "Gad1", "ENSG1"]) == 0.5
    assert genes.ensembl_share([]) == 0


def test_the_ortholog_table_holds_what_upper_casing_cannot_find(orthologs):
    mouse = [m for m, _ in orthologs]
    assert len(orthologs) > 2000
    assert mouse == sorted(mouse)
    assert len(set(mouse)) == len(mouse)
    assert all(m and h and m.upper() != h for m, h in orthologs)
    known = {
        "Car4": "CA4", "Cd8b1": "CD8B", "Fcgr4": "FCGR3A", "Serpina3n": "SERPINA3", "Tac2": "TAC3",
        "Trp53": "TP53", "Zfp536": "ZNF536",
    }  # fmt: skip
    assert known.items() <= dict(orthologs).items()
    assert not {"Gad1", "Slc17a7", "Mbp"} & set(mouse)


def test_sets_of_genes_are_read_and_what_is_no_gmt_is_refused(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("glia\tof the brain\tPlp1\tMbp\t\n\nneurons\t\tGad1\n")
    assert genes.read_sets(path) == {"glia": ["Plp1", "Mbp"], "neurons": ["Gad1"]}
    for content in (b"", b"glia\tPlp1\n", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(InputError):
            genes.read_sets(path)
    with pytest.raises(InputError, match="not a readable text"):
        genes.read_sets(tmp_path)


def test_a_union_has_every_gene_once_by_its_first_name():
    names, places = genes.union(
        [["Gad1", "HLA-A", "Ctgf"], ["GAD1", "gad1", "Sst", "HLA.A", "CCN2"]]
    )
    assert names.tolist() == ["Gad1", "HLA-A", "Ctgf", "Sst"]
    assert [place.tolist() for place in places] == [[0, 1, 2], [0, -1, 3, 1, 2]]


def test_a_union_of_one_panel_is_the_panel_and_none_is_none():
    names, places = genes.union([["A", "B", "a"], ["A", "B", "a"]])
    assert names.tolist() == ["A", "B"] and all(p.tolist() == [0, 1, -1] for p in places)
    assert len(genes.union([])[0]) == 0
