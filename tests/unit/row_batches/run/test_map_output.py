"""The end of an attempt of an agent: written, or called again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from foundation.errors import DeploymentError
from row_batches.run.agent_messages import AgentCall, MapOutputRequest, MapOutputResponse
from row_batches.run.batch import Batches
from row_batches.run.map_output import map_output
from row_batches.run.messages import BatchReference, CaughtError
from row_batches.run.runs import BestEffort, Counts, Run
from row_batches.targets.standard_agent import most_inline_throttles
from tests.support.batches import EXECUTION, KEYS, make_plan, records_of, staged_items
from tests.support.fakes import FakeClock, FakeDeadLetters, FakeObjectStore, FakeRuns, fake_starts

ROWS = [["1", "a text"], ["2", "b text"]]
SUCCESS = {"result": "Success", "data": {"label": "good"}, "metadata": {}}
RETRYABLE = {"result": "Error", "data": {"error": "busy"}, "metadata": {"retryable": True}}


class Ending:
    """One row's end with fakes around it."""

    def __init__(self, **document: Any) -> None:
        self.store = FakeObjectStore()
        document.setdefault(
            "execution_config", {"timeout_seconds": 60, "retry_policy": {"max_attempts": 3, "jitter": False}}
        )
        plan = make_plan(
            ROWS,
            store=self.store,
            invocation="standard",
            output_mapping={"columns": [{"name": "label", "source": "$.label", "default": "none"}]},
            **document,
        )
        self.plan = plan
        self.dead_letters = FakeDeadLetters()
        self.runs = FakeRuns()
        self.runs.start(Run.of_plan(plan))
        self.clock = FakeClock()

    def call(
        self,
        attempt: int = 1,
        seconds_left: float = 58,
        usage: dict[str, Any] | None = None,
        throttles: int = 0,
        inline: bool = False,
        **end: Any,
    ) -> MapOutputResponse:
        now = self.clock.now_ms()
        began = datetime.fromtimestamp((now - 2000) / 1000, UTC)
        agent_call = AgentCall(
            row=1,
            attempt=attempt,
            used_ms=int((60 - 2 - seconds_left) * 1000),
            timeout_seconds=60,
            hash="h",
            name="n",
            agent_arn="arn",
            input_bytes=1_234,
            usage=usage or {},
            throttles=throttles,
            inline=inline,
        )
        request = MapOutputRequest(
            BatchInput=BatchReference(plan_key=KEYS.plan),
            Row=staged_items(ROWS)[0],
            Call=agent_call,
            Began=began,
            Ended=datetime.fromtimestamp(now / 1000, UTC),
            **end,
        )
        return map_output(
            request,
            batches=Batches(self.store, self.clock),
            dead_letters=self.dead_letters,
            notes=BestEffort(self.runs),
            starts=fake_starts(self.clock, runs=self.runs),
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

    assert response.again is None
    assert ending.record["status"] == "SUCCESS"
    assert ending.record["csv"].startswith("1,a text,good,run-1,1,SUCCESS,,2000,")
    assert ending.record["answer"] == SUCCESS
    assert not ending.dead_letters.letters


def test_an_answer_that_asks_for_it_is_tried_again() -> None:
    ending = Ending()

    response = ending.call(Result=RETRYABLE)

    assert not response.stop
    assert response.again is not None
    assert (response.again.attempt, response.again.wait_seconds) == (2, 1)
    assert response.again.name.endswith("-1-2")
    assert KEYS.rows_object(1, 1) not in ending.store.objects


def test_the_last_attempt_keeps_its_answer() -> None:
    ending = Ending()

    assert ending.call(attempt=3, Result=RETRYABLE).again is None

    assert (ending.record["status"], ending.record["attempts"]) == ("FAILED", 3)
    assert ending.record["answer"] == RETRYABLE
    assert ending.dead_letters.letters[0]["row"] == 1


def test_an_answer_whose_time_is_over_keeps_its_reason() -> None:
    ending = Ending()

    response = ending.call(seconds_left=0, Result=RETRYABLE)

    assert response.again is None
    assert ending.record["status"] == "TIMEOUT"
    assert "busy" in ending.record["error"]


def test_a_failed_execution_is_tried_again_with_what_is_left_of_the_time() -> None:
    ending = Ending()
    cause = {"Status": "FAILED", "Error": "ModelError", "Cause": "overloaded"}

    response = ending.call(attempt=2, seconds_left=10, ErrorOutput=caught("States.TaskFailed", cause))

    assert response.again is not None
    assert (response.again.attempt, response.again.wait_seconds, response.again.timeout_seconds) == (3, 2, 8)


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

    assert ending.call(ErrorOutput=error).again is None

    assert ending.record["status"] == status
    assert said in ending.record["error"]


def test_an_answer_over_the_limit_that_it_shares_with_the_row_is_told_with_both_sizes_and_where_it_is() -> None:
    ending = Ending()

    ending.call(ErrorOutput=caught("States.DataLimitExceeded", "too much"))

    error = ending.record["error"]
    assert "the agent's input of 1,234 bytes it is over the 256 KiB (262,144 bytes)" in error
    assert "its execution n holds the answer" in error


def test_a_throttled_start_keeps_its_attempt_and_its_name() -> None:
    ending = Ending()

    response = ending.call(attempt=3, ErrorOutput=caught("StepFunctions.ExecutionLimitExceededException", "full"))

    assert response.again is not None
    assert (response.again.attempt, response.again.throttles) == (3, 1)
    assert response.again.name.endswith("-1-3")


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

    assert response.again is not None
    assert (response.again.attempt, response.again.throttles) == (3, 1)
    assert response.again.name.endswith("-1-3")
    ending.call(attempt=3, seconds_left=0, ErrorOutput=caught(name, "Read timed out (Status Code: 503)"))
    assert ending.record["status"] == "TIMEOUT"
    assert "Read timed out" in ending.record["error"]
    assert ending.record["attempts"] == 2


@pytest.mark.parametrize("name", ["StepFunctions.InvalidExecutionInputException", "Sfn.ExecutionDoesNotExistException"])
def test_a_call_that_started_nothing_counts_as_an_attempt(name: str) -> None:
    response = Ending().call(ErrorOutput=caught(name, "refused"))

    assert response.again is not None
    assert (response.again.attempt, response.again.throttles) == (2, 0)


@pytest.mark.parametrize("name", ["StepFunctions.AWSStepFunctionsException", "Sfn.SfnException"])
def test_a_denied_call_has_the_name_of_the_service_and_is_told_by_its_cause(name: str) -> None:
    denial = "User: arn is not authorized to perform: states:StartExecution on resource: arn (Status Code: 400)"

    with pytest.raises(DeploymentError, match="states:StartExecution"):
        Ending().call(ErrorOutput=caught(name, denial))


def test_a_throttled_call_has_the_name_of_the_service_and_does_not_count_as_an_attempt() -> None:
    said = "Rate exceeded (Service: AWSStepFunctions; Status Code: 400; Error Code: ThrottlingException)"

    response = Ending().call(attempt=3, ErrorOutput=caught("StepFunctions.AWSStepFunctionsException", said))

    assert response.again is not None
    assert response.again is not None
    assert (response.again.attempt, response.again.throttles) == (3, 1)


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

    assert response.again is not None
    assert response.again.attempt == 2


def test_the_time_of_earlier_attempts_counts_and_that_of_siblings_does_not() -> None:
    ending = Ending()
    cause = {"Status": "FAILED", "Error": "ModelError", "Cause": "overloaded"}

    first = ending.call(ErrorOutput=caught("States.TaskFailed", cause)).again
    assert first is not None
    # Two seconds of this attempt, and the pause of one.
    assert (first.used_ms, first.timeout_seconds) == (3_000, 57)

    ending.call(attempt=3, seconds_left=50, ErrorOutput=caught("States.TaskFailed", cause))
    assert ending.record["duration_ms"] == 10_000


def test_the_message_of_an_answer_too_large_names_sizes_and_the_execution_that_holds_it() -> None:
    ending = Ending()

    ending.call(ErrorOutput=caught("States.DataLimitExceeded", "big"))

    assert "1,234 bytes" in ending.record["error"]
    assert "its execution n holds the answer" in ending.record["error"]


def test_the_usage_of_earlier_attempts_is_added_up() -> None:
    ending = Ending()
    usage = {"input_tokens": 10, "output_tokens": 1, "cost_usd": 0.5, "model": "nova"}

    again = ending.call(Result={**RETRYABLE, "metadata": {"retryable": True, "usage": usage}}).again
    assert again is not None
    ending.call(attempt=2, usage=again.usage, Result={**SUCCESS, "metadata": {"usage": usage}})

    assert ending.record["usage"] == {"nova": {"input_tokens": 20, "output_tokens": 2, "cost_usd": 1.0}}


@pytest.mark.parametrize("end", [{"Result": SUCCESS}, {"ErrorOutput": caught("States.Timeout")}])
def test_the_end_of_a_row_says_whether_the_brake_is_pulled(end: dict[str, Any]) -> None:
    ending = Ending()
    assert not ending.call(**end).stop
    ending.store.put(KEYS.brake, b'{"reason": "stopped", "error": "StoppedError", "message": ""}')

    assert ending.call(**end).stop


def test_throttled_calls_end_before_they_fill_the_history_of_a_child_with_siblings() -> None:
    said = caught("StepFunctions.ExecutionLimitExceededException", "full")
    policy = {"max_attempts": 3, "max_delay_seconds": 0.1}
    settings = {"timeout_seconds": 900, "retry_policy": policy}
    alone, among = (Ending(batch_size=size, execution_config=settings) for size in (1, 20))
    for ending, most in ((alone, 500), (among, 25)):
        assert ending.call(throttles=most - 1, ErrorOutput=said).again is not None
        assert ending.call(throttles=most, ErrorOutput=said).again is None
        assert ending.record["throttles"] == most + 1


def test_an_inline_row_that_is_throttled_often_is_left_to_the_second_pass_and_does_not_fail() -> None:
    said = caught("StepFunctions.ExecutionLimitExceededException", "full")
    policy = {"max_attempts": 3, "max_delay_seconds": 0.1}
    ending = Ending(execution_config={"timeout_seconds": 900, "retry_policy": policy, "storage_mode": "inline"})
    plan = ending.plan.model_copy(update={"total_rows": 100})
    ending.store.put(KEYS.plan, plan.model_dump_json().encode())
    most = most_inline_throttles(plan)
    assert most == 8

    assert ending.call(throttles=most - 1, inline=True, ErrorOutput=said).again is not None
    left = ending.call(throttles=most, inline=True, ErrorOutput=said)

    assert (left.again, left.stop) == (None, True)
    assert KEYS.rows_object(1, 1) not in ending.store.objects, "the row is missing, and runs again"


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


def test_a_column_that_matches_nothing_in_an_agents_answer_is_counted_live_and_kept_with_the_row() -> None:
    ending = Ending()

    ending.call(Result={"result": "Success", "data": {"lable": "good"}, "metadata": {}})

    assert (ending.record["missing"], ending.record["answer_keys"]) == (["label"], {"$": ["lable"]})
    run = ending.runs.get("run-1")
    assert run is not None
    assert run.blanks.missing == {"label": 1}


def test_the_row_that_brings_the_run_to_its_cost_pulls_the_brake() -> None:
    limit = {"timeout_seconds": 60, "stop_after": {"cost_usd": 0.05}}
    ending = Ending(execution_config=limit, cost_per_call_usd=0.0)
    ending.runs.count(EXECUTION, Counts(attempts=3, model_usd=0.03))  # by other children
    earlier = {"m": {"input_tokens": 1, "output_tokens": 1, "cost_usd": 0.01}}
    answer = {**SUCCESS, "metadata": {"usage": {"cost_usd": 0.01, "model": "m"}}}

    response = ending.call(attempt=2, usage=earlier, Result=answer)

    assert response.stop
    assert orjson.loads(ending.store.objects[KEYS.brake])["error"] == "CostLimitError"
    assert ending.record["usage"]["m"]["cost_usd"] == pytest.approx(0.02)
