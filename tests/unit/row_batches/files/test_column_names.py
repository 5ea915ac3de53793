"""The names under which columns without a name, or with a repeated one, are addressed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.files.column_names import addressed, naming_warnings


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["id", "text"], ["id", "text"]),
        (["", "a"], ["column_1", "a"]),
        (["a", " ", ""], ["a", "column_2", "column_3"]),
        (["a", "a", "a"], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2"], ["a", "a_3", "a_2"]),
        (["", "column_1"], ["column_1_2", "column_1"]),
    ],
)
def test_each_column_is_addressed_by_one_name(header: list[str], names: list[str]) -> None:
    assert addressed(header) == names


@given(st.lists(st.sampled_from(["", " ", "a", "a_2", "a_3", "column_1", "column_2"]), max_size=8))
def test_names_are_unique_and_a_name_that_the_header_has_is_kept(header: list[str]) -> None:
    names = addressed(header)

    assert len(set(names)) == len(header)
    for name in {name for name in header if name.strip()}:
        assert names[header.index(name)] == name


def test_the_user_is_told_how_such_columns_are_addressed() -> None:
    header = ["", "a", "a", *[""] * 6]

    unnamed, repeated = naming_warnings(header, addressed(header))

    assert "7 columns without a name" in unnamed
    assert "column_1, column_4, column_5, column_6, column_7 and 2 more" in unnamed
    assert '"a_2" (column 3)' in repeated
    assert naming_warnings(["a", "b"], ["a", "b"]) == []
