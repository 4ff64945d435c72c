"""What is said of a pair: false discoveries, bands, tests over units, verdicts."""

import numpy as np
import pandas as pd
import pytest
from niche_slices import DOWN, UP, fitted, made_up

from lloki.programs import niche_summary


@pytest.fixture(scope="module")
def found():
    return fitted({name: made_up(i, 900, program=0.8) for i, name in enumerate("ab")})


def test_fdr_by_hand():
    rng = np.random.default_rng(0)
    r = rng.normal(size=(40, 100))
    r[0, 0], r[1, 0] = 9, -8
    fdr = niche_summary.gene_fdr(r)
    sizes = np.abs(r) / r[:, 1:].std(axis=1, keepdims=True)
    third = np.argsort(-sizes[:, 0])[2]
    plain = (sizes[:, 1:] >= sizes[third, 0]).sum() / 99 / 3
    later = [(sizes[:, 1:] >= s).sum() / 99 / (i + 1)
             for i, s in enumerate(np.sort(sizes[:, 0])[::-1]) if i >= 2]  # fmt: skip
    assert fdr[:2].max() == 0 and fdr[third] == pytest.approx(min(plain, *later, 1))
    assert fdr.max() <= 1 and np.median(fdr) > 0.3
    assert np.isnan(niche_summary.gene_fdr(r[:, :1])).all()


def test_genes_of_the_program_come_first_and_are_the_planted_ones(found):
    fit, sides, genes = found
    table = niche_summary.gene_table(fit, sides, genes)
    assert table["direction"].tolist() == sorted(table["direction"], key=["up", "down", ""].index)
    own = table.set_index("gene")
    assert (own.loc[[f"G{i}" for i in UP], "r"] > 0.1).all()
    assert (own.loc[[f"G{i}" for i in DOWN], "r"] < 0).all()
    assert own.loc[[f"G{i}" for i in UP], "fdr"].max() < 0.05 and (own["slices"] == 2).all()
    by_slice = niche_summary.slice_table(fit, sides, genes)
    row = by_slice[(by_slice["gene"] == "G0") & (by_slice["sample"] == "a")].iloc[0]
    level = genes["a"].levels.expm1().toarray()[:, list(genes["a"].keys).index("G0")]
    inside = fit.program.group[sides[0].clusters, 0]
    change = np.log2((level[inside].mean() + 0.01) / (level[~inside].mean() + 0.01))
    assert row["change"] == pytest.approx(change, rel=1e-4)
    assert row["share_group"] == pytest.approx((level[inside] > 0).mean())


def test_bands_are_means_within_slices():
    cells = pd.DataFrame({"sample": list("aaab"), "distance_um": [5, 15, 30, 5.0],
                          "score": [1.0, 3.0, 2.0, 7.0]})  # fmt: skip
    found = niche_summary.bands(cells)
    assert found["sample"].tolist() == ["a", "a", "b"]
    np.testing.assert_allclose(found["score"], [0, 0, 0])
    assert found["cells"].tolist() == [2, 1, 1] and found["to_um"].tolist() == [20, 50, 20]


def test_figures_and_a_sign_test_over_units(found):
    fit, sides, genes = found

    class One:
        def __init__(self, name):
            self.name, self.technology = name, "T"

    record = niche_summary.figures("F", "B", fit, sides, genes, [One("a"), One("b")])
    assert record["cells"] == sum(len(s.values) for s in sides) and record["sign_p"] is None
    assert sum(c["cells"] for c in record["clusters"]) == record["cells"]
    leak = genes["a"].leak
    assert 0 < (leak > np.quantile(leak, 0.95)).sum() <= 0.06 * len(leak)
    assert abs(record["r_without_leaky_cells"] - record["r"]) < 0.1
    each = [{"unit": str(i // 2), "r": r} for i, r in enumerate([0.1, 0.2] * 6 + [-0.9, 0.1])]
    over = niche_summary.over_units(each)
    assert over["units"] == 7 and over["units_above"] == 6
    assert over["sign_p"] == pytest.approx(8 / 128)


RECORD = {"focus": "T", "neighbour": "B", "r": 0.3, "p": 0.005, "naive_r": 0.35, "naive_p": 0.005,
          "sign_p": None, "units": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "screen", "found", "said"),
    [
        ({}, False, True, "a program of T near B (r 0.30, p 0.005)"),
        ({"p": 0.2, "r": 0.03, "naive_r": 0.2, "naive_p": 0.1}, False, False,
         "no program of T near B above chance (r 0.03, p 0.2); without cross-fitting r would be "
         "0.20"),
        ({"p": 0.04, "q": 0.3}, True, False, "no program of T near B above chance (r 0.30, p 0.04, "
         "q 0.3)"),
        ({"q": 0.01}, True, True, "a program of T near B (r 0.30, p 0.005, q 0.01)"),
        ({"sign_p": 0.2, "units": 7}, False, False, "sign test over 7 units p 0.2)"),
        ({"r": -0.3}, False, False, "no program of T near B above chance (r -0.30"),
    ],
)  # fmt: skip
def test_verdicts(changes, screen, found, said):
    record = RECORD | changes
    niche_summary.judge(record, screen)
    assert record["found"] == found and said in record["verdict"]


def test_p_is_corrected_for_the_number_of_pairs():
    records = [{"p": p} for p in (0.01, 0.04, 0.03)]
    niche_summary.corrected(records)
    np.testing.assert_allclose([r["q"] for r in records], [0.03, 0.04, 0.04])
