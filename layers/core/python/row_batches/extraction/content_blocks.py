"""Reads the messages of agents: their texts, calls of tools, and results of tools, in the forms of common frameworks.

* Anthropic: blocks ``{"type": "tool_use", "id", "name", "input"}`` and ``{"type": "tool_result", "tool_use_id"}``
  (https://docs.anthropic.com/en/api/messages).
* Bedrock Converse and Strands: blocks ``{"toolUse": {"toolUseId", "name", "input"}}`` and ``{"toolResult": …}``
  (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html). A state machine that calls
  Converse gets its fields in PascalCase
  (https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html).
* OpenAI chat: messages with ``tool_calls [{"id", "function": {"name", "arguments"}}]``, and ``{"role": "tool"}``
  (https://platform.openai.com/docs/api-reference/chat).
* OpenAI Responses: items ``{"type": "function_call", "call_id", "name", "arguments"}`` and ``function_call_output``
  (https://platform.openai.com/docs/api-reference/responses).
* LangChain: messages with ``tool_calls [{"id", "name", "args"}]``, and ``{"type": "tool"}``, also inside ``data`` or
  ``kwargs`` (https://python.langchain.com/api_reference/core/messages.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from foundation.json_text import parse_json, render_json

MOST_LEVELS = 4
"""The most levels of nested content in which text is read."""
MOST_MESSAGE_LEVELS = 20
"""The most levels of messages inside messages that are read."""
MOST_CONVERSE_LEVELS = 12
"""The most levels of lists and objects in the fields of Converse."""
MOST_BLOCKS = 10
"""The most fenced code blocks in which JSON is looked for."""
_FENCED = re.compile(r"^[ \t]*```[^\n`]*\n(?P<block>.*?)(?:^[ \t]*```|```\s*\Z)", re.DOTALL | re.MULTILINE)
"""A code block of Markdown. A fence begins a line, so a JSON text can hold three backticks."""
_CONVERSE_FIELDS = {
    name[0].upper() + name[1:]: name
    for name in (
        *("output", "message", "messages", "role", "content", "text", "json"),
        *("toolUse", "toolUseId", "name", "input", "toolResult", "status"),
    )
}
"""By the name that a state machine gives to a field of Converse: its own name."""
_LANGCHAIN_TYPES = ("human", "ai", "system", "tool", "function")


class Text(NamedTuple):
    """A text block, or a message that is just a text. ``where`` is its place in the answer."""

    where: str
    text: str


class ToolUse(NamedTuple):
    """A call of a tool by the agent."""

    where: str
    id: str
    tool: str
    input: Any


class ToolResult(NamedTuple):
    """The result of a tool. ``block`` is the unchanged block. ``failed`` means that the block reports an error."""

    where: str
    tool_use_id: str
    tool: str
    content: Any
    failed: bool
    block: dict[str, Any]


Block = Text | ToolUse | ToolResult


def read_blocks(document: Any, where: str) -> list[Block]:
    """The blocks of a document's messages, in order; [] if it has no messages.

    A tool's answer is itself a block. ``where`` is the document's place in the answer, "" for the answer itself.
    """
    blocks = [block for place, content in _contents(document, where) for block in _read_content(content, place)]
    blocks += _read_calls(_dict(document), where)
    own = _read_block(document, where or "the answer") if _is_tool_result(document) else None
    return [own, *blocks] if own is not None else blocks


def _is_tool_result(document: Any) -> bool:
    return isinstance(document, dict) and document.get("type") == "tool_result"


def _contents(document: Any, where: str) -> Iterator[tuple[str, list[Any]]]:
    """The lists of messages or blocks, from every place where a document can have them."""
    if isinstance(document, list):
        yield where, document  # A list of blocks or of messages.
        return
    if not isinstance(document, dict):
        return
    if "Output" in document or "Messages" in document:  # Converse in a state machine.
        yield from _contents(_in_camel_case({name: document.get(name) for name in ("Output", "Messages")}), where)
    if isinstance(document.get("messages"), list):
        yield _member(where, "messages"), document["messages"]
    output = document.get("output")
    if isinstance(output, list):  # The response of OpenAI's Responses.
        yield _member(where, "output"), output
    elif isinstance(output, dict) and isinstance(output.get("message"), dict):  # The response of Converse.
        yield _member(where, "output.message"), [output["message"]]
    if isinstance(document.get("message"), dict):  # The result of a Strands agent.
        yield _member(where, "message"), [document["message"]]
    if isinstance(document.get("choices"), list):  # The response of OpenAI's chat.
        yield _member(where, "choices"), [_dict(choice).get("message") for choice in document["choices"]]
    if isinstance(document.get("content"), list):  # A single message.
        yield _member(where, "content"), document["content"]


def _in_camel_case(value: Any, levels: int = MOST_CONVERSE_LEVELS) -> Any:
    """Fields of Converse with their own names. Documents, which a model or a tool writes, stay as they are."""
    if isinstance(value, list):
        return [_in_camel_case(one, levels - 1) for one in value] if levels else value
    if not isinstance(value, dict) or not levels:
        return value
    return {
        _CONVERSE_FIELDS.get(name, name): inner if name in ("Input", "Json") else _in_camel_case(inner, levels - 1)
        for name, inner in value.items()
    }


def _read_content(content: list[Any], where: str, levels: int = MOST_MESSAGE_LEVELS) -> Iterator[Block]:
    for index, item in enumerate(content):
        if not isinstance(item, dict):
            continue
        wrapper = _wrapper_of(item)
        message = item[wrapper] if wrapper else item
        place = f"{where}[{index}].{wrapper}".rstrip(".")
        if _is_message(message):
            yield from _read_message(message, place, levels)
        elif (block := _read_block(message, place)) is not None:
            yield block


def _wrapper_of(item: dict[str, Any]) -> str:
    """The field that holds the message in LangChain's ``messages_to_dict`` (data) and ``dumpd`` (kwargs), or ""."""
    if item.get("type") in _LANGCHAIN_TYPES and isinstance(item.get("data"), dict):
        return "data"
    return "kwargs" if "lc" in item and isinstance(item.get("kwargs"), dict) else ""


def _is_message(item: dict[str, Any]) -> bool:
    has_kind = "role" in item or item.get("type") in _LANGCHAIN_TYPES
    return has_kind and (isinstance(item.get("content"), str | list) or isinstance(item.get("tool_calls"), list))


def _read_message(message: dict[str, Any], place: str, levels: int) -> Iterator[Block]:
    content = message.get("content")
    kinds = (message.get("role"), message.get("type"))
    if ("tool" in kinds or "function" in kinds) and not _holds_results(content):
        failed = message.get("status") == "error"
        name, call = _text(message.get("name")), _text(message.get("tool_call_id"))
        yield ToolResult(place, call, name, content, failed, message)
    elif isinstance(content, str):
        yield Text(f"{place}.content", content)
    elif isinstance(content, list) and levels:
        yield from _read_content(content, f"{place}.content", levels - 1)
    yield from _read_calls(message, place)


def _holds_results(content: Any) -> bool:
    """Whether the content of a tool's message is blocks that are results themselves."""
    items = content if isinstance(content, list) else ()
    return any(isinstance(item, dict) and (item.get("type") == "tool_result" or "toolResult" in item) for item in items)


def _read_calls(message: dict[str, Any], place: str) -> Iterator[ToolUse]:
    calls = message.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        called = _dict(call)
        function = _dict(called.get("function")) or called
        given = function.get("arguments", function.get("args"))
        where = f"{_member(place, 'tool_calls')}[{index}]"
        yield ToolUse(where, _text(called.get("id")), _text(function.get("name")), given)


def _read_block(item: dict[str, Any], place: str) -> Block | None:
    kind = item.get("type")
    if isinstance(item.get("toolUse"), dict):
        use = item["toolUse"]
        return ToolUse(place, _text(use.get("toolUseId")), _text(use.get("name")), use.get("input"))
    if isinstance(item.get("toolResult"), dict):
        result = item["toolResult"]
        failed = result.get("status") == "error"
        return ToolResult(place, _text(result.get("toolUseId")), "", result.get("content"), failed, result)
    if kind == "tool_use":
        return ToolUse(place, _text(item.get("id")), _text(item.get("name")), item.get("input"))
    if kind == "tool_result":
        failed = item.get("is_error") is True
        tool = _text(item.get("name") or item.get("tool_name"))
        return ToolResult(place, _text(item.get("tool_use_id")), tool, item.get("content"), failed, item)
    if kind == "function_call":
        return ToolUse(place, _text(item.get("call_id")), _text(item.get("name")), item.get("arguments"))
    if kind == "function_call_output":
        result = {**item, "content": item.get("output")}
        return ToolResult(place, _text(item.get("call_id")), "", item.get("output"), False, result)
    if kind in (None, "text", "output_text") and isinstance(item.get("text"), str):
        return Text(place, item["text"])
    return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _member(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def text_of(value: Any, levels: int = MOST_LEVELS) -> str:
    """The text of a value: a text itself, the texts of content blocks joined by line ends, or else JSON.

    Raises ValueError if the value cannot be written as JSON.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and levels and all(map(_is_content, value)):
        return "\n".join(text_of(_content_of(item), levels - 1) for item in value)
    if isinstance(value, dict) and levels and _is_content(value):
        return text_of(_content_of(value), levels - 1)
    return render_json(value)


def content_of(content: Any) -> Any:
    """The content of a tool's result: a text, or the value of a JSON block. Several texts are joined by line ends."""
    if isinstance(content, list) and len(content) == 1 and _is_content(content[0]):
        return _content_of(content[0])
    if isinstance(content, list) and content and all(map(_is_content, content)):
        with suppress(ValueError):  # nested too deep for a text
            return text_of(content)
    return content


def json_of_content(content: Any) -> Any:
    """The object or list in the content of a tool's result, also if a text holds it as JSON; None if there is none."""
    value = content_of(content)
    return value if isinstance(value, dict | list) else find_json(value)


def _is_content(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, dict) and (isinstance(item.get("text"), str) or "json" in item))


def _content_of(item: Any) -> Any:
    if isinstance(item, str):
        return item
    return item["text"] if isinstance(item.get("text"), str) else item["json"]


def json_in(text: Any) -> Any:
    """The object or list that a text is as JSON, also in a fenced code block; None if it is none."""
    if not isinstance(text, str):
        return None
    stripped = text.strip()
    if stripped.startswith("```"):
        _, _, stripped = stripped.partition("\n")
        stripped = stripped.rpartition("```")[0].strip()
    return _object_or_list(stripped)


def find_json(text: Any) -> Any:
    """The object or list that a text is as JSON, or that its first fenced code block with one has; None without one.

    A model often writes sentences around its JSON.
    """
    found = json_in(text)
    if found is not None or not isinstance(text, str) or "```" not in text:
        return found
    blocks = (fenced["block"].strip() for fenced in islice(_FENCED.finditer(text), MOST_BLOCKS))
    return next((value for block in blocks if (value := _object_or_list(block)) is not None), None)


def _object_or_list(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return None
    try:
        return parse_json(text)
    except ValueError:
        return None
