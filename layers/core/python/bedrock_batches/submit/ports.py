"""The ports of creating and administering jobs. Errors: see ``foundation.ports``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from bedrock_batches.select.selection import Criteria, Selection
from bedrock_batches.submit.job import Job, JobStatus, Part
from foundation.errors import PermanentError


class JobRefusedError(PermanentError):
    """Raised if Bedrock refuses a job. The message is Bedrock's reason."""


class KeyReusedError(PermanentError):
    """Raised if an ``Idempotency-Key`` is used again with another request."""


class Guard(StrEnum):
    """A condition of a change: the stored attribute still has the value that the writer read."""

    STATUS = "status"
    CREATION = "creation"


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of jobs, newest first. ``cursor`` goes into the next request; "" at the end."""

    jobs: list[Job]
    cursor: str


class JobsTable(Protocol):
    """``VentureOS-BedrockBatchJobs``. Reads by key are consistent; listings can lag behind."""

    def create(
        self,
        job: Job,
        idempotency_key: str = "",
        request: Mapping[str, Any] | None = None,
        *,
        instead_of: str = "",
    ) -> str:
        """Write a new job and return its id.

        With a key that was used for the same ``request``, nothing is written, and the id of that job is returned,
        unless it is the job ``instead_of`` which the new one is written. Raises ``KeyReusedError`` if the key was used
        for another request.
        """

    def get(self, job_id: str) -> Job | None: ...

    def parts(self, job_id: str) -> list[Part]:
        """The job's parts in the order of their numbers."""

    def put_parts(self, job_id: str, parts: Sequence[Part]) -> None:
        """Replace the job's parts."""

    def change(self, before: Job, after: Job, *, only_if: Collection[Guard] = ()) -> bool:
        """Write the attributes that ``after`` changes in ``before``. Returns False and changes nothing if the job is
        gone, or if one of ``only_if`` is stored with another value than in ``before``. The indexes follow a changed
        status."""

    def change_part(self, before: Part, after: Part, *, only_if: Collection[Guard] = ()) -> bool:
        """Like ``change``."""

    def list_jobs(self, status: JobStatus | None, limit: int, cursor: str = "") -> JobPage:
        """Raises ValueError for a cursor from elsewhere."""

    def in_flight(self) -> list[str]:
        """Ids of the jobs that are not settled. Consistent. No other job takes their records."""

    def enter_in_flight(self, job_id: str) -> None: ...

    def leave_in_flight(self, job_id: str) -> None: ...

    def settle(self, job_id: str, at: datetime) -> None:
        """Note that the job is settled: it leaves the jobs in flight, and its items expire after ``KEPT``."""

    def reopen(self, job_id: str) -> None:
        """Undo ``settle``, and note that the job has outputs to take."""


@dataclass(frozen=True, slots=True)
class BatchInferenceJob:
    """A Bedrock job now. Counts are 0 until its records are validated."""

    arn: str
    status: str
    message: str = ""
    total: int = 0
    processed: int = 0
    succeeded: int = 0
    failed: int = 0


class BatchInference(Protocol):
    def submit(self, part: Part, bucket: str) -> str:
        """Start the Bedrock job of a part, or find the one that exists. Returns its ARN. Raises ``JobRefusedError`` for
        a request that Bedrock does not accept, and ``ThrottledError`` for one that it accepts later: too many calls or
        concurrent jobs."""

    def get(self, job_arn: str) -> BatchInferenceJob: ...

    def stop(self, job_arn: str) -> None:
        """Request the end of a job. A job that has ended is no error."""

    def running(self, model_id: str) -> int:
        """Jobs of the model that count against the quota of concurrent jobs, from any caller."""


class OnDemand(Protocol):
    def converse(self, model_id: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
        """Call the model once. Returns Converse's answer in the form of a batch's ``modelOutput``.

        Raises ``ServiceUnavailableError`` if no answer arrived, ``PermanentError`` for a record that the model refuses,
        ``DeploymentError``, ``ThrottledError``.
        """


class FunctionCaller(Protocol):
    def call(self, payload: dict[str, Any]) -> None:
        """Invoke a function asynchronously. It runs at least once."""


class ViolationsLake(Protocol):
    @property
    def agencies(self) -> Sequence[str]: ...

    def select(
        self, criteria: Criteria, in_flight: Sequence[Path] = (), *, count_filters: bool = False
    ) -> AbstractContextManager[Selection]:
        """See ``bedrock_batches.select.duckdb_.Lake.select``."""

    def have_content(self, violation_ids: Collection[str]) -> dict[str, bool]:
        """Whether the lake has content of each of the violations that it has."""


class Contents(Protocol):
    def with_content(self, violation_ids: Collection[str]) -> set[str]:
        """The violations that have content in ``VentureOS-Violations``; read consistently."""


def all_jobs(table: JobsTable, status: JobStatus | None = None) -> Iterator[Job]:
    """All jobs of a status, newest first."""
    cursor = ""
    while True:
        page = table.list_jobs(status, 100, cursor)
        yield from page.jobs
        if not page.cursor:
            return
        cursor = page.cursor
