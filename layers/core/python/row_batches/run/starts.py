"""Decides when rows of a Standard agent may start, by the run's rate and the target's limits over all runs.

These functions do not wait long. A child whose rows may not start yet calls again, which takes four transitions.
"""

from __future__ import annotations

from math import ceil

from foundation.ports import Clock, Leases
from row_batches.rows.records import Usage
from row_batches.run.agent_messages import AgentCall, AgentRow, MapRowsRequest, MapRowsResponse, Waiting
from row_batches.run.batch import Batch
from row_batches.run.child_permit import ChildPermit, LastHeld
from row_batches.run.runs import BestEffort, Live, Runs
from row_batches.targets.answer import tokens_of

MOST_SLEEP_SECONDS = 5.0
"""The function itself waits for a start that is nearer than this, which costs less than another call."""
LOOK_SECONDS = 5
USUAL_LOOK_SECONDS = 60
MOST_LOOK_SECONDS = 300
UNKNOWN_ROW_SECONDS = 5.0


class Starts:
    """Lets the rows of children start. Raises the errors of the tables, because no row may start without an answer."""

    def __init__(self, leases: Leases, runs: Runs, clock: Clock) -> None:
        self._leases = leases
        self._runs = runs
        self._clock = clock
        self._notes = BestEffort(runs)
        self._last_held = LastHeld(leases, clock)

    def admit(self, batch: Batch, request: MapRowsRequest, rows: list[AgentRow]) -> MapRowsResponse:
        """The rows with the child's permit, or no rows and the seconds to wait before the next call."""
        execution, permit = batch.plan.execution.name, self._permit(batch, request.Child)
        waited = request.Waited
        new = len(rows) - len({row.call.row for row in rows} & {call.row for call in request.Again})
        run = self._notes.refresh(execution, None, self._clock.now_ms())
        rate = permit.within((run.live if run else Live()).of(batch.allowance))
        row_ms, token_ms = (
            0.0 if number is None else 60_000 / number for number in (rate.rows_per_minute, rate.tokens_per_minute)
        )
        if new and not waited.starts_ms and (row_ms or token_ms):
            start = self._runs.reserve_start(execution, self._clock.now_ms(), new, row_ms, token_ms)
            waited = Waiting(starts_ms=start.at_ms, expected_tokens=start.tokens)
        left = (waited.starts_ms - self._clock.now_ms()) / 1000
        if left > MOST_SLEEP_SECONDS:
            return _come_again(request, rows, waited, ceil(left))
        if left > 0:
            self._clock.sleep(left)
        slot = ""
        if permit.is_needed:
            look_seconds = _look_seconds(batch, waited.times)
            slot = permit.take(max(row.call.timeout_seconds for row in rows), waited.times, look_seconds)
            if not slot and request.Inline:
                return MapRowsResponse()  # The second pass waits for a permit, in histories of its own.
            if not slot:
                self._notes.hold_back(execution, self._clock.now_ms())
                waited = waited.model_copy(update={"times": waited.times + 1})
                return _come_again(request, rows, waited, look_seconds)
        changes = {"child": request.Child, "inline": request.Inline, "permit": slot, "token_ms": token_ms}
        changes["expected_tokens"] = waited.expected_tokens
        admitted = []
        for row in rows:
            call = row.call.model_copy(update={**changes, "last": row is rows[-1]})
            admitted.append(row.model_copy(update={"call": call}))
        return MapRowsResponse(rows=admitted)

    def goes_on(self, batch: Batch, call: AgentCall, seconds: float) -> bool:
        """Keep the child's permit for another call of up to ``seconds``. False if the child has lost the permit."""
        return not call.permit or self._permit(batch, call.child).extend(call.permit, seconds)

    def ends(self, batch: Batch, call: AgentCall) -> None:
        """Return the child's permit, because the child makes no further call, or none for a while."""
        if call.permit:
            self._permit(batch, call.child).give_back(call.permit)

    def used(self, batch: Batch, call: AgentCall, usage: Usage) -> None:
        """Count the tokens of a row, if the run has a token rate."""
        if call.token_ms:
            execution, tokens = batch.plan.execution.name, tokens_of(usage)
            self._notes.use_tokens(execution, tokens, call.expected_tokens, call.token_ms)

    def _permit(self, batch: Batch, child: str) -> ChildPermit:
        return ChildPermit(self._leases, self._last_held, batch.plan, child, self._clock)


def _come_again(request: MapRowsRequest, rows: list[AgentRow], waited: Waiting, seconds: int) -> MapRowsResponse:
    return MapRowsResponse(remaining=len(rows), come_again_in_seconds=seconds, again=request.Again, waited=waited)


def _look_seconds(batch: Batch, times: int) -> int:
    """The pause before a child looks for a permit again: about as long as another child keeps one.

    It grows, so that days of waiting fit into the child's history.
    """
    plan = batch.plan
    child_seconds = ceil(plan.concurrency.batch_size * (plan.target.expected_seconds or UNKNOWN_ROW_SECONDS))
    return min(MOST_LOOK_SECONDS, max(LOOK_SECONDS, min(child_seconds, USUAL_LOOK_SECONDS), times))
