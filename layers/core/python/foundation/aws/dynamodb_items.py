"""Converts JSON-like values to DynamoDB items and back.

boto3 has a converter, which makes ``Decimal`` of every number and refuses floats. Importing it imports all of boto3.

The types of attributes: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any


def to_item(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-like value, or one with bytes, in DynamoDB's form. Floats become the decimals that they print as.

    Raises TypeError for a value that is neither, such as infinity.
    """
    return {name: _attribute(item) for name, item in value.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """The value of an item: numbers are ints or floats, binary values bytes, and sets lists."""
    return {name: _value(attribute) for name, attribute in item.items()}


def _attribute(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case float() if isfinite(value):
            return {"N": str(Decimal(repr(value)))}
        case bytes():
            return {"B": value}
        case Mapping():
            return {"M": to_item(value)}
        case list() | tuple():
            return {"L": [_attribute(item) for item in value]}
    raise TypeError(f"DynamoDB has no attribute for this {type(value).__name__}")


def _value(attribute: Mapping[str, Any]) -> Any:
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return _number(value)
        case "NS":
            return [_number(text) for text in value]
        case "L":
            return [_value(item) for item in value]
        case "M":
            return from_item(value)
    return value


def _number(text: str) -> int | float:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)
