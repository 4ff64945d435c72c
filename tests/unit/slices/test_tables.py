"""Slices as tables of text; what is wrong with one is tested on the command, in tests/cli."""

import numpy as np
import pytest

from lloki.slices import symbols, tables
from lloki.support.errors import InputError


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_counts_of_a_table_that_no_float_holds_become_infinite(tmp_path):
    (tmp_path / "counts.csv").write_text("cell,A\na,1\nb,1e300\n")
    (tmp_path / "places.csv").write_text("cell,x,y\na,0,0\nb,1,1\n")
    data, _ = tables.read_tables(tmp_path / "counts.csv", tmp_path / "places.csv")
    assert np.isinf(data.X[1, 0])


COUNTS = "cell,fov,A,B,leiden\na,7,1,2,0\nb,8,3,4,1\n"


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        ("cell,y,x", ("a,2,1", "b,4,3"), [[1, 2], [3, 4]]),
        ("id,fov,center_x,center_y,volume", ("a,9,1,2,5", "b,9,3,4,5"), [[1, 2], [3, 4]]),
        ("cell,X,Y,Z", ("b,3,4,6", "a,1,2,5"), [[1, 2, 5], [3, 4, 6]]),
        ("cell,x_centroid,y_centroid,transcript_counts", ("a,1,2,9", "b,3,4,9"), [[1, 2], [3, 4]]),
        ("cell,one,two", ("a,1,2", "b,3,4"), [[1, 2], [3, 4]]),
    ],
)
def test_coordinates_go_by_name_and_what_is_no_gene_is_passed_over(
    tmp_path, header, rows, expected
):
    (tmp_path / "counts.csv").write_text(COUNTS)
    (tmp_path / "places.csv").write_text("\n".join([header, *rows]) + "\n")
    data, said = tables.read_tables(tmp_path / "counts.csv", tmp_path / "places.csv")
    np.testing.assert_array_equal(data.obsm["spatial"], expected)
    assert data.var_names.tolist() == ["A", "B"] and "fov, leiden" in said[0]
    np.testing.assert_array_equal(data.X.toarray(), [[1, 2], [3, 4]])


@pytest.mark.parametrize("header", ["cell,fov,a", "cell,p,q,r,s"])
def test_columns_that_are_no_coordinates_are_not_taken_for_some(tmp_path, header):
    (tmp_path / "counts.csv").write_text(COUNTS)
    numbers = ",1" * (header.count(","))
    (tmp_path / "places.csv").write_text(f"{header}\na{numbers}\nb{numbers}\n")
    with pytest.raises(InputError, match="x"):
        tables.read_tables(tmp_path / "counts.csv", tmp_path / "places.csv")


PLACES = "cell,x,y\na,1.5,2\nb,3,4\nc,5,6\n"


def read(tmp_path, counts, places=PLACES):
    (tmp_path / "counts.csv").write_text(counts)
    (tmp_path / "places.csv").write_text(places)
    return tables.read_tables(tmp_path / "counts.csv", tmp_path / "places.csv")


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("quoted", [False, True])
def test_what_separates_fields_is_found(tmp_path, separator, quoted):
    counts = "cell,A,B\na,1,20\nb,3,4\nc,5,0\n".replace(",", separator)
    places = PLACES.replace(",", separator)
    if separator == ";":  # a decimal comma
        places = places.replace("1.5", "1,5")
    if quoted:
        counts = counts.replace("a" + separator, '"a"' + separator, 1)
        places = places.replace("a" + separator, '"a"' + separator, 1)
    data, said = read(tmp_path, counts, places)
    np.testing.assert_array_equal(data.X.toarray(), [[1, 20], [3, 4], [5, 0]])
    np.testing.assert_array_equal(data.obsm["spatial"], [[1.5, 2], [3, 4], [5, 6]])
    assert said == []


def test_genes_in_rows_are_told_by_the_cells_of_the_coordinates(tmp_path):
    turned = ",c,a,b\nA,5,1,3\nn_counts,5,21,7\nB,0,20,4\n"
    data, said = read(tmp_path, turned)
    assert (list(data.obs_names), list(data.var_names)) == (["c", "a", "b"], ["A", "B"])
    np.testing.assert_array_equal(data.X.toarray(), [[5, 0], [1, 20], [3, 4]])
    np.testing.assert_array_equal(data.obsm["spatial"], [[5, 6], [1.5, 2], [3, 4]])
    assert "a row a gene" in said[0] and "n_counts" in said[1] and data.X.format == "csr"
    data, said = read(tmp_path, "cell,a,b\na,1,2\nb,3,4\nc,5,6\n")  # genes called as cells are
    assert list(data.obs_names) == ["a", "b", "c"] and said == []
    with pytest.raises(InputError, match=r"'d' of counts\.csv has no coordinates"):
        read(tmp_path, ",c,a,d\nA,5,1,3\n")


@pytest.mark.parametrize(
    "name",
    ["n_counts", "n_genes", "total_counts", "log1p_total_counts", "pct_counts_mt", "leiden",
     "louvain", "fov", "cell_ID", "Area", "Area.um2", "x", "y", "batch", "sample", "UMAP_1",
     "Mean.DAPI", "CenterX_local_px", "nCount_RNA", "n_genes_by_counts", "Unnamed: 0"],
)  # fmt: skip
def test_columns_of_programs_are_no_genes(tmp_path, name):
    assert tables.is_no_gene(name)
    data, said = read(tmp_path, f"cell,A,{name},B\na,1,7.5,20\nb,3,7,4\nc,5,7,0\n")
    assert list(data.var_names) == ["A", "B"] and name in said[0]


def test_no_known_symbol_is_taken_for_a_column_of_programs():
    assert [s for s in symbols.known().values() if tables.is_no_gene(s)] == []


def test_the_table_of_cosmx_alone_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"begins with 'fov'.*of CosMx give the folder"):
        read(tmp_path, "fov,cell_ID,A\n1,1,5\n1,2,6\n")


def test_numbers_of_rows_are_no_names_of_cells(tmp_path):
    places = "cell,x,y\n0,1,2\n1,5,6\n"
    with pytest.raises(InputError, match="counts the rows, and 'cell' names the cells; leave"):
        read(tmp_path, ",cell,A\n0,b,5\n1,a,6\n", places)
    with pytest.raises(InputError, match="counts the rows, and 'barcode' names the cells"):
        read(tmp_path, "cell,A\n0,5\n1,6\n", ",barcode,x,y\n0,b,1,2\n1,a,5,6\n")
    data, _ = read(tmp_path, ",A\n0,5\n1,6\n", places)  # they may be all that there is
    assert data.obs_names.tolist() == ["0", "1"]


def test_sums_are_neither_genes_nor_cells(tmp_path):
    places = "cell,x,y\na,1,2\nb,5,6\nTotal,0,0\n"
    data, said = read(
        tmp_path, "cell,A,B,Total,nUMI\na,1,2,3,3\nb,4,0,4,4\nTotal,5,2,7,7\n", places
    )
    assert (data.obs_names.tolist(), data.var_names.tolist()) == (["a", "b"], ["A", "B"])
    assert "rows that add up the others are passed over (Total)" in said[0]
    assert "Total, nUMI" in said[1]
