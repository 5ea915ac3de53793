"""The models of ``input_mapping`` and ``output_mapping`` (docs/reference/input-document.md)."""

import unicodedata
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, field_validator
from pydantic_core.core_schema import ValidationInfo

from foundation.json_path import path_of_name
from foundation.problems import did_you_mean, listed, path_of, shown
from foundation.validation import Part, refuse
from row_batches.extraction.rules import ExtractionRules, fields_of
from row_batches.mapping.fields import ColumnName, FieldName, Json, JsonPath, Scalar
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS, METADATA_COLUMNS
from row_batches.mapping.output_types import OUTPUT_TYPE_OF, OUTPUT_TYPES, OutputTypeName
from row_batches.mapping.transformations import AnyTransformation

RESULT_COLUMN = "result"
"""The only mapped column of a batch without ``output_mapping.columns``: the payload as JSON."""

MAX_OUTPUT_COLUMNS = 1_000


def _check_output_column(name: str) -> str:
    if name in METADATA_COLUMNS:
        refuse("this is the name of a metadata column", "choose another name")
    if not 1 <= len(name) <= 255 or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        refuse("a column name has 1 to 255 characters, none of them a control character", "shorten or clean the name")
    return name


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
        hint = did_you_mean(str(unknown[0]), METADATA_COLUMNS)
        refuse(f"no metadata column is named {shown(unknown[0])}", f"{hint}known: {listed(METADATA_COLUMNS)}")
    if len(set(value)) < len(value):
        refuse("a metadata column is listed twice", "list each one once")
    return value


class InputMapping(Part):
    """``input_mapping``. If all parts are empty, every column is passed under its own name."""

    column_mappings: dict[ColumnName, FieldName] = Field(default={}, description="column → field")
    static_values: dict[FieldName, Json] = Field(default={}, description="field → any JSON, the same for every row")
    transformations: dict[FieldName, AnyTransformation] = Field(
        default={}, description='field → `{"type", "config", "default"}`'
    )

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
            yield from ((f"{where}.{place}", column) for place, column in transformation.columns())


class OutputColumn(Part):
    """One mapped column."""

    name: Annotated[str, AfterValidator(_check_output_column)] = Field(
        description="1 to 255 printable characters; unique, also among the original columns if they are included"
    )
    source: JsonPath | None = Field(
        default=None,
        description="RFC 9535 JSONPath, tried on the extracted fields, then on the whole answer, then on its payload "
        '(`data` or `content`), then on `{"agent_output": payload}`. A path that can match several values gives a '
        "list. Required, unless the column has the name of an extracted field: without one, it is that field alone",
    )
    default: Scalar = Field(
        default="",
        description="the cell if nothing matches, if the match cannot be cast, or if the row is not SUCCESS",
    )
    type: OutputTypeName = Field(default="string", description="see below")
    format: str | None = Field(default=None, description="how to write the value, for types with formats")

    @property
    def path(self) -> str:
        """``source``, or the path of the extracted field."""
        return path_of_name(self.name) if self.source is None else self.source

    @field_validator("format")
    @classmethod
    def _check_format(cls, text: str | None, info: ValidationInfo) -> str | None:
        kind = OUTPUT_TYPE_OF.get(info.data.get("type", ""))
        if text is None or kind is None:
            return text
        if kind.compile_format is None:
            known = " or ".join(other.name for other in OUTPUT_TYPES if other.compile_format is not None)
            refuse(f"a format needs a column of type {known}, not {kind.name}", "change the type, or leave format out")
        try:
            kind.compile_format(text)
        except ValueError as error:
            refuse(f"not a format of type {kind.name}: {error}", "write one conversion such as %.2f, %d or %08.3f")
        return text


class DeclaredColumn(Part):
    """A field of a target's answers that runs without an ``output_mapping`` of their own write as a column."""

    name: Annotated[str, AfterValidator(_check_output_column)] = Field(description="name of the column")
    source: JsonPath | None = Field(
        default=None, description="RFC 9535 JSONPath, as in a document; none: the field of the answer with this name"
    )
    type: OutputTypeName = Field(default="string", description="as in a document")

    @property
    def path(self) -> str:
        """``source``, or the path of the field with the column's name."""
        return path_of_name(self.name) if self.source is None else self.source


class OutputMapping(ExtractionRules):
    """Mapping out: fields extracted from an answer, then columns of them and of the answer."""

    columns: list[OutputColumn] = Field(
        default=[],
        description=f"up to {MAX_OUTPUT_COLUMNS:,} mapped columns. "
        f"Without any: one column for each extracted field; without extraction, one column `{RESULT_COLUMN}`, the "
        "payload as JSON",
    )
    include_original: bool = Field(default=True, description="whether the original columns come first")
    add_metadata: Annotated[bool | list[str], PlainValidator(_check_metadata)] = Field(
        default=True, description="the default metadata columns, none (`false`), or a list of metadata columns"
    )
    on_missing: Literal["default", "fail_row"] = Field(
        default="default",
        description="a mapped column that matches nothing: `default` writes its default and counts it; `fail_row` "
        "fails the row, whose answer is kept for `make remap`",
    )

    @field_validator("columns")
    @classmethod
    def _check_fields(cls, columns: list[OutputColumn], info: ValidationInfo) -> list[OutputColumn]:
        """Columns without a source name an extracted field; without columns, each field is the name of one."""
        if "extraction_methods" not in info.data:
            return columns
        fields = fields_of(info.data["extraction_methods"])
        for field in () if columns else fields:
            _check_output_column(field)
        for index, column in enumerate(columns):
            if column.source is None and column.name not in fields:
                fix = "add a path such as $.name; only a column with the name of an extracted field needs none"
                refuse("is required", fix, at=(index, "source"))
        return columns

    @property
    def mapped_columns(self) -> list[OutputColumn]:
        """The columns, in order: the named ones, else one for each extracted field. Empty if there are neither."""
        return self.columns or [OutputColumn(name=field) for field in fields_of(self.extraction_methods)]

    @property
    def metadata_columns(self) -> list[str]:
        """The metadata columns that the output has, in its order."""
        wanted = self.add_metadata
        if isinstance(wanted, bool):
            return list(DEFAULT_METADATA_COLUMNS) if wanted else []
        return [name for name in METADATA_COLUMNS if name in wanted]
