"""The names of a logical batch job: its ids, and the keys of its items and objects.

All items of a job have ``PK JOB#<jobId>``. ``SK METADATA`` is the job, and ``SK PART#0001`` is its first Bedrock job.
Other keys: ``PK INFLIGHT``, ``SK JOB#<jobId>`` for each job that is not settled (read consistently, which indexes
cannot be), and ``PK IDEMPOTENCY#<hash>``, ``SK REQUEST``. Times are ISO 8601 in UTC with milliseconds.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime

PREFIX = "bedrock-batches"
METADATA = "METADATA"
PART_PREFIX = "PART#"
IN_FLIGHT_KEY = "INFLIGHT"
LISTED = "JOBS"
JOBS_BY_CREATED = "jobs-by-created"
"""Index of GSI1PK ("JOBS") and GSI1SK (``<createdAt>#<jobId>``)."""
JOBS_BY_STATUS = "jobs-by-status"
"""Index of GSI2PK (``STATUS#<status>``) and GSI1SK."""
CREATE_LEASE = "create"
JOB_ID = re.compile(r"(batch|estimate)-[0-9]{1,12}-[0-9A-Za-z]{1,32}")
"""Wider than our own ids, for jobs whose items were written by hand. A part's name still fits into Bedrock's 63
characters."""


def new_job_id(now: datetime, *, dry_run: bool = False) -> str:
    """``batch-<epoch seconds>-<8 hex>``, or ``estimate-…``."""
    return f"{'estimate' if dry_run else 'batch'}-{int(now.timestamp())}-{secrets.token_hex(4)}"


def is_job_id(text: str) -> bool:
    return JOB_ID.fullmatch(text) is not None


def is_estimate(job_id: str) -> bool:
    return job_id.startswith("estimate-")


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-11-21T09:30:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_at(epoch_ms: int) -> datetime:
    """The moment of milliseconds since the epoch, in UTC."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def moment_of(text: str) -> datetime:
    """The moment of an ISO 8601 text; without a zone it is in UTC. Raises ValueError for any other text."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def job_key(job_id: str) -> str:
    return f"JOB#{job_id}"


def job_id_of_key(key: str) -> str:
    return key.removeprefix(job_key(""))


def part_sort_key(part: int) -> str:
    return f"{PART_PREFIX}{part:04d}"


def status_key(status: str) -> str:
    return f"STATUS#{status}"


def listing_key(job_id: str, created_at: datetime) -> str:
    return f"{timestamp(created_at)}#{job_id}"


def part_name(job_id: str, part: int) -> str:
    """Bedrock's ``jobName`` and ``clientRequestToken``: the same part is never submitted twice."""
    return f"{job_id}-{part:04d}"


def part_of_name(job_name: str) -> tuple[str, int] | None:
    """Job id and part of a Bedrock job's name; None if the Bedrock job is not ours."""
    job_id, _, number = job_name.rpartition("-")
    if not is_job_id(job_id) or len(number) != 4 or not number.isdigit():
        return None
    return job_id, int(number)


def input_key(job_id: str, part: int) -> str:
    return f"{PREFIX}/input/{job_id}/input-{part:04d}.jsonl"


def records_key(job_id: str, part: int) -> str:
    """Lines of violation id, tab, agency, in the order of the input file."""
    return f"{PREFIX}/input/{job_id}/records-{part:04d}.txt"


def output_prefix(job_id: str) -> str:
    return f"{PREFIX}/output/{job_id}/"


def on_demand_output_key(job_id: str, part: int) -> str:
    """The key in the layout of Bedrock's own output: a folder of 12 characters, the input file's name, ``.out``. A
    resumed job has the same folder."""
    folder = hashlib.sha256(part_name(job_id, part).encode()).hexdigest()[:12]
    return f"{output_prefix(job_id)}{folder}/input-{part:04d}.jsonl.out"


def answers_prefix(job_id: str, part: int) -> str:
    """The prefix of the answers of a part that runs through Converse."""
    return f"{PREFIX}/on-demand/{job_id}/{part:04d}/"


def answer_key(job_id: str, part: int, place: int) -> str:
    """The object with one record's line of the output; ``place`` counts from 0 in the part."""
    return f"{answers_prefix(job_id, part)}{place:06d}.jsonl"


def calls_key(job_id: str, part: int, place: int) -> str:
    """The object that counts the model's calls for the record."""
    return f"{answers_prefix(job_id, part)}{place:06d}.calls"


def on_demand_lease(job_id: str) -> str:
    """The lease of the call that asks for a job's records through Converse."""
    return f"ondemand#{job_id}"


def errors_prefix(job_id: str) -> str:
    return f"{PREFIX}/errors/{job_id}/"


def record_id(place: int) -> str:
    """The ``recordId`` of a record in Bedrock's files: its place in the job, from 0. Bedrock's ids are alphanumeric and
    have 11 characters in its examples
    (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html); ours are any text.
    """
    return f"R{place:010d}"


def place_of_record_id(text: str) -> int | None:
    """The place that ``record_id`` names; None for another text."""
    return int(text[1:]) if _RECORD_ID.fullmatch(text) else None


_RECORD_ID = re.compile(r"R[0-9]{10}", re.ASCII)


def records_line(violation_id: str, agency: str) -> bytes:
    return f"{violation_id}\t{agency}\n".encode()


def split_records_line(line: str) -> tuple[str, str]:
    """Violation id and agency of a line of a records file."""
    violation_id, _, agency = line.rstrip("\n").partition("\t")
    return violation_id, agency
