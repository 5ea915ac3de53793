"""Items of DynamoDB, compared with boto3's own converter."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
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


def decimals(value: Any) -> Any:
    """boto3 refuses floats."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, list):
        return [decimals(item) for item in value]
    return {name: decimals(item) for name, item in value.items()} if isinstance(value, dict) else value


@given(VALUES)
def test_a_value_becomes_the_attribute_that_boto3_makes_of_it(value: Any) -> None:
    assert to_item({"name": value}) == {"name": TypeSerializer().serialize(decimals(value))}


@given(VALUES)
def test_a_value_comes_back_from_its_item(value: Any) -> None:
    assert from_item(to_item({"name": value})) == {"name": value}


def test_numbers_come_back_as_ints_or_floats_and_sets_as_lists() -> None:
    item = {"whole": {"N": "2.0"}, "part": {"N": "1E-7"}, "texts": {"SS": ["a", "b"]}, "numbers": {"NS": ["1", "2.5"]}}

    found = from_item(item)

    assert found == {"whole": 2, "part": 1e-7, "texts": ["a", "b"], "numbers": [1, 2.5]}
    assert type(found["whole"]) is int


@pytest.mark.parametrize("value", [math.inf, math.nan, {1, 2}, object()])
def test_a_value_without_an_attribute_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=f"no attribute for this {type(value).__name__}"):
        to_item({"list": [value]})
