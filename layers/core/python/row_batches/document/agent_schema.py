"""The schema of an agent's output, ``schemas/<agent>.yaml`` (docs/reference/extraction.md): its fields, and where in an
answer each can be found.

Terraform registers it with the target. A batch that names no columns and no extraction methods gets the schema's.
"""

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from foundation.problems import did_you_mean, listed
from foundation.regular_expressions import compile_pattern
from foundation.validation import Part, compiles, matches, refuse
from row_batches.extraction.expressions import parse_expression, parse_step
from row_batches.extraction.methods import METHOD_OF_SCHEMA_TYPE, ExtractionMethod, Given, PathSpec, ToolName
from row_batches.extraction.transforms import RegexTransform, Transforms, check_group, find_transform
from row_batches.mapping.fields import Scalar
from row_batches.mapping.metadata_columns import METADATA_COLUMNS
from row_batches.mapping.models import OutputColumn
from row_batches.mapping.output_types import OutputTypeName

MAX_FIELDS = 200
MAX_SCHEMA_BYTES = 100_000
"""As JSON: it is part of the target's entry in the registry, a DynamoDB item of 400 KB at most
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html)."""

_TYPES = tuple(METHOD_OF_SCHEMA_TYPE)
MethodClass = type[ExtractionMethod]  # models below have a field called type


def _check_type(name: str) -> str:
    if name not in _TYPES:
        refuse("unknown extraction type", f"{did_you_mean(name, _TYPES)}known: {listed(_TYPES)}")
    return name


class FieldExtraction(Part):
    """One place in which a field can be found."""

    type: Annotated[str, BeforeValidator(_check_type)] = Field(
        description="the [method](#methods)", json_schema_extra={"enum": list(_TYPES)}
    )
    tool: ToolName | None = Field(
        default=None, description="of `tool_result`: whose result; of `structured`: instead of `print_output`"
    )
    path: Annotated[
        str | None,
        compiles(
            lambda text: text is None or parse_expression(text),
            "not a path",
            "write a JSONPath such as $.name, or a JMESPath such as results[0].title",
        ),
    ] = Field(
        default=None,
        description="JSONPath or JMESPath; none: `$.content` of `tool_result`, `results[0].<name>` of `results_array`, "
        "otherwise the field's own name",
    )
    pattern: (
        Annotated[str, compiles(compile_pattern, "not a regular expression", "write a pattern within RE2's limits")]
        | None
    ) = Field(default=None, description="regular expression that takes the value out of the text at `path`")
    group: int | None = Field(
        default=None, ge=0, description="group of `pattern`; none: the first, or all of the match without groups"
    )
    transform: str | None = Field(default=None, description="name of a [transform](#transforms) of the value")

    @field_validator("tool")
    @classmethod
    def _check_tool(cls, tool: str | None, info: ValidationInfo) -> str | None:
        takes = [name for name, method in METHOD_OF_SCHEMA_TYPE.items() if "tool_name" in method.model_fields]
        if tool is not None and info.data.get("type", tool) not in (*takes, tool):
            refuse(f"{info.data['type']} has no tool", f"leave it out; {' and '.join(takes)} have one")
        return tool

    @field_validator("group")
    @classmethod
    def _check_group(cls, group: int | None, info: ValidationInfo) -> int | None:
        if group is not None and "pattern" in info.data:
            if info.data["pattern"] is None:
                refuse("there is no pattern", "add a pattern, or leave group out")
            check_group(info.data["pattern"], group)
        return group

    @property
    def method(self) -> MethodClass:
        return METHOD_OF_SCHEMA_TYPE[self.type]

    def mapping_of(self, field: str) -> Given:
        """The field's expression, as in a list of extraction methods."""
        path = self.path or self.method.default_path(field)
        text = path if self.pattern is None else f"{path} | {parse_step(self.pattern, self.group)}"
        return text if self.transform is None else PathSpec(path=text, transform=self.transform)


class SchemaField(Part):
    """One field of the output: a column, unless the batch names columns of its own."""

    name: Annotated[
        str,
        matches(
            r"[A-Za-z_][A-Za-z0-9_]{0,99}",
            "a field's name has 1 to 100 letters, digits and _, and does not begin with a digit",
            "write a name such as download_speed",
        ),
    ] = Field(description="letters, digits, `_`")
    type: OutputTypeName = Field(default="string", description="type of the column")
    format: str | None = Field(default=None, description="how to write the value, for types with formats")
    default: Scalar = Field(default="", description="the cell of a row without the field")
    description: str | None = Field(default=None, description="for people")
    extraction: Annotated[list[FieldExtraction], Field(min_length=1, max_length=10)] = Field(
        description="where it can be found, the best place first"
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name in METADATA_COLUMNS:
            refuse("this is the name of a metadata column", "choose another name")
        return name

    @property
    def column(self) -> OutputColumn:
        return OutputColumn(name=self.name, default=self.default, type=self.type, format=self.format)


def _read_version(value: object) -> object:
    """``1`` is version 1, but 1.10 would become 1.1."""
    if isinstance(value, float):
        refuse("not a text", 'put quotes around the version: "1.10"')
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class AgentSchema(Part):
    """The whole file."""

    agent: Annotated[
        str,
        matches(
            r"[A-Za-z0-9_-]{1,64}",
            "an agent's name has 1 to 64 letters, digits, - or _",
            "write the name under which the target is registered",
        ),
    ] = Field(description="registered name of the target, and name of the file")
    version: Annotated[
        str,
        BeforeValidator(_read_version, json_schema_input_type=str | int),
        matches(
            r"[A-Za-z0-9._-]{1,32}", "a version has 1 to 32 letters, digits, ., - or _", 'write a version such as "2"'
        ),
    ] = Field(description="a changed schema needs a new one")
    output_format: Literal["text", "mixed", "structured"] = Field(
        description="how the agent answers: `text`, no field has an extraction of type `structured`; `structured`, "
        "each field has one that reads structured data (`structured`, `results_array`, `direct`); `mixed`, both occur"
    )
    description: str | None = Field(default=None, description="for people")
    transforms: Transforms = Field(default={}, description='transforms of your own: name → `{"regex", "group"}`')
    fields: Annotated[list[SchemaField], Field(min_length=1, max_length=MAX_FIELDS)] = Field(
        description=f"up to {MAX_FIELDS} fields"
    )

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, fields: list[SchemaField], info: ValidationInfo) -> list[SchemaField]:
        names: set[str] = set()
        for index, field in enumerate(fields):
            if field.name in names:
                refuse(f"{field.name} is used twice", "give each field a name of its own", at=(index, "name"))
            names.add(field.name)
            _check_column(field, index)
            if "transforms" in info.data:
                _check_transforms(field, index, info.data["transforms"])
            _check_format(field, index, info.data.get("output_format", "mixed"))
        return fields

    @property
    def extraction_methods(self) -> list[ExtractionMethod]:
        """The methods that its fields ask for. For each field, they are in the order of the field's own list."""
        groups: list[tuple[MethodClass, str | None, dict[str, Given]]] = []
        for field in self.fields:
            start = 0
            for entry in field.extraction:
                position = next(
                    (
                        position
                        for position in range(start, len(groups))
                        if groups[position][:2] == (entry.method, entry.tool) and field.name not in groups[position][2]
                    ),
                    None,
                )
                if position is None:
                    position = len(groups)
                    groups.append((entry.method, entry.tool, {}))
                groups[position][2][field.name] = entry.mapping_of(field.name)
                start = position + 1
        return [method.of_schema(mappings, tool) for method, tool, mappings in groups]

    def output_mapping(self) -> dict[str, Any]:
        """The fields of ``output_mapping`` that it gives to a batch, as JSON."""
        return {
            "transforms": {name: transform.model_dump(mode="json") for name, transform in self.transforms.items()},
            "extraction_methods": [method.model_dump(mode="json") for method in self.extraction_methods],
            "columns": [field.column.model_dump(mode="json") for field in self.fields],
        }


def _check_column(field: SchemaField, index: int) -> None:
    try:
        _ = field.column
    except ValueError:
        refuse(
            "not a format of the field's type",
            "write one conversion such as %.2f, or leave format out",
            (index, "format"),
        )


def _check_transforms(field: SchemaField, index: int, transforms: dict[str, RegexTransform]) -> None:
    for place, entry in enumerate(field.extraction):
        expression = parse_expression(entry.path or "$")
        names = [name for name in (*expression.transforms, entry.transform) if name is not None]
        for name in names:
            try:
                find_transform(name, transforms)
            except ValueError as error:
                message, _, fix = str(error).partition("; ")
                where = "transform" if name == entry.transform else "path"
                refuse(message, fix, at=(index, "extraction", place, where))


def _check_format(field: SchemaField, index: int, output_format: str) -> None:
    types = [entry.type for entry in field.extraction]
    if output_format == "text" and "structured" in types:
        fix = "write output_format: mixed, since the agent now gives structured output too"
        refuse("the agent's output_format is text", fix, at=(index, "extraction", types.index("structured"), "type"))
    if output_format == "structured" and not any(entry.method.is_structured for entry in field.extraction):
        fix = "add an extraction of type structured, or write output_format: mixed"
        refuse("the agent's output_format is structured, and this field is only in texts", fix, (index, "extraction"))


def schema_hash(value: Any) -> str:
    """SHA-256 of a file's content. Comments, the order of keys and the notation do not change it.

    Terraform computes the same: ``sha256(jsonencode(yamldecode(file(…))))``
    (https://developer.hashicorp.com/terraform/language/functions/jsonencode).
    """
    text = _json_of_terraform(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()


def _json_of_terraform(value: Any) -> str:
    """Compact JSON with sorted keys, in which 1.0 is 1 and 1e-7 is 0.0000001."""
    if isinstance(value, dict):
        members = (f"{_json_of_terraform(name)}:{_json_of_terraform(value[name])}" for name in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json_of_terraform, value)) + "]"
    if isinstance(value, float):
        return format(Decimal(repr(value)).normalize(), "f")
    return json.dumps(value, ensure_ascii=False)
