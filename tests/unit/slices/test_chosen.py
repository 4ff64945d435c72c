"""Tables of cells: which cells they choose, and what of their columns comes into obs."""

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki.slices import chosen
from lloki.support.errors import InputError

IDS = ["2317032900022100080", "2317032900022100081", "2317032900022100082", "d"]


@pytest.fixture
def data():
    obs = pd.DataFrame({"cell_id": IDS, "fov": 3}, index=[f"cell{i}" for i in range(4)])
    return ad.AnnData(np.ones((4, 2), np.float32), obs=obs)


@pytest.fixture
def choose(data, tmp_path):
    def read(text, name="cells.csv", labels=()):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return chosen.choose(data, tmp_path / name, labels)

    return read


def test_labels_join_by_id_whatever_the_order_and_what_is_missing_is_none(choose, tmp_path):
    text = f"#a lasso\n#Area: 5\ncell_id,group,score\nd,Glia,1\n{IDS[1]},,2.5\n{IDS[0]},NA,\n"
    cells, said = choose(text)
    assert cells.obs["cell_id"].tolist() == [IDS[0], IDS[1], "d"] and not said
    assert cells.obs["group"].isna().tolist() == [True, True, False]
    assert cells.obs["group"].cat.categories.tolist() == ["Glia"]
    np.testing.assert_array_equal(cells.obs["score"], [np.nan, 2.5, 1])
    cells.write_h5ad(tmp_path / "cells.h5ad")
    assert ad.read_h5ad(tmp_path / "cells.h5ad").obs["group"].tolist()[2] == "Glia"


def test_ids_of_19_digits_stay_what_they_are_in_any_column(choose):
    cells, _ = choose(f"EntityID,other,number\n{IDS[1]},{IDS[2]},7\n")
    assert cells.obs["cell_id"].tolist() == [IDS[1]]
    assert cells.obs["other"].tolist() == [IDS[2]] and cells.obs["number"].tolist() == [7]
    assert cells.obs["number"].dtype == np.int64


def test_a_label_that_is_a_number_is_text_as_it_was_written(choose):
    text = "cell_id,cluster,other\nd,1,1\n2317032900022100080,,2\n"
    cells, _ = choose(text, labels=["cluster"])
    assert cells.obs["cluster"].isna().tolist() == [True, False]
    assert cells.obs["cluster"].cat.categories.tolist() == ["1"]
    assert cells.obs["other"].dtype.kind == "i"


@pytest.mark.parametrize(
    "text",
    ["d\n2317032900022100080\n", "cell\nd\nd\n2317032900022100080\n", "#x\r\n\r\nd\r\n"
     "2317032900022100080\r\n", "\ufeffcell\r2317032900022100080\rd"],
    ids=["no header", "twice", "windows", "mac"],
)  # fmt: skip
def test_a_file_of_names_alone_chooses_cells(choose, data, text):
    cells, said = choose(text)
    assert cells.obs["cell_id"].tolist() == [IDS[0], "d"] and not said
    assert list(cells.obs) == list(data.obs)


def test_without_a_header_only_the_names_are_taken(choose, data):
    cells, said = choose("d\tGlia\n2317032900022100080\tNeuron\n")
    assert cells.n_obs == 2 and list(cells.obs) == list(data.obs)
    assert len(said) == 1 and "has no header" in said[0]


@pytest.mark.parametrize(
    "text",
    ['"cell_id";"group"\n"d";"a;b, c"\n', 'cell_id,group\nd,"a;b, c"\n', "group\nd\ta;b, c\n",
     "cell_id\tgroup\t\nd\ta;b, c\t\n"],
    ids=["semicolons", "quotes", "R", "a tab at the end"],
)  # fmt: skip
def test_separators_and_quotes(choose, text):
    for name, content in (("a.csv", text), ("a.csv.gz", gzip.compress(text.encode()))):
        cells, _ = choose(content, name)
        assert cells.obs["group"].tolist() == ["a;b, c"]
        assert list(cells.obs) == ["cell_id", "fov", "group"]


def test_a_column_that_is_there_already_comes_under_another_name(choose, data):
    cells, said = choose("cell_id,fov,a/b\nd,9,x\n")
    assert cells.obs[["fov", "fov_given", "a_b"]].values.tolist() == [[3, 9, "x"]]
    assert len(said) == 2 and "'fov' of" in said[0] and "'fov_given'" in said[0]
    assert "'a/b' of" in said[1] and "'a_b'" in said[1]
    data.obs["fov_given"] = 1
    with pytest.raises(InputError, match="'fov' cannot be kept"):
        choose("cell_id,fov\nd,9\n")


def test_cells_go_by_their_own_names_where_the_slice_has_no_ids(data, choose):
    del data.obs["cell_id"]
    cells, said = choose("cell,group\ncell2,a\nnobody,b\n")
    assert cells.obs_names.tolist() == ["cell2"] and cells.obs["group"].tolist() == ["a"]
    assert "1 of the cells" in said[0] and "not there" in said[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cell_id,group\nd,a\nd,b\n", "says two things of cell 'd'"),
        ("cell_id,group,group\nd,a,b\n", "column 'group' is there twice"),
        ("cell_id,group\nd\n", "row 1 has 1 fields, the header 2"),
        ("cell_id,group\n2317032900022100080,b\nd,a,b\n", "row 2 has 3 fields, the header 2"),
        ('cell_id,group\nd,"a\n', "not a readable table"),
        ("cell_id,group\nd,a\0\n", "it is no text"),
        (b"cell_id,group\nd,\xe9\n", "not a readable table"),
        ("cell_id,_index\nd,a\n", "'_index' cannot be kept"),
        ("cell_id,..\nd,a\n", "cannot be kept"),
        ("cell_id,group\nsample:d,a\n", r"none of its 1 cells .*'sample:d', not '23170"),
        ("#\n", "names no cells"),
        (gzip.compress(b"cell_id,group\nd,a\n" * 99, mtime=0)[:-9], "not a readable table"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(choose, text, words):
    with pytest.raises(InputError, match=words):
        choose(text)


@pytest.mark.parametrize(
    "text",
    [
        ",group\nd,x\n2317032900022100080,y\n",  # pandas
        '"","group"\n"d","x"\n"2317032900022100080","y"\n',  # R
        "index,cell_id,group\n0,d,x\n1,2317032900022100080,y\n",
        ",cell_id,group\n0,d,x\n1,2317032900022100080,y\n",
        "n,who,group\n1,d,x\n2,2317032900022100080,y\n",
        '"#Selection: A"\n#more\ncell_id,group\nd,x\n2317032900022100080,y\n',
    ],
)
def test_names_of_cells_are_found_whatever_stands_before_them(choose, text):
    cells, said = choose(text)
    assert dict(zip(cells.obs["cell_id"], cells.obs["group"], strict=True)) == {
        "2317032900022100080": "y", "d": "x"
    }  # fmt: skip
    assert all("is taken for its header" in line for line in said)


def test_row_numbers_are_no_names_of_cells(data, tmp_path):
    data.obs["cell_id"] = [1.0, 2.0, 3.0, 4.0]  # as text: 1, 2, 3, 4
    (tmp_path / "a.csv").write_text(",g\n0,w\n1,x\n2,y\n3,z\n")
    with pytest.raises(InputError, match="has no name and counts the rows; name the cells in"):
        chosen.choose(data, tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("index,cell_id,g\n0,1,w\n1,2,x\n2,3,y\n3,4,z\n")
    cells, _ = chosen.choose(data, tmp_path / "b.csv")
    assert cells.obs["g"].tolist() == ["w", "x", "y", "z"]


def test_a_first_line_of_no_cell_is_said_to_be_the_header(choose):
    _, said = choose("zzz,Foo\nd,x\n")
    assert "'zzz,Foo' is taken for its header" in said[0]


def test_decimal_commas_are_numbers_where_semicolons_separate(choose):
    cells, _ = choose("cell_id;score;note\nd;0,5;a,b\n2317032900022100080;-1,25;c\n")
    assert cells.obs["score"].tolist() == [-1.25, 0.5]
    assert cells.obs["note"].tolist() == ["c", "a,b"]
