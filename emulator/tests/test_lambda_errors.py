"""What Lambda answers when a function fails.

https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html
"""

from __future__ import annotations

import json
import threading

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import Gate, eventually, invoke, make_function

FAILING = """
import os, sys, time, signal
class RateLimitError(Exception): pass
calls = 0
def handler(event, context):
    global calls
    calls += 1
    kind = event.get("fail")
    if kind == "raise": raise RateLimitError("slow down")
    if kind == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exit": sys.exit(7)
    if kind == "sleep": time.sleep(60)
    if kind == "memory":
        kept = [bytearray(os.urandom(1 << 20)) for _ in range(event["megabytes"])]
        time.sleep(event.get("seconds", 0))
        return len(kept)
    if kind == "marshal": return {1, 2}
    if kind == "large": return "x" * event["bytes"]
    return {"calls": calls, "pid": os.getpid()}
"""


def test_an_exception_arrives_under_its_class_name_with_its_stack_trace(local_aws: LocalAws) -> None:
    name = make_function(local_aws, FAILING)
    answer = local_aws.client("lambda").invoke(FunctionName=name, Payload=b'{"fail": "raise"}')
    error = json.loads(answer["Payload"].read())
    assert answer["FunctionError"] == "Unhandled"
    assert error["errorType"] == "RateLimitError"
    assert error["errorMessage"] == "slow down"
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert error["requestId"] == answer["ResponseMetadata"]["RequestId"] or len(error["requestId"]) == 36
    assert len(error["stackTrace"]) == 1
    assert error["stackTrace"][0].startswith('  File "/var/task/index.py", line 9, in handler\n')
    assert 'raise RateLimitError("slow down")' in error["stackTrace"][0]


def test_a_failed_call_leaves_the_worker_warm(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
    name = make_function(local_aws, FAILING)
    before = invoke(local_aws, name, {})
    invoke(local_aws, name, {"fail": "raise"})
    after = invoke(local_aws, name, {})
    assert after == {"calls": 3, "pid": before["pid"]}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("kill", "Runtime exited with error: signal: killed"), ("exit", "Runtime exited with error: exit status 7")],
)
def test_a_worker_that_dies_is_a_runtime_exit_error(local_aws: LocalAws, kind: str, reason: str) -> None:
    name = make_function(local_aws, FAILING)
    error = invoke(local_aws, name, {"fail": kind})
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith(f" Error: {reason}")
    assert invoke(local_aws, name, {})["calls"] == 1


def test_a_function_over_its_memory_is_ended_and_named_so(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
    name = make_function(local_aws, FAILING, MemorySize=256, Timeout=60)
    assert invoke(local_aws, name, {"fail": "memory", "megabytes": 100}) == 100

    error = invoke(local_aws, name, {"fail": "memory", "megabytes": 400, "seconds": 50})

    assert error["errorType"] == "Runtime.OutOfMemory"
    assert error["errorMessage"].endswith(" Error: Runtime exited with error: signal: killed")
    assert invoke(local_aws, name, {})["calls"] == 1


def test_a_function_over_its_time_out_is_ended_and_named_so(local_aws: LocalAws) -> None:
    name = make_function(local_aws, FAILING, Timeout=1)
    error = invoke(local_aws, name, {"fail": "sleep"})
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith(" Error: Task timed out after 1.00 seconds")


def test_an_answer_that_is_not_json_is_a_marshal_error(local_aws: LocalAws) -> None:
    error = invoke(local_aws, make_function(local_aws, FAILING), {"fail": "marshal"})
    assert error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        (
            "import nothing_of_that_name",
            "Runtime.ImportModuleError",
            "Unable to import module 'index': No module named 'nothing_of_that_name'",
        ),
        ("def other(event, context): pass", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'index'"),
        ("def handler(event, context) pass", "Runtime.UserCodeSyntaxError", "Syntax error in module 'index': "),
    ],
)
def test_a_handler_that_cannot_be_loaded_says_why(
    local_aws: LocalAws, code: str, error_type: str, message: str
) -> None:
    error = invoke(local_aws, make_function(local_aws, code), {})
    assert error["errorType"] == error_type
    assert error["errorMessage"].startswith(message)


def test_an_answer_over_six_megabytes_is_refused(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
    name = make_function(local_aws, FAILING)
    limit = 6 * 1024 * 1024
    assert len(invoke(local_aws, name, {"fail": "large", "bytes": limit})) == limit
    error = invoke(local_aws, name, {"fail": "large", "bytes": limit + 200})
    assert error["errorType"] == "Function.ResponseSizeTooLarge"
    assert "exceeded maximum allowed payload size (6291556 bytes)" in error["errorMessage"]


@pytest.mark.parametrize(("invocation", "limit"), [("RequestResponse", 6_291_456), ("Event", 1_048_576)])
def test_a_request_over_its_limit_is_refused(local_aws: LocalAws, invocation: str, limit: int) -> None:
    """https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""
    name = make_function(local_aws, "def handler(event, context): return len(event)")
    client = local_aws.client("lambda")
    client.invoke(FunctionName=name, InvocationType=invocation, Payload=json.dumps("x" * (limit - 2)))
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName=name, InvocationType=invocation, Payload=json.dumps("x" * (limit - 1)))
    assert refused.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_calls_above_the_reserved_concurrency_are_throttled(local_aws: LocalAws, gate: Gate) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html"""
    name = make_function(local_aws, gate.code, Timeout=60)
    client = local_aws.client("lambda")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    busy = threading.Thread(target=invoke, args=(local_aws, name))
    busy.start()
    assert eventually(gate.inside)
    try:
        with pytest.raises(client.exceptions.TooManyRequestsException) as throttled:
            client.invoke(FunctionName=name, Payload=b"0")
        assert throttled.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert throttled.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    finally:
        gate.open()
        busy.join()
