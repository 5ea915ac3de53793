"""Gives queued parts of a job to Bedrock, as many as the quota of concurrent jobs lets through."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from bedrock_batches.submit import job as names
from bedrock_batches.submit.job import JobItem, JobStatus, PartItem, PartStatus
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.submit.ports import BatchInference, JobRefusedError, JobsTable
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


def submit_queued(job: JobItem, services: Services) -> list[PartItem]:
    """Submit in order; returns all parts as they are then. Safe to call again, and by two at once.

    A part that Bedrock will take later stays queued; one that it will not take is REFUSED with its reason. A part of a
    job that is being stopped, or has ended, is CANCELLED. Raises ServiceUnavailableError, DeploymentError.
    """
    parts = services.jobs.parts(job["jobId"])
    queued = [part for part in parts if part["status"] == PartStatus.QUEUED]
    if job.get("stopRequestedAt") or job["status"] != JobStatus.IN_PROGRESS:
        cancel_queued(queued, services)
        return parts
    if not queued or job.get("onDemand"):
        return parts
    free = services.quotas.concurrent_jobs - services.batch.running(job["modelId"])
    for part in queued[: max(0, free)]:
        try:
            arn = services.batch.submit(part, services.objects.bucket)
        except ThrottledError as error:
            LOGGER.warning("part stays queued", extra={"job_id": job["jobId"], "part": part["part"], "why": str(error)})
            break
        except JobRefusedError as error:
            LOGGER.error("part refused", extra={"job_id": job["jobId"], "part": part["part"], "why": str(error)})
            _change(part, services, status=PartStatus.REFUSED.value, message=str(error), endedAt=_now(services))
        else:
            _note_submission(job, part, arn, services)
    return parts


def cancel_queued(parts: Iterable[PartItem], services: Services) -> None:
    """Those of the parts that are still queued will never be submitted."""
    for part in parts:
        if part["status"] == PartStatus.QUEUED:
            _change(part, services, status=PartStatus.CANCELLED.value, endedAt=_now(services))


def _note_submission(job: JobItem, part: PartItem, arn: str, services: Services) -> None:
    submitted = {
        "status": PartStatus.SUBMITTED.value,
        "jobArn": arn,
        "bedrockStatus": "Submitted",
        "submittedAt": _now(services),
    }
    if not _change(part, services, **submitted) and part["status"] == PartStatus.CANCELLED:
        services.batch.stop(arn)  # somebody stopped the job between our submission and our note of it
        return
    if not job.get("jobArn"):
        services.jobs.update(job["jobId"], {"jobArn": arn})
        job["jobArn"] = arn


def _change(part: PartItem, services: Services, **changes: str) -> bool:
    """Only a queued part changes: another call may have submitted it, and its job may have ended since."""
    expected = {"status": PartStatus.QUEUED.value}
    if services.jobs.update_part(part["jobId"], part["part"], changes, expected=expected):
        part.update(changes)  # type: ignore[typeddict-item]  # names and types are those of PartItem
        return True
    # The answer of our own write can be lost, and the SDK repeats it.
    part.update(next(one for one in services.jobs.parts(part["jobId"]) if one["part"] == part["part"]))
    return all(part.get(name) == value for name, value in changes.items())


def _now(services: Services) -> str:
    return names.timestamp_ms(services.clock.now_ms())
