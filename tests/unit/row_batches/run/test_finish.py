"""Runs that ended before they were put together: made quiet, put together once for each ending, kept as ended."""

from __future__ import annotations

import orjson
import pytest

from foundation.errors import ServiceUnavailableError
from row_batches.rows.work import FINISHING_BRAKE, Brake
from row_batches.run.end_messages import AggregateAction, AggregateResponse
from row_batches.run.redrive import Redrive
from row_batches.run.runs import Counts, Live, RunState, lease_name, rows_part
from tests.support.batches import KEYS, make_plan, open_batch
from tests.unit.row_batches.run.test_aggregate_results import Aggregator, ended, rows_of

DONE = AggregateResponse()


def brake_of(aggregator: Aggregator) -> Brake | None:
    return open_batch(aggregator.plan, aggregator.store).work.brake(fresh=True)


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_a_stopped_run_is_put_together_and_kept_as_stopped(status: str) -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.write(1, 2)

    assert aggregator.call(ended=ended(aggregator.clock, status)).done

    aggregator.assert_every_row_once()
    assert aggregator.output[2]["_error_message"] == "not started: the execution was stopped"
    summary = aggregator.summary
    assert (summary["status"], summary["error"]) == ("STOPPED", "StoppedError")
    assert (summary["succeeded"], summary["failed"], summary["not_attempted"]) == (2, 0, 1)
    run = aggregator.runs.get("run-1")
    assert run is not None
    assert (run.state, run.counts.not_attempted) == (RunState.STOPPED, 1)


def test_workers_of_a_stopped_run_start_no_row_and_the_owners_of_rows_are_waited_for() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.leases.acquire(lease_name("run-1"), "a worker", 100, rows_part(1))
    end = ended(aggregator.clock)

    assert aggregator.call(ended=end) == AggregateResponse(done=False, come_again_in_seconds=60)
    brake = brake_of(aggregator)
    assert brake is not None
    assert brake.error == "StoppedError"
    assert KEYS.output not in aggregator.store.objects

    aggregator.clock.move(60)
    assert aggregator.call(ended=end).come_again_in_seconds == 40
    aggregator.write(1, 3)  # the worker's rows in flight
    aggregator.leases.release(lease_name("run-1"), "a worker", rows_part(1))
    assert aggregator.call(ended=end).done
    assert [row["_status"] for row in aggregator.output] == ["SUCCESS"] * 3


def test_the_brake_is_taken_back_so_that_a_stopped_run_can_be_redriven_and_stopped_again() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.write(1, 1)
    assert aggregator.call(ended=ended(aggregator.clock)).done
    assert brake_of(aggregator) is None

    # Redriven, it writes another row and is stopped again.
    aggregator.clock.move(60)
    aggregator.write(2, 2)
    assert aggregator.call(ended=ended(aggregator.clock)).done
    assert [row["_status"] for row in aggregator.output] == ["SUCCESS", "SUCCESS", "FAILED"]

    # Redriven once more, it comes to its end.
    aggregator.clock.move(60)
    aggregator.write(3, 3)
    assert aggregator.call(AggregateAction.FIND_MISSING).missing == 0
    assert aggregator.call().document is not None
    assert [row["_status"] for row in aggregator.output] == ["SUCCESS"] * 3
    run = aggregator.runs.get("run-1")
    assert run is not None
    assert run.state is RunState.SUCCEEDED


def redrive(aggregator: Aggregator, *, is_running: bool = True) -> None:
    """Redrive the execution a second from now."""
    aggregator.clock.move(1)
    aggregator.redrives.redrives[aggregator.plan.execution.arn] = Redrive(aggregator.clock.now_ms(), is_running)


def test_the_finishing_lets_go_of_a_run_that_was_redriven_before_it_was_done() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.leases.acquire(lease_name("run-1"), "a worker", 100, rows_part(1))
    end = ended(aggregator.clock)
    assert not aggregator.call(ended=end).done
    redrive(aggregator)

    assert aggregator.call(ended=end) == AggregateResponse(redriven=True)

    assert brake_of(aggregator) is None
    assert KEYS.output not in aggregator.store.objects
    assert aggregator.run.state is RunState.RUNNING


def test_a_run_that_its_finishing_ended_after_the_redrive_is_reopened() -> None:
    aggregator = Aggregator(rows_of(3))
    end = ended(aggregator.clock)
    assert aggregator.call(ended=end).done
    assert aggregator.run.ended_at is not None
    redrive(aggregator)

    assert aggregator.call(ended=end).redriven

    assert aggregator.run.state is RunState.RUNNING
    assert aggregator.runs.set_live("run-1", Live(max_concurrency=1))


def test_the_finishing_of_the_next_ending_is_left_its_brake() -> None:
    aggregator = Aggregator(rows_of(3))
    first = ended(aggregator.clock)
    redrive(aggregator, is_running=False)
    aggregator.clock.move(60)
    aggregator.leases.acquire(lease_name("run-1"), "a worker", 100, rows_part(1))
    second = ended(aggregator.clock)
    assert aggregator.call(ended=second).come_again_in_seconds == 60

    assert aggregator.call(ended=first).redriven

    assert brake_of(aggregator) == FINISHING_BRAKE
    assert aggregator.call(ended=second).come_again_in_seconds == 60


def test_a_brake_of_the_user_holds_a_redriven_run_too() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.pull_brake()
    end = ended(aggregator.clock)
    redrive(aggregator)

    assert aggregator.call(ended=end).redriven
    aggregator.call(AggregateAction.FIND_MISSING)

    brake = brake_of(aggregator)
    assert brake is not None
    assert brake.reason == "stopped by hand"


def test_a_redriven_execution_reopens_its_run_and_looks_for_rows_whatever_its_finishing_left() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.write(1, 1)
    assert aggregator.call(ended=ended(aggregator.clock)).done
    open_batch(aggregator.plan, aggregator.store).work.pull_brake(FINISHING_BRAKE)  # of a finishing that died

    assert aggregator.call(AggregateAction.FIND_MISSING).missing == 2

    assert brake_of(aggregator) is None
    assert aggregator.run.state is RunState.RUNNING


def test_a_redrive_goes_on_although_the_table_of_runs_is_away() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.runs.broken = ServiceUnavailableError("dynamodb is away")

    assert aggregator.call(AggregateAction.FIND_MISSING).missing == 3


def test_a_brake_that_somebody_else_pulled_stays() -> None:
    aggregator = Aggregator(rows_of(2))
    aggregator.pull_brake()

    aggregator.call(ended=ended(aggregator.clock))

    brake = brake_of(aggregator)
    assert brake is not None
    assert brake.reason == "stopped by hand"


def test_the_same_ending_told_twice_writes_nothing_anew() -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.write(1, 2)
    end = ended(aggregator.clock)
    aggregator.call(ended=end)
    files = {key: aggregator.store.objects[key] for key in (KEYS.output, KEYS.failed_rows, KEYS.summary)}

    aggregator.clock.move(60)
    aggregator.call(ended=end)

    assert {key: aggregator.store.objects[key] for key in files} == files


def test_a_run_that_failed_before_its_rows_were_put_together_has_an_output_with_the_reason() -> None:
    aggregator = Aggregator(rows_of(2))
    aggregator.write(1, 1)

    assert aggregator.call(ended=ended(aggregator.clock, "FAILED", error="DeploymentError", cause="denied")).done

    assert aggregator.output[1]["_error_message"] == "not started: the execution failed: DeploymentError"
    assert (aggregator.summary["status"], aggregator.summary["error"]) == ("FAILED", "DeploymentError")
    assert brake_of(aggregator) is None, "it can be redriven"


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
def test_a_run_that_put_itself_together_is_left_as_it_is(status: str) -> None:
    aggregator = Aggregator(rows_of(2))
    aggregator.write(1, 2, failed=[1])
    aggregator.call()
    writes = list(aggregator.store.writes)

    assert aggregator.call(ended=ended(aggregator.clock, status, error="RowFailedError")) == DONE
    assert aggregator.store.writes == writes


def test_a_refused_input_and_a_dry_run_have_nothing_to_put_together() -> None:
    refused = Aggregator(rows_of(2))
    del refused.store.objects[KEYS.plan]
    dry_run = Aggregator(rows_of(2), dry_run=True)

    for aggregator in (refused, dry_run):
        assert aggregator.call(ended=ended(aggregator.clock, "FAILED")) == DONE
        assert KEYS.output not in aggregator.store.objects


def test_an_ending_that_the_run_could_not_keep_itself_is_kept_from_its_summary() -> None:
    aggregator = Aggregator(rows_of(2))
    aggregator.write(1, 2, failed=[1])
    aggregator.runs.broken = ServiceUnavailableError("dynamodb is away")
    aggregator.call()
    aggregator.runs.broken = None

    assert aggregator.call(ended=ended(aggregator.clock, "SUCCEEDED")) == DONE

    run = aggregator.runs.get("run-1")
    assert run is not None
    assert (run.state, run.summary_key) == (RunState.SUCCEEDED_WITH_FAILURES, KEYS.summary)
    assert (run.counts.succeeded, run.counts.failed) == (1, 1)
    assert run.cost_usd == aggregator.summary["cost"]["total_usd"]


def test_a_run_that_left_nothing_is_kept_as_ended_all_the_same() -> None:
    aggregator = Aggregator(rows_of(2))
    aggregator.runs.count("run-1", Counts(succeeded=1))
    del aggregator.store.objects[KEYS.plan]  # its work/ has expired

    assert aggregator.call(ended=ended(aggregator.clock)) == DONE

    run = aggregator.runs.get("run-1")
    assert run is not None
    assert (run.state, run.counts, run.cost_usd) == (RunState.STOPPED, Counts(succeeded=1), None)


def test_workers_of_the_release_before_are_waited_for_by_their_markers() -> None:
    aggregator = Aggregator(rows_of(2), execution_config={"timeout_seconds": 50})
    plan = orjson.loads(aggregator.store.objects[KEYS.plan]) | {"schema_version": 1}
    aggregator.store.put(KEYS.plan, orjson.dumps(plan))
    aggregator.store.put(f"{KEYS.active}000000000001", b"")  # a worker that was killed
    end = ended(aggregator.clock)

    waits = []
    while (response := aggregator.call(ended=end)).come_again_in_seconds:
        waits.append(response.come_again_in_seconds)
        aggregator.clock.move(response.come_again_in_seconds)

    assert waits == [60, 20], "the row's 50 s, and 30 s to write it"
    assert response.done
    aggregator.assert_every_row_once()


def test_a_run_that_the_release_before_began_is_kept_when_it_is_finished() -> None:
    aggregator = Aggregator(rows_of(2))
    aggregator.runs.forget("run-1")

    aggregator.call(ended=ended(aggregator.clock))

    run = aggregator.runs.get("run-1")
    assert run is not None
    assert run.state is RunState.STOPPED


def test_a_plan_says_by_its_schema_that_workers_hold_leases() -> None:
    aggregator = Aggregator(rows_of(1))
    assert make_plan(rows_of(1), store=aggregator.store).schema_version == 2
