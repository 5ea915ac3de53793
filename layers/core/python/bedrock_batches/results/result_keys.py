"""The keys of output objects, and of the failed records in them.

Bedrock writes ``<output>/<12 characters>/<input file>.out``; the older layout is ``output/<jobId>/output.jsonl``, with
the records of all parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bedrock_batches.submit.names import PREFIX, errors_prefix

OUTPUT_PREFIX = f"{PREFIX}/output/"
MANIFEST = "manifest.json.out"

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
_PART = re.compile(r"input-(\d{4})\.jsonl(\.out)?")


@dataclass(frozen=True, slots=True)
class OutputKey:
    """The job and part of an object. ``part`` is None for a file that belongs to no single part."""

    job_id: str
    part: int | None


def output_key(key: str) -> OutputKey | None:
    """The job and part of the results in an object; None for an object without results (a manifest, another file)."""
    if not key.startswith(OUTPUT_PREFIX) or not key.endswith((".jsonl", ".jsonl.out")):
        return None
    parts = key.removeprefix(OUTPUT_PREFIX).split("/")
    if not 2 <= len(parts) <= 3 or not _JOB_ID.fullmatch(parts[0]):
        return None
    job_id, name = parts[0], parts[-1]
    part = _PART.fullmatch(name)
    return OutputKey(job_id, int(part[1]) if part else None)


def records_prefix(job_id: str) -> str:
    """The prefix of the records files of all parts."""
    return f"{PREFIX}/input/{job_id}/records-"


def part_errors_prefix(job_id: str, part: int | None) -> str:
    return f"{errors_prefix(job_id)}{'output' if part is None else f'{part:04}'}-"


def errors_key(job_id: str, part: int | None, chunk: int) -> str:
    """The failed records of one chunk of a part's output; ``chunk`` counts from 1."""
    return f"{part_errors_prefix(job_id, part)}{chunk:04}.jsonl"


def unanswered_key(job_id: str, part: int) -> str:
    """The key of the records of a part that Bedrock did not answer."""
    return f"{part_errors_prefix(job_id, part)}unanswered.jsonl"
