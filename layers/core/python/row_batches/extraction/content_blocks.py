"""Reads content blocks of messages: text, tool_use and tool_result in ``messages[].content[]``, in both common forms.

The forms are those of Anthropic (``{"type": "tool_use", "id", "name", "input"}``,
https://docs.anthropic.com/en/api/messages) and Bedrock Converse (``{"toolUse": {"toolUseId", "name", "input"}}``,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from foundation.json_text import parse_json, render_json

MOST_LEVELS = 4
"""The most levels of nested content in which text is read."""


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
    own = _read_block(document, where or "the answer") if _is_tool_result(document) else None
    return [own, *blocks] if own is not None else blocks


def _is_tool_result(document: Any) -> bool:
    return isinstance(document, dict) and document.get("type") == "tool_result"


def _contents(document: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The ``content`` of each message, from every place where a document can have messages."""
    if isinstance(document, list):
        yield where, document  # A list of blocks or of messages.
        return
    if not isinstance(document, dict):
        return
    messages = document.get("messages")
    if isinstance(messages, list):
        yield _member(where, "messages"), messages
    output = document.get("output")
    if isinstance(output, dict) and isinstance(output.get("message"), dict):  # The response of Converse.
        yield _member(where, "output.message"), [output["message"]]
    if isinstance(document.get("content"), list):  # A single message.
        yield _member(where, "content"), document["content"]


def _read_content(content: list[Any], where: str) -> Iterator[Block]:
    for index, item in enumerate(content):
        place = f"{where}[{index}]"
        if not isinstance(item, dict):
            continue
        inner = item.get("content")
        if "role" in item and isinstance(inner, str):
            yield Text(f"{place}.content", inner)
        elif "role" in item and isinstance(inner, list):
            yield from _read_content(inner, f"{place}.content")
        else:
            block = _read_block(item, place)
            if block is not None:
                yield block


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
    if kind in (None, "text") and isinstance(item.get("text"), str):
        return Text(place, item["text"])
    return None


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
    return value if isinstance(value, dict | list) else json_in(value)


def _is_content(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, dict) and (isinstance(item.get("text"), str) or "json" in item))


def _content_of(item: Any) -> Any:
    if isinstance(item, str):
        return item
    return item["text"] if isinstance(item.get("text"), str) else item["json"]


def json_in(text: Any) -> Any:
    """The object or list that a text holds as JSON, also in a fenced code block; None if there is none."""
    if not isinstance(text, str):
        return None
    stripped = text.strip()
    if stripped.startswith("```"):
        _, _, stripped = stripped.partition("\n")
        stripped = stripped.rpartition("```")[0].strip()
    if stripped[:1] not in ("{", "["):
        return None
    try:
        return parse_json(stripped)
    except ValueError:
        return None
