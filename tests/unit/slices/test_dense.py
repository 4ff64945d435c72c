"""Dense tables of text: what is read equals what pandas or Python itself makes of the same text."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lloki.slices import dense, fields
from lloki.support.errors import InputError

LONG = ["103327291694389284070574461648020091166", "99999999999999999999999999999999999999"]
TABLE = "cell,A,B,C\na,1,0,12\nb,0,0,0\nc,0.0,3.50,1e3\n"
VALUES = [[1, 0, 12], [0, 0, 0], [0, 3.5, 1000]]


def read(tmp_path, text, *args, name="t.csv", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return dense.read_dense(path, *args, **options)


def refused(tmp_path, text, *words, **options):
    with pytest.raises(InputError) as error:
        read(tmp_path, text, **options)
    for word in ("t.csv", *words):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture(params=[40, 1 << 20], ids=["small blocks", "one block"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(fields, "BLOCK", request.param)


def made_up(rows, columns, most=30, seed=0):
    """Counts as a slice has them, some of several digits."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, most, (rows, columns)) * (rng.random((rows, columns)) < 0.2)


def test_a_table_is_what_pandas_reads(tmp_path, blocks):
    counts = made_up(200, 17, 30_000)
    table = pd.DataFrame(counts, [f"c{i}" for i in range(200)], [f"g{i}" for i in range(17)])
    table.to_csv(tmp_path / "t.csv", index_label="cell")
    found = dense.read_dense(tmp_path / "t.csv")
    whole = pd.read_csv(tmp_path / "t.csv", index_col=0)
    np.testing.assert_array_equal(found.matrix.toarray(), whole.to_numpy())
    assert (found.matrix.dtype, found.matrix.format) == (np.float32, "csr")
    assert found.matrix.nnz == (counts != 0).sum() and found.matrix.has_canonical_format
    assert found.columns == list(whole.columns) and list(found.ids[0]) == list(whole.index)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n\n", 1),
        lambda text: "\n" + text.replace("\n", "\n  \n\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("cell", ""),
        lambda text: text.replace("cell,", ""),
        lambda text: text.replace(",", ", "),
        lambda text: "\n".join(
            ",".join(f'"{field}"' for field in line.split(",")) for line in text.splitlines()
        ),
    ],
    ids=["plain", "dos", "blank line", "blank lines", "no end", "mark", "tabs", "nameless",
         "R's corner", "spaces", "quotes"],
)  # fmt: skip
def test_forms_of_one_table(change, packed, name, tmp_path, blocks):
    text = change(TABLE).encode()
    found = read(tmp_path, gzip.compress(text) if packed else text, name=name)
    np.testing.assert_array_equal(found.matrix.toarray(), VALUES)
    assert found.columns == ["A", "B", "C"] and list(found.ids[0]) == ["a", "b", "c"]


def test_ids_are_text_of_any_length(tmp_path):
    found = read(tmp_path, f'cell,A\n{LONG[0]},1\n"{LONG[1]}",2\n007,3\n"a,""b""",4\n')
    assert list(found.ids[0]) == [*LONG, "007", 'a,"b"']
    np.testing.assert_array_equal(found.matrix.toarray().ravel(), [1, 2, 3, 4])
    assert list(read(tmp_path, 'cell,A\nZürich 1,1\n"",2\n').ids[0]) == ["Zürich 1", ""]


def test_columns_by_name_and_by_position(tmp_path, blocks):
    text = "A,fov,B,note,cell_ID,C\n1,1,2,x,1,0\n0,1,0,y,2,3\n"
    for ids in (["cell_ID", "fov"], [4, 1]):
        found = read(tmp_path, text, ids, without=["note"])
        assert [list(column) for column in found.ids] == [["1", "2"], ["1", "1"]]
        assert found.columns == ["A", "B", "C"]
        np.testing.assert_array_equal(found.matrix.toarray(), [[1, 2, 0], [0, 0, 3]])
    with pytest.raises(InputError, match="no column 'cell'"):
        read(tmp_path, text, ["cell"])


def test_repeated_names_stay(tmp_path):
    assert read(tmp_path, "cell,A,A,\na,1,2,3\n").columns == ["A", "A", ""]


def test_rows_that_are_not_kept_are_not_looked_at(tmp_path, blocks):
    text = "cell,A,B\na,1,0\nb,much,-\nc,0,2\nd,x,y\n"
    seen = []
    found = read(tmp_path, text, keep=lambda ids: np.isin(ids[0], ["a", "c"]), progress=seen.append)
    assert list(found.ids[0]) == ["a", "c"] and seen[-1] == 4
    np.testing.assert_array_equal(found.matrix.toarray(), [[1, 0], [0, 2]])
    assert read(tmp_path, text, keep=lambda ids: ids[0] == "z").matrix.shape == (0, 2)


def test_rows_without_values_are_left_out_and_counted(tmp_path, blocks):
    text = "cell,A,B\na,1,0\na,NA,NA\nb,,\nc,NA,2\nd,nan,NULL\n"
    found = read(tmp_path, text, skip_empty=True)
    assert list(found.ids[0]) == ["a", "c"] and found.empty == 3
    np.testing.assert_array_equal(found.matrix.toarray(), [[1, 0], [np.nan, 2]])
    found = read(tmp_path, text)
    assert np.isnan(found.matrix.toarray()).sum() == 7 and found.empty == 0


def test_a_check_ends_the_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(fields, "BLOCK", 8)
    seen = []

    def check(values):
        seen.extend(values.tolist())
        if (values == 3).any():
            raise KeyError

    with pytest.raises(KeyError):
        read(tmp_path, "cell,A\n" + "".join(f"c{i},{i}\n" for i in range(100)), check=check)
    assert 3 in seen and len(seen) < 10


@pytest.mark.filterwarnings("error")
@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False).map(repr),
            st.integers(-(10**20), 10**20).map(str),
            st.decimals(0, 10**6, allow_nan=False, places=4).map(str),
            st.sampled_from(["0", "0.0", "00", "1.", ".5", "+3", "-0", "1E2", "007", " 4 "]),
        ),
        min_size=1,
    )
)
def test_numbers_are_python_s(words):
    block = ("\n".join(words) + "\n").encode()
    buffer, starts, lengths = fields.locate(block, ",", 1, 0)
    found = fields.numbers(buffer, starts[:, 0], lengths[:, 0])
    np.testing.assert_array_equal(found, [float(word) for word in words])


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_that_no_float32_holds_become_infinite(tmp_path):
    assert np.isinf(read(tmp_path, "cell,A\na,1e300\n").matrix[0, 0])


@pytest.mark.parametrize("word", ["much", "1_000", "1.2.3", ".", "-", "1,5", "0x1", "+", "1e"])
def test_a_value_that_is_no_number_names_its_column(word, tmp_path):
    refused(tmp_path, f'cell,A,B\na,1,2\nb,3,"{word}"\n', "'B'", "not numeric", word)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cell,A,B\na,1,2\nb,3\n", ["row 2 has 2 fields, the header 3", "copy it again"]),
        ("cell,A,B\na,1,2\nb,3,4,5\n", ["row 2 has 4 fields, the header 3"]),
        ("cell,A\na,1,2,3\nb,3,4,5\n", ["row 1 has 4 fields, the header 2"]),
        ("cell,A,B\na,1,2\nb,3,4\nc", ["row 3 has 1 fields"]),
        ('cell,A\na,1\n"b,2\n', ["a quote is not closed"]),
        ("cell,A\n", ["no cells"]),
        ("", ["no cells"]),
        ("cell\na\nb\n", ["no cells or no columns"]),
        (b"\x89PNG\0\0\n\0\0\n", ["no text"]),
        ("cell,Ä\na,1\n".encode("latin-1"), ["UTF-8"]),
        (
            gzip.compress(b"cell,A\n" + b"a,1\n" * 50, mtime=0)[:30],
            ["not a readable table", "copy it again"],
        ),
        (b"\x1f\x8bnonsense", ["not a readable table", "copy it again"]),
    ],
)
def test_what_is_no_table(text, words, tmp_path, blocks):
    refused(tmp_path, text, *words)


def test_the_row_at_fault_is_counted_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(fields, "BLOCK", 16)
    refused(tmp_path, "cell,A\n" + "a,1\n" * 50 + "b\n" + "a,1\n", "row 51 has 1 fields")


def test_bytes_that_are_no_text(tmp_path):
    refused(tmp_path, "cell,A\na,1\nb\0,2\n", "it is no text")


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        dense.read_dense(tmp_path / "no.csv")


def test_header(tmp_path):
    for text, names, separator in (
        ("cell,A\na,1\n", ["cell", "A"], ","),
        ('"A"\t"B"\na\t1\t2\n', ["", "A", "B"], "\t"),
    ):
        (tmp_path / "t.csv").write_text(text)
        assert dense.read_header(tmp_path / "t.csv") == (names, separator)


def test_some_columns(tmp_path, blocks):
    path = tmp_path / "t.csv"
    path.write_text(f'id,x,note,y\n{LONG[0]},1.25,"a, b",\n2,NA,,1e-3\n')
    found = dense.read_columns(path, {"cell": 0, "note": 2}, {"y": 3, "x": 1})
    assert found["cell"].tolist() == [LONG[0], "2"] and found["note"].tolist() == ["a, b", ""]
    np.testing.assert_array_equal(found[["x", "y"]], [[1.25, np.nan], [np.nan, 0.001]])
    path.write_text("id,x\na,b\n")
    with pytest.raises(InputError, match="column 'x' is not numeric, it has 'b'"):
        dense.read_columns(path, {}, {"x": 1})
    path.write_text("id,x\na,1\nb\n")
    with pytest.raises(InputError, match="row 2 has 1 fields"):
        dense.read_columns(path, {}, {"x": 1})
