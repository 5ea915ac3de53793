"""The ports of taking results and reconciling. The errors are those of ``foundation.ports``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from bedrock_batches.violations import GeneratedContent
from foundation.errors import PermanentError


class ClaimLostError(PermanentError):
    """Raised when another call has taken over an object that this call had claimed. This call must stop."""


@dataclass(frozen=True, slots=True)
class ResultObject:
    """One version of an object under ``bedrock-batches/output/``; ``size`` in bytes, ``last_modified`` in UTC."""

    key: str
    etag: str
    size: int
    last_modified: datetime


class ResultObjects(Protocol):
    def head(self, key: str) -> ResultObject:
        """The object's current version. Raises ``ObjectNotFoundError``."""

    def read(self, result: ResultObject, offset: int) -> Iterator[bytes]:
        """This version of the object from ``offset`` on, in ranges of a few MiB.

        Raises ``ObjectChangedError`` when there is another version by now, ``ObjectNotFoundError`` when there is none.
        """

    def list_objects(self, prefix: str) -> Iterator[ResultObject]: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts over the lines of an object that were read so far.

    ``processed``: records with content; ``errors``: records without. ``kept`` of the processed ones found content that
    a person verified, or newer content, and left it as it is. ``truncated`` of the errors were cut off at maxTokens.
    ``repaired`` of the processed ones were read with a lossless repair.
    ``repeated`` lines named a record that an earlier line had answered: they are in no other count.
    """

    processed: int = 0
    errors: int = 0
    kept: int = 0
    truncated: int = 0
    repeated: int = 0
    repaired: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.processed + other.processed,
            self.errors + other.errors,
            self.kept + other.kept,
            self.truncated + other.truncated,
            self.repeated + other.repeated,
            self.repaired + other.repaired,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """The progress of taking one version of an output object. ``part`` is None in the older layout (all parts).

    ``offset`` in bytes and ``chunks`` are what is committed. ``answered`` are the bits of
    ``results.record_index.Answered``, ``succeeded`` those of the records among them that have content: both
    together take 12.5 KB for a part of 50,000 records, of the 400 KB of an item.
    """

    job_id: str
    key: str
    etag: str
    size: int
    last_modified: datetime
    part: int | None
    offset: int = 0
    chunks: int = 0
    counts: Counts = field(default_factory=Counts)
    answered: bytes = b""
    succeeded: bytes = b""
    done: bool = False
    lease_owner: str = ""
    lease_until_ms: int = 0

    def is_leased(self, now_ms: int) -> bool:
        return bool(self.lease_owner) and self.lease_until_ms > now_ms


class Claims(Protocol):
    """The claims of jobs, in the job table."""

    def take(self, claim: Claim, owner: str, until_ms: int, now_ms: int) -> Claim | None:
        """Take the lease of this object version. Creates its claim if there is none.

        Returns what is committed, with another ``lease_owner`` when another call holds the lease. None when the object
        is done.
        """

    def commit(self, before: Claim, after: Claim) -> None:
        """Replace ``before`` by ``after``. Raises ``ClaimLostError`` if the stored offset or owner differs."""

    def amend(self, before: Claim, after: Claim) -> bool:
        """Replace the counts and bits of a finished claim. False if the stored counts differ from the old ones."""

    def release(self, claim: Claim) -> None:
        """Give the lease back, if the claim's owner still holds it."""

    def of_job(self, job_id: str) -> list[Claim]: ...


@dataclass(frozen=True, slots=True)
class ContentItem:
    """One item of ``VentureOS-Violations``. ``generated_at`` is ISO 8601 in UTC, with milliseconds and a ``Z``.

    ``agency`` is "" when nothing says it (an output of the older layout without a records file).
    """

    violation_id: str
    agency: str
    content: GeneratedContent
    generated_at: str
    job_id: str
    model_id: str
    prompt_version: str
    input_tokens: int
    output_tokens: int
    stop_reason: str


class Violations(Protocol):
    def put_content(self, items: Sequence[ContentItem]) -> int:
        """Write items, each violation once in ``items``; returns how many were kept as they are.

        An item that a person verified, or that was generated later, is kept. Writing the same again changes nothing.
        Raises ``ThrottledError`` when the table does not take them in time; some can be written then.
        """


def total(claims: Iterable[Claim], begins: Mapping[int, int]) -> Counts:
    """A job's records. A record counts once, even if several objects answer it; only the newest version counts.

    ``begins`` are the places of the parts' first records in the job. A record with content in any object is processed,
    else it is an error. What has no place is added up: lines without a record of the job, and all of a claim that does
    not say which records have content (the records files are gone, or the claim is of an earlier version).
    """
    counts, placed, answered, succeeded = Counts(), Counts(), 0, 0
    for claim in newest_versions(claims):
        counts += claim.counts
        seen, good = places(claim, claim.answered, begins), places(claim, claim.succeeded, begins)
        if good.bit_count() == claim.counts.processed:
            placed += Counts(processed=good.bit_count(), errors=(seen & ~good).bit_count())
            answered |= seen
            succeeded |= good
    return replace(
        counts,
        processed=counts.processed - placed.processed + succeeded.bit_count(),
        errors=counts.errors - placed.errors + (answered & ~succeeded).bit_count(),
    )


def places(claim: Claim, bits: bytes, begins: Mapping[int, int]) -> int:
    """Bits of a claim by their places in the whole job; none if the place of the claim's part is not known."""
    begin = 0 if claim.part is None else begins.get(claim.part)
    return 0 if begin is None else int.from_bytes(bits, "little") << begin


def newest_versions(claims: Iterable[Claim]) -> list[Claim]:
    newest: dict[str, Claim] = {}
    for claim in claims:
        if claim.key not in newest or claim.last_modified >= newest[claim.key].last_modified:
            newest[claim.key] = claim
    return list(newest.values())
