"""Fakes of the workers' ports. The contract tests hold them to the same assertions as the adapters."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from foundation.errors import DeliveryError, ObjectNotFoundError, ServiceUnavailableError
from foundation.ports import WHOLE, Lease, StoredObject
from row_batches.document.plan import Target
from row_batches.document.s3_location import S3Location
from row_batches.rows.records import (
    AnsweredRow,
    FinishedRow,
    KeptAnswer,
    KeptFailure,
    RowColumns,
    RowStatus,
    columns_of,
    consecutive_runs,
)
from row_batches.rows.store import FinishedRows, ListedRow, RowRange, listed_by_reading
from row_batches.run.answer_cache import CachedAnswer
from row_batches.run.blanks import Blanks
from row_batches.run.causes import Cause, most_frequent
from row_batches.run.ownership import Ownership
from row_batches.run.redrive import Redrive
from row_batches.run.runs import MOST_LIVE_CAUSES, Approval, Counts, Live, Run, RunEnding, RunPage, RunState, Start
from row_batches.run.starts import Starts
from row_batches.run.traces import Traces
from row_batches.targets.protocol import Outcome

SMALLEST_PART = 5 * 1024 * 1024


class KilledError(BaseException):
    """The function was killed: no code of ours may catch it."""


class FakeObjectStore:
    """A versioned bucket in memory. ``kill_at`` counts down writes; the one that reaches zero kills, done or not."""

    bucket = "results"

    def __init__(self, smallest_part: int = SMALLEST_PART) -> None:
        self.objects: dict[str, bytes] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.versions: dict[tuple[str, str], bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.reads: list[str] = []
        self.writes: list[str] = []
        self.kill_at: int | None = None
        self.kill_after_write = False
        self.smallest_part = smallest_part
        self._lock = Lock()
        self._count = 0
        self._upload_tags: dict[str, dict[str, str]] = {}

    def _write(self, key: str, act: Callable[[], str]) -> str:
        with self._lock:
            self.writes.append(key)
            killed = self.kill_at is not None and len(self.writes) > self.kill_at
            if killed and not self.kill_after_write:
                raise KilledError
            result = act()
            if killed:
                raise KilledError
            return result

    def _store(self, key: str, body: bytes, tags: dict[str, str] | None) -> str:
        self._count += 1
        version = f"v{self._count}"
        self.objects[key] = body
        self.tags[key] = tags or {}
        self.versions[key, version] = body
        return version

    def get(self, key: str) -> bytes:
        with self._lock:
            self.reads.append(key)
            if key not in self.objects:
                raise ObjectNotFoundError(f"s3://{self.bucket}/{key} does not exist.")
            return self.objects[key]

    def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:
        if version_id is not None and (key, version_id) not in self.versions:
            raise ObjectNotFoundError(f"s3://{self.bucket}/{key} does not exist.")
        body = self.get(key) if version_id is None else self.versions[key, version_id]
        self.reads.append(key)
        for place in range(start, len(body), 1024):
            yield body[place : place + 1024]

    def exists(self, key: str) -> bool:
        return key in self.objects

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        return self._write(key, lambda: self._store(key, body, tags))

    def put_new(self, key: str, body: bytes) -> bool:
        if key in self.objects:
            return False
        self.put(key, body)
        return True

    def delete(self, key: str) -> None:
        with self._lock:
            self.objects.pop(key, None)

    def list_objects(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        with self._lock:
            keys = sorted(key for key in self.objects if key.startswith(prefix) and key > start_after)
            listed = [StoredObject(key, len(self.objects[key])) for key in keys]
        yield from listed

    def start_upload(self, key: str, tags: dict[str, str] | None = None) -> str:
        def act() -> str:
            self._count += 1
            upload_id = f"upload-{self._count}"
            self.uploads[upload_id] = {}
            self._upload_tags[upload_id] = tags or {}
            return upload_id

        return self._write(key, act)

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        def act() -> str:
            self.uploads[upload_id][number] = body
            return f"{number}-{hashlib.sha256(body).hexdigest()[:8]}"

        return self._write(key, act)

    def abort_upload(self, key: str, upload_id: str) -> None:
        self.uploads.pop(upload_id, None)

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        def act() -> str:
            if upload_id not in self.uploads:
                if key in self.objects:
                    return max((version for of, version in self.versions if of == key), key=lambda v: int(v[1:]))
                raise AssertionError("no such upload")
            parts = self.uploads[upload_id]
            bodies = [parts[number] for number in range(1, len(etags) + 1)]
            assert all(len(body) >= self.smallest_part for body in bodies[:-1]), "EntityTooSmall"
            for number, (etag, body) in enumerate(zip(etags, bodies, strict=True), 1):
                assert etag == f"{number}-{hashlib.sha256(body).hexdigest()[:8]}", "InvalidPart"
            del self.uploads[upload_id]
            return self._store(key, b"".join(bodies), self._upload_tags[upload_id])

        return self._write(key, act)


class FakeOutputObjects:
    """Buckets of users in memory. ``refusal`` is raised by whatever writes."""

    def __init__(self, results: FakeObjectStore, buckets: Collection[str] = ("theirs",)) -> None:
        self._results = results
        self._buckets = buckets
        self._uploads: dict[str, dict[int, bytes]] = {}
        self.objects: dict[tuple[str, str], bytes] = {}
        self.written: list[str] = []
        self.refusal: Exception | None = None

    def _check(self, place: S3Location) -> None:
        if self.refusal is not None:
            raise self.refusal
        if place.bucket not in self._buckets:
            raise DeliveryError("the bucket does not exist", "create the bucket, or correct its name")

    def _store(self, place: S3Location, body: bytes) -> None:
        self._check(place)
        self.objects[place] = body
        self.written.append(place.key)

    @property
    def open_uploads(self) -> list[str]:
        return list(self._uploads)

    def try_upload(self, place: S3Location) -> None:
        self.abort_upload(place, self.start_upload(place))

    def put(self, place: S3Location, body: bytes) -> None:
        self._store(place, body)

    def size(self, key: str) -> int:
        return len(self._results.get(key))

    def copy(self, key: str, place: S3Location) -> None:
        self._store(place, self._results.get(key))

    def start_upload(self, place: S3Location) -> str:
        self._check(place)
        upload_id = str(uuid.uuid4())
        self._uploads[upload_id] = {}
        return upload_id

    def copy_part(self, key: str, place: S3Location, upload_id: str, number: int, first: int, end: int) -> str:
        self._check(place)
        self._upload(upload_id)[number] = self._results.get(key)[first:end]
        return f"etag-{number}"

    def abort_upload(self, place: S3Location, upload_id: str) -> None:
        self._uploads.pop(upload_id, None)

    def complete_upload(self, place: S3Location, upload_id: str, etags: list[str]) -> None:
        parts = self._upload(upload_id)
        assert etags == [f"etag-{number}" for number in range(1, len(parts) + 1)]
        self._store(place, b"".join(parts[number] for number in sorted(parts)))
        del self._uploads[upload_id]

    def _upload(self, upload_id: str) -> dict[int, bytes]:
        if upload_id not in self._uploads:
            raise ObjectNotFoundError("The upload no longer exists.")
        return self._uploads[upload_id]


class FakeRowStore:
    """Finished rows in memory, one list of rows for each write."""

    def __init__(self) -> None:
        self._writes: list[list[FinishedRow]] = []
        self._counted: dict[int, int] = {}
        self._letters: set[int] = set()

    def write(self, rows: Sequence[FinishedRow]) -> None:
        for run in consecutive_runs(rows):
            self._writes.append(run)
        self._writes.sort(key=lambda run: (run[0].row, run[-1].row))

    def finished(self, first: int = 1, last: int | None = None) -> Iterator[RowRange]:
        for run in self._writes:
            begins, ends = max(run[0].row, first), run[-1].row if last is None else min(run[-1].row, last)
            if begins <= ends:
                yield RowRange(begins, ends)

    def read(self, row: int = 1, position: str = "") -> Generator[FinishedRows, None, None]:
        for number, run in enumerate(self._writes[int(position or 0) :], int(position or 0) + 1):
            if run[-1].row >= row:
                yield _FakeRows(run, str(number), self._letters)
                row = run[-1].row + 1

    def answers(self, row: int = 1) -> Generator[AnsweredRow, None, None]:
        next_row = row
        for finished in (finished for run in self._writes for finished in run):
            if finished.row >= next_row:
                next_row = finished.row + 1
                record = finished.record
                unmatched = finished.has_failed and "missing" in record
                answer = None if finished.has_failed and not unmatched else json.loads(finished.answer)
                ended_ms = record["started_ms"] + record["duration_ms"]
                error = record.get("error", "")
                yield AnsweredRow(
                    row=finished.row,
                    status=record["status"],
                    started_ms=record["started_ms"],
                    ended_ms=ended_ms,
                    attempts=record["attempts"],
                    error=error,
                    answer=answer,
                    unmatched=unmatched,
                    target_version=record["target_version"],
                    error_name=record.get("error_name", ""),
                    usage=record.get("usage", {}),
                )

    def kept(self, rows: Collection[int]) -> Iterator[KeptAnswer]:
        for finished in (finished for run in self._writes for finished in run):
            if finished.row in rows and not finished.has_failed:
                record = finished.record
                yield KeptAnswer(finished.row, record["hash"], record["target_version"], finished.answer)

    def failures(self, rows: Collection[int]) -> Iterator[KeptFailure]:
        for finished in (finished for run in self._writes for finished in run):
            if finished.row in rows and finished.has_failed:
                record = finished.record
                name, error = record.get("error_name", ""), record.get("error", "")
                yield KeptFailure(finished.row, record["status"], name, error)

    def listed(self, statuses: Collection[RowStatus], row: int = 1) -> Generator[ListedRow, None, None]:
        return listed_by_reading(self, statuses, row)

    def count_failed(self, rows: Sequence[int]) -> None:
        if rows:
            self._counted[rows[0]] = len(rows)

    def failed(self) -> int:
        return sum(self._counted.values())

    def mark_letters_sent(self, rows: Sequence[FinishedRow]) -> None:
        self._letters |= {finished.row for finished in rows}


@dataclass(frozen=True)
class _FakeRows:
    rows: list[FinishedRow]
    position: str
    letters: set[int]
    writes: int = 1
    write_units: int = 0

    @property
    def first(self) -> int:
        return self.rows[0].row

    @property
    def last(self) -> int:
        return self.rows[-1].row

    def columns_from(self, row: int) -> RowColumns:
        return columns_of([kept.record for kept in self.rows if kept.row >= row], self.letters.__contains__)


class FakeAnswers:
    """Answers of batches in memory. ``is_away``: nothing can be read or kept."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, CachedAnswer]] = {}
        self.is_away = False

    def _check(self) -> None:
        if self.is_away:
            raise ServiceUnavailableError("dynamodb:BatchGetItem got no answer")

    def get(self, ids: Collection[str], since_ms: int) -> Iterator[tuple[str, bytes]]:
        self._check()
        for each in ids:
            kept_ms, answer = self.answers.get(each, (0, None))
            if answer is not None and kept_ms >= since_ms:
                yield each, answer.answer

    def keep(self, answers: Sequence[CachedAnswer], now_ms: int, days: int) -> None:
        self._check()
        for answer in answers:
            if len(answer.answer) <= 1024 * 1024:
                self.answers[answer.id] = (now_ms, answer)


class FakeInvoker:
    """Answers with what ``answer(payload, timeout_seconds)`` returns or raises; keeps the calls, the most at once."""

    def __init__(self, answer: Callable[[bytes, float], bytes | Outcome]) -> None:
        self._answer = answer
        self.calls: list[tuple[str, bytes, float]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = Lock()

    def invoke(self, target: Target, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        with self._lock:
            self.calls.append((target.arn, payload, timeout_seconds))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self._answer(payload, timeout_seconds)
        finally:
            with self._lock:
                self._at_once -= 1


class FakeDeadLetters:
    """A queue. While ``is_away``, it takes nothing; ``tries`` counts how often something was sent."""

    def __init__(self) -> None:
        self.letters: list[dict[str, Any]] = []
        self.is_away = False
        self.tries = 0

    def send(self, letters: Iterable[dict[str, Any]]) -> None:
        self.tries += 1
        if self.is_away:
            raise ServiceUnavailableError("sqs:SendMessage got no answer")
        self.letters.extend(letters)


class FakeSegments:
    """Takes segment documents; ``written`` has them parsed. While ``broken``, it raises that instead."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.broken: Exception | None = None

    def put(self, documents: Sequence[str]) -> None:
        if self.broken is not None:
            raise self.broken
        self.written += [json.loads(document) for document in documents]


class FakeNotifier:
    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any], dict[str, str | int]]] = []

    def publish(self, subject: str, body: dict[str, Any], attributes: dict[str, str | int]) -> None:
        self.published.append((subject, body, attributes))


class FakeMetrics:
    def __init__(self) -> None:
        self.sets: list[tuple[str, dict[str, tuple[float, str]]]] = []

    def put(self, target: str, values: dict[str, tuple[float, str]]) -> None:
        self.sets.append((target, values))


class FakeClock:
    """Time stands still but for ``sleep``, which moves it on at once."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self._now_ms = now_ms
        self._lock = Lock()
        self.sleeps: list[float] = []

    def now_ms(self) -> int:
        return self._now_ms

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.sleeps.append(seconds)
            self._now_ms += int(seconds * 1000)

    def move(self, seconds: float) -> None:
        with self._lock:
            self._now_ms += int(seconds * 1000)


class FakeDeadline:
    """What is left at each question: the last value stays."""

    def __init__(self, *remaining: float) -> None:
        self._remaining = list(remaining) or [900.0]

    def remaining_seconds(self) -> float:
        return self._remaining.pop(0) if len(self._remaining) > 1 else self._remaining[0]


class FakeLeases:
    """Leases in memory, as the adapter keeps them."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._lock = Lock()
        self.leases: dict[tuple[str, str], Lease] = {}
        self.killed = False
        """Whether owners die without giving anything back."""

    def acquire(self, name: str, owner: str, seconds: float, part: str = WHOLE) -> bool:
        with self._lock:
            now_ms, held = self._clock.now_ms(), self.leases.get((name, part))
            if held is not None and held.owner != owner and held.until_ms >= now_ms:
                return False
            self.leases[name, part] = Lease(part, owner, now_ms + int(seconds * 1000))
            return True

    def release(self, name: str, owner: str, part: str = WHOLE) -> None:
        with self._lock:
            held = self.leases.get((name, part))
            if held is not None and held.owner == owner and not self.killed:
                del self.leases[name, part]

    def held(self, name: str) -> list[Lease]:
        with self._lock:
            now_ms = self._clock.now_ms()
            found = [lease for (of, _), lease in self.leases.items() if of == name and lease.until_ms >= now_ms]
        return sorted(found, key=lambda lease: lease.part)


class FakeOwnership(Ownership):
    """The leases of one call of a function, each call an owner of its own, over fakes that calls can share."""

    def __init__(self, clock: FakeClock, leases: FakeLeases | None = None, runs: FakeRuns | None = None) -> None:
        self.leases, self.runs = leases or FakeLeases(clock), runs or FakeRuns()
        super().__init__(self.leases, self.runs, uuid.uuid4().hex, clock)


class FakeRedrives:
    """The last redrive of each execution, by its ARN."""

    def __init__(self) -> None:
        self.redrives: dict[str, Redrive] = {}

    def last_redrive(self, arn: str) -> Redrive | None:
        return self.redrives.get(arn)


def fake_starts(clock: FakeClock, leases: FakeLeases | None = None, runs: FakeRuns | None = None) -> Starts:
    """What lets the rows of agents start, over fakes that calls can share."""
    return Starts(leases or FakeLeases(clock), runs or FakeRuns(), clock)


@dataclass
class _FakePace:
    next_ms: float = 0
    tokens: int = 0
    answers: int = 0


class FakeRuns:
    """The table of runs in memory. ``broken`` is raised by whatever is asked of it."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._paces: dict[str, _FakePace] = {}
        self._live: dict[str, Counts] = {}
        self._blanks: dict[str, Blanks] = {}
        self._traces: dict[str, Traces] = {}
        self._causes: dict[str, dict[str, Cause]] = {}
        self._lock = Lock()
        self.broken: Exception | None = None

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken

    def start(self, run: Run) -> None:
        self._check()
        kept = self._runs.get(run.execution)
        if kept is None or kept.started_at != run.started_at:
            self._runs[run.execution] = run
            self._live.pop(run.execution, None)
            self._blanks.pop(run.execution, None)
            self._traces.pop(run.execution, None)
            self._causes.pop(run.execution, None)

    def forget(self, execution: str) -> None:
        """As if the run had been begun before there was a table."""
        del self._runs[execution]

    def count(self, execution: str, counts: Counts) -> Counts | None:
        self._check()
        if counts == Counts():
            return None
        with self._lock:
            self._live[execution] = self._live.get(execution, Counts()) + counts
            return self._live[execution]

    def count_blanks(self, execution: str, blanks: Blanks) -> None:
        self._check()
        with self._lock:
            before = self._blanks.get(execution, Blanks())
            self._blanks[execution] = Blanks(
                failed=before.failed + blanks.failed,
                missing=dict(Counter(before.missing) + Counter(blanks.missing)),
                keys=blanks.keys | before.keys,
            )

    def count_causes(self, execution: str, causes: Sequence[Cause]) -> None:
        self._check()
        with self._lock:
            known = self._causes.setdefault(execution, {})
            for cause in causes:
                if cause.id in known:
                    known[cause.id].count += cause.count
                elif len(known) < MOST_LIVE_CAUSES:
                    known[cause.id] = cause.model_copy()

    def count_traces(self, execution: str, traces: Traces) -> None:
        self._check()
        with self._lock:
            before = self._traces.get(execution, Traces())
            self._traces[execution] = Traces(
                sent=before.sent + traces.sent,
                refused=before.refused + traces.refused,
                refusal=before.refusal or traces.refusal,
            )

    def ask(self, execution: str, approval: Approval) -> None:
        self._check()
        self._change(execution, approval=approval)

    def answered(self, execution: str) -> None:
        self._check()
        self._change(execution, approval=None)

    def wait(self, execution: str, until_ms: int) -> None:
        self._check()
        self._change(execution, waiting_until=datetime.fromtimestamp(until_ms / 1000, UTC))

    def throttle(self, execution: str, since_ms: int, now_ms: int) -> None:
        self._check()
        since, noted = (datetime.fromtimestamp(moment / 1000, UTC) for moment in (since_ms, now_ms))
        self._change(execution, throttled_since=since, throttled_noted=noted)

    def hold_back(self, execution: str, now_ms: int) -> None:
        self._check()
        self._change(execution, held_back_noted=datetime.fromtimestamp(now_ms / 1000, UTC))

    def reserve_start(self, execution: str, now_ms: int, rows: int, row_ms: float, token_ms: float) -> Start:
        self._check()
        with self._lock:
            pace = self._paces.setdefault(execution, _FakePace())
            tokens = int(pace.tokens / max(1, pace.answers)) if token_ms else 0
            start = max(float(now_ms), pace.next_ms)
            pace.next_ms = start + rows * max(row_ms, tokens * token_ms)
            return Start(int(start), tokens)

    def use_tokens(self, execution: str, used: int, expected: int, token_ms: float) -> None:
        self._check()
        with self._lock:
            pace = self._paces.setdefault(execution, _FakePace())
            pace.tokens += used
            pace.answers += 1
            pace.next_ms += (used - expected) * token_ms

    def set_live(self, execution: str, live: Live) -> bool:
        self._check()
        run = self._runs.get(execution)
        if run is None or run.ended_at is not None:
            return False
        self._change(execution, live=live)
        return True

    def end(self, execution: str, ending: RunEnding) -> None:
        self._check()
        changes = {name: value for name, value in dict(ending).items() if value is not None}
        self._change(execution, **changes, waiting_until=None, approval=None)

    def reopen(self, execution: str) -> bool:
        self._check()
        run = self._runs.get(execution)
        if run is None or run.ended_at is None:
            return False
        self._change(
            execution,
            state=RunState.RUNNING,
            counts=Counts(),
            ended_at=None,
            cost_usd=None,
            summary_key=None,
            error="",
            causes=[],
        )
        return True

    def _change(self, execution: str, **changes: Any) -> None:
        if execution in self._runs:
            self._runs[execution] = self._runs[execution].model_copy(update=changes)

    def get(self, execution: str) -> Run | None:
        self._check()
        run = self._runs.get(execution)
        if run is None:
            return run
        run = run.model_copy(
            update={
                "blanks": self._blanks.get(execution, Blanks()),
                "traces": self._traces.get(execution, Traces()),
            }
        )
        if run.ended_at is not None:
            return run
        causes = most_frequent(self._causes.get(execution, {}).values())
        return run.model_copy(update={"counts": self._live.get(execution, Counts()), "causes": causes})

    def page(self, limit: int = 50, cursor: str = "") -> RunPage:
        self._check()
        names = [run.execution for run in sorted(self._runs.values(), key=lambda run: run.started_at, reverse=True)]
        if cursor and cursor not in names:
            raise ValueError("not a cursor of this listing")
        first = names.index(cursor) + 1 if cursor else 0
        found = names[first : first + limit]
        runs = [run for name in found if (run := self.get(name)) is not None]
        return RunPage(runs, found[-1] if first + limit < len(names) else "")

    def running(self) -> Iterator[Run]:
        for name in sorted(self._runs, key=lambda name: self._runs[name].started_at):
            run = self.get(name)
            if run is not None and run.ended_at is None:
                yield run
