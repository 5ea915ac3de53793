"""Calls of targets over real HTTP, with an endpoint of our own that misbehaves as Lambda and Step Functions do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import orjson
import pytest

from foundation.aws import clients
from foundation.errors import DeploymentError
from row_batches.document.plan import Target
from row_batches.rows.records import RowStatus
from row_batches.targets.kinds import KindInvoker
from row_batches.targets.protocol import Outcome

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:echo"
EXPRESS = "arn:aws:states:us-east-1:000000000000:stateMachine:agent"
Answer = tuple[int, dict[str, str], bytes]


class Endpoint(BaseHTTPRequestHandler):
    """Answers every request with what the test has put here; counts connections and requests."""

    protocol_version = "HTTP/1.1"
    answer: ClassVar[Callable[[bytes], Answer]]
    requests: ClassVar[list[bytes]]
    connections: ClassVar[int]

    def setup(self) -> None:
        type(self).connections += 1
        super().setup()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).requests.append(body)
        status, headers, answer = type(self).answer(body)
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the caller has given up

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Endpoint]]:
    handler = type("Handler", (Endpoint,), {"requests": [], "connections": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    clients._session.cache_clear()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()
    clients._session.cache_clear()


def invoke(arn: str = FUNCTION, payload: bytes = b"{}", timeout_seconds: float = 60) -> bytes | Outcome:
    return invoker().invoke(target(arn), payload, timeout_seconds)


def target(arn: str) -> Target:
    kind, invocation = ("tool", "lambda") if ":function:" in arn else ("agent", "express")
    return Target.model_validate({"name": "target", "type": kind, "arn": arn, "invocation": invocation})


def invoker() -> KindInvoker:
    return KindInvoker(lambda service, seconds: clients.invoking_client(service, seconds, 4))


def answers(endpoint: type[Endpoint], status: int, body: Any, **headers: str) -> None:
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    endpoint.answer = staticmethod(lambda _: (status, {k.replace("_", "-"): v for k, v in headers.items()}, encoded))


def failed(result: bytes | Outcome) -> Outcome:
    assert isinstance(result, Outcome)
    return result


def test_an_answer_comes_as_it_is(endpoint: type[Endpoint]) -> None:
    answers(endpoint, 200, b'{"content": 1}')

    assert invoke(payload=b'{"id": "x"}') == b'{"content": 1}'
    assert endpoint.requests == [b'{"id": "x"}']


@pytest.mark.parametrize(
    ("body", "status", "name", "retryable"),
    [
        ({"errorType": "ValueError", "errorMessage": "no"}, RowStatus.FAILED, "ValueError", True),
        (
            {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 3 seconds"},
            RowStatus.TIMEOUT,
            None,
            False,
        ),
        ({"errorMessage": "2026-01-01 x Task timed out after 3.00 seconds"}, RowStatus.TIMEOUT, None, False),
        (
            {
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            },
            RowStatus.FAILED,
            None,
            False,
        ),
        (b"no json", RowStatus.FAILED, None, True),
    ],
)
def test_an_error_in_the_function_is_told_apart(
    endpoint: type[Endpoint], body: Any, status: RowStatus, name: str | None, retryable: bool
) -> None:
    answers(endpoint, 200, body, X_Amz_Function_Error="Unhandled")

    outcome = failed(invoke())

    assert (outcome.status, outcome.retryable) == (status, retryable)
    assert name is None or outcome.error_name == name


def test_an_answer_over_the_limit_says_which(endpoint: type[Endpoint]) -> None:
    answers(
        endpoint,
        200,
        {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": "Response payload size exceeded maximum allowed",
        },
        X_Amz_Function_Error="Unhandled",
    )

    assert "6 MB" in failed(invoke()).error_message


def test_a_request_over_the_limit_is_not_sent(endpoint: type[Endpoint]) -> None:
    outcome = failed(invoke(payload=b"x" * 6_291_557))

    assert "6 MB" in outcome.error_message
    assert not outcome.retryable
    assert not endpoint.requests


def test_silence_is_a_time_out_and_is_not_tried_again(endpoint: type[Endpoint]) -> None:
    asked, release = threading.Event(), threading.Event()

    def silent(_: bytes) -> Answer:
        asked.set()
        release.wait(60)
        return 200, {}, b"{}"

    endpoint.answer = staticmethod(silent)

    outcome = failed(invoke(timeout_seconds=0.7))

    assert outcome.status is RowStatus.TIMEOUT
    assert "within the 1 s" in outcome.error_message  # whole seconds, rounded up
    assert asked.wait(60)
    assert endpoint.connections == len(endpoint.requests) == 1
    release.set()


def test_throttling_is_told_apart_and_not_tried_again_by_the_sdk(endpoint: type[Endpoint]) -> None:
    answers(endpoint, 429, {"Reason": "ConcurrentInvocationLimitExceeded"}, x_amzn_ErrorType="TooManyRequestsException")

    outcome = failed(invoke())

    assert outcome.throttled
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("CodeArtifactUserPendingException", 409),
        ("ResourceConflictException", 409),
        ("ResourceNotReadyException", 502),
    ],
)
def test_a_function_that_is_being_woken_is_waited_for(endpoint: type[Endpoint], code: str, status: int) -> None:
    answers(endpoint, status, {"Message": "x"}, x_amzn_ErrorType=code)

    outcome = failed(invoke())

    assert outcome.throttled  # not an attempt
    assert code in outcome.error_message


def test_a_fault_of_the_service_may_be_tried_again(endpoint: type[Endpoint]) -> None:
    answers(endpoint, 500, {"Message": "x"}, x_amzn_ErrorType="ServiceException")

    outcome = failed(invoke())

    assert outcome.retryable
    assert not outcome.throttled


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        (FUNCTION, "SnapStartException"),
        (FUNCTION, "InvalidRequestContentException"),
        (EXPRESS, "InvalidExecutionInput"),
    ],
)
def test_another_refusal_is_that_row_s_own(endpoint: type[Endpoint], arn: str, code: str) -> None:
    answers(endpoint, 400, {"__type": code, "message": "x"}, x_amzn_ErrorType=code)

    outcome = failed(invoke(arn))

    assert (outcome.error_name, outcome.retryable, outcome.throttled) == (code, True, False)


@pytest.mark.parametrize(
    ("arn", "code", "said"),
    [
        (FUNCTION, "AccessDeniedException", "lambda:InvokeFunction"),
        (FUNCTION, "ResourceNotFoundException", "does not exist"),
        (EXPRESS, "AccessDeniedException", "states:StartSyncExecution"),
        (EXPRESS, "StateMachineDoesNotExist", "does not exist"),
        (EXPRESS, "StateMachineDeleting", "does not exist"),
        (EXPRESS, "KmsAccessDeniedException", "states:StartSyncExecution"),
    ],
)
def test_a_target_that_cannot_be_called_is_a_fault_of_the_deployment(
    endpoint: type[Endpoint], arn: str, code: str, said: str
) -> None:
    answers(endpoint, 400 if arn == EXPRESS else 403, {"__type": code, "message": "x"}, x_amzn_ErrorType=code)

    with pytest.raises(DeploymentError, match=said) as raised:
        invoke(arn)
    assert arn in str(raised.value)


def test_one_client_and_its_connection_serve_all_calls_of_the_same_time(endpoint: type[Endpoint]) -> None:
    answers(endpoint, 200, b"{}")
    one = invoker()
    for _ in range(5):
        one.invoke(target(FUNCTION), b"{}", 60.2)

    assert endpoint.connections == 1


def test_an_express_agents_output_comes_as_it_is(endpoint: type[Endpoint]) -> None:
    answers(endpoint, 200, {"executionArn": EXPRESS, "status": "SUCCEEDED", "output": '{"result": "Success"}'})

    assert invoke(EXPRESS) == b'{"result": "Success"}'


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (
            {"status": "FAILED", "error": "ModelError", "cause": "overloaded"},
            RowStatus.FAILED,
            "ModelError: overloaded",
        ),
        ({"status": "TIMED_OUT"}, RowStatus.TIMEOUT, "time-out"),
        ({"status": "FAILED", "error": "States.DataLimitExceeded", "cause": "x"}, RowStatus.FAILED, "256 KiB"),
    ],
)
def test_an_express_agent_that_failed_answers_200_and_is_read_by_its_status(
    endpoint: type[Endpoint], answer: dict[str, str], status: RowStatus, said: str
) -> None:
    answers(endpoint, 200, {"executionArn": EXPRESS, "startDate": 0, "stopDate": 0, **answer})

    outcome = failed(invoke(EXPRESS))

    assert outcome.status is status
    assert said in outcome.error_message
