"""Leases and the table of runs: one body of assertions, run on the fakes and on the adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from foundation.aws.leases import DynamoDbLeases
from foundation.errors import DeploymentError
from foundation.invocation import call_owner
from foundation.ports import Lease, Leases
from row_batches.run.blanks import Blanks
from row_batches.run.causes import Cause
from row_batches.run.runs import (
    MOST_LIVE_CAUSES,
    WAITING_FOR_APPROVAL,
    Approval,
    Counts,
    Live,
    Run,
    RunEnding,
    Runs,
    RunState,
)
from row_batches.run.runs_dynamodb import DynamoDbRuns
from row_batches.run.traces import Traces
from tests.support.fakes import FakeClock, FakeLeases, FakeRuns
from tests.support.local_aws import LocalAws
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_runs_table

MakeClient = Callable[[str], Any]
WORLDS = ["fake", "moto", pytest.param("local_aws", marks=pytest.mark.local_aws)]
START = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture
def moto() -> Iterator[MakeClient]:
    with moto_aws():
        yield lambda service: boto3.client(service)  # type: ignore[call-overload]  # the name is not a literal here


@pytest.fixture(scope="module")
def local_aws() -> Iterator[MakeClient]:
    with LocalAws() as aws:
        yield aws.client


# --- leases


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=WORLDS)
def leases(request: pytest.FixtureRequest, clock: FakeClock) -> Leases:
    if request.param == "fake":
        return FakeLeases(clock)
    client = request.getfixturevalue(request.param)("dynamodb")
    return DynamoDbLeases(client, make_runs_table(client), clock)


def test_one_owner_at_a_time_until_the_lease_is_given_back(leases: Leases) -> None:
    assert leases.acquire("sync#osha", "a", 60)
    assert not leases.acquire("sync#osha", "b", 60)
    assert leases.acquire("sync#epa", "b", 60)
    leases.release("sync#osha", "a")
    assert leases.acquire("sync#osha", "b", 60)


def test_of_many_that_ask_at_once_one_is_the_owner(leases: Leases) -> None:
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda number: leases.acquire("run#1", f"owner {number}", 60), range(8)))
    assert granted.count(True) == 1


def test_an_event_that_lambda_delivers_twice_at_once_is_worked_on_by_one_call(leases: Leases) -> None:
    # Given two calls under one request id, as Lambda gives them to a repeated event
    context: Any = SimpleNamespace(aws_request_id="request-1")
    first, second = call_owner(context), call_owner(context)
    # Then one of them holds the lease
    assert leases.acquire("create", first, 60)
    assert not leases.acquire("create", second, 60)


def test_the_lease_of_an_owner_that_died_ends(leases: Leases, clock: FakeClock) -> None:
    leases.acquire("create", "a", 60)
    clock.move(60.001)
    assert leases.acquire("create", "b", 60)
    leases.release("create", "a")
    assert not leases.acquire("create", "c", 60), "the late release was not the new owner's"


def test_an_owner_may_extend_its_lease_and_release_it_twice(leases: Leases, clock: FakeClock) -> None:
    leases.acquire("create", "a", 60)
    clock.move(50)
    assert leases.acquire("create", "a", 60)
    clock.move(50)
    assert not leases.acquire("create", "b", 60)
    leases.release("create", "a")
    leases.release("create", "a")


def test_parts_of_a_name_are_leased_apart_and_listed_while_they_are_held(leases: Leases, clock: FakeClock) -> None:
    now = clock.now_ms()
    assert leases.acquire("run#1", "a", 60, "rows#2")
    assert leases.acquire("run#1", "b", 90, "rows#1")
    assert not leases.acquire("run#1", "b", 90, "rows#2")
    assert leases.acquire("run#2", "c", 90, "rows#1")
    assert leases.held("run#1") == [Lease("rows#1", "b", now + 90_000), Lease("rows#2", "a", now + 60_000)]
    clock.move(60.001)
    assert [lease.part for lease in leases.held("run#1")] == ["rows#1"]
    leases.release("run#1", "b", "rows#1")
    assert leases.held("run#1") == []


def test_a_missing_table_is_the_deployments_fault(moto: MakeClient) -> None:
    leases = DynamoDbLeases(moto("dynamodb"), "other", FakeClock())
    with pytest.raises(DeploymentError):
        leases.acquire("create", "a", 60)
    with pytest.raises(DeploymentError):
        leases.release("create", "a")
    with pytest.raises(DeploymentError):
        leases.held("create")


# --- runs


@pytest.fixture(params=WORLDS)
def runs(request: pytest.FixtureRequest) -> Runs:
    if request.param == "fake":
        return FakeRuns()
    client = request.getfixturevalue(request.param)("dynamodb")
    return DynamoDbRuns(client, make_runs_table(client))


def run(number: int = 1, **changes: Any) -> Run:
    return Run(
        execution=f"run-{number}",
        arn=f"arn:aws:states:us-east-1:123456789012:execution:batch-processor:run-{number}",
        batch_name="weekly",
        target="echo",
        target_version="1",
        total_rows=100,
        plan_key=f"work/run-{number}/plan.json",
        started_at=START + timedelta(minutes=number),
        estimate_usd=0.25,
        warnings=["Only the first 100 rows."],
    ).model_copy(update=changes)


def ending(**changes: Any) -> RunEnding:
    return RunEnding(
        state=RunState.SUCCEEDED_WITH_FAILURES,
        counts=Counts(succeeded=98, failed=2, attempts=104),
        ended_at=START + timedelta(hours=1),
        cost_usd=0.125,
        summary_key="results/run-1/summary.json",
        warnings=["2 values could not be cast."],
    ).model_copy(update=changes)


def test_a_run_comes_back_as_it_began(runs: Runs) -> None:
    runs.start(run())
    assert runs.get("run-1") == run()
    assert runs.get("run-2") is None


def test_live_counts_add_up_until_the_ending_corrects_them(runs: Runs) -> None:
    runs.start(run())
    runs.count("run-1", Counts(succeeded=40, attempts=41, worker_ms=900, worker_calls=1))
    runs.count("run-1", Counts())
    runs.count("run-1", Counts(succeeded=50, timed_out=1, attempts=60))
    found = runs.get("run-1")
    assert found is not None
    assert found.counts == Counts(succeeded=90, timed_out=1, attempts=101, worker_ms=900, worker_calls=1)
    runs.end("run-1", ending())
    runs.count("run-1", Counts(succeeded=1))
    assert runs.get("run-1") == run(**dict(ending()))


def test_what_rows_lack_adds_up_and_the_keys_that_came_first_stay(runs: Runs) -> None:
    runs.start(run())
    runs.count_blanks("run-1", Blanks(failed=1, missing={"mood": 2, "a b": 1}, keys={"$": {"sentiment": 2}}))
    runs.count_blanks("run-1", Blanks(missing={"mood": 3}, keys={"$": {"other": 3}, "$.speeds": {"up": 1}}))
    found = runs.get("run-1")
    assert found is not None
    assert found.blanks == Blanks(
        failed=1, missing={"mood": 5, "a b": 1}, keys={"$": {"sentiment": 2}, "$.speeds": {"up": 1}}
    )
    runs.start(run(started_at=START + timedelta(days=100)))
    later = runs.get("run-1")
    assert later is not None
    assert later.blanks == Blanks()


def cause(number: int, count: int, *rows: int) -> Cause:
    return Cause(error=f"Boom{number}", message="it broke", count=count, rows=list(rows))


def test_causes_add_up_up_to_a_number_of_them_until_the_end_brings_its_own(runs: Runs) -> None:
    runs.start(run())
    runs.count_causes("run-1", [cause(1, 2, 4, 7), cause(2, 1, 5)])
    runs.count_causes("run-1", [cause(2, 3, 8, 9, 11)])
    found = runs.get("run-1")
    assert found is not None
    assert found.causes == [cause(2, 4, 5), cause(1, 2, 4, 7)]
    for number in range(3, MOST_LIVE_CAUSES + 3):
        runs.count_causes("run-1", [cause(number, 1, number)])
    runs.count_causes("run-1", [cause(1, 5, 20)])
    found = runs.get("run-1")
    assert found is not None
    assert len(found.causes) == MOST_LIVE_CAUSES
    assert found.causes[0] == cause(1, 7, 4, 7)
    runs.end("run-1", ending().model_copy(update={"causes": [cause(1, 9, 4, 7)]}))
    found = runs.get("run-1")
    assert found is not None
    assert found.causes == [cause(1, 9, 4, 7)]
    assert runs.page().runs[0].causes == found.causes
    assert runs.reopen("run-1")
    found = runs.get("run-1")
    assert found is not None
    assert found.causes[0] == cause(1, 7, 4, 7)
    runs.start(run(started_at=START + timedelta(days=100)))
    later = runs.get("run-1")
    assert later is not None
    assert later.causes == []


def test_adding_counts_returns_their_sum_with_the_known_cost(runs: Runs) -> None:
    runs.start(run())
    assert runs.count("run-1", Counts()) is None
    assert runs.count("run-1", Counts(attempts=1, input_tokens=10, model_usd=0.1)) == Counts(
        attempts=1, input_tokens=10, model_usd=0.1
    )
    found = runs.count("run-1", Counts(attempts=2, output_tokens=5, model_usd=0.2))
    assert found is not None
    assert (found.attempts, found.input_tokens, found.output_tokens) == (3, 10, 5)
    assert found.model_usd == pytest.approx(0.3)


def test_a_run_waits_for_an_approval_until_it_is_answered_or_ends(runs: Runs) -> None:
    first, second = (
        Approval(token=token, asked_at=START, until=START + timedelta(days=7)) for token in ("token-1", "token-2")
    )
    runs.start(run())
    runs.ask("run-1", first)
    runs.ask("run-1", second)
    found = runs.get("run-1")
    assert found is not None
    assert (found.approval, found.shown_state, found.state) == (second, WAITING_FOR_APPROVAL, RunState.RUNNING)
    assert runs.page().runs[0].shown_state == WAITING_FOR_APPROVAL
    runs.answered("run-1")
    assert runs.get("run-1") == run()
    runs.ask("run-1", first)
    runs.end("run-1", ending())
    found = runs.get("run-1")
    assert found is not None
    assert found.approval is None


def test_traces_add_up_and_the_refusal_that_came_first_stays(runs: Runs) -> None:
    runs.start(run())
    runs.count_traces("run-1", Traces(sent=1))
    runs.count_traces("run-1", Traces(refused=1, refusal="denied"))
    runs.count_traces("run-1", Traces(refused=1, refusal="away"))
    runs.count_traces("run-1", Traces(sent=1))
    found = runs.get("run-1")
    assert found is not None
    assert found.traces == Traces(sent=2, refused=2, refusal="denied")
    runs.start(run(started_at=START + timedelta(days=100)))
    later = runs.get("run-1")
    assert later is not None
    assert later.traces == Traces()


def test_starting_a_run_again_changes_nothing_and_a_later_one_of_its_name_takes_its_place(runs: Runs) -> None:
    runs.start(run())
    runs.count("run-1", Counts(succeeded=40))
    runs.end("run-1", ending())
    runs.start(run())
    found = runs.get("run-1")
    assert found is not None
    assert found.state is RunState.SUCCEEDED_WITH_FAILURES
    later = run(started_at=START + timedelta(days=100))
    runs.start(later)
    assert runs.get("run-1") == later


def test_a_redriven_run_goes_on_with_its_live_counts_until_it_ends_again(runs: Runs) -> None:
    runs.start(run())
    runs.count("run-1", Counts(succeeded=40))
    assert not runs.reopen("run-1"), "it has not ended"
    runs.end("run-1", ending(state=RunState.STOPPED, error="StoppedError"))
    assert not runs.set_live("run-1", Live(max_concurrency=2))

    assert runs.reopen("run-1")
    assert not runs.reopen("run-1")

    assert runs.get("run-1") == run(counts=Counts(succeeded=40), warnings=ending().warnings)
    assert [found.execution for found in runs.running()] == ["run-1"]
    assert runs.set_live("run-1", Live(max_concurrency=2))
    runs.end("run-1", ending())
    assert runs.get("run-1") == run(**dict(ending()), live=Live(max_concurrency=2))
    assert list(runs.running()) == []


def test_a_run_that_is_not_kept_cannot_be_reopened(runs: Runs) -> None:
    assert not runs.reopen("run-1")


def test_a_run_says_until_when_a_batch_waits(runs: Runs) -> None:
    until = START + timedelta(minutes=15)
    runs.start(run())
    runs.wait("run-1", int(until.timestamp() * 1000))
    assert runs.get("run-1") == run(waiting_until=until)
    runs.end("run-1", ending())
    assert runs.get("run-1") == run(**dict(ending()))


def test_a_run_says_when_rows_wait_for_the_targets_limits(runs: Runs) -> None:
    runs.start(run())
    runs.hold_back("run-1", int(START.timestamp() * 1000))
    assert runs.get("run-1") == run(held_back_noted=START)


def test_each_start_that_is_reserved_comes_after_the_one_before(runs: Runs) -> None:
    now = int(START.timestamp() * 1000)
    starts = [runs.reserve_start("run-1", now, rows, 500, 0).at_ms - now for rows in (1, 3, 1)]
    assert starts == [0, 500, 2_000]
    assert runs.reserve_start("run-2", now, 1, 500, 0).at_ms == now, "each run has its own"


def test_a_pause_saves_up_no_starts(runs: Runs) -> None:
    now = int(START.timestamp() * 1000)
    runs.reserve_start("run-1", now, 1, 500, 0)
    later = now + 60_000
    assert [runs.reserve_start("run-1", later, 1, 500, 0).at_ms - later for _ in range(2)] == [0, 500]


def test_starts_that_are_reserved_at_once_are_all_different(runs: Runs) -> None:
    now = int(START.timestamp() * 1000)
    with ThreadPoolExecutor(6) as pool:
        starts = list(pool.map(lambda _: runs.reserve_start("run-1", now, 1, 500, 0).at_ms - now, range(6)))
    assert sorted(starts) == [500 * number for number in range(6)]


def test_tokens_make_the_next_start_later_and_are_then_expected_of_the_next_row(runs: Runs) -> None:
    now = int(START.timestamp() * 1000)
    first = runs.reserve_start("run-1", now, 1, 0, 10)
    runs.use_tokens("run-1", 200, first.tokens, 10)
    second = runs.reserve_start("run-1", now, 1, 0, 10)
    third = runs.reserve_start("run-1", now, 1, 0, 10)
    assert (first.at_ms - now, first.tokens) == (0, 0)
    assert (second.at_ms - now, second.tokens) == (2_000, 200)
    assert third.at_ms - now == 4_000
    runs.use_tokens("run-1", 100, third.tokens, 10)
    assert runs.reserve_start("run-1", now, 1, 0, 10).at_ms - now == 5_000


def test_a_run_that_is_not_kept_is_neither_ended_nor_does_it_wait(runs: Runs) -> None:
    runs.end("run-1", ending())
    runs.wait("run-1", 1)
    assert runs.get("run-1") is None


def test_runs_are_listed_newest_first_page_by_page(runs: Runs) -> None:
    for number in range(1, 6):
        runs.start(run(number))
    runs.end("run-5", ending())
    runs.count("run-4", Counts(succeeded=7))
    first = runs.page(2)
    second = runs.page(2, first.cursor)
    third = runs.page(2, second.cursor)
    assert [page.execution for page in (*first.runs, *second.runs, *third.runs)] == [
        f"run-{n}" for n in range(5, 0, -1)
    ]
    assert (first.runs[0].state, first.runs[1].counts.succeeded) == (RunState.SUCCEEDED_WITH_FAILURES, 7)
    assert first.cursor
    assert not third.cursor


def test_a_cursor_of_another_listing_is_refused(runs: Runs) -> None:
    with pytest.raises(ValueError, match="cursor"):
        runs.page(2, "bm90IG9uZQ")


def test_runs_without_an_ending_are_found(runs: Runs) -> None:
    for number in range(1, 5):
        runs.start(run(number))
    runs.end("run-2", ending())
    assert [found.execution for found in runs.running()] == ["run-1", "run-3", "run-4"]


def test_a_missing_table_of_runs_is_the_deployments_fault(moto: MakeClient) -> None:
    runs = DynamoDbRuns(moto("dynamodb"), "other")
    calls: list[Callable[[], Any]] = [
        lambda: runs.start(run()),
        lambda: runs.count("run-1", Counts(failed=1)),
        lambda: runs.end("run-1", ending()),
        lambda: runs.reopen("run-1"),
        lambda: runs.get("run-1"),
        runs.page,
        lambda: list(runs.running()),
    ]
    for call in calls:
        with pytest.raises(DeploymentError):
            call()


def test_the_item_is_kept_a_year_and_says_its_schema(moto: MakeClient) -> None:
    client = moto("dynamodb")
    table = make_runs_table(client)
    DynamoDbRuns(client, table).start(run())
    (item,) = client.scan(TableName=table)["Items"]
    started = run().started_at
    assert int(item["ttl"]["N"]) == int((started + timedelta(days=365)).timestamp())
    assert item["schema_version"] == {"N": "1"}
