"""Converts JSON-like values to DynamoDB items and back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def to_item(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-like value in DynamoDB's form; floats become the decimals that they print as."""
    return {name: _serializer.serialize(_decimals(item)) for name, item in value.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON-like value of an item: numbers are ints or floats."""
    return {name: _numbers(_deserializer.deserialize(value)) for name, value in item.items()}


def _decimals(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {name: _decimals(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_decimals(item) for item in value]
    return value


def _numbers(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return value
