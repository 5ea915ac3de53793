"""Sums that the aggregator makes over all rows. ``summary_parts`` has what the summary says of them."""

import operator
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, compress

import orjson
from pydantic import Field

from foundation.lazy_model import LazyModel
from row_batches.document.target_version import TargetVersion
from row_batches.rows.records import RowColumns, RowOrigin, RowStatus, Usage
from row_batches.run.blanks import Blanks
from row_batches.run.causes import Causes
from row_batches.run.duplicates import duplicates_among, rows_from
from row_batches.run.runs import Counts, usage_counts
from row_batches.targets.answer import add_usage
from row_batches.targets.protocol import CHILD_DIED_ERROR

MOST_EXAMPLES = 10
MOST_ROWS_NAMED = 50


class Failure(LazyModel):
    """A failed row, as an example in the summary and the notification."""

    row: int
    status: RowStatus
    error: str


class CastFailures(LazyModel):
    """How many values of a column could not be cast to its type, and the first of them, shortened."""

    count: int = 0
    sample: str


def add_cast_failures(by_column: dict[str, CastFailures], samples: Mapping[str, str]) -> None:
    """Count a row's values that could not be cast. ``samples`` has them by column."""
    for column, sample in samples.items():
        by_column.setdefault(column, CastFailures(sample=sample)).count += 1


class ExtractedFields(LazyModel):
    """The number of rows that have each field from each method, and the number that lack it."""

    methods: dict[str, dict[str, int]] = {}
    missing: dict[str, int] = {}

    def add(self, texts: Iterable[str]) -> None:
        """Count the rows' extraction texts. There are few different ones, and most occur many times."""
        for text, rows in Counter(texts).items():
            if text:
                said = orjson.loads(text)
                for field, method in said["methods"].items():
                    counts = self.methods.setdefault(field, {})
                    counts[method] = counts.get(method, 0) + rows
                for field in said["missing"]:
                    self.missing[field] = self.missing.get(field, 0) + rows


class Totals(LazyModel):
    """Sums over the rows so far.

    ``in_flight_changes`` has, by epoch second, how many more rows were in flight than one second before. One sample a
    second keeps it small, even for runs of days.
    """

    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    not_attempted: int = 0
    """Rows that were not started, because the brake was pulled or the execution had ended."""
    skipped: int = 0
    """Rows without content, which are not sent."""
    died: int = 0
    """Failed rows whose worker died."""
    attempted: int = 0
    resumed: int = 0
    """Attempted rows that were taken over from an earlier execution."""
    duplicates: int = 0
    """Attempted rows that have the outcome of another row with the same input."""
    cached: int = 0
    """Attempted rows that have the answer of an earlier batch."""
    left: int = 0
    """Failed rows that keep the failure of the resumed execution (``execution_config.only_causes``)."""
    cached_failures: int = 0
    """Cached rows that failed, because the document does not accept the kept answer."""
    answered: int = 0
    """Successful rows that the target was called for."""
    failed_duplicates: int = 0
    """Failed rows that are duplicates, including those whose original no worker finished."""
    attempts: int = 0
    retries: int = 0
    """Attempts after a row's first attempt."""
    unmapped: int = 0
    """Failed rows that were never sent, because they could not be mapped."""
    throttles: int = 0
    throttled_ms: int = 0
    """How long rows paused because the target throttled."""
    cast_failures: int = 0
    cast_failures_by_column: dict[str, CastFailures] = {}
    notes: dict[str, int] = {}
    """Counts by the name of a ``targets.notes.Note``."""
    usage: Usage = {}
    processing_ms: int = 0
    """The time of all rows. ``worker_ms`` is the time of all workers, which have many rows in flight."""
    worker_ms: int = 0
    worker_calls: int = 0
    rows_objects: int = 0
    """Writes of finished rows. ``write_units`` are their write units in DynamoDB."""
    write_units: int = 0
    target_versions: dict[str, int] = {}
    """How many successful rows each version of the target answered (``TargetVersion`` as text)."""
    blanks: Blanks = Field(default_factory=Blanks)
    extraction: ExtractedFields = Field(default_factory=ExtractedFields)
    off_protocol_row: int = 0
    """The first row whose answer does not follow the protocol. ``off_protocol_example`` is the start of the answer."""
    off_protocol_example: str = ""
    unsent_letters: int = 0
    unsent_rows: list[int] = []
    """The first of the failed rows whose letters the dead-letter queue did not take."""
    letters_refusal: str = ""
    in_flight_changes: dict[int, int] = {}
    first_failures: list[Failure] = []
    causes: Causes = Field(default_factory=Causes)

    def add(self, rows: RowColumns) -> None:
        """Count finished rows.

        Each row of each run passes here. So a count takes a whole column at once (``sum``, ``list.count``), without
        a loop over the rows. A fact that few rows have is one of their ``details``, which is empty for most batches.
        """
        statuses = rows["status"]
        succeeded = statuses.count(RowStatus.SUCCESS)
        timed_out = 0 if succeeded == len(statuses) else statuses.count(RowStatus.TIMEOUT)
        self.succeeded += succeeded
        self.failed += len(statuses) - succeeded - timed_out
        self.timed_out += timed_out
        self.attempted += len(statuses)
        self._add_attempts(rows, succeeded)
        self.throttles += sum(rows["throttles"])
        self.cast_failures += sum(rows["cast_failures"])
        for details in rows["details"]:
            add_usage(self.usage, details["usage"])
            add_cast_failures(self.cast_failures_by_column, details.get("cast_failures", {}))
            self.throttled_ms += details.get("throttled_ms", 0)
            if "off_protocol" in details and not self.off_protocol_row:
                self.off_protocol_row, self.off_protocol_example = details["row"], details["off_protocol"]
            for name, count in details["notes"].items():
                self.notes[name] = self.notes.get(name, 0) + count
        self._add_blanks(rows)
        self.causes.add(rows["failures"])
        if any(rows["extraction"]):
            self.extraction.add(rows["extraction"])
        self.processing_ms += sum(rows["duration_ms"])
        self.worker_ms += sum(rows["worker_ms"])
        self.worker_calls += sum(rows["worker_calls"])
        self._add_versions(rows, succeeded)
        started, durations = _times(rows)
        self.resumed += len(statuses) - len(started) - self._add_origins(rows)
        # A row is in flight at each full second from its start to its end, both included.
        changes = self.in_flight_changes
        for second, rows_begun in _by_second(started):
            changes[second] = changes.get(second, 0) + rows_begun
        for second, rows_over in _by_second(map(operator.add, started, durations), after_ms=1):
            changes[second] = changes.get(second, 0) - rows_over

    def _add_blanks(self, rows: RowColumns) -> None:
        lacking = [details for details in rows["details"] if details.get("missing")]
        failed = {failure["row"] for failure in rows["failures"]} if lacking else frozenset()
        for details in lacking:
            status = RowStatus.FAILED if details["row"] in failed else RowStatus.SUCCESS
            self.blanks.add(details["missing"], details["answer_keys"], status)

    def _add_origins(self, rows: RowColumns) -> int:
        """Count the rows for which the target was not called. Returns how many of them are SUCCESS."""
        duplicates, cached = duplicates_among(rows), rows_from(rows, RowOrigin.CACHED)
        failed = [failure["status"] for failure in rows["failures"] if failure["row"] in duplicates]
        cached_failures = sum(failure["row"] in cached for failure in rows["failures"])
        self.cached += len(cached)
        self.cached_failures += cached_failures
        left = rows_from(rows, RowOrigin.LEFT)
        self.left += len(left)
        self.unmapped -= sum(of["row"] in left and of["status"] == RowStatus.FAILED for of in rows["failures"])
        self.duplicates += len(duplicates)
        self.failed_duplicates += len(failed)
        self.unmapped -= failed.count(RowStatus.FAILED)  # They have no attempt, like rows that could not be mapped.
        return len(duplicates) - len(failed) + len(cached) - cached_failures

    def _add_attempts(self, rows: RowColumns, succeeded: int) -> None:
        attempts = rows["attempts"]
        total, unattempted = sum(attempts), attempts.count(0)
        self.attempts += total
        self.retries += total - len(attempts) + unattempted
        self.answered += succeeded
        if unattempted:
            calls = list(zip(attempts, rows["throttles"], rows["status"], strict=True))
            self.unmapped += calls.count((0, 0, RowStatus.FAILED))
            self.answered -= calls.count((0, 0, RowStatus.SUCCESS))

    def _add_versions(self, rows: RowColumns, succeeded: int) -> None:
        if not succeeded:
            return
        versions = rows["target_version"]
        counts: Mapping[str, int] = {versions[0]: succeeded}
        if versions.count(versions[0]) < len(versions):  # faster than a set, which hashes each text
            pairs = zip(versions, rows["status"], strict=True)
            counts = Counter(version for version, status in pairs if status == RowStatus.SUCCESS)
        for text, count in counts.items():
            version = str(TargetVersion.parse(text))
            self.target_versions[version] = self.target_versions.get(version, 0) + count

    def add_unsent_letters(self, rows: list[int], reason: str) -> None:
        self.unsent_letters += len(rows)
        self.unsent_rows += rows[: MOST_ROWS_NAMED - len(self.unsent_rows)]
        self.letters_refusal = reason

    def add_failure(self, row: int, status: RowStatus, error: str) -> None:
        if len(self.first_failures) < MOST_EXAMPLES:
            self.first_failures.append(Failure(row=row, status=status, error=error))

    def add_died(self, row: int, error: str) -> None:
        """Count a row that a worker began and no worker finished."""
        self.failed += 1
        self.died += 1
        self.causes.count(CHILD_DIED_ERROR, error, RowStatus.FAILED, [row])
        self.add_failure(row, RowStatus.FAILED, error)

    @property
    def counts(self) -> Counts:
        """The counts for the table of runs."""
        return Counts.model_validate(self.model_dump(include=set(Counts.model_fields)) | usage_counts(self.usage))

    @property
    def all_failed(self) -> int:
        return self.failed + self.timed_out

    @property
    def failed_sent(self) -> int:
        """The failed rows that were sent themselves, which ``stop_after`` counts."""
        return self.all_failed - self.failed_duplicates - self.left

    @property
    def peak_rows_in_flight(self) -> int:
        """The most rows in flight at a full second of the run; at least one if any row ran."""
        in_order: Iterable[int] = (change for _, change in sorted(self.in_flight_changes.items()))
        return max(accumulate(in_order), default=0) or min(self.attempted - self.resumed, 1)


def _by_second(moments_ms: Iterable[int], after_ms: int = 0) -> Iterator[tuple[int, int]]:
    """The number of moments, each ``after_ms`` later, by the full second that follows or equals them.

    Sorting them is faster than dividing each, because rows end almost in order.
    """
    moments = sorted(moments_ms)
    at = 0
    while at < len(moments):
        second = (moments[at] + after_ms + 999) // 1000
        following = bisect_right(moments, second * 1000 - after_ms, at)
        yield second, following - at
        at = following


def _times(rows: RowColumns) -> tuple[list[int], list[int]]:
    """Starts and durations of the rows. Rows that were taken over (SUCCESS without an attempt) are left out."""
    started, durations, attempts = rows["started_ms"], rows["duration_ms"], rows["attempts"]
    if 0 not in attempts:
        return started, durations
    runs = [made > 0 or status != RowStatus.SUCCESS for made, status in zip(attempts, rows["status"], strict=True)]
    return list(compress(started, runs)), list(compress(durations, runs))
