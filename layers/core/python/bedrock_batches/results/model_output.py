"""Reads generated content, or the failure, from a line of a Bedrock output file.

A line is ``{"recordId", "modelInput", "modelOutput"}``; on an error, ``error {"errorCode", "errorMessage"}`` replaces
``modelOutput`` (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html). The output
is a Converse answer (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html) or an
InvokeModel body of one of the families Anthropic, Nova, Mistral, Llama, Titan
(https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html). A body tells by its fields which it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_origin

import orjson
from pydantic import ValidationError

from bedrock_batches.results.json_objects import FoundObject, find_objects, object_in_text
from bedrock_batches.violations import GeneratedContent
from foundation.json_text import encodable, parse_json

MOST_RAW_CHARACTERS = 100_000
"""The most characters of a model's text that are kept with an error."""

TRUNCATED = frozenset({"max_tokens", "length", "model_context_window_exceeded"})
"""Stop reasons, in lower case, of an answer that was cut off (Converse and Anthropic; Mistral, Llama and Titan)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer: its text, the tokens it took, and why it ended, in the model's own word ("" without one).

    ``tool_input`` is the input of its last tool call: an answer that a schema was enforced on.
    """

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    stop_reason: str = ""
    tool_input: dict[str, Any] | None = None

    @property
    def truncated(self) -> bool:
        return self.stop_reason.lower() in TRUNCATED


class FailureKind(StrEnum):
    """The reasons why a record has no content, as users read them.

    UNREADABLE: the model's answer has no content. REFUSED: Bedrock returned an error instead of an answer.
    """

    UNREADABLE = "Failed to parse Bedrock response"
    REFUSED = "Bedrock could not process the record"
    NOT_OF_THE_JOB = "Not a record of this job"
    NOT_ANSWERED = "Not processed by Bedrock"


@dataclass(frozen=True, slots=True)
class RecordFailure:
    """The failure of a record; ``reason`` gives the details."""

    kind: FailureKind
    reason: str
    code: int | None = None
    raw_text: str = ""


@dataclass(frozen=True, slots=True)
class RecordResult:
    """A line's result: ``content`` or ``failure``, never both. ``record_id`` is "" for a line that has none.

    ``repairs`` names what was put right to read the content; empty for an answer as it was asked for.
    """

    record_id: str
    answer: Answer
    content: GeneratedContent | None = None
    failure: RecordFailure | None = None
    repairs: tuple[str, ...] = ()


class NoContentError(ValueError):
    """Raised when a text has no generated content. The message says why."""


class ExampleRepeatedError(NoContentError):
    """Raised when an object repeats the example of the prompt instead of answering."""


NO_ANSWER = Answer("")


def read_result(line: bytes) -> RecordResult:
    """The result of a line of an output file. Never raises, because a line that cannot be read is a failure too."""
    try:
        record = _parse_line(line)
    except ValueError as error:
        return _failed("", NO_ANSWER, f"the line is {error}", line.decode("utf-8", "replace"))
    record_id = record.get("recordId")
    if not isinstance(record_id, str) or not record_id:
        return _failed("", NO_ANSWER, "the line has no recordId", line.decode("utf-8", "replace"))
    record_id = encodable(record_id)
    if record.get("error") is not None:
        return RecordResult(record_id, NO_ANSWER, failure=_record_failure(record["error"]))
    answer = read_answer(record.get("modelOutput"))
    if answer is None:
        return _failed(record_id, NO_ANSWER, "modelOutput has no known form", raw_output(record))
    try:
        found = find_content(answer)
    except NoContentError as error:
        return _failed(record_id, answer, f"{_ending(answer)}{error}", answer.text or raw_output(record))
    return RecordResult(record_id, answer, content=found.content, repairs=found.repairs)


def raw_output(record: dict[str, Any]) -> str:
    """The model's output as JSON, or a note that it is nested too deep to be written."""
    try:
        return json.dumps(record.get("modelOutput"), default=str)
    except RecursionError:
        return "(nested too deep to be shown)"


def _parse_line(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        # orjson refuses lone surrogates, which a model's text can contain; json reads them.
        record = parse_json(line.decode("utf-8", "replace"))
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return record


def _failed(record_id: str, answer: Answer, reason: str, raw: str) -> RecordResult:
    raw = encodable(raw[:MOST_RAW_CHARACTERS])
    return RecordResult(record_id, answer, failure=RecordFailure(FailureKind.UNREADABLE, reason, raw_text=raw))


def _record_failure(error: Any) -> RecordFailure:
    if not isinstance(error, dict):
        return RecordFailure(FailureKind.REFUSED, encodable(str(error)[:MOST_RAW_CHARACTERS]))
    code = error.get("errorCode")
    message = encodable(str(error.get("errorMessage") or "no reason given")[:MOST_RAW_CHARACTERS])
    return RecordFailure(FailureKind.REFUSED, message, code if isinstance(code, int) else None)


def _ending(answer: Answer) -> str:
    if answer.truncated:
        return f"the answer was cut off at maxTokens (stop reason {answer.stop_reason}): raise maxTokens; "
    if answer.stop_reason.lower() in {"guardrail_intervened", "content_filtered", "refusal"}:
        return f"the answer was withheld (stop reason {answer.stop_reason}); "
    return ""


# --- The model's body


def read_answer(body: Any) -> Answer | None:
    """The answer in a Converse or InvokeModel body; None when its form is not known."""
    if not isinstance(body, dict):
        return None
    for read in (_converse, _anthropic, _mistral_chat, _mistral_text, _llama, _titan):
        answer = read(body)
        if answer is not None:
            return answer
    return None


def _converse(body: dict[str, Any]) -> Answer | None:
    """The answer in a Converse body. Nova's InvokeModel body is the same except for ``metrics``."""
    message = _mapping(_mapping(body.get("output")).get("message"))
    if not message:
        return None
    usage = _mapping(body.get("usage"))
    content = message.get("content")
    tokens = usage.get("inputTokens"), usage.get("outputTokens")
    tool = _last_tool_input(_mapping(_mapping(block).get("toolUse")).get("input") for block in _listed(content))
    return _answer(_texts(content), *tokens, body, "stopReason", tool)


def _anthropic(body: dict[str, Any]) -> Answer | None:
    if not isinstance(body.get("content"), list):
        return None
    usage = _mapping(body.get("usage"))
    content = body["content"]
    tokens = usage.get("input_tokens"), usage.get("output_tokens")
    calls = (block for block in map(_mapping, content) if block.get("type") == "tool_use")
    return _answer(_texts(content), *tokens, body, "stop_reason", _last_tool_input(call.get("input") for call in calls))


def _mistral_chat(body: dict[str, Any]) -> Answer | None:
    choice = _first(body.get("choices"))
    if not choice:
        return None
    usage = _mapping(body.get("usage"))
    message = _mapping(choice.get("message"))
    content = message.get("content")
    text = content if isinstance(content, str) else _texts(content)
    reason = "stop_reason" if choice.get("stop_reason") else "finish_reason"
    tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    calls = (_mapping(_mapping(call).get("function")) for call in _listed(message.get("tool_calls")))
    return _answer(text, *tokens, choice, reason, _last_tool_input(call.get("arguments") for call in calls))


def _mistral_text(body: dict[str, Any]) -> Answer | None:
    output = _first(body.get("outputs"))
    return _answer(output.get("text"), None, None, output, "stop_reason") if output else None


def _llama(body: dict[str, Any]) -> Answer | None:
    if "generation" not in body:
        return None
    tokens = body.get("prompt_token_count"), body.get("generation_token_count")
    return _answer(body["generation"], *tokens, body, "stop_reason")


def _titan(body: dict[str, Any]) -> Answer | None:
    result = _first(body.get("results"))
    if not result:
        return None
    return _answer(
        result.get("outputText"), body.get("inputTextTokenCount"), result.get("tokenCount"), result, "completionReason"
    )


def _answer(
    text: Any,
    input_tokens: Any,
    output_tokens: Any,
    body: dict[str, Any],
    reason: str,
    tool_input: dict[str, Any] | None = None,
) -> Answer:
    stop_reason = body.get(reason)
    return Answer(
        text if isinstance(text, str) else "",
        _count(input_tokens),
        _count(output_tokens),
        encodable(stop_reason[:100]) if isinstance(stop_reason, str) else "",
        tool_input,
    )


def _texts(blocks: Any) -> str:
    """The text blocks of a message, one after the other; reasoning and tool blocks have no ``text``."""
    if not isinstance(blocks, list):
        return ""
    return "".join(text for block in blocks if isinstance(text := _mapping(block).get("text"), str))


def _last_tool_input(inputs: Iterable[Any]) -> dict[str, Any] | None:
    """The last input of a tool call that is an object; some models write it as a JSON text."""
    last = None
    for given in inputs:
        found = object_in_text(given) if isinstance(given, str) else None
        value = found.value if found is not None else given
        if isinstance(value, dict):
            last = value
    return last


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(values: Any) -> dict[str, Any]:
    return _mapping(values[0]) if isinstance(values, list) and values else {}


def _count(value: Any) -> int:
    """A token count; 0 if it is missing or not valid."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


# --- The content in the answer


FIELDS = tuple(GeneratedContent.model_fields)
LISTS = {name for name, field in GeneratedContent.model_fields.items() if get_origin(field.annotation) is list}
MOST_WRAPPERS = 3
"""The most objects around the content that are removed, as in ``{"result": {"content": {…}}}``."""


@dataclass(frozen=True, slots=True)
class FoundContent:
    """Generated content, and the names of the repairs that were needed. No repair loses or adds a word."""

    content: GeneratedContent
    repairs: tuple[str, ...] = ()


def find_content(answer: Answer) -> FoundContent:
    """The content of an answer: the input of its last tool call, or the last object in its text that has our fields.

    An object that repeats the prompt's example does not count. Raises NoContentError.
    """
    if answer.tool_input is not None:
        called = _unwrapped(FoundObject(answer.tool_input))
        if _known_fields(called.value) or not answer.text.strip():
            return _content_of(called)
    if not answer.text.strip():
        raise NoContentError("the answer has no text")
    found = find_objects(answer.text)
    cut = NoContentError("the answer ends inside a JSON object: raise maxTokens")
    if found.cut and answer.truncated:
        raise cut
    fault = cut if found.cut else NoContentError("the answer holds no complete JSON object")
    for each in reversed(found.objects):
        unwrapped = _unwrapped(each)
        try:
            return _content_of(unwrapped)
        except ExampleRepeatedError as error:
            fault = cut if found.cut else error
        except NoContentError as error:
            if _known_fields(unwrapped.value):
                raise  # Text before the model's last answer is a draft or a quotation.
            fault = error
    raise fault


def _known_fields(value: dict[str, Any]) -> int:
    return sum(isinstance(name, str) and name.strip().lower() in FIELDS for name in value)


def _unwrapped(found: FoundObject) -> FoundObject:
    """The only object inside others that has our fields, also if it was written as a text."""
    for _ in range(MOST_WRAPPERS):
        if _known_fields(found.value):
            break
        inner = [each for value in found.value.values() if (each := _inner_object(value)) is not None]
        if len(inner) > 1:
            inner = [each for each in inner if _known_fields(each.value)]
        if len(inner) != 1:
            break
        found = FoundObject(inner[0].value, (*found.repairs, *inner[0].repairs))
    return found


def _inner_object(value: Any) -> FoundObject | None:
    if isinstance(value, dict):
        return FoundObject(value)
    return object_in_text(value) if isinstance(value, str) else None


def _content_of(found: FoundObject) -> FoundContent:
    """Validate the content. Raises NoContentError, whose message names the wrong fields."""
    value, repairs = _repaired(found.value)
    try:
        content = GeneratedContent.model_validate(value)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise NoContentError("; ".join(faults)) from None
    for name, given in content:
        if isinstance(given, str) and not given.strip(".… "):
            raise ExampleRepeatedError(f"{name}: the model repeated the example of the prompt")
    return FoundContent(content, (*found.repairs, *repairs))


def _repaired(value: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Our fields of an object, after lossless repairs of the letter case of names and the form of lists."""
    fields: dict[str, Any] = {}
    repairs = []
    for name, given in value.items():
        known = name.strip().lower() if isinstance(name, str) else ""
        if name in FIELDS:
            fields[name] = given
        elif known in FIELDS and known not in value:
            fields[known] = given
            repairs.append("name of a field")
    for name in LISTS & fields.keys():
        if fields[name] is None:
            fields[name] = []
            repairs.append(f"{name}: null")
        elif isinstance(fields[name], str):
            fields[name] = _list_in(fields[name])
            repairs.append(f"{name} as a text")
        if isinstance(fields[name], list) and any(map(_is_blank, fields[name])):
            fields[name] = [entry for entry in fields[name] if not _is_blank(entry)]
            repairs.append(f"empty {name}")
    return fields, repairs


def _list_in(text: str) -> list[Any]:
    """The entries of a text: a list as JSON, or words with commas between them."""
    try:
        found = parse_json(text)
    except ValueError:
        found = None
    return found if isinstance(found, list) else [entry.strip() for entry in text.split(",") if entry.strip()]


def _is_blank(entry: Any) -> bool:
    return entry is None or (isinstance(entry, str) and not entry.strip())
