"""The registry of targets in DynamoDB, behind ``row_batches.targets.ports.Targets``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from foundation.aws.errors import translated
from foundation.errors import DeploymentError
from row_batches.document.plan import Target
from row_batches.targets.kinds import kind_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LOGGER = logging.getLogger("batch_processor.targets")


class DynamoTargets:
    """Targets in a table, one item each, with the hash key ``name``. The low-level client is faster to import.

    Attributes that this release does not know are ignored, because a newer release can have written the item.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, name: str) -> Target | None:
        """The target with this name, if there is one. Raises ``DeploymentError`` if its item is not valid."""
        with translated("dynamodb:GetItem", self._table):
            answer = self._client.get_item(TableName=self._table, Key={"name": {"S": name}}, ConsistentRead=True)
        return self._target(answer["Item"]) if "Item" in answer else None

    def all(self) -> list[Target]:
        """All targets whose items are valid. The others are logged, so that one wrong item hides no other target."""
        pages = self._client.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
        with translated("dynamodb:Scan", self._table):
            items = [item for page in pages for item in page["Items"]]
        return list(self._valid(items))

    def _valid(self, items: list[dict[str, Any]]) -> Iterator[Target]:
        for item in items:
            try:
                yield self._target(item)
            except DeploymentError as error:
                LOGGER.warning("target left out: %s", error)

    def _target(self, item: Mapping[str, Any]) -> Target:
        fields = {name: _value(value) for name, value in item.items()}
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            target = Target.model_validate(given, extra="ignore")
        except ValidationError as error:
            raise DeploymentError(
                f"The target {fields.get('name')} in the registry {self._table} is not valid: {error}. "
                "Correct the Terraform variable targets and apply."
            ) from error
        kind_of(target)
        return target


def _value(attribute: Mapping[str, Any]) -> Any:
    """The value of a DynamoDB attribute, of the types that the registry has."""
    (kind, value), *_ = attribute.items()
    if kind == "N":
        return float(value)
    if kind == "M":
        return {name: _value(inner) for name, inner in value.items()}
    if kind == "L":
        return tuple(_value(inner) for inner in value)
    return None if kind == "NULL" else value
