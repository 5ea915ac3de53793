"""When the rows of a Standard agent start: by a rate, and by the limits of the target over all runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from foundation.ports import Lease
from row_batches.document.batch_config import Rate
from row_batches.run.agent_messages import (
    AgentCall,
    AgentRow,
    MapOutputRequest,
    MapOutputResponse,
    MapRowsRequest,
    MapRowsResponse,
    Waiting,
)
from row_batches.run.batch import Batches
from row_batches.run.claims import REFRESH_SECONDS, permits_name
from row_batches.run.map_input import map_rows
from row_batches.run.map_output import map_output
from row_batches.run.messages import BatchReference, CaughtError
from row_batches.run.runs import BestEffort, Live, Run
from row_batches.run.starts import Starts
from tests.support.batches import AGENT_ARN, EXECUTION, KEYS, make_plan, staged_items
from tests.support.fakes import FakeClock, FakeDeadLetters, FakeLeases, FakeObjectStore, FakeRuns

ROWS = [[f"{number}", "text"] for number in range(1, 13)]
NAME = permits_name(AGENT_ARN)
BRAKE = b'{"reason": "stopped by hand", "error": "StoppedError", "message": ""}'


class Agent:
    """A run of an agent; ``leases`` and ``clock`` can be another run's."""

    def __init__(
        self,
        limit: int | None = None,
        target_rate: Rate | None = None,
        other: Agent | None = None,
        **execution_config: Any,
    ) -> None:
        self.clock: FakeClock = other.clock if other else FakeClock()
        self.leases: FakeLeases = other.leases if other else FakeLeases(self.clock)
        self.store, self.runs = FakeObjectStore(), FakeRuns()
        config = {"timeout_seconds": 60, **execution_config}
        execution = "run-2" if other else EXECUTION
        plan = make_plan(
            ROWS, store=self.store, invocation="standard", execution=execution, execution_config=config, batch_size=2
        )
        target = plan.target.model_copy(update={"max_concurrency": limit, "rate": target_rate})
        self.plan = plan.model_copy(update={"target": target, "call_seconds": 60})
        self.store.put(plan.keys.plan, self.plan.model_dump_json().encode())
        self.runs.start(Run.of_plan(self.plan))
        self.batches = Batches(self.store, self.clock)
        self.shared: dict[str, Any] = {
            "batches": self.batches,
            "dead_letters": FakeDeadLetters(),
            "notes": BestEffort(self.runs),
            "starts": Starts(self.leases, self.runs, self.clock),
        }

    def map(
        self,
        child: int,
        before: MapRowsResponse | None = None,
        *,
        again: Sequence[AgentCall] = (),
        size: int = 2,
        inline: bool = False,
    ) -> MapRowsResponse:
        """What MapRows answers to the child with rows ``size * child + 1`` and on, ``before`` being its last answer."""
        request = MapRowsRequest(
            Inline=inline,
            BatchInput=BatchReference(plan_key=self.plan.keys.plan),
            Items=staged_items(ROWS)[size * child : size * (child + 1)],
            Child=f"child-{child}",
            Again=list(again) + (before.again if before else []),
            Waited=before.waited if before else Waiting(),
        )
        return map_rows(request, **self.shared, clock=self.clock)

    def end(self, row: AgentRow, **end: Any) -> MapOutputResponse:
        """What MapOutput, or RecordFailure, answers."""
        now = datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC)
        result = {"result": "Success", "data": {}, "metadata": end.pop("metadata", {})}
        given = end or {"Result": result}
        request = MapOutputRequest(
            BatchInput=BatchReference(plan_key=self.plan.keys.plan),
            Row=staged_items(ROWS)[row.call.row - 1],
            Call=row.call,
            Began=now,
            Ended=now,
            **given,
        )
        return map_output(request, **self.shared)

    @property
    def slots(self) -> int:
        return sum(lease.part.startswith("slot#") for lease in self.leases.held(NAME))


def waits(response: MapRowsResponse) -> bool:
    assert bool(response.come_again_in_seconds) != bool(response.rows)
    return response.come_again_in_seconds > 0


def test_a_child_has_one_permit_for_all_its_rows_and_gives_it_back_after_the_last() -> None:
    agent = Agent(limit=2)

    mapped = agent.map(0)
    assert agent.slots == 1
    assert agent.end(mapped.rows[0]) == MapOutputResponse(row=1)
    assert agent.slots == 1
    assert agent.end(mapped.rows[1]) == MapOutputResponse(row=2)
    assert agent.slots == 0


def test_no_more_children_call_than_the_registry_allows() -> None:
    agent = Agent(limit=2)

    mapped = [agent.map(child) for child in range(4)]

    assert [waits(response) for response in mapped] == [False, False, True, True]
    assert mapped[2].remaining == 2
    run = agent.runs.get(EXECUTION)
    assert run is not None
    assert run.held_back_noted is not None
    for row in mapped[0].rows:
        agent.end(row)
    assert not waits(agent.map(2, mapped[2]))
    assert waits(agent.map(3, mapped[3]))


def test_children_of_two_runs_share_the_permits_equally() -> None:
    first = Agent(limit=2)
    rounds = [first.map(0), first.map(1)]
    second = Agent(limit=2, other=first)
    waiting = second.map(0)
    assert waits(waiting)

    for row in rounds[0].rows:
        first.end(row)
    # The first run has its share already: its next child leaves the permit to the second run.
    assert waits(first.map(2))
    assert not waits(second.map(0, waiting))
    assert first.slots == 2


def test_a_child_that_looks_again_after_a_lost_answer_gets_the_permit_that_it_has() -> None:
    agent = Agent(limit=1)
    agent.map(0)

    assert not waits(agent.map(0))
    assert agent.slots == 1


def test_the_permit_of_a_child_that_died_is_free_when_its_rows_time_is_over() -> None:
    agent = Agent(limit=1)
    agent.map(0)
    waiting = agent.map(1)

    agent.clock.move(60)
    waiting = agent.map(1, waiting)
    assert waits(waiting)
    agent.clock.move(125)
    assert not waits(agent.map(1, waiting))


def test_the_permit_is_kept_from_row_to_row_and_over_the_pauses_of_a_row() -> None:
    agent = Agent(limit=1, retry_policy={"max_attempts": 2, "initial_interval_seconds": 10, "jitter": False})
    mapped = agent.map(0)

    for _ in range(5):
        agent.clock.move(100)
        answer = agent.end(mapped.rows[0], ErrorOutput=CaughtError(Error="States.TaskFailed", Cause="{}"))
        assert answer.again is not None
        assert agent.slots == 1


def test_a_child_that_has_lost_its_permit_starts_no_further_row() -> None:
    agent = Agent(limit=1)
    mapped = agent.map(0)
    agent.clock.move(1_000)
    assert not waits(agent.map(1))

    assert agent.end(mapped.rows[0]) == MapOutputResponse(row=1, stop=True), "the row itself is finished"
    answer = agent.end(mapped.rows[1], ErrorOutput=CaughtError(Error="States.TaskFailed", Cause="{}"))
    assert (answer.again, answer.stop) == (None, True)


def test_behind_the_brake_the_permit_is_given_back_at_once() -> None:
    agent = Agent(limit=1)
    mapped = agent.map(0)
    agent.store.put(KEYS.brake, BRAKE)

    assert agent.end(mapped.rows[0]).stop
    assert agent.slots == 0


def test_calls_of_another_round_outlive_a_wait_for_a_permit() -> None:
    agent = Agent(limit=1)
    mapped = agent.map(0)
    agent.end(mapped.rows[0])
    retryable = {"Result": {"result": "Error", "data": {}, "metadata": {"retryable": True}}}
    again = agent.end(mapped.rows[1], **retryable).again
    assert again is not None
    assert agent.slots == 0, "the pause before the next round needs no permit"
    assert not waits(agent.map(1))

    waiting = agent.map(0, again=[again])
    assert waits(waiting)
    agent.clock.move(1_000)
    (row,) = agent.map(0, waiting).rows

    assert (row.call.row, row.call.attempt) == (2, 2)


def start_times(agent: Agent, children: int, first: int = 0, **answer: Any) -> list[float]:
    """Seconds after which each child's row starts, when every child comes again as it is told."""
    began = agent.clock.now_ms()
    due: list[tuple[int, int, MapRowsResponse | None]] = [(began, child, None) for child in range(first, children)]
    starts = []
    while due:
        due.sort(key=lambda entry: entry[:2])
        at, child, before = due.pop(0)
        agent.clock.move(max(0, at - agent.clock.now_ms()) / 1000)
        response = agent.map(child, before, size=1)
        if waits(response):
            due.append((agent.clock.now_ms() + response.come_again_in_seconds * 1000, child, response))
        else:
            starts.append((agent.clock.now_ms() - began) / 1000)
            agent.end(response.rows[0], **answer)
    return starts


def test_rows_of_an_agent_keep_the_runs_rate() -> None:
    starts = start_times(Agent(rate={"rows_per_minute": 30}), 10)

    assert starts == sorted(starts)
    assert starts[-1] == pytest.approx(18, abs=1)


def test_the_children_of_a_target_with_many_permits_share_a_read_of_them() -> None:
    agent = Agent(limit=1_000)
    reads = 0
    held = agent.leases.held

    def counted(name: str) -> list[Lease]:
        nonlocal reads
        reads += 1
        return held(name)

    agent.leases.held = counted  # type: ignore[method-assign]
    for child in range(3):
        assert agent.map(child, size=1).rows
    assert (reads, agent.slots) == (1, 3)
    agent.clock.move(REFRESH_SECONDS)
    agent.map(3, size=1)
    assert reads == 3, "the test's own count of the slots is one of them"


def test_an_inline_child_without_a_permit_leaves_its_rows_to_the_second_pass() -> None:
    agent = Agent(limit=1)
    (row,) = agent.map(0, size=1, inline=True).rows
    assert row.call.inline

    assert agent.map(1, inline=True) == MapRowsResponse(), "waiting would fill the history that all rows share"
    assert waits(agent.map(1))


def test_a_start_that_is_reserved_is_kept_over_waits() -> None:
    agent = Agent(limit=1, rate={"rows_per_minute": 6})
    agent.map(0)
    waiting = agent.map(1)
    assert waits(waiting)
    agent.clock.move(waiting.come_again_in_seconds)
    still_waiting = agent.map(1, waiting)
    assert waits(still_waiting), "its start has come, but there is no permit"
    assert still_waiting.waited.starts_ms == waiting.waited.starts_ms
    agent.clock.move(1_000)

    assert not waits(agent.map(1, still_waiting))


def test_no_row_starts_behind_a_brake_that_was_pulled_while_it_waited() -> None:
    agent = Agent(rate={"rows_per_minute": 1})
    agent.map(0)
    waiting = agent.map(1)
    assert waits(waiting)
    agent.store.put(KEYS.brake, BRAKE)
    agent.clock.move(waiting.come_again_in_seconds)

    assert agent.map(1, waiting) == MapRowsResponse()


def test_a_rate_that_is_set_on_a_running_run_counts_for_the_next_rows() -> None:
    agent = Agent()
    assert start_times(agent, 3) == [0, 0, 0]
    agent.runs.set_live(EXECUTION, Live(rows_per_minute=60))

    assert start_times(agent, 9, first=3)[-1] == pytest.approx(5, abs=1)


def test_tokens_that_answers_report_slow_the_next_rows() -> None:
    usage = {"usage": {"input_tokens": 900, "output_tokens": 100}}

    starts = start_times(Agent(rate={"tokens_per_minute": 30_000}), 10, metadata=usage)

    assert starts[-1] == pytest.approx(18, abs=3)


def test_two_runs_share_the_rate_of_the_target() -> None:
    first = Agent(target_rate=Rate(rows_per_minute=60))
    assert start_times(first, 3)[-1] == pytest.approx(2, abs=0.5)
    second = Agent(target_rate=Rate(rows_per_minute=60), other=first)

    assert start_times(second, 6)[-1] == pytest.approx(10, abs=1), "half of it"


def test_a_second_round_of_a_row_is_no_start() -> None:
    agent = Agent(rate={"rows_per_minute": 1})
    (row,) = agent.map(0, size=1).rows

    assert not waits(agent.map(0, again=[row.call], size=1))
