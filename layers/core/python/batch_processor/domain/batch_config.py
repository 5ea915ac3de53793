"""The model of the input document (docs/reference/input-document.md). ``input_document`` reads one.

Types are strict: ``"5"`` is no number, ``1`` no boolean.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from batch_processor.domain.json_path import compile_path
from batch_processor.domain.json_text import render_json
from batch_processor.domain.number_format import compile_number_format
from batch_processor.domain.problems import closest, listed, path_of, shown
from batch_processor.domain.regular_expressions import compile_pattern
from batch_processor.domain.template_text import parse_template

METADATA_COLUMNS = ("_execution_id", "_row_id", "_status", "_error_message", "_execution_time_ms", "_timestamp")
"""In the order of the output. Input columns with these names are not mapped and are replaced in the output."""

RESULT_COLUMN = "result"
"""The one output column of a batch that maps nothing out: the payload as JSON."""

MAX_OUTPUT_COLUMNS = 1_000
MAX_TOOL_TIMEOUT_SECONDS = 840
"""A worker has the 900 seconds of a Lambda function, and keeps some for writing its rows."""
MAX_AGENT_TIMEOUT_SECONDS = 365 * 24 * 3_600
"""A Standard workflow lives a year at most (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

STARTED_BY = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"
"""Callers add this key by AWS's advice, to link executions in the console; it is accepted and ignored."""

# --- problems, as validators raise them


def _refuse(message: str, fix: str) -> NoReturn:
    raise PydanticCustomError("problem", "{message}", {"message": message, "fix": fix})


def _not_available(field: str, instead: str) -> NoReturn:
    _refuse(f"{field} is not available yet", instead)


def _compiles(compile_text: Callable[[str], object], what: str, fix: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            compile_text(text)
        except ValueError as error:
            _refuse(f"{what}: {error}", fix)
        return text

    return AfterValidator(check)


def _matches(pattern: str, what: str, fix: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            _refuse(what, fix)
        return text

    return AfterValidator(check)


def _check_input_column(name: str) -> str:
    if not name:
        _refuse("the column name is empty", "name a column of the CSV's header")
    if name in METADATA_COLUMNS:
        _refuse(
            f"{name} is a metadata column of an earlier output and is never mapped", "rename that column in the CSV"
        )
    return name


def _check_output_column(name: str) -> str:
    if name in METADATA_COLUMNS:
        _refuse("this is the name of a metadata column", "choose another name")
    if not 1 <= len(name) <= 255 or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        _refuse("a column name has 1 to 255 characters, none of them a control character", "shorten or clean the name")
    return name


def _check_scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        _refuse("not a finite number", "write a finite number, a text, true, false or null")
    if value is None or isinstance(value, str | int | float):
        return value
    _refuse("not a scalar", "write a text, a number, true, false or null")


def _check_json(value: object) -> object:
    try:
        render_json(value)
    except ValueError as error:
        _refuse(f"this cannot be sent as JSON: {error}", "write what JSON has, with finite numbers")
    return value


def _check_metadata(value: object) -> object:
    if isinstance(value, bool):
        return value
    if not isinstance(value, list):
        _refuse(
            "neither a boolean nor a list of metadata columns",
            "write true, false or some of " + listed(METADATA_COLUMNS),
        )
    unknown = [name for name in value if name not in METADATA_COLUMNS]
    if unknown:
        nearest = closest(str(unknown[0]), METADATA_COLUMNS)
        hint = f"did you mean {nearest}? " if nearest else ""
        _refuse(f"no metadata column is named {shown(unknown[0])}", f"{hint}known: {listed(METADATA_COLUMNS)}")
    if len(set(value)) < len(value):
        _refuse("a metadata column is named twice", "name each once")
    return value


# --- the parts of the document

ColumnName = Annotated[str, AfterValidator(_check_input_column)]
FieldName = Annotated[str, Field(min_length=1, max_length=255)]
JsonPath = Annotated[
    str,
    _compiles(compile_path, "not a JSONPath (RFC 9535)", "write a path such as $.name, $.items[0].id or $.items[*].id"),
]
Json = Annotated[Any, AfterValidator(_check_json)]
Scalar = Annotated[str | int | float | bool | None, PlainValidator(_check_scalar)]


class S3Location(NamedTuple):
    bucket: str
    key: str


def parse_s3_uri(uri: str) -> S3Location:
    """Raises ValueError, also of what UTF-8 cannot hold.

    Bucket rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.
    """
    if not uri.startswith("s3://"):
        raise ValueError("it does not start with s3://")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket) is None:
        raise ValueError("the bucket's name is not valid")
    if not key:
        raise ValueError("the object's key is missing")
    if key.endswith("/"):
        raise ValueError("it names a folder")
    if len(key.encode()) > 1_024:
        raise ValueError("the key has more than 1,024 bytes")
    return S3Location(bucket, key)


class Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


_ARN_OF: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "agent": (
            r"arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:stateMachine:[^\s:]+(:[^\s:]+)?",
            "arn:aws:states:<region>:<account>:stateMachine:<name>",
        ),
        "tool": (
            r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[^\s:]+(:[^\s:]+)?",
            "arn:aws:lambda:<region>:<account>:function:<name>",
        ),
    }
)


_EXECUTION_ARN_START = r"arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:execution:[^\s:/]+:"
EXECUTION_NAME = r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U0010ffff]{1,80}"""
"""https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html, ``name``."""


class TargetReference(Part):
    """The target by its registered name; ``arn`` overrides the registered one, if the deployment allows it."""

    type: Literal["agent", "tool"]
    name: Annotated[
        str,
        _matches(
            r"[A-Za-z0-9_.-]{1,128}",
            "a target's name has 1 to 128 letters, digits, _, - or .",
            "write the name under which the target is registered",
        ),
    ]
    arn: str | None = None

    @field_validator("arn")
    @classmethod
    def _check_arn(cls, arn: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("type")
        if arn is not None and kind is not None:
            pattern, shape = _ARN_OF[kind]
            if re.fullmatch(pattern, arn) is None:
                _refuse(
                    f"not the ARN of {'a state machine' if kind == 'agent' else 'a Lambda function'}", f"write {shape}"
                )
        return arn


class ConcatConfig(Part):
    columns: Annotated[list[ColumnName], Field(min_length=1)]
    separator: str = " "


class TemplateConfig(Part):
    """``variables``: name in the template -> column. A name that is not among them is itself a column."""

    template: Annotated[
        str, _compiles(parse_template, "not a template", "write {name} for a column, {{ and }} for literal braces")
    ]
    variables: dict[FieldName, ColumnName] = {}


class JsonPathConfig(Part):
    column: ColumnName
    path: JsonPath


class RegexConfig(Part):
    column: ColumnName
    pattern: Annotated[
        str, _compiles(compile_pattern, "not a regular expression", "write a pattern within RE2's limits")
    ]
    group: Annotated[int, Field(ge=0)] = 1

    @field_validator("group")
    @classmethod
    def _check_group(cls, group: int, info: ValidationInfo) -> int:
        pattern = info.data.get("pattern")
        if pattern is not None and group > (groups := compile_pattern(pattern).groups):
            _refuse(
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
            _compiles(
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
            _refuse(f"a format needs a column of type number, not {kind}", 'add "type": "number" or leave format out')
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
            _not_available("extraction_methods", "map with output_mapping.columns")
        return value


class RetryPolicy(Part):
    """``max_attempts`` counts all attempts. The pause after attempt n is initial_interval * backoff_rate^(n-1), at most
    ``max_delay_seconds``; with ``jitter`` a random part of it."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    backoff_rate: Annotated[float, Field(ge=1, le=100)] = 2.0
    initial_interval_seconds: Annotated[float, Field(ge=0, le=86_400)] = 1
    max_delay_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60
    jitter: bool = True
    non_retryable_errors: list[FieldName] = []


class StopAfter(Part):
    """When to stop starting rows: exactly one of the two. Percent of all rows, rounded up to whole rows."""

    failed_rows: Annotated[int, Field(ge=1)] | None = None
    failed_percent: Annotated[float, Field(gt=0, le=100)] | None = None


class ExecutionConfig(Part):
    max_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 1
    timeout_seconds: Annotated[int, Field(ge=1, le=MAX_AGENT_TIMEOUT_SECONDS)] = 300
    retry_policy: RetryPolicy = RetryPolicy()
    continue_on_error: bool = True
    stop_after: StopAfter | None = None
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    max_rows: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    storage_mode: Literal["s3", "dynamodb", "inline"] = "s3"
    ttl_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    enable_compression: bool = False
    resume_from: (
        Annotated[
            str,
            _matches(
                rf"({_EXECUTION_ARN_START})?{EXECUTION_NAME}",
                "neither the name nor the ARN of an execution",
                "write the name of the earlier execution, as make run shows it",
            ),
        ]
        | None
    ) = None
    debug: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = None
    enable_xray: bool = False

    @field_validator("storage_mode")
    @classmethod
    def _check_storage_mode(cls, mode: str) -> str:
        if mode != "s3":
            _not_available(f"storage_mode {mode}", 'write "s3" or leave it out')
        return mode

    @field_validator("enable_compression", "enable_xray")
    @classmethod
    def _check_available(cls, value: bool, info: ValidationInfo) -> bool:
        if value:
            _not_available(str(info.field_name), "leave it out")
        return value

    @property
    def resumed_execution(self) -> str | None:
        """The name in ``resume_from``, which may be an ARN."""
        return self.resume_from and self.resume_from.rpartition(":")[2]

    @property
    def effective_log_level(self) -> str | None:
        """``debug`` is log level DEBUG, whatever ``log_level`` says. None: the deployment's."""
        return "DEBUG" if self.debug else self.log_level

    def failure_limit(self, total_rows: int) -> int | None:
        """The number of failed rows that pulls the brake; None: never."""
        limits = [] if self.continue_on_error else [1]
        if self.stop_after is not None and self.stop_after.failed_rows is not None:
            limits.append(self.stop_after.failed_rows)
        if self.stop_after is not None and self.stop_after.failed_percent is not None:
            # Exact: 2.2 percent of 3,000 rows are 66, which binary fractions would round up to 67.
            limits.append(max(1, math.ceil(Fraction(repr(self.stop_after.failed_percent)) * total_rows / 100)))
        return min(limits, default=None)


class NotificationConfig(Part):
    batch_name: (
        Annotated[
            str,
            # Also the value of an S3 object tag, which allows these (and a few more) characters.
            _matches(
                r"[A-Za-z0-9 _.-]{1,80}",
                "a batch name has 1 to 80 letters, digits, spaces, _, . or -",
                "shorten or clean the name",
            ),
        ]
        | None
    ) = None
    include_details: bool = True


class BatchConfig(Part):
    """The whole input document, with defaults filled in. ``model_dump(mode="json")`` parses to an equal one."""

    csv_s3_uri: Annotated[
        str, _compiles(parse_s3_uri, "not the address of an S3 object", "write s3://<bucket>/<key>.csv")
    ]
    target: TargetReference
    input_mapping: InputMapping = InputMapping()
    output_mapping: OutputMapping = OutputMapping()
    execution_config: ExecutionConfig = ExecutionConfig()
    notification_config: NotificationConfig = NotificationConfig()
    dry_run: bool = False

    @property
    def source(self) -> S3Location:
        return parse_s3_uri(self.csv_s3_uri)

    @property
    def batch_name(self) -> str:
        """The name given in ``notification_config``, else the target's."""
        return self.notification_config.batch_name or self.target.name

    @property
    def output_columns(self) -> list[str]:
        """The names of the mapped columns, in order."""
        return [column.name for column in self.output_mapping.columns] or [RESULT_COLUMN]

    @property
    def metadata_columns(self) -> list[str]:
        """The metadata columns that the output has, in the order of METADATA_COLUMNS."""
        wanted = self.output_mapping.add_metadata
        if isinstance(wanted, bool):
            return list(METADATA_COLUMNS) if wanted else []
        return [name for name in METADATA_COLUMNS if name in wanted]


def replaced_columns(config: BatchConfig, columns: Sequence[str]) -> frozenset[str]:
    """The input's columns that are not the user's own: they are not mapped, and the output has its own in their place.

    Always those with a metadata name. An input with ``_execution_id`` or ``_row_id`` is an earlier output: there, also
    the columns named like mapped ones, unless the mapping in uses them. So an output can be submitted again as it is,
    while no column of a user's is replaced because another is called ``_timestamp``.
    """
    metadata = frozenset(columns) & frozenset(METADATA_COLUMNS)
    if not metadata & {"_execution_id", "_row_id"}:
        return metadata
    used = {column for _, column in config.input_mapping.columns_used()}
    return metadata | (frozenset(columns) & frozenset(config.output_columns)) - used
