"""Runs a job that is too small for batch inference through Converse, and writes the output that Bedrock would have
written.

Each answer becomes an object of its own at once (``job.answer_key``). A killed call loses none, and the next call asks
only for the rest. When every record has its answer, the answers become one output object with the lines of a batch's
output, which the same function takes.

A model is called only while the function has time for the slowest answer. A call that runs out of time invokes the next
one; a schedule does so if a call dies. Records without an answer after ``GIVE_UP_TIME`` fail and can be retried.

Every call of the model counts, even if its answer is lost: a mark is written before it (``job.calls_key``). The tokens
of a lost answer are not known. It counts with the input of its record, and with the output of the answer that arrived
later, or the allowed maximum.

The function looks for a stop while it works. Records that were not asked stay unanswered, as in a batch that Bedrock
stopped: the part is Stopped, ``reconcile`` lists the rest for a retry, and the answers are kept.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import orjson

from bedrock_batches.submit import names
from bedrock_batches.submit.job import BedrockStatus, Job, Part, PartStatus
from bedrock_batches.submit.ports import JobsTable, OnDemand
from bedrock_batches.submit.prompt import tokens_of_body
from bedrock_batches.submit.records_in_flight import lines_of
from foundation.errors import BatchProcessorError, DeploymentError, PermanentError, RetryableError, ThrottledError
from foundation.ports import Clock, Deadline, ObjectStore

LOGGER = logging.getLogger("batch_processor.run_on_demand")

THREADS = 8
ANSWER_SECONDS = 180
"""The longest time for an answer: 4,096 tokens at 25 a second. The client's time-out."""
RESERVE_SECONDS = 30.0
"""The part of the function's time that is reserved for writing the answers."""
GIVE_UP_TIME = timedelta(hours=1)
"""Records without an answer this long after the job was written fail."""
MOST_LOST = 3
"""Calls without an answer after which a record fails, because each of them can cost as much as an answer."""
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 20.0
LOOK_SECONDS = 1.0
"""Time between two checks for a stop."""
NOT_ASKED = "There was no time to ask this record: retry the job."


class Services(Protocol):
    @property
    def jobs(self) -> JobsTable: ...
    @property
    def objects(self) -> ObjectStore: ...
    @property
    def on_demand(self) -> OnDemand: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def deadline(self) -> Deadline: ...


@dataclass(frozen=True)
class _Record:
    """A record of the input with its line of the output, if it has one, and the number of calls that can have cost
    something."""

    place: int
    request: dict[str, Any]
    line: bytes = b""
    calls: int = 0


def run_on_demand(job: Job, services: Services) -> bool:
    """Ask for every record without an answer, until a stop is requested or the time is over.

    Returns False if records are left. Raises DeploymentError if access to the model is denied.
    """
    stop = _Stop(job.job_id, services)
    parts = services.jobs.parts(job.job_id)
    left = [part for part in parts if not _run_part(part, stop, services)]
    return not left


def _run_part(part: Part, stop: _Stop, services: Services) -> bool:
    key = names.on_demand_output_key(part.job_id, part.number)
    if services.objects.exists(key):
        return True
    try:
        with ThreadPoolExecutor(THREADS) as threads:
            records = list(threads.map(lambda record: _ask(record, part, stop, services), _records(part, services)))
    except DeploymentError as error:
        answered = [record for record in _records(part, services) if record.line]
        if not answered:
            services.jobs.change_part(part, replace(part, status=PartStatus.REFUSED, message=str(error)))
            raise
        # Answers are paid for: they become content as in a stopped part. The rest can be retried.
        LOGGER.error("part ends early", extra={"job_id": part.job_id, "part": part.number, "why": str(error)})
        ended = replace(_stopped(_used(part, answered), answered, services), message=str(error))
        services.jobs.change_part(part, ended)
        services.objects.put(key, b"".join(record.line for record in answered))
        return True
    left = [record for record in records if not record.line]
    if left and not stop.is_requested():
        if not _is_given_up(part, services):
            return False
        not_asked = {"errorCode": 408, "errorMessage": NOT_ASKED}
        records = [record if record.line else replace(record, line=_error(record, not_asked)) for record in records]
    answered = [record for record in records if record.line]
    # Before the object exists: after it is taken, the job ends by the state of the part.
    after = _used(part, records)
    if len(answered) < len(records):
        after = _stopped(after, answered, services)
    services.jobs.change_part(part, after)
    services.objects.put(key, b"".join(record.line for record in answered))
    return True


def _stopped(part: Part, answered: list[_Record], services: Services) -> Part:
    """The part as if Bedrock had stopped it after these answers."""
    now = names.moment_at(services.clock.now_ms())
    return replace(part, bedrock_status=BedrockStatus.STOPPED, processed_count=len(answered), ended_at=now)


def _is_given_up(part: Part, services: Services) -> bool:
    # A part that runs on demand ends for Bedrock when it is written.
    return part.ended_at is not None and names.moment_at(services.clock.now_ms()) - part.ended_at >= GIVE_UP_TIME


def _records(part: Part, services: Services) -> Iterator[_Record]:
    """The records of a part with the results of earlier calls."""
    job_id, number = part.job_id, part.number
    kept = {found.key for found in services.objects.list_objects(names.answers_prefix(job_id, number))}
    for place, line in enumerate(lines_of(services.objects.read(part.input_key))):
        answer, calls = names.answer_key(job_id, number, place), names.calls_key(job_id, number, place)
        yield _Record(
            place,
            orjson.loads(line),
            services.objects.get(answer) if answer in kept else b"",
            int(services.objects.get(calls)) if calls in kept else 0,
        )


def _ask(record: _Record, part: Part, stop: _Stop, services: Services) -> _Record:
    """The record with its line of the output; ``error`` replaces ``modelOutput``, as in a batch. It has no line if a
    stop or the time prevented the answer."""
    pause = FIRST_PAUSE_SECONDS
    while not record.line and services.deadline.remaining_seconds() > ANSWER_SECONDS + RESERVE_SECONDS:
        if stop.is_requested():
            break
        noted = record.calls + 1
        _note_calls(record, noted, part, services)
        try:
            output = services.on_demand.converse(part.model_id, record.request["modelInput"])
        except DeploymentError:
            _note_calls(record, record.calls, part, services)
            raise
        except PermanentError as refused:
            record = replace(record, line=_error(record, {"errorCode": 400, "errorMessage": str(refused)}))
        except RetryableError as fault:
            if not isinstance(fault, ThrottledError):
                # Nobody knows whether the model answered. The call can have cost as much as an answer.
                record = replace(record, calls=record.calls + 1)
                LOGGER.warning("no answer", extra={"job_id": part.job_id, "place": record.place, "why": str(fault)})
            if record.calls >= MOST_LOST:
                record = replace(record, line=_error(record, {"errorCode": 504, "errorMessage": str(fault)}))
            else:
                services.clock.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (jitter)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            line = orjson.dumps({**record.request, "modelOutput": output}) + b"\n"
            record = replace(record, line=line, calls=record.calls + 1)
        if record.line:
            services.objects.put(names.answer_key(part.job_id, part.number, record.place), record.line)
        if record.calls != noted:
            _note_calls(record, record.calls, part, services)
    return record


def _note_calls(record: _Record, calls: int, part: Part, services: Services) -> None:
    services.objects.put(names.calls_key(part.job_id, part.number, record.place), str(calls).encode())


def _error(record: _Record, error: dict[str, Any]) -> bytes:
    return orjson.dumps({**record.request, "error": error}) + b"\n"


def _used(part: Part, records: list[_Record]) -> Part:
    """The part with the number of the model's calls and their tokens."""
    calls = input_tokens = output_tokens = 0
    for record in records:
        if not record.calls:
            continue
        answered = orjson.loads(record.line).get("modelOutput") if record.line else None
        usage = (answered or {}).get("usage") or {}
        limit = record.request["modelInput"].get("inferenceConfig", {}).get("maxTokens", 0)
        calls += record.calls
        input_tokens += record.calls * int(usage.get("inputTokens") or tokens_of_body(record.request["modelInput"]))
        output_tokens += record.calls * int(usage.get("outputTokens", limit))
    return replace(part, calls=calls, input_tokens=input_tokens, output_tokens=output_tokens)


class _Stop:
    """Tells all threads whether a stop was requested, at most ``LOOK_SECONDS`` late."""

    def __init__(self, job_id: str, services: Services) -> None:
        self._job_id = job_id
        self._services = services
        self._lock = threading.Lock()
        self._requested = False
        self._next_ms = 0

    def is_requested(self) -> bool:
        with self._lock:
            now_ms = self._services.clock.now_ms()
            if not self._requested and now_ms >= self._next_ms:
                self._requested = self._look()
                self._next_ms = now_ms + int(LOOK_SECONDS * 1000)
            return self._requested

    def _look(self) -> bool:
        try:
            job = self._services.jobs.get(self._job_id)
        except BatchProcessorError:
            # The next check can succeed.
            LOGGER.warning("the job could not be read: no stop is known", extra={"job_id": self._job_id}, exc_info=True)
            return False
        return job is not None and job.stop_requested_at is not None
