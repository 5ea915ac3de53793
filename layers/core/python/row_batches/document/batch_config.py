"""The model of the input document (docs/reference/input-document.md). ``input_document`` reads one.

Types are strict: ``"5"`` is no number, ``1`` no boolean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from foundation.validation import Part, compiles, matches, not_available, refuse
from row_batches.mapping.fields import FieldName
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS, METADATA_COLUMNS
from row_batches.mapping.models import RESULT_COLUMN, InputMapping, OutputMapping

MAX_TOOL_TIMEOUT_SECONDS = 840
"""A worker has the 900 seconds of a Lambda function, and keeps some for writing its rows."""
MAX_AGENT_TIMEOUT_SECONDS = 365 * 24 * 3_600
"""A Standard workflow lives a year at most (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

STARTED_BY = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"
"""Callers add this key by AWS's advice, to link executions in the console; it is accepted and ignored."""

# --- the parts of the document


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
        matches(
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
                refuse(
                    f"not the ARN of {'a state machine' if kind == 'agent' else 'a Lambda function'}", f"write {shape}"
                )
        return arn


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
            matches(
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
            not_available(f"storage_mode {mode}", 'write "s3" or leave it out')
        return mode

    @field_validator("enable_compression", "enable_xray")
    @classmethod
    def _check_available(cls, value: bool, info: ValidationInfo) -> bool:
        if value:
            not_available(str(info.field_name), "leave it out")
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
            matches(
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
        str, compiles(parse_s3_uri, "not the address of an S3 object", "write s3://<bucket>/<key>.csv")
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


def replaced_columns(config: BatchConfig, columns: Sequence[str]) -> frozenset[str]:
    """The input's columns that are not the user's own: they are not mapped, and the output has its own in their place.

    Always those with the name of a default metadata column. An input with ``_execution_id`` or ``_row_id`` is an
    earlier output: there, also the columns named like mapped ones and like metadata columns on request, unless the
    mapping in uses them. So an output can be submitted again as it is, while no column of a user's is replaced because
    another is called ``_timestamp``.
    """
    metadata = frozenset(columns) & frozenset(DEFAULT_METADATA_COLUMNS)
    if not metadata & {"_execution_id", "_row_id"}:
        return metadata
    used = {column for _, column in config.input_mapping.columns_used()}
    return metadata | (frozenset(columns) & frozenset([*config.output_columns, *METADATA_COLUMNS])) - used
