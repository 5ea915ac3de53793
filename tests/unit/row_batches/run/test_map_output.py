"""The end of an attempt of an agent: written, or called again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from foundation.errors import DeploymentError, RetryableAnswerError
from row_batches.run.batch import Batches
from row_batches.run.map_output import map_output
from row_batches.run.messages import (
    AgentCall,
    BatchReference,
    CaughtError,
    MapOutputAction,
    MapOutputRequest,
    MapOutputResponse,
)
from row_batches.run.runs import BestEffort
from tests.support.batches import KEYS, make_plan, records_of, staged_items
from tests.support.fakes import FakeClock, FakeDeadLetters, FakeObjectStore, FakeRuns

ROWS = [["1", "a text"], ["2", "b text"]]
SUCCESS = {"result": "Success", "data": {"label": "good"}, "metadata": {}}
RETRYABLE = {"result": "Error", "data": {"error": "busy"}, "metadata": {"retryable": True}}


class Ending:
    """One row's end with fakes around it."""

    def __init__(self, **document: Any) -> None:
        self.store = FakeObjectStore()
        document.setdefault("execution_config", {"retry_policy": {"max_attempts": 3, "jitter": False}})
        make_plan(
            ROWS,
            store=self.store,
            invocation="standard",
            output_mapping={"columns": [{"name": "label", "source": "$.label", "default": "none"}]},
            **document,
        )
        self.dead_letters = FakeDeadLetters()
        self.runs = FakeRuns()
        self.clock = FakeClock()

    def call(self, attempt: int = 1, seconds_left: float = 60, **end: Any) -> MapOutputResponse:
        now = self.clock.now_ms()
        agent_call = AgentCall(row=1)
        if attempt:
            agent_call = AgentCall(
                row=1,
                attempt=attempt,
                first_started_ms=now - 2000,
                deadline_ms=now + int(seconds_left * 1000),
                hash="h",
                name="n",
                agent_arn="arn",
            )
        request = MapOutputRequest(
            BatchInput=BatchReference(plan_key=KEYS.plan), Row=staged_items(ROWS)[0], Call=agent_call, **end
        )
        return map_output(
            request,
            batches=Batches(self.store, self.clock),
            dead_letters=self.dead_letters,
            notes=BestEffort(self.runs),
            clock=self.clock,
        )

    @property
    def record(self) -> dict[str, Any]:
        (record,) = records_of(self.store.objects[KEYS.rows_object(1, 1)])
        return record


def caught(error: str, cause: Any = "") -> CaughtError:
    return CaughtError(Error=error, Cause=cause if isinstance(cause, str) else orjson.dumps(cause).decode())


def test_a_successful_answer_is_written_as_the_rows_end() -> None:
    ending = Ending()

    response = ending.call(Result=SUCCESS)

    assert response.action is MapOutputAction.DONE
    assert ending.record["status"] == "SUCCESS"
    assert ending.record["csv"].startswith("1,a text,good,run-1,1,SUCCESS,,2000,")
    assert ending.record["answer"] == SUCCESS
    assert not ending.dead_letters.letters


def test_an_answer_that_asks_for_it_is_tried_again_through_the_catch() -> None:
    ending = Ending()
    with pytest.raises(RetryableAnswerError) as raised:
        ending.call(Result=RETRYABLE)
    assert "busy" not in str(raised.value)  # Lambda logs it

    response = ending.call(Result=RETRYABLE, ErrorOutput=caught("RetryableAnswerError"))

    assert response.action is MapOutputAction.RETRY
    assert response.call is not None
    assert (response.call.attempt, response.call.wait_seconds) == (2, 1)
    assert response.call.name.endswith("-1-2")
    assert KEYS.rows_object(1, 1) not in ending.store.objects


def test_the_last_attempt_keeps_its_answer() -> None:
    ending = Ending()

    assert ending.call(attempt=3, Result=RETRYABLE).action is MapOutputAction.DONE

    assert (ending.record["status"], ending.record["attempts"]) == ("FAILED", 3)
    assert ending.record["answer"] == RETRYABLE
    assert ending.dead_letters.letters[0]["row"] == 1


def test_an_answer_whose_time_is_over_keeps_its_reason() -> None:
    ending = Ending()

    response = ending.call(seconds_left=0, Result=RETRYABLE, ErrorOutput=caught("RetryableAnswerError"))

    assert response.action is MapOutputAction.DONE
    assert ending.record["status"] == "TIMEOUT"
    assert "busy" in ending.record["error"]


def test_a_failed_execution_is_tried_again_with_what_is_left_of_the_time() -> None:
    ending = Ending()
    cause = {"Status": "FAILED", "Error": "ModelError", "Cause": "overloaded"}

    response = ending.call(attempt=2, seconds_left=10, ErrorOutput=caught("States.TaskFailed", cause))

    assert response.call is not None
    assert (response.call.attempt, response.call.wait_seconds, response.call.timeout_seconds) == (3, 2, 8)


def test_the_agents_own_error_name_is_in_the_message() -> None:
    ending = Ending()
    cause = {"Status": "FAILED", "Error": "ModelError", "Cause": "overloaded"}

    ending.call(attempt=3, ErrorOutput=caught("States.TaskFailed", cause))

    assert ending.record["error"] == "ModelError: overloaded"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (caught("States.Timeout"), "TIMEOUT", "timeout_seconds"),
        (caught("States.TaskFailed", {"Status": "TIMED_OUT"}), "TIMEOUT", "time-out"),
        (caught("States.DataLimitExceeded", "big"), "FAILED", "256 KiB"),
    ],
)
def test_time_outs_and_sizes_end_the_row_at_once(error: CaughtError, status: str, said: str) -> None:
    ending = Ending()

    assert ending.call(ErrorOutput=error).action is MapOutputAction.DONE

    assert ending.record["status"] == status
    assert said in ending.record["error"]


def test_an_answer_over_the_limit_that_it_shares_with_the_row_is_told_with_both_sizes_and_where_it_is() -> None:
    ending = Ending()

    ending.call(ErrorOutput=caught("States.DataLimitExceeded", "too much"))

    error = ending.record["error"]
    row_bytes = len(orjson.dumps({"Row": staged_items(ROWS)[0], "BatchInput": {"plan_key": KEYS.plan}}))
    assert f"with the row's {row_bytes} bytes it is over the 256 KiB (262,144 bytes)" in error
    assert f"it has some {262_144 - row_bytes:,} bytes or more" in error
    assert "arn:aws:states:us-east-1:000000000000:execution:classifier:n;" in error


def test_a_throttled_start_keeps_its_attempt_and_its_name() -> None:
    ending = Ending()

    response = ending.call(attempt=3, ErrorOutput=caught("StepFunctions.ExecutionLimitExceededException", "full"))

    assert response.call is not None
    assert (response.call.attempt, response.call.throttles) == (3, 1)
    assert response.call.name.endswith("-1-3")


@pytest.mark.parametrize(
    "name",
    [
        "StepFunctions.SdkClientException",
        "StepFunctions.StepFunctionsException",
        "Sfn.SdkClientException",
        "Sfn.SfnException",
        "Sfn.Timeout",
    ],
)
def test_a_call_that_may_have_started_the_agent_is_made_again_under_its_name(name: str) -> None:
    ending = Ending()

    response = ending.call(attempt=3, ErrorOutput=caught(name, "Read timed out (Status Code: 503)"))

    assert response.call is not None
    assert (response.call.attempt, response.call.throttles) == (3, 1)
    assert response.call.name.endswith("-1-3")
    ending.call(attempt=3, seconds_left=0, ErrorOutput=caught(name, "Read timed out (Status Code: 503)"))
    assert ending.record["status"] == "TIMEOUT"
    assert "Read timed out" in ending.record["error"]
    assert ending.record["attempts"] == 2


@pytest.mark.parametrize("name", ["StepFunctions.InvalidExecutionInputException", "Sfn.ExecutionDoesNotExistException"])
def test_a_call_that_started_nothing_counts_as_an_attempt(name: str) -> None:
    response = Ending().call(ErrorOutput=caught(name, "refused"))

    assert response.call is not None
    assert (response.call.attempt, response.call.throttles) == (2, 0)


@pytest.mark.parametrize("name", ["StepFunctions.AWSStepFunctionsException", "Sfn.SfnException"])
def test_a_denied_call_has_the_name_of_the_service_and_is_told_by_its_cause(name: str) -> None:
    denial = "User: arn is not authorized to perform: states:StartExecution on resource: arn (Status Code: 400)"

    with pytest.raises(DeploymentError, match="states:StartExecution"):
        Ending().call(ErrorOutput=caught(name, denial))


def test_a_throttled_call_has_the_name_of_the_service_and_does_not_count_as_an_attempt() -> None:
    said = "Rate exceeded (Service: AWSStepFunctions; Status Code: 400; Error Code: ThrottlingException)"

    response = Ending().call(attempt=3, ErrorOutput=caught("StepFunctions.AWSStepFunctionsException", said))

    assert response.action is MapOutputAction.RETRY
    assert response.call is not None
    assert (response.call.attempt, response.call.throttles) == (3, 1)


@pytest.mark.parametrize(
    "name", ["StepFunctions.AccessDeniedException", "StepFunctions.StateMachineDoesNotExistException"]
)
def test_an_agent_that_cannot_be_called_is_a_fault_of_the_deployment(name: str) -> None:
    with pytest.raises(DeploymentError, match=name):
        Ending().call(ErrorOutput=caught(name, "not authorized to perform states:StartExecution"))


def test_an_execution_that_was_looked_up_gives_its_output() -> None:
    ending = Ending()

    ending.call(Description={"Status": "SUCCEEDED", "Output": orjson.dumps(SUCCESS).decode()})

    assert ending.record["status"] == "SUCCESS"


def test_an_execution_that_was_looked_up_and_had_failed_counts_as_an_attempt() -> None:
    response = Ending().call(Description={"Status": "FAILED", "Error": "ModelError", "Cause": "overloaded"})

    assert response.call is not None
    assert response.call.attempt == 2


def test_a_row_that_could_not_be_mapped_is_written_as_failed_without_an_attempt() -> None:
    ending = Ending()
    cause = {"errorMessage": "text: not JSON", "errorType": "MappingError"}

    ending.call(attempt=0, ErrorOutput=caught("MappingError", cause))

    assert (ending.record["status"], ending.record["attempts"]) == ("FAILED", 0)
    assert ending.record["error"].startswith("text: not JSON")
    assert ending.record["csv"].startswith("1,a text,none,")


def test_a_repeated_call_sends_no_second_dead_letter() -> None:
    ending = Ending()
    for _ in range(2):
        ending.call(ErrorOutput=caught("States.Timeout"))

    assert len(ending.dead_letters.letters) == 1


def test_a_failed_row_pulls_the_brake_when_the_run_must_not_go_on() -> None:
    ending = Ending(execution_config={"continue_on_error": False})

    ending.call(ErrorOutput=caught("States.Timeout"))

    assert orjson.loads(ending.store.objects[KEYS.brake])["error"] == "RowFailedError"
    assert KEYS.failures_marker(1, 1) in ending.store.objects
