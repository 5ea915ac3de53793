"""Sums that the aggregator makes over all rows, and the parts of the summary that come from them."""

import operator
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, compress

import orjson
from pydantic import Field

from foundation.lazy_model import LazyModel
from foundation.problems import listed
from row_batches.document.plan import Plan, StorageMode
from row_batches.document.target_version import TargetVersion
from row_batches.rows.records import RowColumns, RowOrigin, RowStatus, Usage
from row_batches.run.blanks import Blanks
from row_batches.run.causes import Causes
from row_batches.run.cost import actual_cost, run_usage
from row_batches.run.duplicates import duplicates_among, rows_from
from row_batches.run.runs import Counts, usage_counts
from row_batches.targets.answer import MOST_USED, add_usage, tokens_of
from row_batches.targets.notes import NOTES, OFF_PROTOCOL
from row_batches.targets.pricing import known_model_usd
from row_batches.targets.protocol import CHILD_DIED_ERROR
from row_batches.targets.usage import RunCounts
from row_batches.targets.worker_kind import START_SECONDS

MOST_EXAMPLES = 10
MOST_ROWS_NAMED = 50
SUMMARY_SCHEMA_VERSION = 1


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


def cost_of(plan: Plan, totals: Totals, *, stopped: bool = False, traces: int = 0) -> dict[str, object]:
    """The cost of the counted work (``run.cost.actual_cost``).

    ``stopped`` says that the run was stopped from outside, before all children began. Each worker counts as a child of
    its own, even if it continued a child after 15 minutes. Killed workers are not counted, because their time is not
    known.
    """
    settings = plan.config.execution_config
    # Cached rows that failed count like rows that cannot be mapped: they have no call, but a dead letter.
    cached = totals.cached - totals.cached_failures
    run = totals.attempted - totals.resumed - totals.duplicates - cached - totals.left
    counts = RunCounts(
        rows=run,
        attempts=totals.attempts,
        retries=totals.retries,
        failed_rows=totals.all_failed - totals.died - totals.failed_duplicates - totals.left,
        unmapped_rows=totals.unmapped,
        throttles=totals.throttles,
        idle_rows=totals.resumed + totals.left + cached + totals.died + (0 if stopped else totals.not_attempted),
        batch_size=plan.concurrency.batch_size,
        rows_objects=totals.rows_objects,
        write_units=totals.write_units,
        children=0 if plan.storage.mode is StorageMode.INLINE else totals.worker_calls,
        # Waits are not counted. With a rate, each row counts as one that waited.
        waits=0 if settings.rate is None else run,
        worker_calls=totals.worker_calls,
        answers_sought=totals.attempted - totals.duplicates if settings.cache_days else 0,
        answers_kept=totals.answered if settings.keeps_answers else 0,
        worker_seconds=totals.worker_ms / 1000 + totals.worker_calls * START_SECONDS,
        traces=traces,
    )
    usage = run_usage(
        plan.target, counts, plan.storage, total_rows=plan.total_rows, staged_bytes=plan.staged.size_bytes
    )
    return actual_cost(usage, plan.target, known_model_usd(plan.target, totals.usage))


def warnings_of(plan: Plan, totals: Totals) -> list[str]:
    warnings = [*plan.warnings, *totals.blanks.warnings(plan.config.output_mapping, totals.succeeded)]
    if totals.cast_failures:
        # Warnings go into notifications, so they show no samples, which are users' values.
        columns = [f"{name} {failures.count:,}" for name, failures in totals.cast_failures_by_column.items()]
        warnings.append(
            f"{totals.cast_failures:,} values could not be cast to their column's type and hold its default instead"
            + (f": {listed(columns)} (samples in cast_failures_by_column)" if columns else "")
        )
    warnings += [f"{totals.notes[note.name]:,} {note.warning}" for note in NOTES if note.name in totals.notes]
    now = str(plan.target.answering_version)
    for version, count in sorted(totals.target_versions.items()):
        if version != now:
            warnings.append(
                f"{count:,} answers were taken over from version {version} of {plan.target.name}, which is version "
                f"{now} now"
            )
    if plan.target.prices is None:
        for model, tokens in unpriced_tokens(totals).items():
            if tokens:
                named = f"the model {model}" if model else "a model that the answers do not name"
                warnings.append(
                    f"The cost leaves out {tokens:,} tokens of {named}: their price is not known. Give the target "
                    f"{plan.target.name} its prices in the Terraform variable targets."
                )
    if totals.unsent_letters:
        rows = ", ".join(map(str, totals.unsent_rows))
        more = ", …" if totals.unsent_letters > len(totals.unsent_rows) else ""
        warnings.append(
            f"The dead-letter queue did not take the letters of {totals.unsent_letters:,} failed rows: {rows}{more}. "
            f"They are in failed_rows.csv, with their errors. The last refusal: {totals.letters_refusal}"
        )
    return warnings


def missing_by_column(plan: Plan, totals: Totals) -> dict[str, dict[str, object]]:
    """Each mapped column that matched nothing in some rows, for the summary."""
    unmatched = totals.blanks.unmatched(plan.config.output_mapping, totals.succeeded)
    return {
        column.column: {
            "source": column.source,
            "matched": column.matched,
            "rows": column.rows,
            "keys": column.keys,
            "closest": column.closest or None,
        }
        for column in unmatched
    }


def off_protocol(totals: Totals) -> dict[str, object]:
    """How many answers do not follow the target's protocol, with the start of the first one, for the summary."""
    count = totals.notes.get(OFF_PROTOCOL.name, 0)
    return {
        "count": count,
        "example_row": totals.off_protocol_row or None,
        "example": totals.off_protocol_example or None,
    }


def savings(plan: Plan, totals: Totals) -> dict[str, dict[str, float | None]]:
    """The calls that were saved, by setting, and their price if the registry has the price of a call."""
    price = plan.target.cost_per_call_usd
    settings = plan.config.execution_config
    saved = {"deduplicate": totals.duplicates} if settings.deduplicate else {}
    if settings.cache_days is not None:
        saved["cache_days"] = totals.cached
    return {
        name: {"calls": calls, "usd": None if price is None else round(calls * price, 8)}
        for name, calls in saved.items()
    }


def throttling(totals: Totals, cost: dict[str, object]) -> dict[str, object]:
    """The cost of throttling: refused calls, seconds that rows paused, and their share of the workers' cost.

    A pausing row keeps its place in a worker, and the worker's time is paid for.
    """
    parts = cost["parts"]
    lambda_usd = parts.get("lambda", 0.0) if isinstance(parts, dict) else 0.0
    share = min(1.0, totals.throttled_ms / totals.processing_ms) if totals.processing_ms else 0.0
    return {
        "calls": totals.throttles,
        "paused_seconds": totals.throttled_ms / 1000,
        "cost_usd": round(lambda_usd * share, 6),
    }


def unpriced_tokens(totals: Totals) -> dict[str, int]:
    """The tokens of models whose cost is not known, by model (``""`` for answers that name none)."""
    return {model: tokens_of({model: used}) for model, used in totals.usage.items() if not used["cost_usd"]}


def usage_of_run(totals: Totals) -> dict[str, object]:
    """The usage that the answers of all attempts reported, in total and by model if they name one.

    ``cost_usd`` includes the tokens of answers that report no cost, if their price is known.
    """
    sums: dict[str, int | float] = dict.fromkeys(MOST_USED, 0)
    for used in totals.usage.values():
        for name, number in used.items():
            sums[name] += number
    return {**sums, "by_model": {model: used for model, used in totals.usage.items() if model}}
