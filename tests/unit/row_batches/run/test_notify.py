"""The message at the end of an execution, and the output of one that was stopped."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from foundation.errors import ServiceUnavailableError
from row_batches.run.batch import Batches
from row_batches.run.notify import ExecutionEvent, notify
from row_batches.run.runs import lease_name, rows_part
from tests.support.batches import KEYS
from tests.support.fakes import FakeDeadline, FakeNotifier, FakeOwnership
from tests.unit.row_batches.run.test_aggregate_results import Aggregator, rows_of


class Notification:
    """An aggregator's leavings, and the event of their execution's end."""

    def __init__(self, **document: Any) -> None:
        self.aggregator = Aggregator(rows_of(3), **document)
        self.notifier = FakeNotifier()
        self.deadline = FakeDeadline()

    def send(self, status: str, **detail: Any) -> dict[str, Any]:
        arn = "arn:aws:states:us-east-1:000000000000:execution:batch-processor:run-1"
        event = {"source": "aws.states", "detail": {"executionArn": arn, "name": "run-1", "status": status, **detail}}
        aggregator = self.aggregator
        notify(
            ExecutionEvent.model_validate(event),
            batches=Batches(aggregator.store, aggregator.clock),
            dead_letters=aggregator.dead_letters,
            metrics=aggregator.metrics,
            ownership=FakeOwnership(aggregator.clock, aggregator.leases, aggregator.runs),
            notifier=self.notifier,
            clock=aggregator.clock,
            deadline=self.deadline,
        )
        return self.notifier.published[-1][1]


def test_a_finished_run_is_announced_from_its_summary_with_filterable_attributes() -> None:
    notification = Notification(notification_config={"batch_name": "Weekly"})
    notification.aggregator.write(1, 3, failed=[2])
    notification.aggregator.call()

    body = notification.send("SUCCEEDED")

    subject, _, attributes = notification.notifier.published[0]
    assert subject == "Weekly: SUCCEEDED_WITH_FAILURES"
    assert attributes == {
        "batch_name": "Weekly",
        "execution_id": "run-1",
        "status": "SUCCEEDED_WITH_FAILURES",
        "target": "echo",
        "rows_processed": 3,
        "rows_failed": 1,
    }
    assert body["first_failures"] == [{"row": 2, "status": "FAILED", "error": "Boom: it broke"}]
    assert body["output_s3_uri"] == f"s3://results/{KEYS.output}"


def test_details_of_rows_are_left_out_when_they_are_not_wanted() -> None:
    notification = Notification(notification_config={"include_details": False})
    notification.aggregator.write(1, 3, failed=[2])
    notification.aggregator.call()

    assert "first_failures" not in notification.send("SUCCEEDED")


def test_an_input_that_was_refused_is_announced_with_its_problems() -> None:
    notification = Notification()
    del notification.aggregator.store.objects[KEYS.plan]

    body = notification.send("FAILED", error="InvalidInputError", cause="1 problem in the input: …")

    assert (body["status"], body["error"], body["cause"]) == (
        "FAILED",
        "InvalidInputError",
        "1 problem in the input: …",
    )
    assert body["rows_processed"] == 0


@pytest.mark.parametrize(
    ("given", "batch_name", "target"),
    [
        ('{"notification_config": {"batch_name": "nightly"}, "target": {"name": "echo"}}', "nightly", "echo"),
        ('{"target": {"name": "echo"}, "execution_config": 5}', "echo", "echo"),
        ('{"notification_config": {"batch_name": "\\ud800"}, "target": {"name": ["echo"]}}', "run-1", ""),
        ('{"notification_config": {"batch_name": "%s"}, "target": "echo"}' % ("x" * 500), "run-1", ""),
        ('{"target": {"name": "ec', "run-1", ""),
        ("[]", "run-1", ""),
        (None, "run-1", ""),
    ],
)
def test_a_refused_input_is_announced_under_the_names_it_gives(given: str | None, batch_name: str, target: str) -> None:
    notification = Notification()
    del notification.aggregator.store.objects[KEYS.plan]

    notification.send("FAILED", error="InvalidInputError", cause="1 problem in the input: …", input=given)

    attributes = notification.notifier.published[0][2]
    assert (attributes["batch_name"], attributes["target"]) == (batch_name, target)


def test_a_run_that_broke_before_its_summary_is_announced_from_the_event() -> None:
    body = Notification().send("FAILED", error="States.Runtime", cause="bug")

    assert (body["batch_name"], body["target"], body["error"]) == ("echo", "echo", "States.Runtime")


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_a_stopped_run_is_braked_put_together_and_announced_as_stopped(status: str) -> None:
    notification = Notification()
    notification.aggregator.write(1, 2)

    body = notification.send(status)

    notification.aggregator.assert_every_row_once()
    assert notification.aggregator.output[2]["_error_message"] == "not attempted: the execution was stopped"
    assert (body["status"], body["rows_processed"], body["rows_failed"]) == ("STOPPED", 2, 1)
    assert orjson.loads(notification.aggregator.store.objects[KEYS.brake])["error"] == "StoppedError"


def test_rows_in_flight_are_waited_for_while_their_workers_are_active() -> None:
    notification = Notification(execution_config={"timeout_seconds": 20})
    notification.aggregator.leases.acquire(lease_name("run-1"), "worker", 900, rows_part(1))

    notification.send("ABORTED")

    assert sum(notification.aggregator.clock.sleeps) == 50  # the row's 20 s, and 30 s to write it


def test_a_wait_too_long_for_one_call_is_gone_on_with_by_the_next_one_and_not_begun_anew() -> None:
    notification = Notification(execution_config={"timeout_seconds": 840})
    store, clock = notification.aggregator.store, notification.aggregator.clock
    notification.aggregator.leases.acquire(lease_name("run-1"), "a killed worker", 900, rows_part(1))
    stopped = clock.now_ms()
    notification.deadline = FakeDeadline(181)

    with pytest.raises(ServiceUnavailableError, match="call again"):
        notification.send("ABORTED", stopDate=stopped)
    assert KEYS.output not in store.objects, "a row in flight may still be written"

    clock.sleep(780)
    notification.deadline = FakeDeadline()
    assert notification.send("ABORTED", stopDate=stopped)["status"] == "STOPPED"
    assert clock.now_ms() - stopped == 870_000


def test_the_same_event_twice_gives_the_same_message_and_writes_nothing_anew() -> None:
    notification = Notification()
    notification.aggregator.write(1, 2)
    first = notification.send("ABORTED")
    writes = len(notification.aggregator.store.writes)

    assert notification.send("ABORTED") == first
    assert len(notification.aggregator.store.writes) == writes


def test_a_stopped_run_too_long_for_one_call_asks_for_another() -> None:
    notification = Notification()
    notification.deadline = FakeDeadline(100)

    with pytest.raises(ServiceUnavailableError, match="call again"):
        notification.send("ABORTED")

    notification.deadline = FakeDeadline()
    assert notification.send("ABORTED")["status"] == "STOPPED"
