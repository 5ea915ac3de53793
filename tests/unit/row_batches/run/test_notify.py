"""The message at the end of an execution."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from row_batches.run.batch import Batches
from row_batches.run.end_messages import AggregateResponse, EndedRun
from row_batches.run.notify import notify
from tests.support.batches import KEYS
from tests.support.fakes import FakeNotifier
from tests.unit.row_batches.run.test_aggregate_results import Aggregator, ended, rows_of


class Notification:
    """A run of three rows, and the notifier that announces its end."""

    def __init__(self, **document: Any) -> None:
        self.aggregator = Aggregator(rows_of(3), **document)
        self.notifier = FakeNotifier()

    def ended(self, status: str, **fields: Any) -> EndedRun:
        return ended(self.aggregator.clock, status, **fields)

    def send(self, status: str, **fields: Any) -> dict[str, Any]:
        """Announce the end, put together as the finishing machine does before."""
        end = self.ended(status, **fields)
        assert self.aggregator.call(ended=end) == AggregateResponse() or end.status.stopped or end.error
        notify(end, batches=Batches(self.aggregator.store, self.aggregator.clock), notifier=self.notifier)
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
    (cause,) = body["failures_by_cause"]
    assert (cause["error"], cause["message"], cause["count"], cause["rows"]) == ("Boom", "it broke", 1, [2])
    assert body["output_s3_uri"] == f"s3://results/{KEYS.output}"


def test_details_of_rows_are_left_out_when_they_are_not_wanted() -> None:
    notification = Notification(notification_config={"include_details": False})
    notification.aggregator.write(1, 3, failed=[2])
    notification.aggregator.call()

    body = notification.send("SUCCEEDED")
    assert "first_failures" not in body
    (cause,) = body["failures_by_cause"]
    assert (cause.keys(), cause["error"], cause["count"]) == ({"error", "count", "cure"}, "Boom", 1)


def test_a_refused_input_is_announced_with_its_problems() -> None:
    notification = Notification()
    del notification.aggregator.store.objects[KEYS.plan]

    body = notification.send("FAILED", error="InvalidInputError", cause="1 problem in the input: …")

    assert (body["status"], body["error"]) == ("FAILED", "InvalidInputError")
    assert body["cause"] == "1 problem in the input: …"
    assert body["rows_processed"] == 0


@pytest.mark.parametrize(("batch_name", "target"), [("Weekly", "echo"), ("echo", "echo"), ("run-1", "")])
def test_a_refused_input_is_announced_under_the_names_in_the_document(batch_name: str, target: str) -> None:
    notification = Notification()
    del notification.aggregator.store.objects[KEYS.plan]

    body = notification.send("FAILED", error="InvalidInputError", batch_name=batch_name, target=target)

    assert (body["batch_name"], body["target"]) == (batch_name, target)


def test_a_dry_run_is_announced_with_its_estimate() -> None:
    notification = Notification(dry_run=True)
    document = {"status": "DRY_RUN", "total_rows": 3}

    body = notification.send("SUCCEEDED", document=document)

    assert (body["status"], body["output"]) == ("DRY_RUN", document)


def test_a_stopped_run_says_how_many_rows_were_not_attempted() -> None:
    notification = Notification()
    notification.aggregator.write(1, 2, failed=[2])

    body = notification.send("ABORTED")

    counts = (body["succeeded"], body["failed"], body["timed_out"], body["not_attempted"])
    assert (body["status"], counts) == ("STOPPED", (1, 1, 0, 1))
    assert (body["rows_processed"], body["rows_failed"]) == (2, 1)


def test_a_message_is_json() -> None:
    notification = Notification()
    notification.aggregator.write(1, 3)
    notification.aggregator.call()

    assert orjson.loads(orjson.dumps(notification.send("SUCCEEDED")))["succeeded"] == 3
