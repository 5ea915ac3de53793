"""Runs a job that is too small for batch inference through Converse, and writes what Bedrock would have written.

The output object has the lines of a batch's output, so the same function takes it. The records are fewer than a batch
job's minimum: their answers fit into memory, and the object is written once all of them are there.

A stop is looked for while asking. What is not asked by then stays unanswered, as in a batch that Bedrock stopped: the
part is Stopped, ``reconcile`` lists its rest for a retry, and what was answered is kept.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import orjson

from bedrock_batches.submit import job as names
from bedrock_batches.submit.job import JobItem, PartItem, PartStatus
from bedrock_batches.submit.ports import JobsTable, OnDemand
from bedrock_batches.submit.records_in_flight import lines_of
from foundation.errors import BatchProcessorError, DeploymentError, PermanentError, RetryableError
from foundation.ports import Clock, Deadline, ObjectStore

LOGGER = logging.getLogger("batch_processor.run_on_demand")

THREADS = 8
RESERVE_SECONDS = 30.0
"""Of the call: records not asked by then fail, and can be retried; what is answered is kept."""
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 20.0
LOOK_SECONDS = 1.0
"""Between two looks whether the job is to stop."""
STOPPED = "Stopped"
NOT_ASKED = "The function's time was over before this record was asked: retry the job."


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


def run_on_demand(job: JobItem, services: Services) -> None:
    """Ask for every record, unless that was done, until a stop is requested. Raises DeploymentError when the model is
    denied to us."""
    stop = _Stop(job["jobId"], services)
    for part in services.jobs.parts(job["jobId"]):
        key = names.on_demand_output_key(job["jobId"], part["part"])
        if services.objects.exists(key):
            continue
        try:
            lines = list(_answers(part, stop, services))
        except DeploymentError as error:
            refused = {"status": PartStatus.REFUSED.value, "message": str(error)}
            services.jobs.update_part(job["jobId"], part["part"], refused)
            raise
        answers = [line for line in lines if line]
        if len(answers) < len(lines):
            # Before the object is there: once it is taken, the job ends by what the part says.
            _note_stop(part, len(answers), services)
        services.objects.put(key, b"".join(answers))


def _note_stop(part: PartItem, answered: int, services: Services) -> None:
    stopped = {
        "bedrockStatus": STOPPED,
        "processedCount": answered,
        "endedAt": names.timestamp_ms(services.clock.now_ms()),
    }
    services.jobs.update_part(part["jobId"], part["part"], stopped)


class _Stop:
    """Whether a job is to stop, by its item as it was at most ``LOOK_SECONDS`` ago. For all threads."""

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
            # The answers so far are paid for, and in memory only: the next look may succeed.
            LOGGER.warning("not known whether the job is to stop", extra={"job_id": self._job_id}, exc_info=True)
            return False
        return job is not None and bool(job.get("stopRequestedAt"))


def _answers(part: PartItem, stop: _Stop, services: Services) -> Iterator[bytes]:
    lines = lines_of(services.objects.read(part["inputKey"]))
    with ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(lambda line: _answer(orjson.loads(line), part["modelId"], stop, services), lines)


def _answer(record: dict[str, Any], model_id: str, stop: _Stop, services: Services) -> bytes:
    """The record's line of the output; ``error`` stands in place of ``modelOutput``, as in a batch's. Nothing when a
    stop kept it from being answered."""
    pause = FIRST_PAUSE_SECONDS
    error = {"errorCode": 408, "errorMessage": NOT_ASKED}
    while services.deadline.remaining_seconds() > RESERVE_SECONDS:
        if stop.is_requested():
            return b""
        try:
            output = services.on_demand.converse(model_id, record["modelInput"])
        except DeploymentError:
            raise
        except PermanentError as refused:
            error = {"errorCode": 400, "errorMessage": str(refused)}
            break
        except RetryableError as busy:
            error = {"errorCode": 429, "errorMessage": str(busy)}
            services.clock.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (jitter)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            return orjson.dumps({**record, "modelOutput": output}) + b"\n"
    return orjson.dumps({**record, "error": error}) + b"\n"
