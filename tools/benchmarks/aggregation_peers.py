"""The peers of the aggregation benchmark, and the data for all sides: 200,000 rows, answers of about 500 bytes.

Every side writes the same CSV: three original columns, two mapped ones, six of metadata, in input order. ``ours`` and
DuckDB also write the file with the proofs of all rows. Workers made these proofs; both sides read them with the rows.

* ``ours``: the product's use case on a store of local files, with rows objects of a batch of 100 rows each.
* ``plain``: one child a row, ResultWriter's default shape, ``json.load``, ``csv.DictWriter``.
* ``duckdb``: ``read_json`` of what ``plain`` reads, ordered into a table, and a ``COPY`` of it for each of the two
  files. It reads one file of JSON lines, as ResultWriter leaves it (``FLATTEN``, ``JSONL``); a file for each batch of
  100 rows takes it as long or longer. It takes the mapped cells out of the answers, which in ``ours`` the workers have
  done; in exchange it counts nothing, writes no failed rows and hashes neither file. All its columns are texts, so that
  it casts nothing.
* ``duckdb_finished``: only the CSV, by one ordered ``COPY`` of the finished cells. It takes nothing out of the answers,
  counts nothing and proves nothing.
* ``copy``: the bytes of the rows objects, copied.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from foundation.clock import SystemClock
from foundation.errors import ObjectNotFoundError
from foundation.invocation import limit_heap
from foundation.metrics import EmbeddedMetrics
from foundation.ports import StoredObject
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import (
    Concurrency,
    CostEstimate,
    CostRange,
    Execution,
    Keys,
    Plan,
    StagedInput,
    Target,
)
from row_batches.files.csv_writer import output_header
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS
from row_batches.rows.records import FinishedRow
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.batch import Batch, Batches
from row_batches.run.end_messages import AggregateAction, AggregateRequest
from row_batches.run.ownership import Ownership
from row_batches.run.runs import BestEffort
from row_batches.targets.protocol import read_tool_answer

KEYS = Keys("bench")
BATCH_ROWS = 100
COLUMNS = ["id", "name", "text"]
MAPPED = ["label", "score"]
HEADER = [*COLUMNS, *MAPPED, *DEFAULT_METADATA_COLUMNS]
ANSWER_TEXT = 'a fairly ordinary sentence of an answer, with "quotes", commas and é; ' * 5
STARTED_MS = 1_790_000_000_000
ROW_MS = 200
DUCKDB_PROOFS = "duckdb_proof_rows.b64"


class FileStore:
    """``foundation.ports.ObjectStore`` on a folder. A completed upload is moved, as S3 copies nothing either."""

    bucket = "bench"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, key: str) -> Path:
        return self._folder / key

    def get(self, key: str) -> bytes:
        try:
            with open(f"{self._folder}/{key}", "rb", buffering=0) as file:  # noqa: PTH123 (a third of pathlib's time)
                return file.read()
        except FileNotFoundError as error:
            raise ObjectNotFoundError(key) from error

    def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:  # noqa: ARG002 (no versions here)
        with self._path(key).open("rb") as file:
            file.seek(start)
            while chunk := file.read(1024 * 1024):
                yield chunk

    def exists(self, key: str) -> bool:
        return self._path(key).exists()

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:  # noqa: ARG002
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return "1"

    def put_new(self, key: str, body: bytes) -> bool:  # noqa: ARG002
        raise AssertionError("not used here")

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def list_objects(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        with os.scandir(self._path(prefix)) as entries:
            listed = sorted((prefix + entry.name, entry.stat().st_size) for entry in entries)
        yield from (StoredObject(key, size) for key, size in listed if key > start_after)

    def start_upload(self, key: str, tags: dict[str, str] | None = None) -> str:
        self.put(f"{key}.upload", b"", tags)
        return f"{key}.upload"

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:  # noqa: ARG002
        with self._path(upload_id).open("ab") as file:
            file.write(body)
        return str(number)

    def abort_upload(self, key: str, upload_id: str) -> None:  # noqa: ARG002
        self._path(upload_id).unlink()

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:  # noqa: ARG002
        self._path(upload_id).rename(self._path(key))
        return "1"


class UnlimitedTime:
    def remaining_seconds(self) -> float:
        return 900.0


class OnlyOwner(Ownership):
    """Leases for a single process: it owns everything, and there is no table of runs."""

    def __init__(self) -> None:
        self.notes = NoNotes()

    @contextmanager
    def of(self, *_: object) -> Iterator[int]:
        yield 0


class NoNotes(BestEffort):
    def __init__(self) -> None:
        pass

    def end(self, *_: object) -> None:
        pass


class NeverRedriven:
    def last_redrive(self, arn: str) -> None:  # noqa: ARG002
        return None


class NoDeadLetters:
    def send(self, letters: object) -> None:
        assert not letters


def cells_of(row: int) -> list[str]:
    return [f"P{row:07}", f"Name, of {row}", "some original text of the row"]


def answer_of(row: int) -> dict[str, Any]:
    content = {"label": f"label {row % 17}", "score": row % 1000 / 10, "text": ANSWER_TEXT, "tags": ["a", "b", "c"]}
    return {"type": "tool_result", "tool_use_id": f"bench:{row}:1", "content": content}


def make_plan(rows: int) -> Plan:
    document = {
        "csv_s3_uri": "s3://bench/input.csv",
        "target": {"type": "tool", "name": "bench"},
        "output_mapping": {"columns": [{"name": name, "source": f"$.{name}"} for name in MAPPED]},
    }
    config = parse_batch_config(document)
    nothing = CostRange(best=0, worst=0)
    return Plan(
        execution=Execution(arn="arn", name="bench", started_at=datetime.fromtimestamp(STARTED_MS / 1000, UTC)),
        config=config,
        target=Target(name="bench", type="tool", arn="arn:aws:lambda:x", invocation="lambda"),
        columns=COLUMNS,
        output_header=output_header(config, COLUMNS),
        total_rows=rows,
        staged=StagedInput(bucket="bench", key=KEYS.staged, version_id="1", size_bytes=0, source_etag=""),
        concurrency=Concurrency(children=1, threads=10, batch_size=BATCH_ROWS),
        estimate=CostEstimate(
            parts={}, total=nothing, target_included=False, prices_as_of="2026-11-01", assumptions=[]
        ),
    )


def prepare(folder: Path, rows: int) -> None:
    """Write the same finished rows in the format that each side expects."""
    store = FileStore(folder / "objects")
    plan = make_plan(rows)
    store.put(KEYS.plan, plan.model_dump_json().encode())
    batch = Batch(plan, store, SystemClock())
    with (folder / "results.json").open("w") as results, (folder / "rows.jsonl").open("w") as lines:
        results.write("[")
        pending: list[FinishedRow] = []
        for row in range(1, rows + 1):
            cells, answer = cells_of(row), answer_of(row)
            started_ms = STARTED_MS + row * 20
            finished = batch.finish(
                row,
                cells,
                read_tool_answer(answer, f"bench:{row}:1"),
                row_hash="0" * 64,
                attempts=1,
                started_ms=started_ms,
                ended_ms=started_ms + ROW_MS,
            )
            pending.append(finished)
            if len(pending) == BATCH_ROWS or row == rows:
                batch.rows.write(pending)
                pending = []
            values = next(csv.reader([finished.record["csv"]]))
            named = dict(zip(HEADER, values, strict=True))
            proof = finished.record["proof"]
            lines.write(json.dumps({"row": row, **named, "proof": proof, "answer": answer}) + "\n")
            results.write(("" if row == 1 else ",") + json.dumps(child_record(row, cells, answer, named)))
        results.write("]")


def child_record(row: int, cells: list[str], answer: dict[str, Any], named: dict[str, str]) -> dict[str, Any]:
    """One child in ResultWriter's default shape
    (https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html)."""
    metadata = {name: named[name] for name in DEFAULT_METADATA_COLUMNS}
    child = f"arn:aws:states:us-east-1:000000000000:execution:batch/Rows:{row:08}"
    return {
        "ExecutionArn": child,
        "Input": json.dumps({"row": row, "cells": dict(zip(COLUMNS, cells, strict=True))}),
        "InputDetails": {"Included": True},
        "Name": f"{row:08}",
        "Output": json.dumps({"answer": answer, "metadata": metadata}),
        "OutputDetails": {"Included": True},
        "RedriveCount": 0,
        "RedriveStatus": "NOT_REDRIVABLE",
        "RedriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
        "StartDate": "2026-09-21T14:13:20.000Z",
        "StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:batch/Rows",
        "Status": "SUCCEEDED",
        "StopDate": "2026-09-21T14:13:20.200Z",
    }


def ours(folder: Path) -> Path:
    limit_heap()  # as the handler does
    objects = folder / "objects"
    for left in (KEYS.checkpoint, KEYS.output, KEYS.failed_rows, KEYS.proof_rows):
        (objects / left).unlink(missing_ok=True)
    store = FileStore(objects)
    clock = SystemClock()
    response = aggregate_results(
        AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=KEYS.plan),
        batches=Batches(store, clock),
        dead_letters=NoDeadLetters(),
        metrics=EmbeddedMetrics("Bench", clock, sys.stderr),
        ownership=OnlyOwner(),
        redrives=NeverRedriven(),
        clock=clock,
        deadline=UnlimitedTime(),
    )
    assert response.done
    return objects / KEYS.output


def plain(folder: Path) -> Path:
    output = folder / "plain.csv"
    with (folder / "results.json").open() as file:
        children = json.load(file)
    rows = []
    for child in children:
        sent, answered = json.loads(child["Input"]), json.loads(child["Output"])
        content = answered["answer"]["content"]
        mapped = {name: content.get(name, "") for name in MAPPED}
        rows.append((sent["row"], {**sent["cells"], **mapped, **answered["metadata"]}))
    rows.sort(key=lambda row: int(row[0]))
    with output.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for _, row in rows)
    return output


def with_duckdb(folder: Path) -> Path:
    output = folder / "duckdb.csv"
    answer = f"STRUCT(content STRUCT({', '.join(f'{name} VARCHAR' for name in MAPPED)}))"
    columns = [f"answer.content.{name} AS {name}" if name in MAPPED else name for name in HEADER]
    texts = [name for name in HEADER if name not in MAPPED]
    rows = f"SELECT row, proof, {', '.join(columns)} FROM {json_rows(folder, [*texts, 'proof'], answer=answer)}"  # noqa: S608
    with duckdb_connection() as connection:
        connection.execute(f"CREATE TEMP TABLE rows AS {rows} ORDER BY row")
        connection.execute(f"COPY (SELECT * EXCLUDE (row, proof) FROM rows) TO '{output}' (HEADER)")  # noqa: S608
        connection.execute(f"COPY (SELECT proof FROM rows) TO '{folder / DUCKDB_PROOFS}' (HEADER false)")  # noqa: S608
    return output


def with_duckdb_finished(folder: Path) -> Path:
    output = folder / "duckdb.csv"
    with duckdb_connection() as connection:
        connection.execute(
            f"COPY (SELECT {', '.join(HEADER)} FROM {json_rows(folder, HEADER)} ORDER BY row) TO '{output}' (HEADER)"  # noqa: S608
        )
    return output


@contextmanager
def duckdb_connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory. It prints no progress, which would mix with the figures."""
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        yield connection


def json_rows(folder: Path, texts: list[str], **types: str) -> str:
    """SQL that reads ``texts``, and the columns of these ``types``, from the file of JSON lines."""
    typed = {"row": "BIGINT", **dict.fromkeys(texts, "VARCHAR"), **types}
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in typed.items())
    return f"read_json('{folder / 'rows.jsonl'}', columns={{{columns}}}, format='newline_delimited')"


def copy(folder: Path) -> Path:
    output = folder / "copy.jsonl"
    with output.open("wb") as target:
        for path in sorted((folder / "objects" / KEYS.rows).iterdir()):
            with path.open("rb") as source:
                shutil.copyfileobj(source, target)
    return output


SIDES: dict[str, Callable[[Path], Path]] = {
    "ours": ours,
    "plain": plain,
    "duckdb_finished": with_duckdb_finished,
    "duckdb": with_duckdb,
    "copy": copy,
}


def print_figures(side: str, folder: str) -> None:
    """Run one side and print its seconds, and its process's peak memory in MB."""
    started = time.perf_counter()
    SIDES[side](Path(folder))
    seconds = time.perf_counter() - started
    # Not getrusage, whose figure starts from that of the process that made this one.
    status = Path("/proc/self/status").read_text()
    print(json.dumps([seconds, int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6]))
