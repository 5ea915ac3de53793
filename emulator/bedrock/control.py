"""Lets a test make the local Bedrock fail, or change its quotas, without the product knowing.

* `PUT /_emulator/bedrock/faults` adds a fault, a JSON object (see `Fault`); `GET` lists them, `DELETE` forgets them.
* `PUT /_emulator/bedrock/settings` changes settings (see `Settings`); `GET` shows them, `DELETE` restores them.

Both answer requests from this machine only.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

PREFIX = "/_emulator/bedrock/"
LOOPBACK = ("127.0.0.1", "::1")

JOB_FAULTS = (
    "refuse",
    "fail",
    "expire",
    "broken_json",
    "record_errors",
    "partially_complete",
    "stop_half",
    "slow",
)
CONVERSE_FAULT = "converse_throttle"


@dataclasses.dataclass(slots=True)
class Fault:
    """One fault of jobs or of the model.

    * `refuse`: CreateModelInvocationJob answers with the error `code` and `message`.
    * `fail`: the job ends Failed with `message` and no output.
    * `expire`: it ends Expired with no output, as when it did not begin in time.
    * `broken_json`: the model's text is not JSON, for the share `rate` of the records (all by default).
    * `record_errors`: the share `rate` of the records (1 % by default, at least one) has an error and no output.
    * `partially_complete`, `stop_half`: it ends PartiallyCompleted or Stopped after the share `fraction` of them.
    * `slow`: each record takes `seconds_per_record`.
    * `converse_throttle`: Converse and InvokeModel answer ThrottlingException.

    `job_name_pattern` is a shell pattern; `count` is the number of jobs, or of calls, that it applies to.
    """

    fault: str
    job_name_pattern: str = "*"
    rate: float | None = None
    fraction: float = 0.5
    seconds_per_record: float = 0.05
    message: str = "The job failed because of an internal error. Try again."
    code: str = "ThrottlingException"
    count: int | None = None

    def applies(self, kind: str, job_name: str = "") -> bool:
        """Whether this fault has the kind and applies to the job. If so, it counts the job."""
        if self.fault != kind or self.count == 0 or not fnmatch.fnmatchcase(job_name, self.job_name_pattern):
            return False
        if self.count is not None:
            self.count -= 1
        return True


def _variable(name: str, default: float) -> float:
    return float(os.environ.get(name, default))


@dataclasses.dataclass(slots=True)
class Settings:
    """Quotas and pace. The defaults are AWS's quotas, unless the environment sets others.

    Quotas: https://docs.aws.amazon.com/general/latest/gr/bedrock.html#limits_bedrock
    """

    stage_seconds: float = dataclasses.field(default_factory=lambda: _variable("BEDROCK_STAGE_SECONDS", 0.3))
    """The time that a job stays in Submitted, Validating, Scheduled and Stopping."""
    concurrent_jobs: int = dataclasses.field(default_factory=lambda: int(_variable("BEDROCK_CONCURRENT_JOBS", 20)))
    minimum_records: int = dataclasses.field(default_factory=lambda: int(_variable("BEDROCK_MINIMUM_RECORDS", 100)))
    records_per_file: int = dataclasses.field(
        default_factory=lambda: int(_variable("BEDROCK_RECORDS_PER_FILE", 50_000))
    )
    records_per_job: int = dataclasses.field(default_factory=lambda: int(_variable("BEDROCK_RECORDS_PER_JOB", 50_000)))
    bytes_per_file: int = 1024**3
    bytes_per_job: int = 5 * 1024**3


class Control:
    """The active faults, and the settings."""

    def __init__(self) -> None:
        self.settings = Settings()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def take(self, kind: str, job_name: str = "") -> Fault | None:
        """The newest fault of the kind for the job, which counts the job; None if there is none."""
        with self._lock:
            return next((fault for fault in reversed(self._faults) if fault.applies(kind, job_name)), None)

    def answer(self, method: str, what: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON answer of a control request."""
        if what not in ("faults", "settings") or method not in ("GET", "PUT", "DELETE"):
            return 404, {"message": f"No such control: {method} {what}"}
        try:
            change = json.loads(body) if method == "PUT" else {}
            with self._lock:
                if what == "settings":
                    return 200, self._changed_settings(method, change)
                return 200, self._changed_faults(method, change)
        except (TypeError, ValueError) as error:
            return 400, {"message": str(error)}

    def _changed_settings(self, method: str, change: dict[str, Any]) -> dict[str, Any]:
        if method == "DELETE":
            self.settings = Settings()
        elif method == "PUT":
            self.settings = dataclasses.replace(self.settings, **change)
        return dataclasses.asdict(self.settings)

    def _changed_faults(self, method: str, change: dict[str, Any]) -> list[dict[str, Any]]:
        if method == "DELETE":
            self._faults.clear()
        elif method == "PUT":
            fault = Fault(**change)
            if fault.fault not in (*JOB_FAULTS, CONVERSE_FAULT):
                raise ValueError(
                    f"Unknown fault {fault.fault!r}: choose one of {', '.join((*JOB_FAULTS, CONVERSE_FAULT))}"
                )
            self._faults.append(fault)
        return [dataclasses.asdict(fault) for fault in self._faults]


CONTROL = Control()

Application = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]


def with_controls(application: Application) -> Application:
    """The ASGI application. It answers control requests before it passes on the others."""

    async def controlled(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await application(scope, receive, send)
            return
        client = (scope.get("client") or ("",))[0]
        status, answered = 403, {"message": "Control requests are answered to this machine only."}
        if client in LOOPBACK:
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), bool(message.get("more_body"))
            status, answered = CONTROL.answer(scope["method"], scope["path"].removeprefix(PREFIX), body)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answered).encode()})

    return controlled
