"""Values as DynamoDB stores them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.aws.dynamodb_items import from_item, to_item

NUMBERS = st.integers(-(10**30), 10**30) | st.floats(-1e15, 1e15).filter(
    lambda number: number == 0 or abs(number) > 1e-100
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.binary() | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_a_value_comes_back_from_its_item(value: Any) -> None:
    assert from_item(to_item({"name": value})) == {"name": value}


def test_numbers_come_back_as_ints_or_floats() -> None:
    found = from_item({"whole": {"N": "2.0"}, "part": {"N": "1E-7"}})

    assert found == {"whole": 2, "part": 1e-7}
    assert type(found["whole"]) is int


@pytest.mark.parametrize("value", [math.inf, math.nan, object()])
def test_a_value_that_dynamodb_cannot_store_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        to_item({"list": [value]})
