"""The protocols of targets (docs/reference/targets.md): requests, answers, and the outcome of an attempt at a row."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from foundation.json_text import encodable, parse_json, render_json
from row_batches.extraction.content_blocks import json_in
from row_batches.rows.records import RowStatus, Usage
from row_batches.targets.answer import metadata_of, usage_of
from row_batches.targets.notes import NOT_A_NUMBER, OFF_PROTOCOL

MAX_MESSAGE_CHARACTERS = 1_000
MAX_EXECUTION_NAME = 80
"""https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html, ``name``."""

TOOL_RESULT_ERROR = "ToolResultError"
AGENT_RESULT_ERROR = "AgentResultError"
TOOL_USE_ID_MISMATCH = "ToolUseIdMismatchError"
ANSWER_TOO_LARGE = "AnswerTooLargeError"
ROW_TIMEOUT = "RowTimeoutError"
MAPPING_ERROR = "MappingError"
OFF_PROTOCOL_ERROR = "OffProtocolError"
THROTTLED = "ThrottledError"
UNAVAILABLE = "ServiceUnavailableError"
CHILD_DIED_ERROR = "ChildDiedError"

_TIMEOUT_ERRORS = frozenset({"States.Timeout", "Sandbox.Timedout"})
# Only newer runtimes give Lambda's time-out a name of its own. Older ones use these names and its message.
_NAMELESS_ERRORS = frozenset({"", "Unhandled", "Lambda.Unknown"})
_LAMBDA_TIMEOUT = r"Task timed out after [0-9.]+ seconds"
# For JSON that was cut off. Quotes inside its texts are escaped, so they do not match.
_FIELD_OF_FAILURE = r'"(Error|Cause|Status)":\s?("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*+")'
_TOO_LARGE_ERRORS = frozenset({"States.DataLimitExceeded", "Function.ResponseSizeTooLarge"})
_THROTTLING_ERRORS = frozenset(
    {
        THROTTLED,
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ExecutionLimitExceeded",
        "ExecutionLimitExceededException",
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt.

    ``answer`` is the target's raw answer, None if there is none. ``payload`` is the part of it that is mapped out.
    ``retryable`` says that another attempt can help. ``throttled`` says that the call did not become an attempt: it is
    repeated and does not count as one. ``runs_on`` says that no answer came and the target is possibly still working.
    ``notes`` counts oddities of the answer by the name of their ``Note``. ``usage`` is what the answer reports.
    """

    status: RowStatus
    answer: Any = None
    payload: Any = None
    error_name: str = ""
    error_message: str = ""
    retryable: bool = False
    throttled: bool = False
    runs_on: bool = False
    notes: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=dict)


# --- requests


def tool_request(name: str, row_input: dict[str, Any], call_id: str) -> dict[str, Any]:
    """The request to a tool (docs/reference/targets.md). ``call_id`` comes back as ``tool_use_id``."""
    return {"name": name, "input": row_input, "id": call_id}


def agent_request(execution_id: str, row: int, total_rows: int, row_input: dict[str, Any]) -> dict[str, Any]:
    """The input of an agent (docs/reference/targets.md)."""
    context = {"executionId": execution_id, "rowId": str(row), "totalRows": total_rows}
    return {"batchContext": context, "input": row_input}


def agent_execution_name(batch_name: str, execution_arn: str, row: int, attempt: int) -> str:
    """The name of an agent's execution. One attempt always has the same name, so that it is not started twice.

    It has up to 80 characters, which need no escaping (letters, digits, ``-``, ``_``).
    """
    digest = hashlib.sha256(execution_arn.encode()).hexdigest()[:16]
    end = f"-{digest}-{row}-{attempt}"
    start = re.sub(r"[^A-Za-z0-9_-]+", "-", batch_name)[: MAX_EXECUTION_NAME - len(end)].strip("-")
    return (start or "batch") + end


# --- answers


def read_tool_answer(answer: Any, call_id: str) -> Outcome:
    """Read ``{"type": "tool_result", "tool_use_id", "content"}``. Any other answer is itself the payload."""
    if not isinstance(answer, dict) or answer.get("type") != "tool_result":
        return _read_bare(answer, TOOL_RESULT_ERROR, "the tool")
    content = answer.get("content")
    if _says_error(answer):
        said = _said(content, answer, metadata_of(answer))
        return _refused(answer, content, TOOL_RESULT_ERROR, f"the tool reported an error: {said}")
    if answer.get("tool_use_id") != call_id:
        message = f"the answer is not for call {call_id}: the tool must return the id of its request as tool_use_id"
        return _refused(answer, content, TOOL_USE_ID_MISMATCH, message)
    return Outcome(RowStatus.SUCCESS, answer, content, usage=usage_of(answer))


def read_agent_answer(answer: Any) -> Outcome:
    """Read ``{"result": "Success", "data", "metadata"}``. An answer without ``result`` is itself the payload.

    So is a Success without ``data``.
    """
    if not isinstance(answer, dict) or "result" not in answer:
        return _read_bare(answer, AGENT_RESULT_ERROR, "the agent")
    data = answer.get("data", answer)
    if answer["result"] == "Success":
        return Outcome(RowStatus.SUCCESS, answer, data, usage=usage_of(answer))
    said = _said(answer, answer.get("data"), metadata_of(answer))
    result = _bounded(_text(answer["result"]), 100)
    message = f"the agent returned result {result} instead of Success: {said}"
    return _refused(answer, data, AGENT_RESULT_ERROR, message)


def _read_bare(answer: Any, error_name: str, target: str) -> Outcome:
    """Read an answer outside the protocol. It is SUCCESS unless it is clearly an error in a common form.

    The common forms are ``is_error`` or MCP's ``isError``, an object that has only an ``error``, and the response of
    an HTTP handler (``statusCode`` of 400 or above, with a ``body``).
    """
    if isinstance(answer, dict):
        if _says_error(answer):
            said = _said(answer.get("content"), answer, metadata_of(answer))
            return _refused(answer, answer, error_name, f"{target} reported an error: {said}")
        if answer.keys() == {"error"} and answer["error"]:
            return _refused(answer, answer, error_name, f"{target} answered with nothing but an error: {_said(answer)}")
        status = answer.get("statusCode")
        if type(status) is int and status >= 400 and "body" in answer:
            said = _said(_body(answer["body"]), answer)
            return _refused(answer, answer, error_name, f"{target} answered with statusCode {status}: {said}")
    return Outcome(RowStatus.SUCCESS, answer, answer, notes={OFF_PROTOCOL.name: 1}, usage=usage_of(answer))


def _says_error(answer: dict[str, Any]) -> bool:
    """Whether ``is_error`` or MCP's ``isError`` is true, as a boolean, a number or a text."""
    return any(_is_true(answer.get(name)) for name in ("is_error", "isError"))


def _is_true(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1", "yes")
    return isinstance(value, int | float) and value != 0


def _body(body: Any) -> Any:
    """The value of the body of an HTTP response, which is usually JSON in a text."""
    try:
        return parse_json(body) if isinstance(body, str) else body
    except ValueError:
        return body


def with_missing_numbers(outcome: Outcome, count: int) -> Outcome:
    """The outcome of an answer in which ``count`` numbers were read as missing."""
    return replace(outcome, notes={**outcome.notes, NOT_A_NUMBER.name: count}) if count else outcome


def read_express_answer(response: dict[str, Any]) -> Outcome:
    """The outcome of a StartSyncExecution response. It is 200 for failures too; ``status`` tells them apart.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html. Step Functions
    writes the keys in PascalCase; ``Output`` is a JSON text.
    """
    if response.get("Status") == "SUCCEEDED":
        try:
            return read_agent_answer(parse_json(response.get("Output") or "null"))
        except ValueError as error:
            return thrown_error("AgentOutputError", f"the agent's output cannot be read: {error}")
    return _agents_own(*_names_of_failure(response))


def _refused(answer: dict[str, Any], payload: Any, name: str, message: str) -> Outcome:
    retryable = metadata_of(answer).get("retryable") is True
    return Outcome(RowStatus.FAILED, answer, payload, name, _bounded(message), retryable, usage=usage_of(answer))


def _said(*places: Any) -> str:
    """The reason in the first of these places that has one."""
    return next(filter(None, map(_reason, places)), "it gave no reason")


def _reason(value: Any, levels: int = 4) -> str:
    """The reason in a failed answer, from the places where targets usually put it, up to ``levels`` deep."""
    if isinstance(value, str):
        return value.strip()
    if levels == 0:
        return ""
    if isinstance(value, dict):
        for key in ("error", "error_message", "errorMessage", "message", "reason", "text"):
            if value.get(key):
                return _reason(value[key], levels - 1) or _text(value[key])
    if isinstance(value, list):
        return "; ".join(filter(None, [_reason(item, levels - 1) for item in value[:10]]))
    return ""


def _text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else render_json(value)
    except ValueError:
        return f"an unreadable {type(value).__name__}"


# --- errors


def thrown_error(error_name: str, message: str) -> Outcome:
    """The target raised an error, or the call failed. Another attempt can help."""
    said = message.strip() or "no message was given; look at the target's log"
    return _failed(error_name or "Error", f"{error_name or 'Error'}: {said}", retryable=True)


def timed_out(message: str) -> Outcome:
    """The outcome of a row whose time is over. It is not retried."""
    advice = "raise execution_config.timeout_seconds or make the target faster"
    return Outcome(RowStatus.TIMEOUT, error_name=ROW_TIMEOUT, error_message=_bounded(f"{message}; {advice}"))


def too_large(message: str) -> Outcome:
    """The outcome of an answer that is too large to be kept. It is not retried."""
    advice = "make the target return less, for example the key of an object in S3"
    return _failed(ANSWER_TOO_LARGE, f"the answer is too large: {message}; {advice}")


def mapping_failed(message: str) -> Outcome:
    """The outcome of a row that cannot be mapped to an input. It is not retried."""
    return _failed(MAPPING_ERROR, f"{message}; correct the row, or give the transformation a default")


def refused_off_protocol(outcome: Outcome) -> Outcome:
    """The failure of a row because its answer does not follow the protocol and such answers are not accepted."""
    advice = "return what docs/reference/targets.md says, or set execution_config.off_protocol to accept"
    message = f"the answer does not follow the target's protocol; {advice}"
    return replace(outcome, status=RowStatus.FAILED, error_name=OFF_PROTOCOL_ERROR, error_message=message)


def refused_unmatched(outcome: Outcome, message: str) -> Outcome:
    """The failure of a row because mapped columns match nothing. The answer is kept for another mapping."""
    return replace(outcome, status=RowStatus.FAILED, error_name=MAPPING_ERROR, error_message=_bounded(message))


def throttled(message: str) -> Outcome:
    """The outcome of a call that the service refused because of the pace. It is retried, and is no attempt."""
    advice = "lower execution_config.max_concurrency or raise the service's quota"
    outcome = _failed(THROTTLED, f"the target was throttled: {message}; {advice}", retryable=True)
    return replace(outcome, throttled=True)


def unanswered(message: str) -> Outcome:
    """The call did not reach the target, or has a name that AWS does not start twice. Repeating it is safe."""
    return replace(_failed(UNAVAILABLE, f"the call failed: {message}", retryable=True), throttled=True)


def _is_timeout(error_name: str, message: str) -> bool:
    return error_name in _TIMEOUT_ERRORS or (
        error_name in _NAMELESS_ERRORS and re.search(_LAMBDA_TIMEOUT, message) is not None
    )


def outcome_of_error(error_name: str, message: str) -> Outcome:
    """The outcome for an error name of Lambda or Step Functions. Other names are thrown errors."""
    if _is_timeout(error_name, message):
        return timed_out("the attempt timed out")
    if error_name in _TOO_LARGE_ERRORS:
        return too_large(message or error_name)
    if error_name.rpartition(".")[2] in _THROTTLING_ERRORS:
        return throttled(message or error_name)
    return thrown_error(error_name, message)


def tool_error(payload: Any) -> Outcome:
    """A Lambda response with ``FunctionError``: ``{"errorType", "errorMessage", …}``.

    Throttling inside the function is the function's own error and counts as an attempt. A time-out here is the
    function's own, because a call that the row's budget ends has no response.
    """
    body = payload if isinstance(payload, dict) else {}
    name = str(body.get("errorType") or "Unhandled")
    message = str(body.get("errorMessage") or "")
    if _is_timeout(name, message):
        return _own_timeout(
            "Sandbox.Timedout",
            "the function reached its own time-out",
            "the function's configuration, for a folder of targets/ in its target.yaml",
            message,
        )
    if name.rpartition(".")[2] in _THROTTLING_ERRORS:
        return thrown_error(name, message)
    return outcome_of_error(name, message)


def agent_error(error: str, cause: str) -> tuple[str, str]:
    """The agent's own error name and message.

    A failed ``startExecution.sync:2`` is ``States.TaskFailed``. Its Cause is the JSON of DescribeExecution with the
    agent's ``Error`` and ``Cause``. Other errors are returned unchanged.
    """
    if error != "States.TaskFailed":
        return error, cause
    try:
        description = json.loads(cause)
    except (ValueError, RecursionError):
        # A Cause is cut at 32,768 characters. The description holds the agent's input, which can be longer.
        description = {name: json.loads(text) for name, text in re.findall(_FIELD_OF_FAILURE, cause)}
    return _names_of_failure(description) if isinstance(description, dict) and description else (error, cause)


def _names_of_failure(description: dict[str, Any]) -> tuple[str, str]:
    status = str(description.get("Status") or "FAILED")
    name = str(description.get("Error") or ("States.Timeout" if status == "TIMED_OUT" else "States.TaskFailed"))
    message = str(description.get("Cause") or f"the agent's execution ended as {status}")
    return name, message


def agent_failure(error: str, cause: str) -> Outcome:
    """The outcome of an error that a Catch around the agent's call saw, including the row's own time-out."""
    name, message = agent_error(error, cause)
    return _agents_own(name, message) if error == "States.TaskFailed" else outcome_of_error(name, message)


def _agents_own(name: str, cause: str) -> Outcome:
    """The outcome of an agent's execution that ended in an error, which keeps its name."""
    message = _reason_in_cause(cause)
    outcome = outcome_of_error(name, message)
    if outcome.status is RowStatus.TIMEOUT:
        return _own_timeout(name, "the agent reached a time-out of its own", "the agent")
    if outcome.throttled:  # Throttled inside the agent, whose work is paid for, so it counts as an attempt.
        return thrown_error(name, message)
    return replace(outcome, error_name=name, error_message=_bounded(_named(name, outcome.error_message)))


def _reason_in_cause(cause: str, levels: int = 3) -> str:
    """The reason in a Cause that is JSON, up to ``levels`` executions deep; any other Cause as it is.

    A function's exception is ``{"errorMessage", "errorType", "stackTrace", …}``; a nested execution that failed has the
    description of that execution (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
    """
    said = json_in(cause)
    if not isinstance(said, dict):
        return cause
    if "ExecutionArn" in said and levels:
        name, inner = _names_of_failure(said)
        return _named(name, _reason_in_cause(inner, levels - 1))
    return _reason(said) or cause


def _own_timeout(name: str, said: str, place: str, detail: str = "") -> Outcome:
    shown = f" ({detail})" if detail else ""
    message = f"{name}: {said}, not the row's{shown}; raise the time-out in {place}"
    return Outcome(RowStatus.TIMEOUT, error_name=name, error_message=_bounded(message))


def _named(name: str, message: str) -> str:
    return message if message.startswith(f"{name}: ") else f"{name}: {message}"


def _failed(name: str, message: str, retryable: bool = False) -> Outcome:
    return Outcome(RowStatus.FAILED, error_name=name, error_message=_bounded(message), retryable=retryable)


def _bounded(text: str, limit: int = MAX_MESSAGE_CHARACTERS) -> str:
    text = encodable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
