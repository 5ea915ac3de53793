"""What lies under ``work/<execution>/``: the plan, the brake, the markers and the finished rows."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Lock

import orjson

from foundation.errors import DeploymentError, ObjectNotFoundError
from foundation.ports import Clock, ObjectStore
from row_batches.document.plan import WORK_PREFIX, Keys, Plan
from row_batches.rows.records import RowRecord
from row_batches.rows.rows_object import encode_rows

BRAKE_CACHE_MS = 1000
CHECKS_PER_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Brake:
    """Why no further row is started. ``error`` is the name that the execution ends with."""

    reason: str
    error: str
    message: str


def execution_of(plan_key: str) -> str:
    """The execution's name, out of the key of its plan."""
    return plan_key.removeprefix(f"{WORK_PREFIX}/").partition("/")[0]


def load_plan(objects: ObjectStore, plan_key: str) -> Plan:
    """Raises ``DeploymentError`` when there is no plan: it has expired, or was deleted."""
    try:
        return Plan.model_validate_json(objects.get(plan_key))
    except ObjectNotFoundError as error:
        raise DeploymentError(
            f"{error} The plan of an execution must outlive it: raise work_retention_days."
        ) from error


def failure_reason(plan: Plan) -> str:
    """Why rows that failed end the run, in terms of what the user wrote."""
    execution_config = plan.config.execution_config
    if not execution_config.continue_on_error:
        return "a row failed and continue_on_error is false"
    return f"stop_after was reached: {execution_config.failure_limit(plan.total_rows):,} failed rows"


class Work:
    """The objects of one execution. Safe in several threads."""

    def __init__(self, objects: ObjectStore, keys: Keys, clock: Clock) -> None:
        self.objects = objects
        self.keys = keys
        self._clock = clock
        self._lock = Lock()
        self._brake: Brake | None = None
        self._brake_read_ms = -BRAKE_CACHE_MS - 1

    # --- the brake

    def brake(self, *, fresh: bool = False) -> Brake | None:
        """The brake, if it is pulled; read at most once a second unless ``fresh``, and not again once it is."""
        with self._lock:
            now = self._clock.now_ms()
            if self._brake is None and (fresh or now - self._brake_read_ms > BRAKE_CACHE_MS):
                self._brake = self._read_brake()
                self._brake_read_ms = now
            return self._brake

    def _read_brake(self) -> Brake | None:
        try:
            body = orjson.loads(self.objects.get(self.keys.brake))
        except ObjectNotFoundError:
            return None
        return Brake(
            reason=str(body.get("reason", "")), error=str(body.get("error", "")), message=str(body.get("message", ""))
        )

    def pull_brake(self, brake: Brake) -> None:
        """Stop every worker before its next row. The first reason stands."""
        with self._lock:
            body = {"reason": brake.reason, "error": brake.error, "message": brake.message}
            pulled = self.objects.put_new(self.keys.brake, orjson.dumps(body))
            self._brake = brake if pulled else self._read_brake()

    # --- markers

    def mark_active(self, first: int) -> None:
        self.objects.put(self._active_key(first), b"")

    def unmark_active(self, first: int) -> None:
        self.objects.delete(self._active_key(first))

    def is_active(self) -> bool:
        """Whether some worker has begun and not ended. One that was killed stays listed."""
        return next(iter(self.objects.list_objects(self.keys.active)), None) is not None

    def _active_key(self, first: int) -> str:
        return f"{self.keys.active}{first:012d}"

    # --- finished rows

    def finished_ranges(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, int]]:
        """First and last row of each rows object that begins in ``first..last``, in row order."""
        for stored in self.objects.list_objects(self.keys.rows, f"{self.keys.rows}{first:012d}"):
            begins, ends = self.keys.rows_range(stored.key)
            if last is not None and begins > last:
                return
            yield begins, ends

    def is_written(self, row: int) -> bool:
        """Whether the row has a rows object of its own."""
        return self.objects.exists(self.keys.rows_object(row, row))

    def write_rows(self, rows: Iterable[tuple[RowRecord, bytes]]) -> None:
        """Write finished rows, ascending, with their ``encode_answer``: one object for each run of consecutive rows."""
        for run in consecutive_runs(rows):
            records, answers = zip(*run, strict=True)
            key = self.keys.rows_object(records[0]["row"], records[-1]["row"])
            self.objects.put(key, encode_rows(records, answers))

    def count_failures(self, failed: list[int], limit: int | None, brake: Brake | None) -> None:
        """Say that the rows ``failed`` have failed, and pull ``brake`` when as many as ``limit`` have.

        The markers are added up at once for small limits; for large ones only every ``limit / 100``-th failed row,
        chosen by its number, has them added up, so that listing them stays a small part of the work.
        """
        if not failed:
            return
        self.objects.put(self.keys.failures_marker(failed[0], len(failed)), b"")
        if limit is None or brake is None:
            return
        step = max(1, limit // CHECKS_PER_LIMIT)
        if any(zlib.crc32(b"%d" % row) % step == 0 for row in failed):
            markers = self.objects.list_objects(self.keys.failures)
            if sum(int(marker.key.rpartition("-")[2]) for marker in markers) >= limit:
                self.pull_brake(brake)


def consecutive_runs(rows: Iterable[tuple[RowRecord, bytes]]) -> Iterator[list[tuple[RowRecord, bytes]]]:
    """Cut ascending rows where a row number is left out."""
    run: list[tuple[RowRecord, bytes]] = []
    for record, answer in rows:
        if run and record["row"] != run[-1][0]["row"] + 1:
            yield run
            run = []
        run.append((record, answer))
    if run:
        yield run
