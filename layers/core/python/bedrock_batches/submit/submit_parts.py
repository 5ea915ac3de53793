"""Submits queued parts of a job to Bedrock, up to the quota of concurrent jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from bedrock_batches.submit import names
from bedrock_batches.submit.job import BedrockStatus, Job, Part, PartStatus
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.submit.ports import BatchInference, Guard, JobRefusedError, JobsTable
from foundation.errors import ThrottledError
from foundation.ports import Clock, ObjectStore

LOGGER = logging.getLogger("batch_processor.submit_parts")


class Services(Protocol):
    @property
    def jobs(self) -> JobsTable: ...
    @property
    def batch(self) -> BatchInference: ...
    @property
    def quotas(self) -> Quotas: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def objects(self) -> ObjectStore: ...


def submit_queued(job: Job, services: Services) -> list[Part]:
    """Submit queued parts in order. Returns all parts. Can be repeated and called twice at once.

    A part that Bedrock accepts later stays queued; one that it does not accept is REFUSED with a reason. A part of a
    job that is being stopped or has ended is CANCELLED. Raises ServiceUnavailableError, DeploymentError.
    """
    parts = services.jobs.parts(job.job_id)
    if job.stop_requested_at or not job.is_in_progress:
        return cancel_queued(parts, services)
    queued = [part for part in parts if part.status is PartStatus.QUEUED]
    if not queued or job.on_demand:
        return parts
    free = services.quotas.concurrent_jobs - services.batch.running(job.model_id)
    now: dict[int, Part] = {}
    for part in queued[: max(0, free)]:
        try:
            arn = services.batch.submit(part, services.objects.bucket)
        except ThrottledError as error:
            LOGGER.warning("part stays queued", extra={"job_id": job.job_id, "part": part.number, "why": str(error)})
            break
        except JobRefusedError as error:
            LOGGER.error("part refused", extra={"job_id": job.job_id, "part": part.number, "why": str(error)})
            refused = replace(part, status=PartStatus.REFUSED, message=str(error), ended_at=_now(services))
            now[part.number] = _move(part, refused, services)
        else:
            now[part.number] = _note_submission(part, arn, services)
    _note_first_arn(job, now.values(), services)
    return [now.get(part.number, part) for part in parts]


def cancel_queued(parts: Iterable[Part], services: Services) -> list[Part]:
    """The parts when their queued ones will never be submitted."""
    return [
        _move(part, replace(part, status=PartStatus.CANCELLED, ended_at=_now(services)), services)
        if part.status is PartStatus.QUEUED
        else part
        for part in parts
    ]


def _note_submission(part: Part, arn: str, services: Services) -> Part:
    submitted = replace(
        part,
        status=PartStatus.SUBMITTED,
        job_arn=arn,
        bedrock_status=BedrockStatus.SUBMITTED,
        submitted_at=_now(services),
    )
    stored = _move(part, submitted, services)
    if stored.status is PartStatus.CANCELLED:
        services.batch.stop(arn)  # Somebody stopped the job between our submission and our note of it.
    return stored


def _note_first_arn(job: Job, parts: Iterable[Part], services: Services) -> None:
    arns = [part.job_arn for part in parts if part.job_arn]
    if arns and not job.job_arn:
        services.jobs.change(job, replace(job, job_arn=arns[0]))


def _move(before: Part, after: Part, services: Services) -> Part:
    """The stored part after the change. Only a queued part changes: another call can have submitted it, and its job can
    have ended."""
    if services.jobs.change_part(before, after, only_if=(Guard.STATUS,)):
        return after
    # The answer to our own write can be lost and repeated by the SDK.
    return next(part for part in services.jobs.parts(before.job_id) if part.number == before.number)


def _now(services: Services) -> datetime:
    return names.moment_at(services.clock.now_ms())
