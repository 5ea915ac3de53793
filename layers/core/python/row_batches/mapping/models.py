"""The models of both mappings, as the input document holds them (docs/reference/input-document.md)."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic_core.core_schema import ValidationInfo

from foundation.json_text import render_json
from foundation.problems import closest, listed, path_of, shown
from foundation.regular_expressions import compile_pattern
from foundation.validation import Part, compiles, not_available, refuse
from row_batches.mapping.json_path import compile_path
from row_batches.mapping.number_format import compile_number_format
from row_batches.mapping.template_text import parse_template

METADATA_COLUMNS = ("_execution_id", "_row_id", "_status", "_error_message", "_execution_time_ms", "_timestamp")
"""In the order of the output. Input columns with these names are not mapped and are replaced in the output."""

RESULT_COLUMN = "result"
"""The one output column of a batch that maps nothing out: the payload as JSON."""

MAX_OUTPUT_COLUMNS = 1_000


def _check_input_column(name: str) -> str:
    if not name:
        refuse("the column name is empty", "name a column of the CSV's header")
    if name in METADATA_COLUMNS:
        refuse(f"{name} is a metadata column of an earlier output and is never mapped", "rename that column in the CSV")
    return name


def _check_output_column(name: str) -> str:
    if name in METADATA_COLUMNS:
        refuse("this is the name of a metadata column", "choose another name")
    if not 1 <= len(name) <= 255 or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        refuse("a column name has 1 to 255 characters, none of them a control character", "shorten or clean the name")
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
        refuse(f"this cannot be sent as JSON: {error}", "write what JSON has, with finite numbers")
    return value


def _check_metadata(value: object) -> object:
    if isinstance(value, bool):
        return value
    if not isinstance(value, list):
        refuse(
            "neither a boolean nor a list of metadata columns",
            "write true, false or some of " + listed(METADATA_COLUMNS),
        )
    unknown = [name for name in value if name not in METADATA_COLUMNS]
    if unknown:
        nearest = closest(str(unknown[0]), METADATA_COLUMNS)
        hint = f"did you mean {nearest}? " if nearest else ""
        refuse(f"no metadata column is named {shown(unknown[0])}", f"{hint}known: {listed(METADATA_COLUMNS)}")
    if len(set(value)) < len(value):
        refuse("a metadata column is named twice", "name each once")
    return value


ColumnName = Annotated[str, AfterValidator(_check_input_column)]
FieldName = Annotated[str, Field(min_length=1, max_length=255)]
JsonPath = Annotated[
    str,
    compiles(compile_path, "not a JSONPath (RFC 9535)", "write a path such as $.name, $.items[0].id or $.items[*].id"),
]
Json = Annotated[Any, AfterValidator(_check_json)]
Scalar = Annotated[str | int | float | bool | None, PlainValidator(_check_scalar)]


class ConcatConfig(Part):
    columns: Annotated[list[ColumnName], Field(min_length=1)]
    separator: str = " "


class TemplateConfig(Part):
    """``variables``: name in the template -> column. A name that is not among them is itself a column."""

    template: Annotated[
        str, compiles(parse_template, "not a template", "write {name} for a column, {{ and }} for literal braces")
    ]
    variables: dict[FieldName, ColumnName] = {}


class JsonPathConfig(Part):
    column: ColumnName
    path: JsonPath


class RegexConfig(Part):
    column: ColumnName
    pattern: Annotated[
        str, compiles(compile_pattern, "not a regular expression", "write a pattern within RE2's limits")
    ]
    group: Annotated[int, Field(ge=0)] = 1

    @field_validator("group")
    @classmethod
    def _check_group(cls, group: int, info: ValidationInfo) -> int:
        pattern = info.data.get("pattern")
        if pattern is not None and group > (groups := compile_pattern(pattern).groups):
            refuse(
                f"group {group} does not exist: the pattern has {groups} groups",
                "put parentheses around the part to take, or set group to 0 for the whole match",
            )
        return group


class ConcatTransformation(Part):
    type: Literal["concat"]
    config: ConcatConfig


class TemplateTransformation(Part):
    type: Literal["template"]
    config: TemplateConfig


class WithDefault(Part):
    """``default``, when given (null counts), is the field's value where the cell does not yield one."""

    default: Json = None

    @property
    def has_default(self) -> bool:
        return "default" in self.model_fields_set

    @model_serializer(mode="wrap")
    def _leave_out_default_not_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return fields if self.has_default else {name: value for name, value in fields.items() if name != "default"}


class JsonPathTransformation(WithDefault):
    type: Literal["jsonpath"]
    config: JsonPathConfig


class RegexTransformation(WithDefault):
    type: Literal["regex"]
    config: RegexConfig


Transformation = Annotated[
    ConcatTransformation | TemplateTransformation | JsonPathTransformation | RegexTransformation,
    Field(discriminator="type"),
]
TRANSFORMATION_TYPES = ("concat", "template", "jsonpath", "regex")


class InputMapping(Part):
    """Mapping in. All empty: every column is passed under its own name."""

    column_mappings: dict[ColumnName, FieldName] = {}
    static_values: dict[FieldName, Json] = {}
    transformations: dict[FieldName, Transformation] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.column_mappings or self.static_values or self.transformations)

    def columns_used(self) -> Iterator[tuple[str, str]]:
        """Pairs of (path in the document, column), in document order."""
        root = "input_mapping"
        for column in self.column_mappings:
            yield path_of(root, "column_mappings", column), column
        for field, transformation in self.transformations.items():
            where = path_of(root, "transformations", field, "config")
            match transformation:
                case ConcatTransformation(config=concat):
                    yield from ((f"{where}.columns[{i}]", column) for i, column in enumerate(concat.columns))
                case TemplateTransformation(config=template):
                    yield from (
                        (path_of(where, "variables", name), column) for name, column in template.variables.items()
                    )
                    names = dict.fromkeys(parse_template(template.template).names)
                    yield from ((f"{where}.template", name) for name in names if name not in template.variables)
                case JsonPathTransformation(config=one) | RegexTransformation(config=one):
                    yield f"{where}.column", one.column


class OutputColumn(Part):
    """One mapped column."""

    name: Annotated[str, AfterValidator(_check_output_column)]
    source: JsonPath
    default: Scalar = ""
    type: Literal["string", "number", "boolean", "json_string"] = "string"
    format: (
        Annotated[
            str,
            compiles(
                compile_number_format,
                "not a bounded printf number format",
                "write one conversion such as %.2f, %d or %08.3f",
            ),
        ]
        | None
    ) = None

    @field_validator("format")
    @classmethod
    def _check_format(cls, text: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("type")
        if text is not None and kind not in ("number", None):
            refuse(f"a format needs a column of type number, not {kind}", 'add "type": "number" or leave format out')
        return text


class OutputMapping(Part):
    """Mapping out. ``extraction_methods`` belongs to a capability that is not built yet."""

    columns: list[OutputColumn] = []
    include_original: bool = True
    add_metadata: Annotated[bool | list[str], PlainValidator(_check_metadata)] = True
    extraction_methods: Any = None

    @field_validator("extraction_methods")
    @classmethod
    def _check_extraction_methods(cls, value: object) -> object:
        if value is not None:
            not_available("extraction_methods", "map with output_mapping.columns")
        return value
