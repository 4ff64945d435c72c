"""What genes are called: the table of symbols, what is renamed and what is left alone."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.slices import symbols
from lloki.slices.genes import r_form

CD3E, PAR = "ENSG00000198851", "ENSG00000182378"


def renamed(names):
    found, said = symbols.canonical(names)
    assert len(found) == len(names) and (found == list(names)) == (said == "")
    return found


def test_the_table_holds_the_genes_of_both_species_by_their_ids():
    known = symbols.known()
    assert len(known) > 50000 and list(known) == sorted(known)
    assert known[CD3E] == "CD3E" and known["ENSMUSG00000032093"] == "Cd3e"
    there = set(known.values())
    assert {"HLA-A", "Nkx2-1", "MT-CO1", "mt-Co1", "H2-K1", "MALAT1", "Tex19.1", "IGHG1"} <= there
    forms = [r_form(symbol) for symbol in there]
    assert len(set(forms)) == len(forms)  # none in R's form stands for two


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("HLA.A", "HLA-A"), ("HLA.DQB1", "HLA-DQB1"), ("Nkx2.1", "Nkx2-1"), ("H2.K1", "H2-K1"),
        ("mt.Co1", "mt-Co1"), ("X0610010K14Rik", "0610010K14Rik"),
        ("X9999999A01Rik", "9999999A01Rik"),
        ("GRCh38_CD3E", "CD3E"), ("hg19_HLA.A", "HLA-A"), ("GRCh38-CD3E", "CD3E"),
        ("mm10___Cd3e", "Cd3e"), ("GRCm38_Cd3e", "Cd3e"), ("mm10_ENSMUSG00000032093", "Cd3e"),
        (CD3E, "CD3E"), (f"{CD3E}.10", "CD3E"), (f"{PAR}.15_PAR_Y", "PLCXD1"),
        ("ENSG99999999999.3", "ENSG99999999999"), ("ENSRNOG00000010756.2", "ENSRNOG00000010756"),
    ],
)  # fmt: skip
def test_names_that_others_made_of_a_symbol(given, expected):
    assert renamed(["Gad1", given, "Sst"]) == ["Gad1", expected, "Sst"]


@pytest.mark.parametrize(
    "name",
    ["Tex19.1", "TEX19.1", "RP11-34P13.7", "AC140403.3", "Epb4.1l1", "Gene.7", "XIST", "X5Other",
     "mm10", "HG19_nobody", "Blank.1", "BLANK_0070", "NegControlProbe_00042", "ENSG1", "H2-K1"],
)  # fmt: skip
def test_names_in_doubt_are_left_alone(name):
    assert renamed(["Gad1", name, "Sst"]) == ["Gad1", name, "Sst"]


def test_a_name_that_is_there_already_is_not_given_again():
    for names in (
        ["HLA.A", "HLA-A"], ["CD3E", "GRCh38_CD3E", "Sst"], ["CD3E", "Sst", CD3E],
        ["H2", "H2.K1"],  # the second of a name, as R numbers them, if it were H2.1
    ):  # fmt: skip
        assert renamed(names)[0] == names[0]
        assert len(set(renamed(names))) == len(names)
    assert renamed(["NKX2", "NKX2.1"]) == ["NKX2", "NKX2.1"]
    assert renamed(["A.1", "A"]) == ["A.1", "A"]


def test_a_genome_before_most_names_goes_from_all_and_two_species_stay():
    assert renamed(["hg19_A1", "hg19_mine", "GRCh38_CD3E"]) == ["A1", "mine", "CD3E"]
    both = ["GRCh38_CD3E", "mm10___Cd3e", "mm10___Gad1"]
    assert renamed(both) == both
    matrix = sp.csr_matrix(np.ones((2, 3), np.float32))
    said = symbols.by_symbol(pd.DataFrame(index=both), matrix)[2]
    assert said == "of two species, with the genome before them (GRCh38, mm10)"
    said = symbols.by_symbol(pd.DataFrame(index=["hg19_A1", "x", "GRCh38_CD3E"]), matrix)[2]
    assert "species" not in said


def test_what_was_changed_is_said_with_counts_and_an_example():
    said = symbols.canonical(["Gad1", "HLA.A", "HLA.B", CD3E])[1]
    assert "1 by symbol, not Ensembl id" in said and f"({CD3E} is CD3E)" in said
    assert "2 as they were before R (HLA.A is HLA-A)" in said


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(symbols.known().values())), unique=True, max_size=30))
def test_a_known_symbol_is_never_changed_and_comes_back_from_r(names):
    assert renamed(names) == names
    assert renamed([r_form(name) for name in names]) == names


VALUES = np.array([[1, 2, 4, 0], [3, 0, 5, 6]], dtype=np.float32)


@pytest.mark.parametrize("logged", [False, True])
def test_columns_of_one_name_are_added_up_as_they_were_before_a_logarithm(logged):
    var = pd.DataFrame(index=[CD3E, "ENSMUSG00000032093", f"{CD3E}.2", "Gad1"])
    given_ = sp.csr_matrix(np.log1p(VALUES) if logged else VALUES)
    names, matrix, said = symbols.by_symbol(var, given_, logged)
    assert list(names) == ["CD3E", "Cd3e", "Gad1"] and "1 of a name again added up" in said
    expected = np.array([[5, 2, 0], [8, 0, 6]], dtype=np.float32)
    np.testing.assert_allclose(
        matrix.toarray(), np.log1p(expected) if logged else expected, rtol=1e-6
    )
    assert matrix.dtype == np.float32 and sp.isspmatrix_csr(matrix)
    np.testing.assert_array_equal(matrix[:, [1, 2]].toarray(), given_[:, [1, 3]].toarray())


def test_symbols_of_the_file_come_before_those_of_the_table():
    var = pd.DataFrame(
        {"feature_name": ["Mine", None, ""]},
        index=[CD3E, "ENSMUSG00000032093.4", "ENSG99999999999"],
    )
    names, _, said = symbols.by_symbol(var, sp.csr_matrix(VALUES[:, :3]))
    assert list(names) == ["Mine", "Cd3e", "ENSG99999999999"]
    assert "symbols of var['feature_name']" in said and "by symbol" in said
    assert symbols.by_symbol(var.set_axis(list("ABC")), sp.csr_matrix(VALUES[:, :3]))[2] == (
        "as they came"
    )
