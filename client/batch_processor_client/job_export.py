"""Writes the records of a job with their generated content into an Excel workbook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_processor_client import jobs
from batch_processor_client.content_edits import stored_content
from batch_processor_client.deployment import Deployment

HEADER = (
    *("record", "agency", "outcome", "reason", "title", "description", "tags", "verified"),
    *("generated_at", "verified_at"),
)
ALL = 500_000
"""The most records of a job."""


class Exported(BaseModel):
    """``cut``: how many cells were longer than Excel holds, by column."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    records: int
    cut: dict[str, int] = {}


def export_job(
    deployment: Deployment, job_id: str, path: Path, progress: Callable[[int, int], object] | None = None
) -> Exported:
    """Write the job's records to ``path``, with a sheet about the job. Cells are texts, never formulas or links.

    ``progress`` is called with the number of records that are written, and that of all.

    Memory: one page of records. Raises ClientError if there is no such job.
    """
    from row_batches.files.xlsx_book import Book, lines_of  # noqa: PLC0415 (only workbooks need the library)

    job = jobs.get_job(deployment, job_id)
    count = 0

    def rows() -> Iterator[list[Any]]:
        nonlocal count
        for record in jobs.content(deployment, job_id, ALL):
            count += 1
            if progress is not None:
                progress(count, job.violation_count)
            yield _row(record)

    created = datetime.fromisoformat(job.created_at) if job.created_at else datetime.now(UTC)
    with Book(path, created.astimezone(UTC).replace(tzinfo=None)) as book:
        book.add("Content", HEADER, rows())
        about = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
        book.add("Job", ["name", "value"], list(lines_of(about)))
    return Exported(job_id=job_id, records=count, cut={column: cut for (_, column), cut in book.cut.items()})


def _row(record: jobs.Content) -> list[Any]:
    head = [record.record_id, record.agency, record.outcome, record.reason]
    if not record.content:
        return [*head, *[None] * (len(HEADER) - len(head))]
    found = stored_content(record.record_id, record.content)
    texts = [found.title, found.description, ", ".join(found.tags)]
    return [*head, *texts, found.is_verified, found.generated_at, found.verified_at]
