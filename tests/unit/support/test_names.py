"""Names of users as names of files and elements."""

import pytest

from lloki.support.names import plain_names


@pytest.mark.parametrize(
    ("name", "plain"),
    [("cell type", "cell_type"), ("a/b", "a_b"), ("..", "_"), (".hidden", "_hidden"), ("", "_"),
     ("__x", "_x"), ("_x", "_x"), ("a.b-c", "a.b-c"), ("Größe", "Größe"), ("cells", "cells_")],
)  # fmt: skip
def test_names_of_letters_digits_and_three_signs(name, plain):
    assert plain_names([name], taken=["Cells"]) == {name: plain}


def test_no_two_are_alike_in_any_case():
    found = plain_names(["a b", "a_b", "A_B", "a_b_"])
    assert found == {"a b": "a_b", "a_b": "a_b_", "A_B": "A_B__", "a_b_": "a_b___"}
