"""The model of the input document (docs/reference/input-document.md). ``input_document`` reads one.

Types are strict: ``"5"`` is not a number, and ``1`` is not a boolean.
"""

import math
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, field_validator

from foundation.validation import Part, compiles, matches, refuse
from row_batches.document.input_format import InputFormat
from row_batches.document.output_format import OutputFormat
from row_batches.document.s3_location import S3Location, parse_input_uri, parse_output_uri
from row_batches.mapping.fields import FieldName
from row_batches.mapping.models import RESULT_COLUMN, InputMapping, OutputMapping

MAX_TOOL_TIMEOUT_SECONDS = 840
"""A Lambda function has 900 seconds; a worker reserves some of them for writing its rows."""
MAX_AGENT_TIMEOUT_SECONDS = 365 * 24 * 3_600
"""A Standard workflow can run for up to a year (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

STARTED_BY = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"
"""AWS advises callers to add this key, which links executions in the console. It is accepted and ignored."""

_EXECUTION_ARN_START = r"arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:execution:[^\s:/]+:"
EXECUTION_NAME = r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U0010ffff]{1,80}"""
"""https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html, ``name``."""


TargetName = Annotated[
    str,
    matches(
        r"[A-Za-z0-9_.-]{1,128}",
        "a target's name has 1 to 128 letters, digits, _, - or .",
        "write the name under which the target is registered",
    ),
]


class TargetReference(Part):
    """The target by its registered name; ``arn`` overrides the registered one, if the deployment allows it.

    ``targets.kinds`` checks what each kind of target allows.
    """

    type: Literal["agent", "tool"] = Field(description="a state machine, or a Lambda function")
    name: TargetName = Field(description="registered name: 1 to 128 letters, digits, `_`, `-`, `.`")
    arn: str | None = Field(
        default=None,
        description="an ARN to use instead of the registered one; it must be that of an enabled entry of the registry",
    )


class RetryPolicy(Part):
    """How failed attempts are retried. ``max_attempts`` counts all attempts. The pause after attempt n is
    initial_interval * backoff_rate^(n-1), at most ``max_delay_seconds``; with ``jitter``, a random part of it."""

    max_attempts: int = Field(
        default=3, ge=1, le=100, description="number of attempts, including the first; 1: no retry"
    )
    backoff_rate: float = Field(default=2.0, ge=1, le=100, description="each pause is this many times the one before")
    initial_interval_seconds: float = Field(default=1, ge=0, le=86_400, description="pause after the first attempt")
    max_delay_seconds: float = Field(default=60, gt=0, le=86_400, description="longest pause")
    jitter: bool = Field(default=True, description="a random part of the pause instead of all of it")
    non_retryable_errors: list[FieldName] = Field(default=[], description="names of errors that are not retried")


class StopAfter(Part):
    """When to stop starting rows: after failed rows (a number or a percentage), at a cost, or at whichever comes first.

    The percentage is of the rows that are sent, rounded up to whole rows.
    """

    failed_rows: int | None = Field(default=None, ge=1, description="this many failed rows pull the brake")
    failed_percent: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="this many percent of the rows that are sent, rounded up, pull the brake",
    )
    cost_usd: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000_000,
        description="this cost of the target pulls the brake: its calls, and the model costs that answers report "
        "([how far it can be exceeded](../how-to/limit-the-cost.md))",
    )


class Rate(Part):
    """The rows or tokens a minute, over all workers of the run: at least one of the two."""

    rows_per_minute: float | None = Field(default=None, gt=0, le=1_000_000, description="rows started a minute")
    tokens_per_minute: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000_000,
        description="input and output tokens a minute, from `metadata.usage` of the answers",
    )


class Trial(Part):
    """Rows that run before all others, to forecast the time and cost of the whole run."""

    rows: int = Field(
        default=20,
        ge=1,
        le=500,
        description="rows of the trial, spread over the file and over the sizes of the mapped input",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="another seed chooses other rows")
    approval: Literal["required", "none"] = Field(
        default="none",
        description="`required`: the execution waits after the trial for `make approve`, at most as long as its rows "
        "are kept; `none`: it continues, unless no row of the trial was successful",
    )


class ExecutionConfig(Part):
    max_concurrency: int = Field(default=1, ge=1, le=10_000, description="rows in flight; never exceeded")
    timeout_seconds: int = Field(
        default=300,
        ge=1,
        le=MAX_AGENT_TIMEOUT_SECONDS,
        description=f"a row's time for all attempts and pauses; for tools up to {MAX_TOOL_TIMEOUT_SECONDS}. "
        "When it is used up, the row is TIMEOUT and is not retried",
    )
    retry_policy: RetryPolicy = Field(default_factory=RetryPolicy, description="how failed attempts are retried")
    continue_on_error: bool = Field(default=True, description="if `false`, the first failed row pulls the brake")
    stop_after: StopAfter | None = Field(default=None, description="the failures or the cost that pull the brake")
    rate: Rate | None = Field(
        default=None,
        description="keep to a rate, over all workers of the run",
    )
    give_up_seconds: int = Field(
        default=600,
        ge=1,
        le=MAX_AGENT_TIMEOUT_SECONDS,
        description="if a tool or Express agent throttles every call for this long, the brake is pulled and the run "
        "ends with `TargetThrottledError`",
    )
    off_protocol: Literal["accept", "fail_row"] = Field(
        default="accept",
        description="an answer that does not follow the [target's protocol](targets.md): `accept` takes it as it is "
        "and counts it; `fail_row` fails the row",
    )
    batch_size: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="rows a child, for tools and Express agents; fewer if that keeps more rows in flight",
    )
    max_rows: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="run only the first rows; the other rows are neither read nor in the output",
    )
    storage_mode: Literal["s3", "dynamodb", "inline", "auto"] = Field(
        default="s3",
        description="how rows travel and where finished rows are kept "
        "([choose one](../how-to/choose-a-storage-mode.md)); `auto` is `inline` for batches that fit, otherwise `s3`",
    )
    ttl_days: int | None = Field(
        default=None,
        ge=1,
        le=3_650,
        description="days that rows in DynamoDB are kept; none: the deployment's `work_retention_days`, which applies "
        "in all other modes",
    )
    enable_compression: bool = Field(
        default=False, description="compress the texts of rows in DynamoDB; for `storage_mode` `dynamodb` only"
    )
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
    ) = Field(
        default=None,
        description="name or ARN of an earlier execution with the same target. Rows that were SUCCESS there, with the "
        "same row number and the same mapped input, do not run again; their answers are "
        "[taken over](../how-to/resume.md)",
    )
    only_causes: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default=[],
        description="with `resume_from`: of the rows that failed there, run only those with these causes. A cause is "
        "the `id` or the `error` in `failures_by_cause` of its summary. Rows that never ended run as well; all others "
        "[keep their failure](../how-to/heal.md)",
    )
    deduplicate: bool = Field(
        default=False,
        description="send rows with equal mapped inputs once, and give each of them the outcome; for up to 5,000,000 "
        "rows: see [duplicates](../how-to/duplicates.md)",
    )
    cache_days: int | None = Field(
        default=None,
        ge=1,
        le=365,
        description="reuse answers that earlier batches got from the same version of the target for the same mapped "
        "input, if they are at most this many days old, and keep this batch's answers as long: see "
        "[duplicates](../how-to/duplicates.md)",
    )
    accept_version: bool = Field(
        default=False,
        description="take over answers from another version of the target's code; without it, `resume_from` is refused "
        "in that case",
    )
    debug: bool = Field(default=False, description="`true` sets the log level to `DEBUG`, whatever `log_level` says")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = Field(
        default=None, description="log level of the functions for this batch; none: the deployment's"
    )
    enable_xray: bool = Field(
        default=False,
        description="write a trace of each child to X-Ray: its first 20, failed and slowest rows "
        "([trace a run](../how-to/trace-a-run.md))",
    )

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, rate: Rate | None) -> Rate | None:
        if rate is not None and rate.rows_per_minute is None and rate.tokens_per_minute is None:
            refuse("the rate is empty", "write rows_per_minute, tokens_per_minute or both")
        return rate

    @property
    def keeps_answers(self) -> bool:
        """Whether answers are kept for later batches. Both settings state that equal inputs have equal answers."""
        return self.deduplicate or self.cache_days is not None

    @property
    def resumed_execution(self) -> str | None:
        """The execution's name in ``resume_from``, which can be a name or an ARN."""
        return self.resume_from and self.resume_from.rpartition(":")[2]

    @property
    def effective_log_level(self) -> str | None:
        """The batch's log level: DEBUG with ``debug``, otherwise ``log_level``. None: the deployment's."""
        return "DEBUG" if self.debug else self.log_level

    @property
    def cost_limit(self) -> float | None:
        """The cost in US dollars that pulls the brake; None: never."""
        return None if self.stop_after is None else self.stop_after.cost_usd

    def failure_limit(self, total_rows: int) -> int | None:
        """The number of failed rows that pulls the brake; None: never."""
        limits = [] if self.continue_on_error else [1]
        if self.stop_after is not None and self.stop_after.failed_rows is not None:
            limits.append(self.stop_after.failed_rows)
        if self.stop_after is not None and self.stop_after.failed_percent is not None:
            # Exact fractions: 2.2 percent of 3,000 rows is 66. Floating point would round up to 67.
            limits.append(max(1, math.ceil(Fraction(repr(self.stop_after.failed_percent)) * total_rows / 100)))
        return min(limits, default=None)


class NotificationConfig(Part):
    batch_name: (
        Annotated[
            str,
            # The name is also the value of an S3 object tag, which can have these characters and a few more.
            matches(
                r"[A-Za-z0-9 _.-]{1,80}",
                "a batch name has 1 to 80 letters, digits, spaces, _, . or -",
                "shorten or clean the name",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="1 to 80 letters, digits, spaces, `_`, `.`, `-`; none: the target's name",
    )
    include_details: bool = Field(
        default=True,
        description="`true`: the notification has the first failed rows with their errors, and the message of each "
        "cause; `false`: a cause has only its error's name, the number of rows and what to do",
    )


class BatchConfig(Part):
    """The whole input document with its defaults. ``model_dump(mode="json")`` parses to an equal model."""

    csv_s3_uri: Annotated[
        str, compiles(parse_input_uri, "not the address of an S3 object", "write s3://<bucket>/<key>.csv")
    ] = Field(
        description="`s3://bucket/key`, in the deployment's input bucket, one of its `input_buckets`, or under "
        "`results/` in its results bucket. `s3://bucket/folder/` and `s3://bucket/folder/2026-*.csv` name "
        "[several files](#several-files). `input_s3_uri` is another name of this field"
    )
    target: TargetReference = Field(description="the agent or tool that processes the rows")
    output_s3_uri: (
        Annotated[str, compiles(parse_output_uri, "not the address of a folder on S3", "write s3://<bucket>/<folder>/")]
        | None
    ) = Field(
        default=None,
        description="a folder, `s3://bucket/folder/`, in one of the deployment's `output_buckets`. The results are "
        "copied to `<folder>/<execution>/` when they are complete "
        "([where the output goes](../how-to/where-the-output-goes.md))",
    )
    input_format: InputFormat = Field(default_factory=InputFormat, description="how the file is read")
    input_mapping: InputMapping = Field(
        default_factory=InputMapping, description="how a row becomes the target's input"
    )
    output_mapping: OutputMapping = Field(default_factory=OutputMapping, description="how an answer becomes columns")
    output_format: OutputFormat = Field(
        default_factory=OutputFormat, description="the files that the output is written as"
    )
    execution_config: ExecutionConfig = Field(default_factory=ExecutionConfig, description="how the batch runs")
    trial: Trial | None = Field(
        default=None, description="try some rows before all run ([how](../how-to/try-before-you-run-all.md))"
    )
    notification_config: NotificationConfig = Field(
        default_factory=NotificationConfig, description="the notification at the end of the run"
    )
    dry_run: bool = Field(
        default=False,
        description="validate the document and the whole CSV, and return plan and estimate without running a row",
    )

    @property
    def source(self) -> S3Location:
        return parse_input_uri(self.csv_s3_uri)

    def destination(self, execution: str) -> S3Location | None:
        """The user's folder that the results are copied to; None if the document names none."""
        if self.output_s3_uri is None:
            return None
        folder = parse_output_uri(self.output_s3_uri)
        return S3Location(folder.bucket, f"{folder.key}{execution}/")

    @property
    def batch_name(self) -> str:
        """The name in ``notification_config``, or the target's name if there is none."""
        return self.notification_config.batch_name or self.target.name

    @property
    def output_columns(self) -> list[str]:
        """The names of the mapped columns, in order."""
        return [column.name for column in self.output_mapping.mapped_columns] or [RESULT_COLUMN]
