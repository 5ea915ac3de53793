"""Lets a test make a service answer with an error, as if it were unavailable, without the product knowing.

`PUT /_emulator/services/faults` adds a fault, a JSON object (see `Fault`); `GET` lists them, `DELETE` removes them.
Only requests from this machine are answered. A fault applies to requests over HTTP: those of functions, commands and
tests. It does not apply to calls between services, such as a rule that sends to a queue.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from ministack import app

PATH = "/_emulator/services/faults"
LOOPBACK = ("127.0.0.1", "::1")
SIGNED_FOR = re.compile(rb"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


@dataclasses.dataclass(slots=True)
class Fault:
    """One way in which a service fails.

    `service` is the name that requests are signed for, such as `sqs`, `sns`, `dynamodb`, `s3`, `states`, `lambda`.
    `operation` is a shell pattern of the operation's name, such as `SendMessage*`; of `GET /bucket/key` for services
    that name none. `status` and `code` are the answer's. `count` is how many requests fail; all of them by default.
    """

    service: str
    operation: str = "*"
    status: int = 503
    code: str = "ServiceUnavailable"
    message: str = "The service is unavailable. Try again."
    count: int | None = None

    def applies(self, service: str, operation: str) -> bool:
        """Whether this fault applies to the request. If it does, the fault counts the request."""
        if self.count == 0 or service != self.service or not fnmatch.fnmatchcase(operation, self.operation):
            return False
        if self.count is not None:
            self.count -= 1
        return True


class Faults:
    """The active faults."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def services(self) -> set[str]:
        with self._lock:
            return {fault.service for fault in self._faults}

    def take(self, service: str, operation: str) -> Fault | None:
        """The newest fault that applies to the request, counted; None if there is none."""
        with self._lock:
            return next((fault for fault in reversed(self._faults) if fault.applies(service, operation)), None)

    def answer(self, method: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON answer of a control request."""
        if method not in ("GET", "PUT", "DELETE"):
            return 404, {"message": f"No such control: {method}"}
        try:
            added = [Fault(**json.loads(body))] if method == "PUT" else []
        except (TypeError, ValueError) as error:
            return 400, {"message": str(error)}
        with self._lock:
            self._faults = [] if method == "DELETE" else [*self._faults, *added]
            return 200, [dataclasses.asdict(fault) for fault in self._faults]


FAULTS = Faults()


def signed_for(headers: dict[bytes, bytes]) -> str:
    """The service that a request is signed for, or nothing."""
    found = SIGNED_FOR.search(headers.get(b"authorization", b""))
    return found.group(1).decode() if found else ""


def operation_of(scope: dict[str, Any], headers: dict[bytes, bytes], body: bytes) -> str:
    """The operation's name: in the target header, in a form, or else the method and the path."""
    target = headers.get(b"x-amz-target", b"").decode()
    if target:
        return target.rpartition(".")[2]
    if headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded"):
        return parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0]
    return f"{scope['method']} {scope['path']}"


def failure(fault: Fault, service: str, headers: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Content type and body of the answer, in the form of the service's protocol."""
    inner = f"<Code>{fault.code}</Code><Message>{fault.message}</Message>"
    if service == "s3":
        return b"application/xml", f"<Error>{inner}</Error>".encode()
    if headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded"):
        return b"text/xml", f"<ErrorResponse><Error>{inner}</Error></ErrorResponse>".encode()
    return b"application/json", json.dumps({"__type": fault.code, "message": fault.message}).encode()


async def whole_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), bool(message.get("more_body"))
    return body


async def respond(send: Send, status: int, content_type: bytes, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def with_faults(application: Application) -> Application:
    """The ASGI application. Requests fail as the active faults say."""

    async def faulty(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        if scope["path"] == PATH:
            status, answered = 403, {"message": "Control requests are answered to this machine only."}
            if (scope.get("client") or ("",))[0] in LOOPBACK:
                status, answered = FAULTS.answer(scope["method"], await whole_body(receive))
            await respond(send, status, b"application/json", json.dumps(answered).encode())
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        service = signed_for(headers)
        if service not in FAULTS.services():
            await application(scope, receive, send)
            return
        body = await whole_body(receive)
        fault = FAULTS.take(service, operation_of(scope, headers, body))
        if fault is not None:
            content_type, text = failure(fault, service, headers)
            await respond(send, fault.status, content_type, text, (b"x-amzn-errortype", fault.code.encode()))
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return messages.pop() if messages else await receive()

        await application(scope, again, send)

    return faulty


def install() -> None:
    """Let requests fail on request."""
    app.app = with_faults(app.app)
