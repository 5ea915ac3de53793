"""Fakes of what taking results and reconciling need, all over one world that may be killed at any of its writes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from bedrock_batches.results.ports import Claim, ClaimLostError, ContentItem, ResultObject
from bedrock_batches.results.reconcile import ReconcileServices
from bedrock_batches.results.take_results import ResultServices
from bedrock_batches.submit.job import BEDROCK_FINAL, KEPT, Job, JobStatus, Part
from bedrock_batches.submit.job_items import (
    NOT_SETTLED,
    changes,
    expires_at,
    item_of_job,
    item_of_part,
    job_of_item,
    part_of_item,
    settled_at,
)
from bedrock_batches.submit.names import input_key, moment_of, output_prefix, part_name, records_key
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.submit.ports import BatchInferenceJob, Guard, JobPage
from foundation.errors import ObjectChangedError, ObjectNotFoundError
from foundation.ports import WHOLE, Lease, StoredObject
from tests.support.fakes import FakeMetrics

BUCKET = "data"
JOB_ID = "batch-1764000000-0123abcd"
CREATED_AT = "2025-11-24T16:00:00.000Z"
BEGAN_MS = 1_764_000_000_000
BEDROCK_ID = "abcdefghijkl"
MODEL_ID = "amazon.nova-lite-v1:0"


class KilledError(BaseException):
    """Raised where the process dies: nothing catches it, and nothing that runs afterwards has an effect."""


class World:
    """What outlives a process: objects, items, the time. ``kill_at`` is the number of the write that kills."""

    def __init__(self) -> None:
        self.now_ms = BEGAN_MS
        self.objects: dict[str, bytes] = {}
        self.modified: dict[str, datetime] = {}
        self.etags: dict[str, str] = {}
        self.violations: dict[str, dict[str, Any]] = {}
        self.claims: dict[tuple[str, str, str], Claim] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.parts: dict[str, dict[int, dict[str, Any]]] = {}
        self.leases: dict[str, tuple[str, int]] = {}
        self.in_flight: set[str] = set()
        self.lock = threading.Lock()

    def put(self, key: str, body: bytes) -> None:
        self.objects[key] = body
        self.etags[key] = hashlib.md5(body).hexdigest()
        self.modified[key] = datetime.fromtimestamp(self.now_ms / 1000, UTC)

    def result(self, key: str) -> ResultObject:
        if key not in self.objects:
            raise ObjectNotFoundError(key)
        return ResultObject(key, self.etags[key], len(self.objects[key]), self.modified[key])

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix))

    def failed_lines(self, job_id: str = JOB_ID) -> list[dict[str, Any]]:
        keys = self.keys(f"bedrock-batches/errors/{job_id}/")
        return [json.loads(line) for key in keys for line in self.objects[key].splitlines()]

    def sleep_minutes(self, minutes: float) -> None:
        self.now_ms += int(minutes * 60_000)


@dataclass
class Process:
    """One call of a function. It dies at write ``kill_at`` (before it has an effect), and is out of time after
    ``looks`` looks at its deadline."""

    world: World
    owner: str = "call-1"
    kill_at: int = 0
    looks: int = 1_000_000
    writes: int = 0
    dead: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)
    bedrock: FakeBedrock = field(default_factory=lambda: FakeBedrock())
    reconciled: list[dict[str, Any]] = field(default_factory=list)
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    asked_again: list[dict[str, Any]] = field(default_factory=list)
    before_write: Callable[[str], None] = lambda _what: None

    def write(self, what: str) -> None:
        """Each write of any fake passes here."""
        if self.dead:
            raise KilledError
        self.before_write(what)
        self.writes += 1
        if self.writes == self.kill_at:
            self.dead = True
            raise KilledError

    def remaining_seconds(self) -> float:
        self.looks -= 1
        return 300.0 if self.looks >= 0 else 1.0

    def now_ms(self) -> int:
        return self.world.now_ms

    def sleep(self, seconds: float) -> None:
        self.world.now_ms += int(seconds * 1000)

    def result_services(self) -> ResultServices:
        return ResultServices(
            jobs=FakeJobs(self),
            claims=FakeClaims(self),
            results=FakeResults(self),
            objects=FakeObjects(self),
            violations=FakeViolations(self),
            again=FakeCaller(self, self.calls),
            reconciler=FakeCaller(self, self.reconciled),
            clock=self,
            deadline=self,
            owner=self.owner,
        )

    def reconcile_services(self, concurrent_jobs: int = 2) -> ReconcileServices:
        return ReconcileServices(
            jobs=FakeJobs(self),
            claims=FakeClaims(self),
            batch=self.bedrock,
            results=FakeResults(self),
            objects=FakeObjects(self),
            leases=FakeLeases(self),
            taker=FakeCaller(self, self.calls),
            processor=FakeCaller(self, self.asked_again),
            notifier=FakeNotifier(self),
            clock=self,
            deadline=self,
            owner=self.owner,
            quotas=Quotas(concurrent_jobs=concurrent_jobs),
            metrics=self.metrics,
        )


@dataclass
class FakeCaller:
    process: Process
    calls: list[dict[str, Any]]

    def call(self, payload: dict[str, Any]) -> None:
        self.process.write("call")
        self.calls.append(payload)


@dataclass
class FakeNotifier:
    process: Process

    def publish(self, subject: str, body: dict[str, Any], attributes: dict[str, str | int]) -> None:
        self.process.write("publish")
        self.process.published.append(body)


@dataclass
class FakeObjects:
    process: Process
    bucket: str = BUCKET

    def get(self, key: str) -> bytes:
        if key not in self.process.world.objects:
            raise ObjectNotFoundError(key)
        return self.process.world.objects[key]

    def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:
        yield self.get(key)[start:]

    def exists(self, key: str) -> bool:
        return key in self.process.world.objects

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        self.process.write("put")
        self.process.world.put(key, body)
        return ""

    def put_new(self, key: str, body: bytes) -> bool:
        raise AssertionError("not used here")

    def delete(self, key: str) -> None:
        self.process.write("delete")
        self.process.world.objects.pop(key, None)

    def list_objects(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        for key in self.process.world.keys(prefix):
            yield StoredObject(key, len(self.process.world.objects[key]))

    def start_upload(self, key: str, tags: dict[str, str] | None = None) -> str:
        raise AssertionError("not used here")

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        raise AssertionError("not used here")

    def abort_upload(self, key: str, upload_id: str) -> None:
        raise AssertionError("not used here")

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        raise AssertionError("not used here")


@dataclass
class FakeResults:
    process: Process
    range_bytes: int = 700

    def head(self, key: str) -> ResultObject:
        return self.process.world.result(key)

    def read(self, result: ResultObject, offset: int) -> Iterator[bytes]:
        while offset < result.size:
            if self.process.world.result(result.key).etag != result.etag:
                raise ObjectChangedError(result.key)
            yield self.process.world.objects[result.key][offset : offset + self.range_bytes]
            offset += self.range_bytes

    def list_objects(self, prefix: str) -> Iterator[ResultObject]:
        return (self.process.world.result(key) for key in self.process.world.keys(prefix))


@dataclass
class FakeClaims:
    process: Process

    def take(self, claim: Claim, owner: str, until_ms: int, now_ms: int) -> Claim | None:
        self.process.write("take")
        with self.process.world.lock:
            stored = self.process.world.claims.get(_claim_key(claim), claim)
            if stored.done:
                return None
            if stored.is_leased(now_ms) and stored.lease_owner != owner:
                return stored
            taken = replace(stored, lease_owner=owner, lease_until_ms=until_ms)
            self.process.world.claims[_claim_key(claim)] = taken
            return taken

    def commit(self, before: Claim, after: Claim) -> None:
        self.process.write("commit")
        with self.process.world.lock:
            stored = self.process.world.claims[_claim_key(before)]
            same = (stored.offset, stored.chunks, stored.lease_owner) == (
                before.offset,
                before.chunks,
                before.lease_owner,
            )
            if not same or stored.done:
                raise ClaimLostError(before.key)
            self.process.world.claims[_claim_key(before)] = after

    def amend(self, before: Claim, after: Claim) -> bool:
        self.process.write("amend")
        stored = self.process.world.claims[_claim_key(before)]
        if not stored.done or stored.counts != before.counts:
            return False
        self.process.world.claims[_claim_key(before)] = after
        return True

    def release(self, claim: Claim) -> None:
        self.process.write("release")
        with self.process.world.lock:
            stored = self.process.world.claims[_claim_key(claim)]
            if stored.lease_owner == claim.lease_owner:
                self.process.world.claims[_claim_key(claim)] = replace(stored, lease_owner="", lease_until_ms=0)

    def of_job(self, job_id: str) -> list[Claim]:
        return [claim for claim in self.process.world.claims.values() if claim.job_id == job_id]


def _claim_key(claim: Claim) -> tuple[str, str, str]:
    return claim.job_id, claim.key, claim.etag


@dataclass
class FakeViolations:
    process: Process

    def put_content(self, items: Sequence[ContentItem]) -> int:
        kept = 0
        for number, item in enumerate(items):
            if number % 25 == 0:
                self.process.write("violations")
            with self.process.world.lock:
                stored = self.process.world.violations.get(item.violation_id)
                if stored and (stored.get("is_verified") or _is_newer(stored, item)):
                    kept += 1
                else:
                    self.process.world.violations[item.violation_id] = {
                        "title": item.content.title,
                        "tags": tuple(item.content.tags),
                        "agency": item.agency,
                        "generated_at": item.generated_at,
                        "job_id": item.job_id,
                    }
        return kept


def _is_newer(stored: Mapping[str, Any], item: ContentItem) -> bool:
    try:
        return moment_of(stored["generated_at"]) > moment_of(item.generated_at)
    except ValueError:
        return True


@dataclass
class FakeLeases:
    process: Process

    def acquire(self, name: str, owner: str, seconds: float, part: str = WHOLE) -> bool:
        now_ms = self.process.world.now_ms
        holder, until_ms = self.process.world.leases.get(name, ("", 0))
        if holder not in ("", owner) and until_ms > now_ms:
            return False
        self.process.world.leases[name] = (owner, now_ms + int(seconds * 1000))
        return True

    def release(self, name: str, owner: str, part: str = WHOLE) -> None:
        self.process.write("release lease")
        self.process.world.leases.pop(name, None)

    def held(self, name: str) -> list[Lease]:
        raise AssertionError("not used here")


@dataclass
class FakeJobs:
    """The table of jobs, whose items are dicts of the world."""

    process: Process

    def create(
        self,
        job: Job,
        idempotency_key: str = "",
        request: Mapping[str, Any] | None = None,
        *,
        instead_of: str = "",
    ) -> str:
        self.process.world.jobs[job.job_id] = item_of_job(job)
        return job.job_id

    def get(self, job_id: str) -> Job | None:
        found = self.process.world.jobs.get(job_id)
        return job_of_item(found) if found else None

    def parts(self, job_id: str) -> list[Part]:
        return [part_of_item(part) for _, part in sorted(self.process.world.parts.get(job_id, {}).items())]

    def put_parts(self, job_id: str, parts: Sequence[Part]) -> None:
        self.process.world.parts[job_id] = {part.number: item_of_part(part) for part in parts}

    def change(self, before: Job, after: Job, *, only_if: Collection[Guard] = ()) -> bool:
        self.process.write("job")
        item = self.process.world.jobs[before.job_id]
        return _change(item, item_of_job(before), item_of_job(after), only_if)

    def change_part(self, before: Part, after: Part, *, only_if: Collection[Guard] = ()) -> bool:
        self.process.write("part")
        item = self.process.world.parts[before.job_id][before.number]
        return _change(item, item_of_part(before), item_of_part(after), only_if)

    def list_jobs(self, status: JobStatus | None, limit: int, cursor: str = "") -> JobPage:
        jobs = [job for job in map(job_of_item, self.process.world.jobs.values()) if status in (None, job.status)]
        return JobPage(jobs, "")

    def in_flight(self) -> list[str]:
        return sorted(self.process.world.in_flight)

    def enter_in_flight(self, job_id: str) -> None:
        self.process.world.in_flight.add(job_id)

    def settle(self, job_id: str, at: datetime) -> None:
        self.process.write("settle")
        _set(self.process.world.jobs[job_id], {**settled_at(at), **expires_at(at + KEPT)})
        self.leave_in_flight(job_id)

    def reopen(self, job_id: str) -> None:
        self.process.write("reopen")
        self.enter_in_flight(job_id)
        _set(self.process.world.jobs[job_id], {**NOT_SETTLED, **expires_at(None)})

    def leave_in_flight(self, job_id: str) -> None:
        self.process.write("in flight")
        self.process.world.in_flight.discard(job_id)


def _change(item: dict[str, Any], before: dict[str, Any], after: dict[str, Any], only_if: Collection[Guard]) -> bool:
    if any(item.get(name) != before[name] for name in only_if):
        return False
    _set(item, changes(before, after))
    return True


def _set(item: dict[str, Any], attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if value is None:
            item.pop(name, None)
        else:
            item[name] = value


class FakeBedrock:
    """Bedrock's jobs by ARN; ``refuse`` is raised by the next submissions, one after the other (None: accepted)."""

    def __init__(self) -> None:
        self.jobs: dict[str, BatchInferenceJob] = {}
        self.refusals: list[Exception | None] = []
        self.stopped: list[str] = []

    def submit(self, part: Part, bucket: str) -> str:
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal
        arn = job_arn(part.number)
        self.jobs.setdefault(arn, BatchInferenceJob(arn, "Submitted"))
        return arn

    def get(self, job_arn: str) -> BatchInferenceJob:
        return self.jobs[job_arn]

    def stop(self, job_arn: str) -> None:
        self.stopped.append(job_arn)

    def running(self, model_id: str) -> int:
        return sum(job.status not in BEDROCK_FINAL for job in self.jobs.values())

    def end(self, part: int, status: str, message: str = "", processed: int = 0) -> None:
        self.jobs[job_arn(part)] = BatchInferenceJob(job_arn(part), status, message, processed=processed)


def job_arn(part: int) -> str:
    return f"arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/{bedrock_id(part)}"


def bedrock_id(part: int) -> str:
    return f"abcdefgh{part:04}"


def violation_id(number: int) -> str:
    return f"OSHA-{number:06}"


def answer_line(record_id: str, text: str | None = None, *, tokens: tuple[int, int] = (10, 5)) -> bytes:
    """A line with a Converse answer."""
    content = {"title": f"Title of {record_id}", "description": "What happened.", "tags": ["a", "b"]}
    output = {
        "output": {
            "message": {"role": "assistant", "content": [{"text": json.dumps(content) if text is None else text}]}
        },
        "stopReason": "end_turn",
        "usage": {"inputTokens": tokens[0], "outputTokens": tokens[1]},
    }
    return json.dumps({"recordId": record_id, "modelInput": {}, "modelOutput": output}).encode() + b"\n"


def error_line(record_id: str, code: int = 400, message: str = "bad request") -> bytes:
    error = {"errorCode": code, "errorMessage": message}
    return json.dumps({"recordId": record_id, "modelInput": {}, "error": error}).encode() + b"\n"


def output_file_key(part: int = 1, job_id: str = JOB_ID) -> str:
    return f"{output_prefix(job_id)}{bedrock_id(part)}/input-{part:04}.jsonl.out"


def add_job(world: World, counts: Sequence[int], *, queued: Iterable[int] = (), **attributes: Any) -> None:
    """A job whose parts have so many records each, submitted but for those that are named."""
    world.jobs[JOB_ID] = {
        "jobId": JOB_ID,
        "status": "InProgress",
        "creation": "Done",
        "createdAt": CREATED_AT,
        "modelId": MODEL_ID,
        "promptVersion": "1",
        "violationCount": sum(counts),
        "stats": {"processed": 0, "errors": 0, "total": 0},
        **attributes,
    }
    world.in_flight.add(JOB_ID)
    first = 0
    world.parts[JOB_ID] = {}
    for number, count in enumerate(counts, 1):
        part: dict[str, Any] = {
            "jobId": JOB_ID,
            "part": number,
            "status": "queued" if number in queued else "submitted",
            "jobName": part_name(JOB_ID, number),
            "modelId": MODEL_ID,
            "inputKey": input_key(JOB_ID, number),
            "recordsKey": records_key(JOB_ID, number),
            "recordCount": count,
        }
        if number not in queued:
            part |= {"jobArn": job_arn(number), "bedrockStatus": "InProgress"}
        world.parts[JOB_ID][number] = part
        lines = "".join(f"{violation_id(n)}\tosha\n" for n in range(first, first + count))
        world.put(records_key(JOB_ID, number), lines.encode())
        first += count


def s3_event(*keys: str) -> dict[str, Any]:
    """A notification of S3, as far as it is read."""
    return {"Records": [{"s3": {"bucket": {"name": BUCKET}, "object": {"key": quote_plus(key)}}} for key in keys]}
