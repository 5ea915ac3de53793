"""The classes that describe a data set of the lake: columns, filters, tiers, and the values of filters.

``bedrock_batches.violations`` describes the violations with them. The request's model, a selection's SQL and columns,
its diagnosis and the reference table are derived from that description.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from foundation.validation import refuse

VALUE = "$value"
"""The placeholder in a filter's condition for the request's value."""
TODAY = "$today"
"""The placeholder in a condition for the day of the selection, in UTC."""
MOST_NAMES = 200


def _read_date(value: object) -> object:
    """A date such as 2026-01-31. Raises a problem for any other text."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        try:
            return date.fromisoformat(value)
        except ValueError:
            refuse("not a day of the calendar", "write an existing day as YYYY-MM-DD")
    if not isinstance(value, date):
        refuse("not a date", "write a text such as 2026-01-31")
    return value


def _check_name(value: str) -> str:
    if not value.strip():
        refuse("is empty", "write a name, or remove it")
    return value


def _check_code(value: str) -> str:
    if re.fullmatch("[A-Za-z]{2}", value) is None:
        refuse("not a code of two letters", "write a code such as TX")
    return value


Day = Annotated[date, BeforeValidator(_read_date), WithJsonSchema({"type": "string", "format": "date"})]
DECIMALS = 9
"""Decimal places of a stored number. DynamoDB refuses numbers closer to 0 than 1e-130
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html)."""
Rounded = AfterValidator(lambda value: round(value, DECIMALS))
Amount = Annotated[float, Field(ge=0, le=1e12), Rounded]
Days = Annotated[int, Field(ge=0, le=100_000)]
Name = Annotated[str, Field(max_length=200, json_schema_extra={"pattern": r"\S"}), AfterValidator(_check_name)]
Names = Annotated[list[Name], Field(max_length=MOST_NAMES)]
Code = Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z]{2}$"}), AfterValidator(_check_code)]
Codes = Annotated[list[Code], Field(max_length=MOST_NAMES)]


@dataclass(frozen=True)
class Column:
    """A column of the data set's tables. ``type`` is DuckDB's.

    ``read_characters`` is how much of a text the selection reads; 0 reads all. ``generated`` columns have what the
    model wrote: they are empty when a record is loaded.
    """

    name: str
    type: str
    read_characters: int = 0
    generated: bool = False


@dataclass(frozen=True)
class Filter:
    """A filter of a request. Records pass if ``condition`` is true. An absent value or an empty list passes all.

    ``name`` is the name in a request; a dot makes an object, as in ``dateRange.start``. ``value`` is the type that the
    request's model checks. ``condition`` is SQL over ``columns``, with ``$value`` bound to the request's value and
    ``$today`` to the day of the selection. ``not_above`` names the filter whose value must be at least this one's.
    ``doc`` and ``example`` are its line in the reference.
    """

    name: str
    value: Any
    columns: frozenset[str]
    condition: str
    doc: str
    example: Any
    not_above: str = ""

    def __post_init__(self) -> None:
        if VALUE not in self.condition:
            raise ValueError(f"The condition of filter {self.name} does not use {VALUE}: it would ignore the request.")

    @property
    def parameter(self) -> str:
        return self.name.replace(".", "_")

    @property
    def sql(self) -> str:
        """The condition with a parameter of this filter's own name."""
        return self.condition.replace(VALUE, f"${self.parameter}")


@dataclass(frozen=True)
class TableFilter:
    """The filter that names tables of the data set, in any case. The selection reads only these tables."""

    name: str
    value: Any
    doc: str
    example: Any
    not_above: str = ""


AnyFilter: TypeAlias = Filter | TableFilter


@dataclass(frozen=True)
class Tier:
    """A priority tier: records that meet ``condition``, SQL over ``columns``, and are in no earlier tier."""

    name: str
    columns: frozenset[str]
    condition: str
    doc: str


@dataclass(frozen=True)
class ContentField:
    """A field of the generated content: its name in the model's answer, in the item and in the lake's table."""

    name: str
    attribute: str
    column: str
