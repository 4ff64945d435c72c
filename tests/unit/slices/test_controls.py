"""Controls are told from genes by type or by name."""

import numpy as np
import pandas as pd

from lloki.slices.controls import split_controls

CONTROL_NAMES = {
    "negative control": ["NegControlProbe_00042", "NegControlCodeword_0500", "antisense_BCL2L15",
                         "NegPrb7", "Negative03", "Negative-3"],
    "blank": ["BLANK_0070", "Blank-12"],
    "codeword without a gene": ["UnassignedCodeword_0012", "DeprecatedCodeword_0001"],
    "system control": ["SystemControl12", "FalseCode3"],
}  # fmt: skip


def test_controls_are_told_by_type_or_by_name_and_genes_are_not():
    genes = ["Gad1", "BLNK", "NEGR1", "Sst", "HLA-DQB1/2", "Negr1", "Intu", "Blank1a"]
    names = [*genes, *(name for known in CONTROL_NAMES.values() for name in known)]
    are, others = split_controls(pd.DataFrame(index=names))
    assert [n for n, gene in zip(names, are, strict=True) if gene] == genes
    found = {kind: [names[i] for i in columns] for kind, columns in others.items()}
    assert found == {kind: known for kind, known in CONTROL_NAMES.items()}
    typed = pd.DataFrame(
        {"feature_types": ["Gene Expression", "Protein"]}, index=["BLANK_1", "CD3"]
    )
    are, others = split_controls(typed)
    assert are.tolist() == [True, False] and list(others) == ["Protein"]


def test_names_that_programs_changed_are_controls_still():
    names = [
        "Blank.1",
        "antisense-PROKKA-00018",
        "Intergenic-Region-1",
        "negprb2",
        "Negative Control Probe 1",
    ]
    are, _ = split_controls(pd.DataFrame(index=[*names, "Gad1"]))
    assert are.tolist() == [False] * len(names) + [True]
    var = pd.DataFrame({"feature_types": "Gene Expression"}, index=["Gad1", "BLANK_0001"])
    assert split_controls(var)[0].tolist() == [True, False]
    var = pd.DataFrame({"feature_types": ["Gene Expression", np.nan]}, index=["Gad1", "Sst"])
    assert split_controls(var)[0].all()
    var = pd.DataFrame(
        {"gene_symbols": ["Gad1", "NegControlProbe_1"]},
        index=["ENSMUSG00000000001", "ENSMUSG00000000002"],
    )
    assert split_controls(var)[0].tolist() == [True, False]


def test_missing_symbols_are_no_names():
    var = pd.DataFrame({"gene_symbols": ["Sst", np.nan, None]}, index=["a", "Blank-1", "c"])
    are, others = split_controls(var)
    assert are.tolist() == [True, False, True] and others["blank"].tolist() == [1]
