"""Answers a repeated request with the same job, so that a retry after a client's time-out does not cost twice.

With an ``Idempotency-Key``, this holds for a day. The id of a job is always a key of its own request, so a client that
was told the id can ask for the outcome. Without a key, a request that equals one of the same caller within REPEAT_TIME
counts as its repetition, unless it says ``force``. A client that gave up waiting, or a command that is run again, means
the job that is being created. If the job of a request failed or had nothing to do, the request can be repeated at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import orjson

from bedrock_batches.submit import names
from bedrock_batches.submit.job import Job
from bedrock_batches.submit.ports import JobsTable, KeyReusedError
from foundation.ports import Clock

REPEAT_TIME = timedelta(minutes=10)


class Services(Protocol):
    @property
    def jobs(self) -> JobsTable: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True)
class Sender:
    """The caller as IAM or the token names it, and the ``Idempotency-Key`` of the request."""

    caller: str
    idempotency_key: str = ""


def create_once(
    job: Job, request: Mapping[str, Any], sender: Sender, services: Services, *, force: bool = False
) -> str:
    """Write the job unless the request is a repetition. Returns the id of the job to answer with.

    Raises KeyReusedError.
    """
    if sender.idempotency_key:
        if (begun := _job_of_key(sender.idempotency_key, services)) is None:
            return services.jobs.create(job, sender.idempotency_key, request)
        if (begun.config, begun.dry_run, begun.retry_of) != (job.config, job.dry_run, job.retry_of):
            raise KeyReusedError(f"Job {begun.job_id} began with another request: send the request as it was.")
        return begun.job_id
    if force or job.dry_run:
        return services.jobs.create(job)
    # A header cannot have a line break, so no caller can send this key.
    document = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    key = f"\n{sender.caller}\n{hashlib.sha256(document).hexdigest()}"
    job_id = services.jobs.create(job, key, request)
    earlier = services.jobs.get(job_id) if job_id != job.job_id else job
    if earlier is not None and (earlier.job_id == job.job_id or _answers(earlier, services.clock)):
        return job_id
    return services.jobs.create(job, key, request, instead_of=job_id)


def _job_of_key(key: str, services: Services) -> Job | None:
    """The job whose id the key is; None for another key."""
    return services.jobs.get(key) if names.is_job_id(key) else None


def _answers(earlier: Job, clock: Clock) -> bool:
    """Whether the earlier job answers a repetition: it is recent, and it runs or has run."""
    age = names.moment_at(clock.now_ms()) - earlier.created_at
    came_to_nothing = not earlier.is_in_progress and not earlier.part_count
    return age < REPEAT_TIME and not came_to_nothing
