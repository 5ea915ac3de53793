"""The protocols towards targets, and what attempts come to."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.rows.records import RowStatus
from row_batches.targets import protocol
from row_batches.targets.kind import RowCall
from row_batches.targets.protocol import Outcome

ARN = "arn:aws:states:eu-west-1:123456789012:execution:batch-processor:run-1"


def test_a_tool_gets_its_name_input_and_an_id_of_execution_row_and_attempt() -> None:
    call_id = RowCall("run-1", "echo", 5, 100, 2).id

    assert protocol.tool_request("echo", {"a": 1}, call_id) == {"name": "echo", "input": {"a": 1}, "id": "run-1:5:2"}


def test_an_agent_gets_the_batch_context_and_its_input() -> None:
    assert protocol.agent_request("run-1", 5, 100, {"a": 1}) == {
        "batchContext": {"executionId": "run-1", "rowId": "5", "totalRows": 100},
        "input": {"a": 1},
    }


@given(st.text(max_size=120), st.integers(1, 10**12), st.integers(1, 100))
def test_the_name_of_an_agents_execution_is_valid_and_the_same_each_time(batch: str, row: int, attempt: int) -> None:
    name = protocol.agent_execution_name(batch, ARN, row, attempt)

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name)
    assert name == protocol.agent_execution_name(batch, ARN, row, attempt)
    assert name.endswith(f"-{row}-{attempt}")


def test_other_executions_rows_and_attempts_have_other_names() -> None:
    names = {
        protocol.agent_execution_name("a batch", arn, row, attempt)
        for arn in (ARN, ARN + "x")
        for row, attempt in ((1, 1), (1, 11), (11, 1), (2, 1))
    }

    assert len(names) == 8
    assert all(re.fullmatch(r"a-batch-[0-9a-f]{16}-\d+-\d+", name) for name in names)


def test_a_tool_result_with_the_same_id_is_a_success_with_its_content() -> None:
    answer = {"type": "tool_result", "tool_use_id": "run:1:1", "content": {"a": 1}}

    assert protocol.read_tool_answer(answer, "run:1:1") == Outcome(RowStatus.SUCCESS, answer, {"a": 1})


BARE: list[Any] = [
    *("text", None, 5, [], {"a": 1}, 'A report with an example:\n```json\n{"a": 1}\n```\nThe end.'),
    *({"is_error": False}, {"is_error": "false"}, {"isError": 0}, {"is_error": None}, {"type": "other", "isError": ""}),
    *({"error": None}, {"error": ""}, {"error": "beside", "a": 1}, {"errors": ["e"]}),
    *(
        {"errorMessage": "down", "errorType": "Error"},
        {"statusCode": 500},
        {"statusCode": 200, "body": "done"},
        {"statusCode": "500", "body": None},
    ),
    *({"statusCode": True, "body": ""}, {"StatusCode": 200, "Payload": {"a": 1}}, {"Body": {"a": 1}}, "{a", '"a"'),
]


@pytest.mark.parametrize("answer", BARE)
def test_an_answer_outside_the_protocol_is_a_bare_payload_and_counted(answer: Any) -> None:
    bare = Outcome(RowStatus.SUCCESS, answer, answer, notes={"off_protocol": 1})
    assert protocol.read_tool_answer(answer, "run:1:1") == bare
    assert protocol.read_agent_answer(answer) == bare


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"is_error": True, "content": "no such customer"}, "no such customer"),
        ({"type": "other", "is_error": "true", "message": "no such customer"}, "no such customer"),
        ({"isError": True, "content": [{"type": "text", "text": "no such customer"}]}, "no such customer"),
        ({"isError": 1}, "no reason"),
        ({"error": "no such customer"}, "no such customer"),
        ({"error": {"message": "no such customer"}}, "no such customer"),
        ({"statusCode": 404, "body": '{"message": "no such customer"}'}, "statusCode 404: no such customer"),
        ({"statusCode": 500, "body": "Internal error", "headers": {}}, "statusCode 500: Internal error"),
        ({"statusCode": 400, "body": None, "error": "no such customer"}, "no such customer"),
    ],
)
def test_a_bare_payload_that_is_plainly_an_error_fails_the_row_with_its_reason(answer: Any, said: str) -> None:
    tool, agent = protocol.read_tool_answer(answer, "run:1:1"), protocol.read_agent_answer(answer)

    assert (tool.status, tool.error_name, tool.retryable) == (RowStatus.FAILED, "ToolResultError", False)
    assert (agent.status, agent.error_name, agent.retryable) == (RowStatus.FAILED, "AgentResultError", False)
    assert said in tool.error_message
    assert said in agent.error_message
    assert tool.answer == answer


@pytest.mark.parametrize("said", [True, "true", "TRUE", " true ", 1, 1.0, "1", "yes"])
@pytest.mark.parametrize("name", ["is_error", "isError"])
def test_is_error_is_read_in_every_form_that_says_true(name: str, said: Any) -> None:
    answer = {"type": "tool_result", "tool_use_id": "run:1:1", name: said, "content": "no such customer"}

    outcome = protocol.read_tool_answer(answer, "run:1:1")

    assert outcome.error_message == "the tool reported an error: no such customer"


@pytest.mark.parametrize("said", [False, "false", "", 0, None, "no", [], {}])
def test_is_error_that_says_false_is_none(said: Any) -> None:
    answer = {"type": "tool_result", "tool_use_id": "run:1:1", "is_error": said, "content": 1}

    assert protocol.read_tool_answer(answer, "run:1:1").status is RowStatus.SUCCESS


def test_another_id_is_a_failed_row() -> None:
    outcome = protocol.read_tool_answer({"type": "tool_result", "tool_use_id": "run:2:1", "content": 1}, "run:1:1")

    assert (outcome.status, outcome.error_name, outcome.retryable) == (
        RowStatus.FAILED,
        "ToolUseIdMismatchError",
        False,
    )
    assert "run:1:1" in outcome.error_message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no such customer", "no such customer"),
        ({"error": "no such customer"}, "no such customer"),
        ({"error": {"message": "no such customer"}}, "no such customer"),
        ([{"type": "text", "text": "no such customer"}], "no such customer"),
        ({}, "no reason"),
        (None, "no reason"),
    ],
)
def test_a_tool_that_reports_an_error_is_a_failed_row_in_its_own_words(content: Any, said: str) -> None:
    answer = {"type": "tool_result", "tool_use_id": "run:1:1", "is_error": True, "content": content}

    outcome = protocol.read_tool_answer(answer, "run:1:1")

    assert (outcome.status, outcome.error_name, outcome.retryable) == (RowStatus.FAILED, "ToolResultError", False)
    assert said in outcome.error_message
    assert outcome.answer == answer


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ({"content": {}, "error": "beside"}, "beside"),
        ({"content": [], "error": {"message": "beside"}, "metadata": {"error": "within"}}, "beside"),
        ({"content": None, "metadata": {"error_message": "within"}}, "within"),
        ({"content": "itself", "error": "beside", "metadata": {"error": "within"}}, "itself"),
        ({"content": {}, "metadata": "no object"}, "it gave no reason"),
    ],
)
def test_a_tools_reason_may_stand_beside_its_content_or_in_the_metadata(rest: dict[str, Any], said: str) -> None:
    answer = {"type": "tool_result", "tool_use_id": "run:1:1", "is_error": True, **rest}

    message = protocol.read_tool_answer(answer, "run:1:1").error_message

    assert message == f"the tool reported an error: {said}"


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ({"data": {}, "metadata": {"error": "refused as asked"}}, "refused as asked"),
        ({"metadata": {"error_message": "meta why"}}, "meta why"),
        ({"data": {"reason": "in data"}, "metadata": {"error": "within"}}, "in data"),
        ({"error": "itself", "data": {"reason": "in data"}, "metadata": {"error": "within"}}, "itself"),
        ({"data": {}, "metadata": ["no object"]}, "it gave no reason"),
    ],
)
def test_an_agents_reason_may_stand_in_the_answer_its_data_or_its_metadata(rest: dict[str, Any], said: str) -> None:
    message = protocol.read_agent_answer({"result": "Error", **rest}).error_message

    assert message == f"the agent returned result Error instead of Success: {said}"


@pytest.mark.parametrize(("retryable", "expected"), [(True, True), (False, False), ("true", False), (1, False)])
def test_a_failed_answer_is_retryable_only_when_it_says_so(retryable: Any, expected: bool) -> None:
    metadata = {"retryable": retryable}
    tool = {"type": "tool_result", "tool_use_id": "x", "is_error": True, "content": "", "metadata": metadata}

    assert protocol.read_tool_answer(tool, "x").retryable is expected
    assert protocol.read_agent_answer({"result": "Error", "metadata": metadata}).retryable is expected


def test_an_agents_success_has_its_data_as_payload() -> None:
    answer = {"result": "Success", "data": {"a": 1}, "metadata": {"retryable": True}}

    assert protocol.read_agent_answer(answer) == Outcome(RowStatus.SUCCESS, answer, {"a": 1})


def test_a_success_without_data_is_its_own_payload() -> None:
    answer = {"result": "Success", "category": "x"}

    assert protocol.read_agent_answer(answer).payload == answer


@pytest.mark.parametrize("result", ["Error", "success", None, {"a": 1}])
def test_any_other_result_of_an_agent_is_a_failed_row(result: Any) -> None:
    outcome = protocol.read_agent_answer({"result": result, "data": {"error": "quota used up"}})

    assert (outcome.status, outcome.error_name) == (RowStatus.FAILED, "AgentResultError")
    assert "quota used up" in outcome.error_message


@pytest.mark.parametrize(
    ("name", "message", "status", "error_name", "retryable", "throttled"),
    [
        ("ValueError", "boom", RowStatus.FAILED, "ValueError", True, False),
        ("States.Timeout", "", RowStatus.TIMEOUT, "RowTimeoutError", False, False),
        ("Sandbox.Timedout", "…", RowStatus.TIMEOUT, "RowTimeoutError", False, False),
        ("Lambda.Unknown", "… Task timed out after 3.00 seconds", RowStatus.TIMEOUT, "RowTimeoutError", False, False),
        ("States.DataLimitExceeded", "…", RowStatus.FAILED, "AnswerTooLargeError", False, False),
        ("Function.ResponseSizeTooLarge", "…", RowStatus.FAILED, "AnswerTooLargeError", False, False),
        ("Lambda.TooManyRequestsException", "Rate", RowStatus.FAILED, "ThrottledError", True, True),
        ("StepFunctions.ExecutionLimitExceededException", "", RowStatus.FAILED, "ThrottledError", True, True),
        ("QueryError", "Task timed out after 3 seconds", RowStatus.FAILED, "QueryError", True, False),
        ("", "", RowStatus.FAILED, "Error", True, False),
    ],
)
def test_an_error_name_tells_what_an_attempt_came_to(
    name: str, message: str, status: RowStatus, error_name: str, retryable: bool, throttled: bool
) -> None:
    outcome = protocol.outcome_of_error(name, message)

    assert outcome.status is status
    assert (outcome.error_name, outcome.retryable, outcome.throttled) == (error_name, retryable, throttled)
    assert outcome.error_message


def test_throttling_met_inside_a_target_counts_as_one_of_its_errors() -> None:
    tool = protocol.tool_error({"errorType": "ThrottlingException", "errorMessage": "Bedrock is busy"})
    agent = protocol.agent_failure(
        "States.TaskFailed", json.dumps({"Status": "FAILED", "Error": "Bedrock.ThrottlingException", "Cause": "busy"})
    )

    assert (tool.error_name, tool.retryable, tool.throttled) == ("ThrottlingException", True, False)
    assert (agent.error_name, agent.retryable, agent.throttled) == ("Bedrock.ThrottlingException", True, False)


@pytest.mark.parametrize(
    ("error", "cause", "name", "message"),
    [
        ("States.TaskFailed", '{"Status":"FAILED","Error":"QuotaError","Cause":"used up"}', "QuotaError", "used up"),
        ("States.TaskFailed", '{"Status":"ABORTED"}', "States.TaskFailed", "the agent's execution ended as ABORTED"),
        ("States.TaskFailed", '{"Status":"TIMED_OUT"}', "States.Timeout", "the agent's execution ended as TIMED_OUT"),
        ("States.TaskFailed", "no JSON", "States.TaskFailed", "no JSON"),
        ("States.TaskFailed", "[" * 100_000, "States.TaskFailed", "[" * 100_000),
        ("States.TaskFailed", "[]", "States.TaskFailed", "[]"),
        ("States.Timeout", "", "States.Timeout", ""),
    ],
)
def test_an_agents_own_error_is_read_from_the_cause(error: str, cause: str, name: str, message: str) -> None:
    assert protocol.agent_error(error, cause) == (name, message)


@pytest.mark.parametrize(
    ("description", "status", "retryable"),
    [
        ({"Status": "FAILED", "Error": "QuotaError", "Cause": "used up"}, RowStatus.FAILED, True),
        ({"Status": "FAILED", "Error": "States.DataLimitExceeded", "Cause": "300 KB"}, RowStatus.FAILED, False),
        ({"Status": "TIMED_OUT", "Error": "States.Timeout"}, RowStatus.TIMEOUT, False),
        ({"Status": "TIMED_OUT"}, RowStatus.TIMEOUT, False),
    ],
)
def test_an_agents_failure_keeps_the_agents_own_error_name(
    description: dict[str, str], status: RowStatus, retryable: bool
) -> None:
    outcome = protocol.agent_failure("States.TaskFailed", json.dumps(description))

    name = description.get("Error", "States.Timeout")
    assert (outcome.status, outcome.error_name, outcome.retryable) == (status, name, retryable)
    assert outcome.error_message.startswith(f"{name}: ")
    assert outcome == protocol.read_express_answer(dict(description))


NESTED = {"ExecutionArn": "arn", "Status": "FAILED", "Input": '{"secret": 1}', "Error": "NoModel", "Cause": "gone"}


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ('{"errorMessage": "no postcode", "errorType": "ValueError", "stackTrace": ["x"]}', "no postcode"),
        ('{"code": 422, "message": "no postcode"}', "no postcode"),
        ('{"code": 422}', '{"code": 422}'),
        ("[1]", "[1]"),
        ("{no JSON", "{no JSON"),
        (json.dumps(NESTED), "NoModel: gone"),
        (json.dumps({**NESTED, "Error": "States.TaskFailed", "Cause": json.dumps(NESTED)}),
         "States.TaskFailed: NoModel: gone"),
    ],
)  # fmt: skip
def test_the_reason_of_an_agents_failure_is_read_from_a_cause_that_is_json(cause: str, said: str) -> None:
    description = {"Status": "FAILED", "Error": "AgentError", "Cause": cause}
    outcome = protocol.agent_failure("States.TaskFailed", json.dumps(description))

    assert outcome.error_message == f"AgentError: {said}"
    assert outcome == protocol.read_express_answer(description)


def test_the_rows_own_time_out_says_how_to_allow_more() -> None:
    outcome = protocol.agent_failure("States.Timeout", "")

    assert (outcome.status, outcome.error_name) == (RowStatus.TIMEOUT, "RowTimeoutError")
    assert "timeout_seconds" in outcome.error_message


def test_an_agents_own_error_is_read_from_a_cause_that_was_cut_off() -> None:
    # The description holds the agent's input; a Cause has 32,768 characters at most.
    description = {
        "Cause": 'it said "no"',
        "Error": "AgentError",
        "Input": json.dumps({"Error": "not this", "text": "x" * 40_000}),
        "Status": "FAILED",
    }
    cut = json.dumps(description, separators=(",", ":"))[:32_768]

    assert protocol.agent_error("States.TaskFailed", cut) == ("AgentError", 'it said "no"')
    assert protocol.agent_error("States.TaskFailed", '{"Cause":"cut o') == ("States.TaskFailed", '{"Cause":"cut o')


def test_an_express_agents_failure_is_found_in_its_response() -> None:
    succeeded = {"Status": "SUCCEEDED", "Output": '{"result": "Success", "data": {"a": 1}}'}
    failed = {"Status": "FAILED", "Error": "QuotaError", "Cause": "used up"}

    assert protocol.read_express_answer(succeeded).payload == {"a": 1}
    assert protocol.read_express_answer(failed) == protocol.thrown_error("QuotaError", "used up")
    assert protocol.read_express_answer({"Status": "TIMED_OUT"}).status is RowStatus.TIMEOUT
    assert protocol.read_express_answer({"Status": "SUCCEEDED", "Output": "{"}).status is RowStatus.FAILED


def test_a_reason_nested_too_deep_to_find_is_no_crash() -> None:
    reason: Any = "lost"
    for _ in range(100_000):
        reason = {"error": reason}

    assert protocol.read_agent_answer({"result": "Error", "error": reason}).status is RowStatus.FAILED


@pytest.mark.parametrize(
    "outcome",
    [
        protocol.thrown_error("E", "x" * 5_000),
        protocol.timed_out("x" * 5_000),
        protocol.too_large("x" * 5_000),
        protocol.mapping_failed("x" * 5_000),
        protocol.throttled("x" * 5_000),
        protocol.read_agent_answer({"result": "x" * 5_000, "error": "\ud800" * 5_000}),
    ],
)
def test_messages_are_bounded_and_can_be_encoded(outcome: Outcome) -> None:
    assert 0 < len(outcome.error_message) <= 1_000
    assert outcome.error_message.encode()


@pytest.mark.parametrize(
    "error",
    [
        {"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: 1 Error: Task timed out after 3.00 seconds"},
        {"errorMessage": "2026-01-01T00:00:00Z 1 Task timed out after 3.00 seconds"},
    ],
)
def test_a_tools_own_time_out_is_named_as_the_functions_to_be_raised_there(error: dict[str, str]) -> None:
    outcome = protocol.tool_error(error)

    assert (outcome.status, outcome.error_name, outcome.retryable) == (RowStatus.TIMEOUT, "Sandbox.Timedout", False)
    assert "the function reached its own time-out" in outcome.error_message
    assert "after 3.00 seconds" in outcome.error_message
    assert "raise the time-out in the function's configuration" in outcome.error_message
    assert "timeout_seconds" not in outcome.error_message, "the row's budget has nothing to do with it"
