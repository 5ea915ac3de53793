"""The plan of one execution: everything that workers and the aggregator need, decided before any row runs.

``ValidateInput`` writes it to ``work/<execution>/plan.json``; children of the map get only its key.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, Field

from foundation.lazy_model import LazyModel
from row_batches.document.batch_config import BatchConfig, Rate
from row_batches.document.target_version import TargetVersion
from row_batches.mapping.models import DeclaredColumn

WORK_PREFIX = "work"
RESULTS_PREFIX = "results"
DEAD_LETTERS_PREFIX = "dead-letters"
EXTRACTION = ("extraction_methods", "transforms")
"""Fields of ``output_mapping`` that go together: a document has both of its own, or the deployment's."""


class Keys:
    """Keys of one execution's objects in the results bucket. Row numbers are 1-based and have 12 digits."""

    def __init__(self, execution: str) -> None:
        self.name = execution
        self.work = f"{WORK_PREFIX}/{execution}/"
        self.results = f"{RESULTS_PREFIX}/{execution}/"
        self.plan = f"{self.work}plan.json"
        self.staged = f"{self.work}input.csv"
        self.skipped = f"{self.work}skipped.csv"
        self.staging = f"{self.work}staging.json"
        self.distinct = f"{self.work}distinct.csv"
        self.duplicates = f"{self.work}duplicates.bin"
        self.missing = f"{self.work}missing.csv"
        self.trial = f"{self.work}trial.csv"
        self.brake = f"{self.work}brake.json"
        self.checkpoint = f"{self.work}aggregate.json"
        self.rows = f"{self.work}rows/"
        self.failures = f"{self.work}failed/"
        self.letters = f"{self.work}letters/"
        self.spilled = f"{self.work}spilled/"
        self.active = f"{self.work}active/"
        # Not under work/, because an object must outlive the message in the queue that names it.
        self.oversized = f"{DEAD_LETTERS_PREFIX}/{execution}/"
        self.map = f"{self.work}map"
        self.output = f"{self.results}output.csv"
        self.failed_rows = f"{self.results}failed_rows.csv"
        self.summary = f"{self.results}summary.json"
        self.trial_report = f"{self.results}trial.json"
        self.proof = f"{self.results}proof.json"
        self.proof_rows = f"{self.results}proof_rows.b64"

    def remapped(self, moment: str) -> str:
        """The key of an output that was written again at ``moment``."""
        return f"{self.results}remapped/{moment}/output.csv"

    def rows_object(self, first: int, last: int) -> str:
        """The key of the object that holds the finished rows ``first`` to ``last``, without a gap."""
        return f"{self.rows}{first:012d}-{last:012d}.jsonl"

    def spilled_row(self, row: int) -> str:
        """The object that holds a row which is too large for an item of a table."""
        return f"{self.spilled}{row:012d}.jsonl"

    def range_of(self, key: str) -> tuple[int, int]:
        """First and last row of a rows object or a letters marker, from its key alone."""
        first, last = key.rpartition("/")[2].removesuffix(".jsonl").split("-")
        return int(first), int(last)

    def letters_marker(self, first: int, last: int) -> str:
        """The key of an empty object. It says that the letters of the failed rows in this rows object are sent."""
        return f"{self.letters}{first:012d}-{last:012d}"

    def failures_marker(self, first: int, count: int) -> str:
        """The key of an empty object. It says that ``count`` rows failed among those written with row ``first``."""
        return f"{self.failures}{first:012d}-{count}"


class Frozen(LazyModel):
    """A part of the plan. Its errors do not show values, which can be users' data."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TargetPrices(Frozen):
    """The prices of a target's tokens, in US dollars for a million. They replace those of the table of models."""

    input_usd_per_million_tokens: float = Field(ge=0)
    output_usd_per_million_tokens: float = Field(ge=0)


class InputField(Frozen):
    """A field that a target takes."""

    description: str = ""
    required: bool = True


class Target(Frozen):
    """A registry entry, resolved. ``invocation`` is the name of its ``targets.kind.TargetKind``."""

    name: str
    type: Literal["agent", "tool"]
    arn: str
    invocation: str
    version: str = "1"
    enabled: bool = True
    cost_per_call_usd: float | None = None
    prices: TargetPrices | None = None
    expected_seconds: float | None = Field(default=None, gt=0)
    """The usual duration of a call, if the registry has it."""
    max_concurrency: int | None = Field(default=None, ge=1, le=10_000)
    """Rows in flight over all runs in progress; None: no limit."""
    rate: Rate | None = None
    """Over all runs in progress."""
    output_schema: str | None = None
    """Name of the schema of its answers, and the schema as JSON (``agent_schema.AgentSchema``)."""
    output_schema_document: str | None = None
    input: dict[str, InputField] = {}
    """The fields that the target takes, if the registry has them."""
    output: tuple[DeclaredColumn, ...] = ()
    """The columns of a run that a client starts without an ``output_mapping``, if the registry has them."""
    code_version: str = ""
    """The start of the identifier of the code behind the ARN when the run is planned; "" if it is not known."""

    @property
    def has_known_cost(self) -> bool:
        """Whether the registry says what a call costs, or what the tokens in its answers cost."""
        return self.cost_per_call_usd is not None or self.prices is not None

    @property
    def answering_version(self) -> TargetVersion:
        return TargetVersion(self.version, self.code_version)


class Source(StrEnum):
    """Where a value of the configuration comes from."""

    DOCUMENT = "document"
    DEPLOYMENT = "deployment"
    SCHEMA = "schema"
    DEFAULT = "default"


class SchemaVersion(Frozen):
    """The schema whose extraction a batch has. ``sha256`` is that of the schema as JSON."""

    agent: str
    version: str
    sha256: str


class Execution(Frozen):
    """The execution of the state machine that this plan belongs to. ``name`` is the ``<execution>`` of every key."""

    arn: str
    name: str
    started_at: datetime


class StagedInput(Frozen):
    """The staged copy of the input: comma, LF, everything quoted, backslashes doubled, header ``r,c1..cN``."""

    bucket: str
    key: str
    version_id: str
    size_bytes: int
    source_etag: str


class SkippedInput(Frozen):
    """The staged rows without content, which are not sent. ``groups`` counts the runs of consecutive rows."""

    key: str
    version_id: str
    rows: int
    groups: int


class PartProof(Frozen):
    """The size in bytes of a part of an object, and its SHA-256."""

    bytes: int
    sha256: str


class ReadObject(Frozen):
    """An object of the user's file, as it was read.

    It is hashed as a whole (``sha256``), or, if it is large, in ``parts``. In the plan, both are empty if it was not
    read to its end, as for a trial.
    """

    uri: str
    etag: str
    size_bytes: int
    sha256: str = ""
    parts: list[PartProof] = []
    name: str = ""
    """Its name below the folder, which ``input_format.source_column`` shows."""

    @property
    def hashed_bytes(self) -> int:
        """How many bytes from its start are hashed."""
        return self.size_bytes if self.sha256 else sum(part.bytes for part in self.parts)

    @property
    def is_hashed(self) -> bool:
        return self.hashed_bytes == self.size_bytes


class DistinctInput(Frozen):
    """The staged rows that are sent where equal inputs are sent once: the first row of each input.

    ``runs`` is the number of groups of consecutive rows in the whole input whose rows are all sent, or all not sent.
    """

    key: str
    version_id: str
    size_bytes: int
    rows: int
    runs: int


class Concurrency(Frozen):
    """How ``max_concurrency`` rows in flight are distributed: ``children`` of the map, each with ``threads`` calls.

    ``children * threads`` never exceeds ``max_concurrency``. Agents have one row a child, so ``threads`` is 1.
    """

    children: int = Field(ge=1, le=10_000)
    threads: int = Field(ge=1)
    batch_size: int = Field(ge=1)


class CostRange(Frozen):
    """A cost in US dollars: ``best`` if every row succeeds at once, ``worst`` if each takes ``max_attempts``."""

    best: float
    worst: float


class CostEstimate(Frozen):
    """Estimated cost in US dollars by part and in total, from the price table of ``prices_as_of``."""

    parts: dict[str, CostRange]
    total: CostRange
    target_included: bool
    prices_as_of: str
    assumptions: list[str]


class StorageMode(StrEnum):
    """The place of finished rows. INLINE: the same as S3, but rows reach their worker without children of a map."""

    S3 = "s3"
    DYNAMODB = "dynamodb"
    INLINE = "inline"


class Storage(Frozen):
    """Where the finished rows of an execution are kept. ``reason`` says why this mode, to a person.

    ``batch_ids``, ``compress`` and ``ttl_days`` are for DynamoDB: the partition keys that its rows are spread over,
    whether texts in items are compressed, and when the items expire.
    """

    mode: StorageMode = StorageMode.S3
    reason: str = ""
    batch_ids: list[str] = []
    compress: bool = False
    ttl_days: int = 7


class EarlierExecution(Frozen):
    """An execution to take answers from. None of its rows objects has more than ``batch_size`` rows."""

    name: str
    batch_size: int = Field(ge=1)
    target_version: str = ""
    """The version in its plan, for rows that were written before rows had their own."""
    batch_name: str = ""
    """Part of the names of its agents' executions; "" in plans of an earlier release."""
    storage: Storage = Field(default_factory=Storage)


class Plan(Frozen):
    """One execution's plan. ``columns[i]`` is the user's name of the staged column ``c{i+1}``."""

    schema_version: Literal[1, 2] = 2
    """1: plan of the previous release, whose workers mark their batches with objects. 2: workers hold leases."""
    execution: Execution
    config: BatchConfig
    target: Target
    columns: list[str]
    header: list[str] = []
    """The file's own header where it differs from ``columns``: names that are missing or occur more than once."""
    output_header: list[str]
    marked_columns: list[str] = []
    """Columns of the input that an earlier execution wrote with ``formulas: neutralise``; the target gets them without
    the mark."""
    typed_input: bool = False
    """Whether cells of the staged copy can have values other than text."""
    total_rows: int
    staged: StagedInput
    skipped: SkippedInput | None = None
    """Rows that ``staged`` lacks, because they have no content."""
    read: list[ReadObject] = []
    """The objects of the user's file. Plans of an earlier release have none."""
    distinct: DistinctInput | None = None
    """Given with ``execution_config.deduplicate`` when rows have equal inputs."""
    concurrency: Concurrency
    storage: Storage = Field(default_factory=Storage)
    estimate: CostEstimate
    warnings: list[str] = []
    call_seconds: int = 900
    """The longest time that one call of the target can run, even if its caller is killed."""
    output_schema: SchemaVersion | None = None
    """Where the extraction methods come from a schema. Its content is in ``config``, and in ``target`` for a remap."""
    sources: dict[str, Source] = {}
    """The sources of the values in ``config`` that are not defaults, by path."""
    resume_from: list[EarlierExecution] = []
    """``execution_config.resume_from``, then the execution that it resumed, and so on, while rows are not covered.
    A row's answer comes from the first one that has it."""
    taken_over: int = 0
    """How many rows will probably take the answer of one of these executions."""

    @property
    def stored(self) -> bytes:
        """The content of ``plan.json``. It lacks the target's ``output``: the columns are in ``config``, and the
        release before refuses the field."""
        return self.model_dump_json(exclude={"target": {"output"}}).encode()

    @property
    def rows_skipped(self) -> int:
        """How many rows are not sent because they have no content."""
        return 0 if self.skipped is None else self.skipped.rows

    @property
    def rows_with_content(self) -> int:
        return self.total_rows - self.rows_skipped

    @property
    def rows_sent(self) -> int:
        """How many rows are sent themselves: all that have content, or one of each kind."""
        return self.rows_with_content if self.distinct is None else self.distinct.rows

    @property
    def has_trial(self) -> bool:
        """Whether some rows run before the others. If there are no others, all rows run at once."""
        trial = self.config.trial
        return trial is not None and not self.config.dry_run and self.rows_sent > trial.rows

    @property
    def rows_to_run(self) -> int:
        """The rows that will probably call the target: those that are sent, without the share that is taken over."""
        return self.rows_sent - self.rows_sent * self.taken_over // max(1, self.rows_with_content)

    @property
    def keys(self) -> Keys:
        return Keys(self.execution.name)

    @property
    def effective_config(self) -> dict[str, dict[str, Any]]:
        """How the batch runs, for a person: by path ``{"value", "source"}``; of extraction methods, their names."""
        values = {
            f"execution_config.{name}": value
            for name, value in self.config.execution_config.model_dump(mode="json").items()
        }
        methods = self.config.output_mapping.model_dump(mode="json").get("extraction_methods") or []
        values["output_mapping.extraction_methods"] = [method["method"] for method in methods]
        return {
            path: {"value": value, "source": self.sources.get(path, Source.DEFAULT)} for path, value in values.items()
        }
