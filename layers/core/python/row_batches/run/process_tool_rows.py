"""Runs a batch of rows through a tool or an Express agent, and writes each row when it finishes.

A row that pauses before its next attempt still counts as in flight. So a worker never has more than ``threads`` rows in
flight, and backoff slows the worker down.

Memory: an unparsed answer of up to 6 MB for each thread, one parsed answer (some 20 times its size if it is a long list
of small objects), and ``MOST_UNWRITTEN_BYTES`` of finished rows plus one row.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import chain
from math import ceil
from threading import Condition, Event, Lock
from typing import Any

from foundation.errors import BatchProcessorError, MappingError
from foundation.json_text import render_json
from foundation.ports import Clock, Deadline
from row_batches.document.batch_config import MAX_TOOL_TIMEOUT_SECONDS
from row_batches.rows.records import FinishedRow, RowStatus, Usage
from row_batches.rows.work import FINISHING_BRAKE, throttled_brake
from row_batches.run.batch import Batch, Batches, input_hash
from row_batches.run.cached_answers import take_cached
from row_batches.run.child_trace import ChildTrace
from row_batches.run.commit import CHECKS_PER_LIMIT, Commit
from row_batches.run.earlier_answers import take_over
from row_batches.run.ownership import MOST_WAIT_SECONDS, Ownership
from row_batches.run.permits import Permits
from row_batches.run.ports import DeadLetters
from row_batches.run.runs import BestEffort, rows_part
from row_batches.run.spending import WorkerSpending
from row_batches.run.tool_messages import ToolRowsRequest, ToolRowsResponse
from row_batches.targets.answer import add_usage, parse_answer, tokens_of
from row_batches.targets.kind import RowCall
from row_batches.targets.ports import TargetInvoker
from row_batches.targets.protocol import Outcome, mapping_failed, timed_out, with_missing_numbers
from row_batches.targets.retry import Final, decide
from row_batches.targets.worker_kind import MAX_THREADS

LOGGER = logging.getLogger("batch_processor.process_tool_rows")
FLUSH_BYTES = 4 * 1024 * 1024
FLUSH_SECONDS = 5.0
FIRST_FLUSH_SECONDS = 1.0
LOOK_SECONDS = 1.0
"""The main thread checks this often whether rows have waited for FLUSH_SECONDS, even while no row ends."""
LARGE_ANSWER_BYTES = 256 * 1024
"""Larger answers are read and mapped one after the other."""
MOST_UNWRITTEN_BYTES = 32 * 1024 * 1024
"""Above this size of finished rows, no row starts and no large answer is read until some are written."""
RESERVE_SECONDS = 30.0
"""No row starts unless the function has time for the row and this much more to write the rows."""
POSTPONE_SECONDS = 30.0
"""If the next row starts later than this, the state machine waits instead, because a waiting function costs money."""
REFRESH_SECONDS = 10.0
"""A process reads what the run may use, and notes that the target throttles, this often."""
PERMIT_SECONDS = 10.0
"""A worker without a permit to call the target waits this long inside the function."""
NO_PERMIT_SECONDS = 15
"""Then the state machine waits this long and calls it again."""
START_SECONDS = 5.0
"""If no row can be taken over, the search stops this much earlier, so that a row can start."""


def process_tool_rows(
    request: ToolRowsRequest,
    *,
    batches: Batches,
    invoker: TargetInvoker,
    dead_letters: DeadLetters,
    ownership: Ownership,
    clock: Clock,
    deadline: Deadline,
) -> ToolRowsResponse:
    """Run the rows that neither this execution nor an execution that it resumes has finished.

    One call at a time owns the rows of a child. Another call does nothing and says when to call again. Rows that do
    not fit into the time left are ``remaining``.

    If the target cannot be called, it writes the finished rows and raises ``DeploymentError``.
    """
    batch = batches.open(request.BatchInput.plan_key)
    items = {int(item["r"]): item for item in request.Items}
    first, last = min(items), max(items)
    with ownership.of(batch.plan.execution.name, rows_part(first), deadline) as wait_seconds:
        if wait_seconds:
            return ToolRowsResponse(remaining=len(items), come_again_in_seconds=wait_seconds)
        for begins, ends in list(batch.rows.finished(first, last)):
            for row in range(begins, ends + 1):
                items.pop(row, None)
        permits = Permits(ownership.leases, batch.plan, str(first), ownership.owner, clock)
        run = _Run(batch, sorted(items.items()), invoker, dead_letters, ownership.notes, permits, clock, deadline)
        return run.run()


@cache
def row_threads() -> ThreadPoolExecutor:
    """The threads, which are kept from batch to batch, because starting them again takes some 20 ms a batch."""
    return ThreadPoolExecutor(MAX_THREADS, "row")


class _Run:
    """Threads take rows from one list and put finished rows into a buffer. Only the main thread writes the buffer.

    The main thread sleeps until there is enough to write. If it woke for each row, it would compete with the threads
    for the interpreter.
    """

    def __init__(
        self,
        batch: Batch,
        rows: list[tuple[int, dict[str, str]]],
        invoker: TargetInvoker,
        dead_letters: DeadLetters,
        notes: BestEffort,
        permits: Permits,
        clock: Clock,
        deadline: Deadline,
    ) -> None:
        self._notes = notes
        self._permits = permits
        self._batch = batch
        self._rows = rows
        self._invoker = invoker
        self._commit = Commit(batch, dead_letters)
        self._trace = ChildTrace(batch, notes, str(rows[0][0]) if rows else "")
        self._clock = clock
        self._deadline = deadline
        config = batch.plan.config.execution_config
        self._policy = config.retry_policy
        self._row_seconds = min(config.timeout_seconds, MAX_TOOL_TIMEOUT_SECONDS)
        self._lock = Lock()
        self._large_answer = Lock()
        self._room = Condition()
        self._unwritten_bytes = 0
        self._started = 0
        self._stopped = False
        self._unwritten: list[FinishedRow] = []
        self._working = self._in_flight = 0
        self._turn = Condition(self._lock)
        self._come_again_seconds = 0.0
        self._give_up_ms = config.give_up_seconds * 1000
        self._succeeded_in_run = -1
        self._succeeded_ms = 0
        self._pace = batch.pace
        self._pace.begin()
        self._due = Event()
        self._failures = self._failures_to_count = 0
        self._limit = batch.failure_limit
        self._most_failures_to_count = None if self._limit is None else max(1, self._limit // CHECKS_PER_LIMIT)
        self._spending = WorkerSpending(batch, notes)
        self._wrote_ms: int | None = None
        self._began_ms = self._flushed_ms = clock.now_ms()
        self._run_began_ms = batch.plan.execution.started_at.timestamp() * 1000
        self._counts: Counter[RowStatus] = Counter()

    def run(self) -> ToolRowsResponse:
        if self._batch.plan.resume_from or self._batch.plan.config.execution_config.cache_days:
            self._take_over()
        self._working = min(self._batch.plan.concurrency.threads, len(self._rows))
        self._refresh_permits()
        workers = [row_threads().submit(self._work) for _ in range(self._working)]
        for worker in workers:
            worker.add_done_callback(self._worker_ended)
        try:
            self._write_until_ended()
        except BatchProcessorError:
            self._stop()
            wait(workers)
            # Write once more, with the rows that finished meanwhile. The next call runs the rest.
            with suppress(BatchProcessorError):
                self._flush()
            raise
        finally:
            self._stop()
            wait(workers)
            self._permits.give_back(self._come_again_seconds)
        for worker in workers:
            worker.result()  # raises what the thread did
        self._trace.send()
        left = len(self._rows) - self._started
        brake = self._batch.work.brake() if left else None
        if brake == FINISHING_BRAKE:
            # Nobody reads the answer of a stopped execution. If it was redriven, it waits for the brake's release.
            brake, self._come_again_seconds = None, MOST_WAIT_SECONDS
        return ToolRowsResponse(
            succeeded=self._counts[RowStatus.SUCCESS],
            failed=self._counts[RowStatus.FAILED],
            timed_out=self._counts[RowStatus.TIMEOUT],
            not_attempted=left if brake else 0,
            remaining=0 if brake else left,
            come_again_in_seconds=0 if brake else ceil(self._come_again_seconds),
        )

    # --- in the main thread

    def _take_over(self) -> None:
        """Finish the rows that an earlier execution or another batch answered.

        They are written together with the rows that run, so that consecutive rows can share one object.
        """
        left = dict(self._rows)
        taken = take_over(self._batch, left, self._may_take_over)
        for finished in chain(taken, take_cached(self._batch, left)):
            del left[finished.row]
            self._keep(finished)
            if self._unwritten_bytes >= FLUSH_BYTES:
                self._flush()
        self._rows = sorted(left.items())

    def _may_take_over(self) -> bool:
        """Whether the search may continue: not if the brake is pulled or the time is only enough to write.

        If nothing is found, the search stops while there is still time to start a row. Otherwise each call would end
        without progress.
        """
        found = bool(self._counts)
        needed = RESERVE_SECONDS if found else self._row_seconds + RESERVE_SECONDS + START_SECONDS
        return self._deadline.remaining_seconds() >= needed and self._batch.work.brake() is None

    def _write_until_ended(self) -> None:
        while self._working:
            self._due.wait(LOOK_SECONDS)
            self._due.clear()
            if self._is_due():
                self._flush()
            self._refresh_permits()
        self._flush()

    def _refresh_permits(self) -> None:
        """Take or give back permits when the worker's share of the target's limits changes. Does so now and then."""
        with self._turn:
            wants = min(self._batch.plan.concurrency.threads, len(self._rows) - self._started + self._in_flight)
        wants = min(wants, self._pace.allowance.rows_in_flight)
        if self._permits.refresh(wants, self._count_in_flight):
            self._allow()
            with self._turn:
                self._turn.notify_all()

    def _count_in_flight(self) -> int:
        with self._turn:
            return self._in_flight

    def _allow(self) -> None:
        """Give the pace what the worker may use now."""
        own = self._batch.live.of(self._batch.allowance).share(self._batch.plan.concurrency.children)
        self._pace.allow(self._permits.within(own))

    def _flush(self) -> None:
        self._flushed_ms = now = self._clock.now_ms()
        with self._room:
            rows = sorted(self._unwritten, key=lambda finished: finished.row)
        if not rows:
            return
        rows[0].record["worker_ms"] = now - (self._wrote_ms or self._began_ms)
        rows[0].record["worker_calls"] = int(self._wrote_ms is None)
        self._commit.write(rows)
        self._trace.stored(rows, now)
        self._wrote_ms = now
        self._spending.count(rows)
        with self._room:
            del self._unwritten[: len(rows)]
            self._unwritten_bytes -= sum(map(_size, rows))
            self._failures_to_count -= sum(finished.has_failed_here for finished in rows)
            self._room.notify_all()

    def _worker_ended(self, worker: Future[None]) -> None:
        if worker.exception() is not None:
            self._stop()
        with self._room:
            self._working -= 1
        self._due.set()

    def _stop(self) -> None:
        with self._room:
            self._stopped = True
            self._room.notify_all()
        with self._turn:
            self._turn.notify_all()

    # --- in the workers

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            try:
                self._process(*taken)
            finally:
                with self._turn:
                    self._in_flight -= 1
                    self._turn.notify()

    def _keep(self, finished: FinishedRow) -> None:
        record = finished.record
        with self._room:
            self._unwritten.append(finished)
            self._unwritten_bytes += _size(finished)
            self._counts[record["status"]] += 1
            self._spending.add(record)
            if self._spending.is_over:
                self._stop()
            if finished.has_failed:
                self._failures += finished.has_failed_here
                self._failures_to_count += finished.has_failed_here
                if self._limit is not None and self._failures >= self._limit:
                    self._stop()  # Stop at once. The brake stops the other workers after the next write.
                details = {"row_id": record["row"], "status": record["status"], "attempts": record["attempts"]}
                LOGGER.info("row not successful", extra=details)
            if self._is_due():
                self._due.set()

    def _is_due(self) -> bool:
        full = self._unwritten_bytes >= FLUSH_BYTES
        to_count = self._most_failures_to_count is not None and self._failures_to_count >= self._most_failures_to_count
        to_count = to_count or self._spending.is_to_be_counted
        now = self._clock.now_ms()
        return full or to_count or now - self._flushed_ms >= flush_seconds((now - self._run_began_ms) / 1000) * 1000

    def _await_room(self) -> None:
        with self._room:
            self._room.wait_for(lambda: self._stopped or self._unwritten_bytes < MOST_UNWRITTEN_BYTES)

    @contextmanager
    def _reading_large_answer(self) -> Iterator[None]:
        with self._large_answer:
            self._await_room()
            yield

    def _refresh(self, *, at_once: bool = False) -> bool:
        """Note whether the target throttles, and read what the run may use and how many rows succeeded.

        Returns whether it read them. Does nothing within ten seconds of the last read, unless ``at_once``.
        """
        with self._lock:
            now = self._clock.now_ms()
            if not at_once and now - self._batch.refreshed_ms < REFRESH_SECONDS * 1000:
                return False
            self._batch.refreshed_ms = now
        plan = self._batch.plan
        if self._permits.is_short:
            self._notes.hold_back(plan.execution.name, now)
        run = self._notes.refresh(plan.execution.name, self._pace.throttled_since_ms, now)
        if run is None:
            return False
        self._batch.live = run.live
        self._allow()
        with self._lock:
            if run.counts.succeeded != self._succeeded_in_run:
                self._succeeded_in_run, self._succeeded_ms = run.counts.succeeded, now
        return True

    def _take(self) -> tuple[int, dict[str, str]] | None:
        """Wait for the turn of the next row and take it; None if no further row is to start."""
        while True:
            self._await_room()
            self._refresh()
            self._refresh_permits()
            with self._turn:
                if self._stopped or self._started == len(self._rows):
                    return None
                enough_time = self._deadline.remaining_seconds() >= self._row_seconds + RESERVE_SECONDS
                first_of_batch = self._started == 0 and self._batch.has_brake_of_its_own
                if not enough_time or self._batch.work.brake(fresh=first_of_batch) is not None:
                    self._stopped = True
                    return None
                has_permit = self._in_flight < self._permits.allowed()
                wait_seconds = self._pace.start(self._in_flight) if has_permit else None
                if wait_seconds == 0:
                    taken = self._rows[self._started]
                    self._started += 1
                    self._in_flight += 1
                    return taken
                if wait_seconds is None and self._in_flight:
                    self._turn.wait(LOOK_SECONDS)
                    continue
                if self._in_flight == 0 and self._is_far_away(wait_seconds):
                    self._come_again_seconds = NO_PERMIT_SECONDS if wait_seconds is None else wait_seconds
                    self._stopped = True
                    return None
            self._clock.sleep(LOOK_SECONDS if wait_seconds is None else min(wait_seconds, LOOK_SECONDS))

    def _is_far_away(self, wait_seconds: float | None) -> bool:
        """Whether to wait for the next start outside of the function. ``wait_seconds`` is None without a permit."""
        if wait_seconds is None:
            return self._permits.seconds_without() > PERMIT_SECONDS
        return wait_seconds > POSTPONE_SECONDS

    def _process(self, row: int, item: dict[str, str]) -> None:
        cells = self._batch.cells(item)
        started_ms = ended_ms = self._clock.now_ms()
        row_hash, attempts, throttles, throttled_ms = "", 0, 0, 0
        usage: Usage = {}
        with ExitStack() as reading:
            try:
                row_input = self._batch.input_mapper.map(cells)
            except MappingError as error:
                outcome = mapping_failed(str(error))
            else:
                self._trace.mapped(row, started_ms)
                row_hash = input_hash(row_input)
                outcome, attempts, throttles, throttled_ms, ended_ms = self._attempt_until_final(
                    row, row_input, started_ms, reading, usage
                )
            finished = self._batch.finish(
                row,
                cells,
                outcome,
                row_hash=row_hash,
                attempts=attempts,
                throttles=throttles,
                started_ms=started_ms,
                ended_ms=ended_ms,
                usage=usage,
                throttled_ms=throttled_ms,
            )
            self._keep(finished)
            del outcome

    def _attempt_until_final(
        self, row: int, row_input: dict[str, Any], started_ms: int, reading: ExitStack, usage: Usage
    ) -> tuple[Outcome, int, int, int, int]:
        """Call until the outcome is final.

        Returns the outcome, the attempts that reached the target, the throttled calls, the milliseconds that the row
        paused for them, and when the last call ended. If the answer is large, ``reading`` stays open until the caller
        no longer needs the answer. The usage of the attempts is added to ``usage``.
        """
        budget_ms = self._row_seconds * 1000
        attempt, throttles, throttled_ms = 1, 0, 0
        while True:
            left_ms = started_ms + budget_ms - self._clock.now_ms()
            call = self._batch.call(row, attempt)
            answered = self._invoke(call, row_input, max(left_ms, 1) / 1000)
            ended_ms = self._clock.now_ms()
            outcome = answered if isinstance(answered, Outcome) else self._read(answered, call, reading)
            del answered
            throttles += outcome.throttled
            add_usage(usage, self._batch.priced(outcome.usage))
            if outcome.runs_on:
                self._permits.abandon()
            gives_up = self._pace_after(outcome)
            decision = decide(self._policy, outcome, attempt, throttles, ended_ms - started_ms, budget_ms)
            reached = attempt - outcome.throttled
            if gives_up:
                return outcome, reached, throttles, throttled_ms, ended_ms
            if isinstance(decision, Final):
                return decision.outcome, reached, throttles, throttled_ms, ended_ms
            if outcome.throttled:
                throttled_ms += int(decision.wait_seconds * 1000)
            runs_on, error = outcome.runs_on, outcome.error_message
            del outcome
            reading.close()
            self._clock.sleep(decision.wait_seconds)
            if runs_on and not self._take_another_permit(started_ms + budget_ms):
                used = f"the row's {self._row_seconds} seconds are used up before it had another permit"
                outcome = timed_out(f"{used}; the last error was {error}")
                return outcome, reached, throttles, throttled_ms, self._clock.now_ms()
            attempt = reached + 1

    def _take_another_permit(self, end_ms: int) -> bool:
        """Leave the row's permit to the call that possibly still runs, and wait for another permit.

        False if the row's time ends before it gets one.
        """
        if not self._permits.are_counted:
            return True
        with self._turn:
            self._in_flight -= 1
            self._turn.notify()
        while True:
            self._refresh_permits()
            with self._turn:
                is_over = self._clock.now_ms() >= end_ms
                if is_over or self._in_flight < self._permits.allowed():
                    self._in_flight += 1
                    return not is_over
            self._clock.sleep(LOOK_SECONDS)

    def _pace_after(self, outcome: Outcome) -> bool:
        """Adapt the pace. True if the target has throttled for so long that the run gives up.

        The run goes on if only this worker is throttled and calls of others succeed. It also goes on if the table of
        runs cannot be read.
        """
        if not outcome.throttled:
            self._pace.answered(tokens_of(outcome.usage))
            return False
        self._pace.throttled()
        self._refresh()
        if not self._is_throttled_too_long() or not self._refresh(at_once=True) or not self._is_throttled_too_long():
            return False
        self._batch.work.pull_brake(throttled_brake(self._batch.plan))
        self._stop()
        return True

    def _is_throttled_too_long(self) -> bool:
        """Whether no call of this worker and no counted call of the run succeeded for ``give_up_seconds``."""
        since = self._pace.throttled_since_ms
        return since is not None and self._clock.now_ms() - max(since, self._succeeded_ms) >= self._give_up_ms

    def _invoke(self, call: RowCall, row_input: dict[str, Any], timeout_seconds: float) -> bytes | Outcome:
        sent = self._batch.kind.request(call, row_input)
        LOGGER.debug("row sent", extra={"row_id": call.row, "attempt": call.attempt, "sent": sent})
        return self._invoker.invoke(self._batch.plan.target, render_json(sent).encode(), timeout_seconds)

    def _read(self, answered: bytes, call: RowCall, reading: ExitStack) -> Outcome:
        if len(answered) > LARGE_ANSWER_BYTES:
            reading.enter_context(self._reading_large_answer())
        answer = parse_answer(answered)
        return with_missing_numbers(self._batch.kind.read(answer.value, call), answer.missing_numbers)


def flush_seconds(run_seconds: float) -> float:
    """How long finished rows wait to be written when the run is ``run_seconds`` old.

    In its first minute, whoever follows it sees rows finish every second. Later, fewer and larger objects cost less.
    """
    return min(FLUSH_SECONDS, max(FIRST_FLUSH_SECONDS, run_seconds / 60))


def _size(finished: FinishedRow) -> int:
    return len(finished.answer) + len(finished.record["csv"])
