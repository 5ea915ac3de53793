"""A batch as ``validate_input`` leaves it: plan and staged input in a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from foundation.ports import ObjectStore
from row_batches.document.header import replaced_columns
from row_batches.document.input_document import parse_batch_config
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import (
    Concurrency,
    CostEstimate,
    CostRange,
    EarlierExecution,
    Execution,
    Keys,
    Plan,
    StagedInput,
    Target,
    TargetPrices,
)
from row_batches.files.csv_reader import Staging
from row_batches.files.csv_writer import output_header, render_row
from row_batches.files.staged_copy import escaped, staged_cells
from row_batches.files.table import InputFile, InputStaging, TableStaging
from row_batches.mapping.mapping_in import compile_input_mapping
from row_batches.rows.proof_rows import ROW_CHARACTERS
from row_batches.rows.records import RowStatus
from row_batches.rows.rows_object import ROWS_SCHEMA_VERSION
from row_batches.run.batch import Batch
from row_batches.run.duplicates import stage_distinct
from row_batches.run.skipped import all_rows
from row_batches.run.staging import Finished, Stager
from row_batches.targets.protocol import Outcome
from tests.support import aws_csv
from tests.support.fakes import FakeClock, FakeDeadline, FakeObjectStore

EXECUTION = "run-1"
KEYS = Keys(EXECUTION)
STARTED_AT = datetime(2026, 9, 21, 14, 0, tzinfo=UTC)
FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:echo"
AGENT_ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:classifier"


def execution_of(name: str) -> Execution:
    arn = f"arn:aws:states:us-east-1:000000000000:execution:batch-processor:{name}"
    return Execution(arn=arn, name=name, started_at=STARTED_AT)


def stage(staging: InputStaging, form: InputFormat, store: ObjectStore, execution: Execution) -> Finished:
    """Stage an input in one call."""
    stager = Stager(store, Keys(execution.name), execution, "etag", FakeDeadline())
    finished = stager.stage(staging, form)
    assert finished is not None
    return finished


def make_plan(
    rows: Sequence[Sequence[str]],
    columns: Sequence[str] = ("id", "text"),
    *,
    store: ObjectStore,
    invocation: str = "lambda",
    threads: int = 2,
    batch_size: int = 100,
    execution: str = EXECUTION,
    resume_from: Sequence[EarlierExecution] = (),
    target_version: str = "1",
    code_version: str = "",
    cost_per_call_usd: float | None = None,
    prices: TargetPrices | None = None,
    **document: Any,
) -> Plan:
    """Stage ``rows``, write the plan, and return it."""
    keys = Keys(execution)
    kind = "tool" if invocation == "lambda" else "agent"
    config = parse_batch_config(
        {"csv_s3_uri": "s3://input/rows.csv", "target": {"type": kind, "name": "echo"}, **document}
    )
    text = "".join(render_row(cells) for cells in [columns, *rows])
    of = execution_of(execution)
    staged = stage(Staging([text.encode()]), config.input_format, store, of)
    plan = Plan(
        execution=of,
        config=config,
        target=Target(
            name="echo",
            type="tool" if kind == "tool" else "agent",
            arn=FUNCTION_ARN if kind == "tool" else AGENT_ARN,
            invocation=invocation,
            version=target_version,
            code_version=code_version,
            cost_per_call_usd=cost_per_call_usd,
            prices=prices,
        ),
        columns=list(columns),
        output_header=output_header(config, columns),
        total_rows=len(rows),
        staged=StagedInput(
            bucket=store.bucket,
            key=keys.staged,
            version_id=staged.version_id,
            size_bytes=staged.size_bytes,
            source_etag="etag",
        ),
        skipped=staged.skipped,
        concurrency=Concurrency(children=1, threads=threads, batch_size=batch_size),
        estimate=CostEstimate(
            parts={}, total=CostRange(best=0, worst=0), target_included=False, prices_as_of="2026-11-01", assumptions=[]
        ),
        resume_from=list(resume_from),
    )
    store.put(keys.plan, plan.model_dump_json().encode())
    return plan


class WorkStore(FakeObjectStore):
    """A bucket that takes uploads, as ``validate_input`` needs it."""

    def upload(self, key: str, chunks: Iterable[bytes]) -> str:
        return self.put(key, b"".join(chunks))


def deduplicated(plan: Plan, store: WorkStore) -> Plan:
    """The plan of the same rows, with those of equal inputs sent once, as ``validate_input`` makes and writes it."""
    columns, replaced = plan.columns, replaced_columns(plan.config, plan.columns)
    mapper = compile_input_mapping(plan.config.input_mapping, columns, replaced)
    distinct = stage_distinct(
        store, plan.keys, plan.staged.version_id, len(columns), mapper, plan.total_rows, plan.rows_skipped
    )
    settings = plan.config.execution_config.model_copy(update={"deduplicate": True})
    config = plan.config.model_copy(update={"execution_config": settings})
    made = plan.model_copy(update={"distinct": distinct, "config": config})
    store.put(plan.keys.plan, made.model_dump_json().encode())
    return made


def sent_items(plan: Plan, store: FakeObjectStore) -> list[dict[str, str]]:
    """The rows that the map reads, as the native CSV reader gives them to a child."""
    source = plan.distinct or plan.staged
    return aws_csv.read(b"".join(store.read(source.key, source.version_id)).decode())


def staged_items(rows: Sequence[Sequence[str]], first: int = 1) -> list[dict[str, str]]:
    """Rows as the native CSV reader gives them to a child."""
    return [
        {"r": str(row), **{f"c{number}": escaped(cell) for number, cell in enumerate(cells, 1)}}
        for row, cells in enumerate(rows, first)
    ]


def open_batch(plan: Plan, store: ObjectStore) -> Batch:
    return Batch(plan, store, FakeClock())


def write_finished(
    plan: Plan, store: ObjectStore, rows: Sequence[tuple[int, Sequence[str]]], failed: Sequence[int] = ()
) -> None:
    """Write rows as a worker does: one object for each run of consecutive rows; the answer is the row's cells."""
    batch = open_batch(plan, store)
    finished_rows = []
    for row, cells in rows:
        outcome = Outcome(RowStatus.SUCCESS, list(cells), list(cells))
        if row in failed:
            outcome = Outcome(RowStatus.FAILED, error_name="Boom", error_message="Boom: it broke")
        started_ms = int(STARTED_AT.timestamp() * 1000) + row * 100
        finished = batch.finish(
            row, cells, outcome, row_hash="h", attempts=1, started_ms=started_ms, ended_ms=started_ms + 1500
        )
        finished_rows.append(finished)
    batch.rows.write(finished_rows)


def records_of(body: bytes) -> list[dict[str, Any]]:
    """The rows of a rows object, each with all that is kept of it."""
    head, *answers = [orjson.loads(line) for line in body.splitlines()]
    assert head.pop("schema_version") == ROWS_SCHEMA_VERSION
    failures = {failure["row"]: failure for failure in head.pop("failures")}
    details = {found["row"]: found for found in head.pop("details")}
    assert len(head.pop("proof")) == ROW_CHARACTERS * len(answers)
    records = []
    for answer, *values in zip(answers, *head.values(), strict=True):
        record = answer | dict(zip(head, values, strict=True))
        if answer["row"] in details:
            record |= {name: value for name, value in details[answer["row"]].items() if value}
        if answer["row"] in failures:
            failure = failures[answer["row"]]
            record |= {"error": failure["error"], "failed_csv": failure["csv"]}
        records.append(record)
    return records


def json_of(body: bytes) -> Any:
    return orjson.loads(body)


def stage_typed(plan: Plan, rows: Sequence[Sequence[str]], store: FakeObjectStore) -> Plan:
    """The plan of the same rows from a file whose cells have types, with the staged copy of such a file."""
    lines = [(f"row {row}", staged_cells(cells)) for row, cells in enumerate(rows, 1)]
    table = TableStaging(InputFile(list), plan.columns, lines)
    staged = stage(table, plan.config.input_format, store, plan.execution)
    changed = plan.staged.model_copy(update={"version_id": staged.version_id, "size_bytes": staged.size_bytes})
    made = plan.model_copy(update={"staged": changed, "skipped": staged.skipped, "typed_input": True})
    store.put(plan.keys.plan, made.model_dump_json().encode())
    return made


def write_output(plan: Plan, store: ObjectStore, rows: Sequence[Sequence[str]] | None = None) -> None:
    """Write all rows and aggregate them, without other formats than CSV. ``rows`` are the staged ones by default."""
    batch = open_batch(plan, store)
    cells = rows or [row for _, row, _ in all_rows(store, plan)]
    if cells:
        write_finished(plan, store, list(enumerate(cells, 1)))
    read = batch.rows.read() if cells else ()
    lines = [line for rows in read for line in rows.columns_from(1)["csv"]]
    mark = "\ufeff" if plan.config.output_format.bom else ""
    store.put(plan.keys.output, (mark + batch.renderer.header_line + "".join(lines)).encode())
