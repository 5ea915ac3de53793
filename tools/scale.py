"""Computes what batches of 10 and 100 million rows take in hours, limits and US dollars from AWS's default quotas.

Nothing is measured here. The plan of a run (children, threads, partition keys) and its cost come from the product's own
planning; hours come from the slowest of its stages. docs/reference/scale.md shows the table and the assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from row_batches.document.batch_config import BatchConfig
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import Storage, StorageMode, Target
from row_batches.rows.partitions import batch_ids_of
from row_batches.run.cost import AGGREGATION_ROWS_PER_SECOND, STAGING_BYTES_PER_SECOND, estimate
from row_batches.run.storage import UNITS_A_PARTITION, item_units
from row_batches.targets.kinds import kind_of

ROW_BYTES = 100
TOOL_ROW_SECONDS = 0.2
AGENT_ROW_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Quota:
    """A default quota of AWS in us-east-1. ``stage`` is where a run meets it."""

    name: str
    value: int
    unit: str
    stage: str
    source: str


STEP_FUNCTIONS = "https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"
DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"
PARTITION = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"

TRANSITIONS = Quota("state transitions", 5_000, "a second", "children and agents' rows", STEP_FUNCTIONS)
STARTS = Quota("StartExecution", 300, "a second", "each row of a Standard agent", STEP_FUNCTIONS)
CHILDREN = Quota("children of a map run", 10_000, "at once", "rows in flight", STEP_FUNCTIONS)
LAMBDA = Quota(
    "concurrent executions of Lambda",
    1_000,
    "at once",
    "workers, and a tool's own calls",
    "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html",
)
TABLE_WRITES = Quota("write units of an on-demand table", 40_000, "a second", "rows in DynamoDB", DYNAMODB)
PARTITION_WRITES = Quota("write units of a partition", 1_000, "a second", "rows in DynamoDB", PARTITION)
PARTITION_READS = Quota("read units of a partition", 3_000, "a second", "the output of rows in DynamoDB", PARTITION)
S3_WRITES = Quota(
    "PUT requests to a prefix of S3",
    3_500,
    "a second",
    "rows in S3",
    "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html",
)
QUOTAS = (TRANSITIONS, STARTS, CHILDREN, LAMBDA, TABLE_WRITES, PARTITION_WRITES, PARTITION_READS, S3_WRITES)


@dataclass(frozen=True, slots=True)
class Simulation:
    """A computed run. Rates are per second; ``limit`` is what limits its speed."""

    rows: int
    target: str
    storage: str
    in_flight: int
    lambdas: int
    partitions: int
    rows_rate: float
    write_rate: float
    transitions_rate: float
    limit: str
    staging_hours: float
    row_hours: float
    output_hours: float
    usd: float

    @property
    def hours(self) -> float:
        return self.staging_hours + self.row_hours + self.output_hours


def simulate(rows: int, target: Target, storage_mode: StorageMode, max_concurrency: int) -> Simulation:
    """Compute a run of short rows whose first attempts all succeed."""
    config = _config(target, max_concurrency)
    kind = kind_of(target)
    concurrency = kind.concurrency(config, target, rows, ROW_BYTES)
    in_flight = concurrency.children * concurrency.threads
    is_agent = target.type == "agent"
    row_seconds = AGENT_ROW_SECONDS if is_agent else TOOL_ROW_SECONDS
    lambdas = 0 if is_agent else concurrency.children + in_flight
    units = item_units(ROW_BYTES)
    wanted = in_flight / row_seconds
    partitions = 0
    writes_a_row = 1.0 if is_agent else 1 / concurrency.batch_size
    transitions_a_row = 2 + 5 / concurrency.batch_size if is_agent else 4 / concurrency.batch_size
    limits = {
        "rows in flight": wanted,
        TRANSITIONS.name: TRANSITIONS.value / transitions_a_row,
    }
    if is_agent:
        limits[STARTS.name] = STARTS.value
    else:
        limits[LAMBDA.name] = wanted * min(1.0, LAMBDA.value / lambdas)
    if storage_mode is StorageMode.DYNAMODB:
        partitions = max(1, ceil(wanted * units / UNITS_A_PARTITION))
        writes_a_row = units + (1.0 if is_agent else 1 / concurrency.batch_size)
        limits[TABLE_WRITES.name] = TABLE_WRITES.value / writes_a_row
    else:
        limits[S3_WRITES.name] = S3_WRITES.value / writes_a_row
    limit, rows_rate = min(limits.items(), key=lambda one: one[1])
    output_rate = float(AGGREGATION_ROWS_PER_SECOND)
    if storage_mode is StorageMode.DYNAMODB:
        output_rate = min(output_rate, partitions * PARTITION_READS.value * 4 / units)
    storage = Storage(mode=storage_mode, batch_ids=batch_ids_of(target.name, "run", partitions) if partitions else [])
    staged_bytes = rows * ROW_BYTES
    cost = estimate(config, target, concurrency, storage, total_rows=rows, staged_bytes=staged_bytes)
    return Simulation(
        rows=rows,
        target=target.invocation,
        storage=storage_mode.value,
        in_flight=in_flight,
        lambdas=lambdas,
        partitions=partitions,
        rows_rate=rows_rate,
        write_rate=rows_rate * writes_a_row,
        transitions_rate=rows_rate * transitions_a_row,
        limit=limit,
        staging_hours=staged_bytes / STAGING_BYTES_PER_SECOND / 3600,
        row_hours=rows / rows_rate / 3600,
        output_hours=rows / output_rate / 3600,
        usd=cost.total.best,
    )


def _config(target: Target, max_concurrency: int) -> BatchConfig:
    return parse_batch_config(
        {
            "csv_s3_uri": "s3://bucket/rows.csv",
            "target": {"type": target.type, "name": target.name},
            "execution_config": {"max_concurrency": max_concurrency},
        }
    )


TOOL = Target(name="tool", type="tool", arn="arn", invocation="lambda", expected_seconds=TOOL_ROW_SECONDS)
AGENT = Target(name="agent", type="agent", arn="arn", invocation="standard", expected_seconds=AGENT_ROW_SECONDS)
RUNS = (
    (TOOL, StorageMode.S3, 100),
    (TOOL, StorageMode.S3, 900),
    (TOOL, StorageMode.DYNAMODB, 100),
    (TOOL, StorageMode.DYNAMODB, 900),
    (AGENT, StorageMode.S3, 1_000),
    (AGENT, StorageMode.DYNAMODB, 1_000),
    (AGENT, StorageMode.S3, 10_000),
)
MILLIONS = (10, 100)


def simulations() -> list[Simulation]:
    """The runs of docs/reference/scale.md."""
    return [simulate(count * 10**6, *run) for count in MILLIONS for run in RUNS]
