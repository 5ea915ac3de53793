"""Runs a job that is too small for batch inference through Converse, and writes what Bedrock would have written.

The output object has the lines of a batch's output, so the same function takes it. The records are fewer than a batch
job's minimum: their answers fit into memory, and the object is written once all of them are there.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import orjson

from batch_processor.app.bedrock.ports import JobsTable, OnDemand
from batch_processor.app.bedrock.records_in_flight import lines_of
from batch_processor.app.ports import Clock, Deadline, ObjectStore
from batch_processor.domain.bedrock import job as names
from batch_processor.domain.bedrock.job import JobItem, PartItem, PartStatus
from batch_processor.domain.errors import DeploymentError, PermanentError, RetryableError

LOGGER = logging.getLogger("batch_processor.run_on_demand")

THREADS = 8
RESERVE_SECONDS = 30.0
"""Of the call: records not asked by then fail, and can be retried; what is answered is kept."""
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 20.0
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
    """Ask for every record, unless that was done. Raises DeploymentError when the model is denied to us."""
    for part in services.jobs.parts(job["jobId"]):
        key = names.on_demand_output_key(job["jobId"], part["part"])
        if services.objects.exists(key):
            continue
        try:
            answers = b"".join(_answers(part, services))
        except DeploymentError as error:
            refused = {"status": PartStatus.REFUSED.value, "message": str(error)}
            services.jobs.update_part(job["jobId"], part["part"], refused)
            raise
        services.objects.put(key, answers)


def _answers(part: PartItem, services: Services) -> Iterator[bytes]:
    lines = lines_of(services.objects.read(part["inputKey"]))
    with ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(lambda line: _answer(orjson.loads(line), part["modelId"], services), lines)


def _answer(record: dict[str, Any], model_id: str, services: Services) -> bytes:
    """The record's line of the output; ``error`` stands in place of ``modelOutput``, as in a batch's."""
    pause = FIRST_PAUSE_SECONDS
    error = {"errorCode": 408, "errorMessage": NOT_ASKED}
    while services.deadline.remaining_seconds() > RESERVE_SECONDS:
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
