"""Task states: Lambda functions and their errors, nested executions, S3, time-outs, retries, limits."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.machines import Bucket, Machines, Run, State, client, distributed, jsonata
from emulator.tests.resources import allow, eventually, make_function, make_role, unique

pytestmark = pytest.mark.local_aws

FUNCTION = """
import os, signal, time
class RateLimitError(Exception): pass
def handler(event, context):
    kind = event.get("do") if isinstance(event, dict) else None
    if kind == "raise": raise RateLimitError("slow down")
    if kind == "memory": kept = bytearray(os.urandom(300 << 20)); time.sleep(event["seconds"])
    if kind == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if kind == "sleep": time.sleep(event["seconds"])
    if kind == "large": return "x" * 300_000
    return {"got": event, "version": context.function_version}
"""
CAUGHT: State = {"Type": "Pass", "End": True}
UNCHECKED = Config(parameter_validation=False)


@pytest.fixture(scope="module")
def machines(local_aws: LocalAws) -> Machines:
    return Machines(local_aws)


@pytest.fixture(scope="module")
def function(local_aws: LocalAws) -> str:
    return make_function(local_aws, FUNCTION)


def invoking(function: str, payload: Any = "{% $states.input %}", **fields: Any) -> State:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": payload},
        "End": True,
        **fields,
    }


def caught(machines: Machines, task: State, data: Any, *names: str) -> dict[str, Any]:
    """The error output of a task's Catch for the names."""
    catch = [{"ErrorEquals": list(names), "Next": "Caught"}]
    output: dict[str, Any] = machines.run(jsonata({"Task": {**task, "Catch": catch}, "Caught": CAUGHT}), data).output()
    return output


# --- Lambda


def test_a_published_version_is_called_by_its_arn(machines: Machines, local_aws: LocalAws) -> None:
    """dg/connect-lambda.html: a qualified function ARN"""
    name = make_function(local_aws, FUNCTION)
    functions = client(local_aws, "lambda")
    published = functions.publish_version(FunctionName=name)
    task = invoking(published["FunctionArn"], Output="{% $states.result %}")
    result = machines.run(jsonata({"Task": task}), {"a": 1}).output()
    assert published["FunctionArn"].endswith(f"function:{name}:1")
    assert result["Payload"] == {"got": {"a": 1}, "version": "1"}
    assert (result["StatusCode"], result["ExecutedVersion"]) == (200, "1")


def test_an_exception_is_caught_by_its_class_name_with_lambdas_json_as_cause(machines: Machines, function: str) -> None:
    """dg/connect-lambda.html; recording: lambda_errors.json"""
    error = caught(machines, invoking(function), {"do": "raise"}, "RateLimitError")
    cause = json.loads(error["Cause"])
    assert error["Error"] == "RateLimitError"
    assert list(cause) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (cause["errorMessage"], cause["errorType"]) == ("slow down", "RateLimitError")
    assert ": " not in error["Cause"].partition('"stackTrace"')[0]


@pytest.mark.parametrize(
    ("do", "timeout", "error"),
    [("kill", 1, "Runtime.ExitError"), ("memory", 30, "Runtime.OutOfMemory"), ("sleep", 1, "Sandbox.Timedout")],
)
def test_a_lost_or_late_worker_has_lambdas_error_name(
    machines: Machines, local_aws: LocalAws, do: str, timeout: int, error: str
) -> None:
    """lambda/latest/dg/troubleshooting-invocation.html"""
    function = make_function(local_aws, FUNCTION, Timeout=timeout)
    assert caught(machines, invoking(function), {"do": do, "seconds": 25}, error)["Error"] == error


def test_a_throttled_call_has_its_own_name(machines: Machines, local_aws: LocalAws) -> None:
    """dg/bp-lambda-serviceexception.html: Lambda.TooManyRequestsException"""
    function = make_function(local_aws, FUNCTION)
    client(local_aws, "lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    error = caught(machines, invoking(function), {}, "Lambda.TooManyRequestsException")
    assert "Status Code: 429" in error["Cause"]


def test_a_missing_function_has_its_own_name(machines: Machines) -> None:
    """recording: lambda_errors.json, task_service_lambda.no_such_function"""
    error = caught(machines, invoking("no-such-function"), {}, "Lambda.ResourceNotFoundException")
    assert error["Cause"].startswith("Function not found: arn:aws:lambda:")


# --- Limits


def test_a_large_result_is_caught_by_name_and_by_all(machines: Machines, function: str) -> None:
    """recording: data_limit.json; dg/service-quotas.html: 256 KiB"""
    for name in ("States.DataLimitExceeded", "States.ALL"):
        error = caught(machines, invoking(function), {"do": "large"}, name)
        assert error == {
            "Error": "States.DataLimitExceeded",
            "Cause": "The state/task 'lambda' returned a result with a size exceeding the maximum number of bytes "
            "service limit.",
        }


def test_large_arguments_are_refused(machines: Machines, function: str) -> None:
    """dg/service-quotas.html: 256 KiB for the input of a task"""
    task = invoking(function, {"text": "{% $pad('', 270000, 'x') %}"})
    assert caught(machines, task, {}, "States.DataLimitExceeded")["Error"] == "States.DataLimitExceeded"


def test_sizes_count_in_utf8_bytes(machines: Machines) -> None:
    """dg/service-quotas.html: 262,144 bytes"""
    state = {"Type": "Pass", "Output": "{% $pad('', $states.input, 'ä') %}", "End": True}
    machine = machines.create(jsonata({"Pass": state}))
    assert len(machines.start(machine, 131_071).output()) == 131_071
    assert machines.start(machine, 131_072).ended()["error"] == "States.DataLimitExceeded"


def test_a_large_input_is_no_execution(machines: Machines) -> None:
    """API_StartExecution"""
    machine = machines.create(jsonata({"Pass": CAUGHT}))
    with pytest.raises(ClientError):
        machines.start(machine, "x" * 262_143)


# --- Time-outs


WAITING = {"Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken"}
TOKEN = {"token": "{% $states.context.Task.Token %}"}


def token_of(run: Run) -> str:
    """The token that the running task passed on."""

    def submitted() -> str | None:
        events = {event["type"]: event for event in run.events()}
        if "TaskSubmitted" not in events:
            return None
        parameters = json.loads(events["TaskScheduled"]["taskScheduledEventDetails"]["parameters"])
        return str(parameters["Payload"]["token"])

    return str(eventually(submitted))


def test_a_task_with_a_token_waits_for_what_is_reported(machines: Machines, function: str) -> None:
    """dg/connect-to-resource.html#connect-wait-token; API_SendTaskSuccess"""
    run = machines.run(jsonata({"Ask": invoking(function, TOKEN, **WAITING, TimeoutSeconds=60)}), {})

    with pytest.raises(ClientError) as refused:
        machines.client.send_task_success(taskToken=token_of(run), output="no JSON")
    assert refused.value.response["Error"]["Code"] == "InvalidOutput"
    machines.client.send_task_success(taskToken=token_of(run), output='{"approved": true}')

    assert run.output() == {"approved": True}
    assert "TaskSubmitted" in run.event_types()


def test_who_reports_for_a_task_needs_the_permission_on_its_machine(
    machines: Machines, function: str, local_aws: LocalAws
) -> None:
    """service-authorization: SendTaskSuccess"""
    machine = machines.create(jsonata({"Ask": invoking(function, TOKEN, **WAITING, TimeoutSeconds=60)}))
    run = machines.start(machine)
    token = token_of(run)
    others, own = (
        local_aws.client_as(make_role(local_aws, allow("states:SendTaskSuccess", arn)), "stepfunctions")
        for arn in (f"{machine}-other", machine)
    )

    with pytest.raises(ClientError) as denied:
        others.send_task_success(taskToken=token, output="1")
    own.send_task_success(taskToken=token, output="2")

    assert f"states:SendTaskSuccess on resource: {machine} " in denied.value.response["Error"]["Message"]
    assert run.output() == 2


def test_a_failure_that_is_reported_is_the_tasks_error(machines: Machines, function: str) -> None:
    """API_SendTaskFailure"""
    catch = [{"ErrorEquals": ["NotApproved"], "Next": "Caught"}]
    task = invoking(function, TOKEN, **WAITING, TimeoutSeconds=60, Catch=catch)
    run = machines.run(jsonata({"Ask": task, "Caught": CAUGHT}), {})

    machines.client.send_task_failure(taskToken=token_of(run), error="NotApproved", cause="too dear")

    assert run.output() == {"Error": "NotApproved", "Cause": "too dear"}


def test_a_task_with_a_token_times_out_stops_and_fails_with_its_function(machines: Machines, function: str) -> None:
    """dg/connect-to-resource.html#connect-wait-token; API_StopExecution"""
    task = invoking(function, TOKEN, **WAITING, TimeoutSeconds=1)
    assert caught(machines, task, {}, "States.Timeout")["Error"] == "States.Timeout"
    failing = invoking(function, {**TOKEN, "do": "raise"}, **WAITING, TimeoutSeconds=60)
    assert caught(machines, failing, {}, "RateLimitError")["Error"] == "RateLimitError"
    run = machines.run(jsonata({"Ask": invoking(function, TOKEN, **WAITING, TimeoutSeconds=60)}), {})
    token = token_of(run)
    run.stop()
    assert run.ended()["status"] == "ABORTED"
    with pytest.raises(ClientError) as refused:
        eventually(lambda: machines.client.send_task_success(taskToken=token, output="{}") and None)
    assert refused.value.response["Error"]["Code"] in ("TaskDoesNotExist", "TaskTimedOut")


def test_a_task_times_out_after_seconds_from_jsonata_with_an_empty_cause(machines: Machines, function: str) -> None:
    """dg/state-task.html: TimeoutSeconds; recording: timeouts.json, invoke_timeout"""
    task = invoking(function, TimeoutSeconds="{% $states.input.limit %}")
    started = time.monotonic()
    error = caught(machines, task, {"do": "sleep", "seconds": 9, "limit": 1}, "States.Timeout")
    assert error == {"Error": "States.Timeout", "Cause": ""}
    assert time.monotonic() - started < 8


def test_a_machine_times_out(machines: Machines) -> None:
    """dg/statemachine-structure.html: TimeoutSeconds; recording: timeouts.json, global_timeout"""
    run = machines.run(jsonata({"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}, TimeoutSeconds=1))
    ended = run.ended()
    assert ended["status"] == "TIMED_OUT"
    assert not {"error", "cause", "output"} & set(ended)
    assert run.event_types()[-1] == "ExecutionTimedOut"


def test_a_machines_time_out_ends_its_map_run(machines: Machines) -> None:
    """dg/state-map-distributed.html"""
    wait = {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}
    run = machines.run(jsonata({"Map": distributed(wait, Items="{% [1] %}")}, TimeoutSeconds=1))
    assert run.ended()["status"] == "TIMED_OUT"
    assert run.map_run()["status"] == "ABORTED"
    assert run.map_run()["itemCounts"]["aborted"] == 1


def test_a_history_is_full_at_its_limit(machines: Machines) -> None:
    """dg/bp-history-limit.html: 25,000 events, the last of which is ExecutionFailed"""
    run = machines.run(jsonata({"Turn": {"Type": "Pass", "Next": "Turn"}}))
    ended = run.ended()
    newest = client(machines.aws, "stepfunctions").get_execution_history(
        executionArn=run.arn, reverseOrder=True, maxResults=1
    )["events"]
    assert ended["error"] == "States.Runtime"
    assert (newest[0]["type"], newest[0]["id"]) == ("ExecutionFailed", 25_000)


@pytest.mark.parametrize("setting", [{"SFN_WAIT_SCALE": "0.00001"}, {"SFN_LONGEST_WAITS": "Other=9 Wa*=0.1"}])
def test_waits_are_scaled_or_bounded_and_may_be_jsonata(setting: dict[str, str]) -> None:
    """dg/state-wait.html; SFN_WAIT_SCALE is MiniStack's setting and covers waits and pauses of retries"""
    with LocalAws(setting) as shortened:
        wait = {"Type": "Wait", "Seconds": "{% $states.input * 1000 %}", "End": True}
        assert Machines(shortened).run(jsonata({"Wait": wait}), 6).output() == 6


# --- Retry and Catch


def test_retries_wait_no_longer_than_max_delay_and_see_their_count(machines: Machines, function: str) -> None:
    """dg/concepts-error-handling.html: IntervalSeconds, BackoffRate, MaxDelaySeconds; RetryCount in the context"""
    task = invoking(
        function,
        {"do": "raise", "retry": "{% $states.context.State.RetryCount %}"},
        Retry=[
            {
                "ErrorEquals": ["RateLimitError"],
                "IntervalSeconds": 1,
                "BackoffRate": 10,
                "MaxDelaySeconds": 1,
                "MaxAttempts": 2,
            }
        ],
    )
    run = machines.run(jsonata({"Task": task}))
    assert run.ended(6)["error"] == "RateLimitError"
    scheduled = [event for event in run.events() if event["type"] == "TaskScheduled"]
    retries = [json.loads(event["taskScheduledEventDetails"]["parameters"])["Payload"]["retry"] for event in scheduled]
    assert retries == [0, 1, 2]
    assert all(0.9 < pause < 5 for pause in pauses(run))


def pauses(run: Run) -> list[float]:
    """Seconds from each failed attempt to the next one."""
    attempts = [event for event in run.events() if event["type"] in ("TaskFailed", "TaskScheduled")]
    return [
        (after["timestamp"] - before["timestamp"]).total_seconds()
        for before, after in pairwise(attempts)
        if before["type"] == "TaskFailed"
    ]


def test_full_jitter_shortens_the_delay_at_random(machines: Machines, function: str) -> None:
    """dg/concepts-error-handling.html: JitterStrategy FULL is between 0 and the delay"""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1, "JitterStrategy": "FULL"}]
    machine = machines.create(jsonata({"Task": invoking(function, {"do": "raise"}, Retry=retry)}))
    runs = [machines.start(machine) for _ in range(6)]
    for run in runs:
        run.ended()
    assert min(pause for run in runs for pause in pauses(run)) < 0.8


def test_nothing_catches_a_runtime_error(machines: Machines) -> None:
    """dg/concepts-error-handling.html: States.Runtime always fails the execution"""
    task = {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution", "Arguments": {}, "End": True}
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    run = machines.run(jsonata({"Task": {**task, "Catch": catch}, "Caught": CAUGHT}))
    assert run.ended()["error"] == "States.Runtime"


# --- Expressions


def test_assign_sees_the_values_from_before_the_state(machines: Machines) -> None:
    """dg/workflow-variables.html: all expressions of a state are evaluated at once"""
    states: dict[str, State] = {
        "First": {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Swap"},
        "Swap": {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Output": "{% $a %}", "Next": "Show"},
        "Show": {"Type": "Pass", "Output": ["{% $states.input %}", "{% $a %}", "{% $b %}"], "End": True},
    }
    assert machines.run(jsonata(states)).output() == [1, 2, 1]


def test_the_event_of_an_exit_shows_the_variables_that_the_state_set(machines: Machines) -> None:
    """API_StateExitedEventDetails: assignedVariables are JSON texts; recording: assign_variables.json"""
    states: dict[str, State] = {
        "First": {"Type": "Pass", "Assign": {"x": {"a": 1}, "y": "text"}, "Next": "Second"},
        "Second": {"Type": "Pass", "End": True},
    }
    run = machines.run(jsonata(states))
    run.output()
    first, second = (event["stateExitedEventDetails"] for event in run.events() if event["type"] == "PassStateExited")
    assert first["assignedVariables"] == {"x": '{"a":1}', "y": '"text"'}
    assert first["assignedVariablesDetails"] == {"truncated": False}
    assert "assignedVariables" not in second


@pytest.mark.parametrize(
    ("state", "location"),
    [
        ({"Type": "Pass", "Output": {"a": {"b": "{% $nothing %}"}}, "End": True}, "Output/a/b"),
        ({"Type": "Wait", "Seconds": "{% -1 %}", "End": True}, "Seconds"),
        ({"Type": "Map", "Items": "{% 1 %}", "ItemProcessor": jsonata({"Keep": CAUGHT}), "End": True}, "Items"),
    ],
)
def test_the_event_of_a_failed_evaluation_names_the_field(machines: Machines, state: State, location: str) -> None:
    """API_EvaluationFailedEventDetails: location; recordings: map_items_jsonata.json, assign_variables.json"""
    run = machines.run(jsonata({"State": state}))
    assert run.ended()["error"] == "States.QueryEvaluationError"
    failed = next(
        event["evaluationFailedEventDetails"] for event in run.events() if event["type"] == "EvaluationFailed"
    )
    assert (failed["state"], failed["location"]) == ("State", location)


@pytest.mark.parametrize(("numbers", "given"), [("1, 9, 9", 1), ("1, 3, 1", [1, 2, 3])])
def test_a_range_of_one_number_is_that_number(machines: Machines, numbers: str, given: Any) -> None:
    """recording: jsonata_functions_2.json, array_range"""
    assert machines.run(jsonata({"State": {**CAUGHT, "Output": f"{{% $range({numbers}) %}}"}})).output() == given


def test_an_undefined_result_is_a_query_evaluation_error_that_names_the_field(machines: Machines) -> None:
    """dg/transforming-data.html; recording: map_catch_retry.json"""
    run = machines.run(jsonata({"Pass": {"Type": "Pass", "Output": {"x": ["{% $states.input.none %}"]}, "End": True}}))
    ended = run.ended()
    assert ended["error"] == "States.QueryEvaluationError"
    assert ended["cause"] == (
        "An error occurred while executing the state 'Pass' (entered at the event id #2). The JSONata expression "
        "'$states.input.none' specified for the field 'Output/x[0]' returned nothing (undefined)."
    )


def test_plain_paths_give_what_the_engine_gives(machines: Machines) -> None:
    """docs.jsonata.org/path-operators: members, null, lists of one, and members of a list's items"""
    data = {"a": {"b": None, "one": [1], "none": [], "list": [{"c": 1}, {"c": 2}, {}]}}
    output: State = {
        "null": "{% $states.input.a.b %}",
        "one": "{% $states.input.a.one %}",
        "none": "{% $states.input.a.none %}",
        "mapped": "{% $states.input.a.list.c %}",
        "engine": "{% [$states.input.a.b, $count($states.input.a.one), $count($states.input.a.none)] %}",
    }
    assert machines.run(jsonata({"Pass": {"Type": "Pass", "Output": output, "End": True}}), data).output() == {
        "null": None, "one": [1], "none": [], "mapped": [1, 2], "engine": [None, 1, 0],
    }  # fmt: skip


def test_succeed_and_fail_evaluate_their_fields(machines: Machines) -> None:
    """dg/state-succeed.html: Output; dg/state-fail.html: Error and Cause"""
    done = {"Type": "Succeed", "Output": {"n": "{% $states.input.n + 1 %}"}}
    assert machines.run(jsonata({"Done": done}), {"n": 1}).output() == {"n": 2}
    broken = {"Type": "Fail", "Error": "{% $states.input.kind & 'Error' %}", "Cause": "{% $string($states.input) %}"}
    ended = machines.run(jsonata({"Broken": broken}), {"kind": "Row"}).ended()
    assert (ended["error"], ended["cause"]) == ("RowError", '{"kind":"Row"}')


def test_inline_maps_and_branches_see_outer_variables_and_keep_their_own(machines: Machines) -> None:
    """dg/workflow-variables.html: scope"""
    add = {"Type": "Pass", "Assign": {"inner": 1}, "Output": "{% $states.input + $outer %}", "End": True}
    states: dict[str, State] = {
        "Start": {"Type": "Pass", "Assign": {"outer": 10}, "Next": "Map"},
        "Map": {
            "Type": "Map",
            "Items": "{% [1, 2] %}",
            "ItemProcessor": {"StartAt": "Add", "States": {"Add": add}},
            "Next": "Both",
        },
        "Both": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "Keep", "States": {"Keep": CAUGHT}}],
            "Output": {"map": "{% $states.result[0] %}", "inner": "{% $exists($inner) %}"},
            "End": True,
        },
    }
    assert machines.run(jsonata(states)).output() == {"map": [11, 12], "inner": False}


# --- Nested executions


@pytest.fixture(scope="module")
def agent(machines: Machines) -> str:
    """A machine that answers its input, waits, or fails."""
    choice = {
        "Type": "Choice",
        "Choices": [
            {"Condition": "{% $states.input.do = 'fail' %}", "Next": "Break"},
            {"Condition": "{% $states.input.do = 'wait' %}", "Next": "Wait"},
        ],
        "Default": "Answer",
    }
    states: dict[str, State] = {
        "Choose": choice,
        "Break": {"Type": "Fail", "Error": "AgentError", "Cause": "no answer"},
        "Wait": {"Type": "Wait", "Seconds": 30, "Next": "Answer"},
        "Answer": {"Type": "Pass", "Output": {"result": "{% $states.input %}"}, "End": True},
    }
    return machines.create(jsonata(states))


def nested(agent: str, name: str | None = None, kind: str = "startExecution.sync:2", **fields: Any) -> State:
    arguments = {"StateMachineArn": agent, "Input": "{% $states.input %}"} | ({"Name": name} if name else {})
    resource = f"arn:aws:states:::states:{kind}"
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **fields}


def test_a_nested_execution_gives_its_output_parsed(machines: Machines, agent: str) -> None:
    """dg/connect-stepfunctions.html; recording: start_execution.json, sfn_start_execution_sync[SFN_SYNC2]"""
    name = unique("row")
    result = machines.run(jsonata({"Task": nested(agent, name)}), {"a": 1}).output()
    assert (result["Name"], result["Status"]) == (name, "SUCCEEDED")
    assert (result["Input"], result["Output"]) == ({"a": 1}, {"result": {"a": 1}})


def test_a_nested_failure_is_task_failed_with_the_execution_as_cause(machines: Machines, agent: str) -> None:
    """recording: start_execution.json, start_execution_sync_delegate_failure"""
    error = caught(machines, nested(agent), {"do": "fail"}, "States.TaskFailed")
    cause = json.loads(error["Cause"])
    assert error["Error"] == "States.TaskFailed"
    assert (cause["Error"], cause["Cause"], cause["Status"]) == ("AgentError", "no answer", "FAILED")
    assert cause["Input"] == '{"do":"fail"}'


@pytest.mark.parametrize(
    ("resource", "error", "said"),
    [
        (
            "states:startExecution",
            "StepFunctions.StateMachineDoesNotExistException",
            r"\(Service: AWSStepFunctions; Status Code: 400; Error Code: StateMachineDoesNotExist; "
            r"Request ID: [0-9a-f-]{36}; Proxy: null\)",
        ),
        (
            "aws-sdk:sfn:startExecution",
            "Sfn.StateMachineDoesNotExistException",
            r"\(Service: Sfn, Status Code: 400, Request ID: [0-9a-f-]{36}\)",
        ),
    ],
)
def test_the_cause_of_a_refused_call_has_the_words_of_its_integration(
    machines: Machines, agent: str, resource: str, error: str, said: str
) -> None:
    """recordings: start_execution_2.json, start_execution_no_such_arn; service_errors_and_s3.json"""
    task: State = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::{resource}",
        "Arguments": {"StateMachineArn": f"{agent}-none"},
        "End": True,
    }
    cause = caught(machines, task, {}, error)["Cause"]
    assert re.fullmatch(rf"State Machine Does Not Exist: '{agent}-none' {said}", cause)


def test_a_used_name_is_refused_and_the_earlier_execution_can_be_looked_up(machines: Machines, agent: str) -> None:
    """API_StartExecution: names are unique; aws-sdk:sfn:describeExecution"""
    name = unique("row")
    look = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sfn:describeExecution",
        "Arguments": {"ExecutionArn": f"{agent.replace(':stateMachine:', ':execution:')}:{name}"},
        "Output": {"status": "{% $states.result.Status %}", "output": "{% $parse($states.result.Output) %}"},
        "End": True,
    }
    catch = [{"ErrorEquals": ["StepFunctions.ExecutionAlreadyExistsException"], "Next": "Look"}]
    again = {**nested(agent, name), "Arguments": {"StateMachineArn": agent, "Name": name, "Input": {"b": 2}}}
    first = {**nested(agent, name), "Next": "Again"}
    del first["End"]
    states: dict[str, State] = {"First": first, "Again": {**again, "Catch": catch}, "Look": look}
    assert machines.run(jsonata(states), {"a": 1}).output() == {
        "status": "SUCCEEDED", "output": {"result": {"a": 1}},
    }  # fmt: skip


def test_a_timed_out_task_stops_its_nested_execution(machines: Machines, agent: str) -> None:
    """dg/connect-to-resource.html: a stopped or timed-out .sync task stops its job, best effort"""
    name = unique("row")
    assert caught(machines, nested(agent, name, TimeoutSeconds=1), {"do": "wait"}, "States.Timeout")["Cause"] == ""
    arn = f"{agent.replace(':stateMachine:', ':execution:')}:{name}"
    states = client(machines.aws, "stepfunctions")
    assert eventually(lambda: states.describe_execution(executionArn=arn)["status"] == "ABORTED")


def test_stopping_an_execution_stops_what_it_waits_for(machines: Machines, agent: str) -> None:
    """dg/connect-to-resource.html"""
    name = unique("row")
    run = machines.run(jsonata({"Task": nested(agent, name)}), {"do": "wait"})
    arn = f"{agent.replace(':stateMachine:', ':execution:')}:{name}"
    states = client(machines.aws, "stepfunctions")
    eventually(lambda: "TaskSubmitted" in run.event_types())
    run.stop()
    assert eventually(lambda: states.describe_execution(executionArn=arn)["status"] == "ABORTED")


def test_a_nested_execution_can_be_left_to_itself(machines: Machines, agent: str) -> None:
    """dg/connect-stepfunctions.html: startExecution without .sync"""
    result = machines.run(jsonata({"Task": nested(agent, kind="startExecution")}), {"do": "wait"}).output()
    described = client(machines.aws, "stepfunctions").describe_execution(executionArn=result["ExecutionArn"])
    assert described["status"] == "RUNNING"
    assert isinstance(result["StartDate"], int)


def test_an_express_machine_answers_a_task_whatever_its_status(machines: Machines) -> None:
    """API_StartSyncExecution through aws-sdk:sfn:startSyncExecution; recording: express.json"""
    broken = jsonata({"Break": {"Type": "Fail", "Error": "AgentError", "Cause": "no answer"}})
    express = machines.create(broken, kind="EXPRESS")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sfn:startSyncExecution",
        "Arguments": {"StateMachineArn": express, "Input": "{% $string($states.input) %}"},
        "End": True,
    }
    result = machines.run(jsonata({"Task": task}), {"a": 1}).output()
    assert (result["Status"], result["Error"], result["Cause"]) == ("FAILED", "AgentError", "no answer")
    assert (result["Input"], ":express:" in result["ExecutionArn"]) == ('{"a":1}', True)


def test_the_same_name_and_input_start_once_while_it_runs(machines: Machines) -> None:
    """API_StartExecution; recording: map_run_and_execution_api.json, start_execution_idempotent"""
    machine = machines.create(jsonata({"Wait": {"Type": "Wait", "Seconds": 2, "End": True}}))
    first = machines.start(machine, {"a": 1}, name="same")
    assert machines.start(machine, {"a": 1}, name="same").arn == first.arn
    with pytest.raises(ClientError, match="Execution Already Exists") as refused:
        machines.start(machine, {"a": 2}, name="same")
    assert refused.value.response["Error"]["Code"] == "ExecutionAlreadyExists"
    first.ended()
    with pytest.raises(ClientError, match="Execution Already Exists"):
        machines.start(machine, {"a": 1}, name="same")


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [("a b", "{}", "InvalidName"), ("x" * 81, "{}", "InvalidName"), ("ok", "{", "InvalidExecutionInput")],
)
def test_bad_names_and_inputs_are_refused(machines: Machines, name: str, data: str, code: str) -> None:
    """API_StartExecution"""
    machine = machines.create(jsonata({"Pass": CAUGHT}))
    states = machines.aws.client("stepfunctions", config=UNCHECKED)
    with pytest.raises(ClientError) as refused:
        states.start_execution(stateMachineArn=machine, name=name, input=data)
    assert refused.value.response["Error"]["Code"] == code


# --- Redrive


def test_a_redrive_goes_on_at_the_failed_state_with_its_variables(machines: Machines, local_aws: LocalAws) -> None:
    """API_RedriveExecution; dg/redrive-executions.html: what succeeded is not run again"""
    bucket = Bucket(local_aws)
    count = {"Type": "Pass", "Assign": {"kept": "{% $states.input.a %}"}, "Next": "Read"}
    read = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
        "Arguments": {"Bucket": bucket.name, "Key": "late"},
        "Output": ["{% $states.result.Body %}", "{% $kept %}", "{% $states.context.Execution.RedriveCount %}"],
        "End": True,
    }
    run = machines.run(jsonata({"Count": count, "Read": read}), {"a": 1})
    ended = run.ended()
    assert (ended["status"], ended["redriveStatus"]) == ("FAILED", "REDRIVABLE")
    bucket.put("late", "here")
    states = client(local_aws, "stepfunctions")
    states.redrive_execution(executionArn=run.arn)
    assert run.output() == ["here", 1, 1]
    assert run.describe()["redriveCount"] == 1
    assert run.event_types().count("PassStateEntered") == 1
    assert "ExecutionRedriven" in run.event_types()
    with pytest.raises(ClientError) as refused:
        states.redrive_execution(executionArn=run.arn)
    assert refused.value.response["Error"]["Code"] == "ExecutionNotRedrivable"


def test_a_stopped_execution_is_redriven_and_can_be_stopped_again(machines: Machines) -> None:
    """API_RedriveExecution: status ABORTED; dg/redrive-executions.html"""
    wait: State = {"Type": "Wait", "Seconds": 600, "Next": "Done"}
    states: dict[str, State] = {"Before": {"Type": "Pass", "Next": "Wait"}, "Wait": wait, "Done": {"Type": "Succeed"}}
    run = machines.run(jsonata(states))
    eventually(lambda: "WaitStateEntered" in run.event_types())
    run.stop()
    assert run.describe()["redriveStatus"] == "REDRIVABLE"

    client(machines.aws, "stepfunctions").redrive_execution(executionArn=run.arn)
    assert run.describe()["status"] == "RUNNING"
    run.stop(error="Again")

    ended = run.describe()
    assert (ended["status"], ended["error"], ended["redriveCount"]) == ("ABORTED", "Again", 1)
    assert run.event_types().count("PassStateEntered") == 1


# --- Quotas


def test_more_starts_than_the_quota_are_throttled_and_only_the_cause_of_a_nested_one_says_so() -> None:
    """dg/service-quotas.html: StartExecution; the variable SFN_START_EXECUTION_QUOTA"""
    with LocalAws({"SFN_START_EXECUTION_QUOTA": "3/0.0001"}) as aws:
        machines = Machines(aws)
        agent = machines.create(jsonata({"Answer": {"Type": "Pass", "End": True}}))
        nested: State = {
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution.sync:2",
            "Arguments": {"StateMachineArn": agent},
        }
        states = {
            "One": {**nested, "Next": "Two"},
            "Two": {**nested, "Next": "Three"},
            "Three": {**nested, "End": True},
        }

        ended = machines.run(jsonata(states)).ended()

        assert ended["error"] == "StepFunctions.AWSStepFunctionsException"
        assert re.fullmatch(
            r"Rate exceeded \(Service: AWSStepFunctions; Status Code: 400; Error Code: ThrottlingException; "
            r"Request ID: [0-9a-f-]{36}; Proxy: null\)",
            ended["cause"],
        )
        with pytest.raises(ClientError, match="ThrottlingException"):
            machines.start(agent)


# --- S3


def test_objects_are_put_as_json_and_deleted(machines: Machines, local_aws: LocalAws) -> None:
    """recording: service_errors_and_s3.json: a text Body is written with its quotes"""
    bucket = Bucket(local_aws)

    def task(action: str, **arguments: Any) -> State:
        named = {"Bucket": bucket.name, "Key": "work/marker.json", **arguments}
        return {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:s3:{action}", "Arguments": named, "End": True}

    machines.run(jsonata({"Put": task("putObject", Body={"why": "{% $states.input.why %}"})}), {"why": "ä"}).output()
    assert bucket.json("work/marker.json") == {"why": "ä"}
    machines.run(jsonata({"Put": task("putObject", Body="plain")})).output()
    assert bucket.text("work/marker.json") == '"plain"'
    machines.run(jsonata({"Delete": task("deleteObject")})).output()
    with pytest.raises(ClientError, match="NoSuchKey"):
        bucket.text("work/marker.json")
