"""Following an execution within the quotas of the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from batch_processor_client.errors import ClientError
from batch_processor_client.executions import Ending, ending_of, refuse_used_name, start
from tests.unit.client.fakes import EXECUTION, FakeStates

RUNNING = {"status": "RUNNING"}
MAP_RUN = {"mapRunArn": "arn:map-run", "startDate": datetime(2026, 1, 1, tzinfo=UTC)}


def test_an_execution_that_fails_for_its_rows_carries_the_output_document_in_its_cause() -> None:
    document = {"status": "FAILED", "output_s3_uri": "s3://results/results/x/output.csv"}
    description = {"status": "FAILED", "error": "RowFailedError", "cause": json.dumps(document)}
    assert ending_of(description) == Ending(status="FAILED", error="RowFailedError", document=document)


@pytest.mark.parametrize("cause", ["1 problem in the input:\n1. target.name: unknown", '"text"', "[1]"])
def test_another_cause_is_left_as_text(cause: str) -> None:
    ending = ending_of({"status": "FAILED", "error": "InvalidInputError", "cause": cause})
    assert ending == Ending(status="FAILED", error="InvalidInputError", cause=cause, document=None)


def test_the_error_of_a_function_is_shown_without_its_stack_trace() -> None:
    cause = json.dumps({"errorMessage": "no plan", "errorType": "KeyError", "stackTrace": ["line 1"]})
    expected = Ending(status="FAILED", error="KeyError", cause="no plan")
    assert ending_of({"status": "FAILED", "error": "KeyError", "cause": cause}) == expected


def test_a_name_that_was_used_is_explained() -> None:
    states = FakeStates(start_refusal="ExecutionAlreadyExists")
    with pytest.raises(ClientError, match="FOLLOW=night-run"):
        start(states, "arn:machine", "night-run", {})


def test_the_document_is_sent_under_the_name() -> None:
    states = FakeStates()
    assert start(states, "arn:machine", "night-run", {"a": 1}) == EXECUTION
    assert states.started == [{"stateMachineArn": "arn:machine", "name": "night-run", "input": '{"a": 1}'}]


def test_a_name_is_free_while_no_execution_has_it() -> None:
    refuse_used_name(FakeStates(), EXECUTION)
    with pytest.raises(ClientError, match="FOLLOW=night-run"):
        refuse_used_name(FakeStates([{"status": "SUCCEEDED"}]), EXECUTION)
