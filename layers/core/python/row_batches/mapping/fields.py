"""Field types that several models of the mappings share: names of columns and fields, paths, JSON values."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator

from foundation.json_path import compile_path
from foundation.json_text import render_json
from foundation.validation import compiles, refuse
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS


def _check_input_column(name: str) -> str:
    if not name:
        refuse("the column name is empty", "name a column of the CSV's header")
    if name in DEFAULT_METADATA_COLUMNS:
        refuse(f"{name} is a metadata column of an earlier output and is never mapped", "rename that column in the CSV")
    return name


def _check_scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        refuse("not a finite number", "write a finite number, a text, true, false or null")
    if value is not None and not isinstance(value, str | int | float):
        refuse("not a scalar", "write a text, a number, true, false or null")
    return value


def _check_json(value: object) -> object:
    try:
        render_json(value)
    except ValueError as error:
        refuse(f"this cannot be sent as JSON: {error}", "write a JSON value with finite numbers")
    return value


ColumnName = Annotated[str, AfterValidator(_check_input_column)]
FieldName = Annotated[str, Field(min_length=1, max_length=255)]
JsonPath = Annotated[
    str,
    compiles(compile_path, "not a JSONPath (RFC 9535)", "write a path such as $.name, $.items[0].id or $.items[*].id"),
]
Json = Annotated[Any, AfterValidator(_check_json)]
Scalar = Annotated[str | int | float | bool | None, PlainValidator(_check_scalar)]
