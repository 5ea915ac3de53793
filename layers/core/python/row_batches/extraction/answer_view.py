"""An answer for the extraction methods: its documents and their content blocks, parsed once a row."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from row_batches.extraction.content_blocks import (
    Block,
    Text,
    ToolResult,
    ToolUse,
    find_json,
    json_of_content,
    read_blocks,
)

MOST_JSON_LEVELS = 2
"""Most levels of JSON texts inside JSON texts that are read."""
MOST_JSON_TEXTS = 50
"""Most JSON texts that are parsed in one answer. Each is kept in memory for the row."""


class Document(NamedTuple):
    """A value that a field can be in, and its place in the answer."""

    where: str
    value: Any


class _Found(NamedTuple):
    """A value and its path in the answer, "" for the answer itself."""

    path: str
    value: Any


class AnswerView:
    """One answer. ``payload`` is its part by the target's protocol: ``data``, ``content``, or the whole answer."""

    def __init__(self, answer: Any, payload: Any) -> None:
        self._answer = answer
        self._payload = payload

    def documents(self) -> Iterator[Document]:
        """The answer, its payload, then JSON texts in fields of theirs. The texts are not parsed before they are
        needed."""
        yield from (Document(path or "the answer", value) for path, value in self._outer)
        yield from (Document(f"the JSON text {path}".rstrip(), value) for path, value in self._json_texts)

    def documents_in_messages(self) -> Iterator[Document]:
        """The JSON values in messages: in the results of tools, the latest first, then in texts, the latest first."""
        for result in reversed(self.tool_results):
            if not result.failed and (value := json_of_content(result.content)) is not None:
                yield Document(f"the result of {result.tool or 'a tool'} at {result.where}", value)
        for text in reversed(self.texts):
            if (value := find_json(text.text)) is not None:
                yield Document(f"the text at {text.where}", value)

    @cached_property
    def _outer(self) -> list[_Found]:
        answer = _Found("", self._answer)
        return [answer] if self._answer is self._payload else [answer, _Found(self._payload_name, self._payload)]

    @property
    def _payload_name(self) -> str:
        members = self._answer.items() if isinstance(self._answer, dict) else ()
        return next((name for name, value in members if value is self._payload), "payload")

    @cached_property
    def _json_texts(self) -> list[_Found]:
        found: list[_Found] = []
        seen: set[int] = set()
        level = self._outer
        for _ in range(MOST_JSON_LEVELS):
            inner: list[_Found] = []
            for path, text in (text for one in level for text in _texts(one)):
                if id(text) not in seen and len(found) + len(inner) < MOST_JSON_TEXTS:
                    seen.add(id(text))
                    if (value := find_json(text)) is not None:
                        inner.append(_Found(path, value))
            found += inner
            level = inner
        return found

    @cached_property
    def _blocks(self) -> list[Block]:
        found = [*self._outer, *self._json_texts]
        return [block for path, value in found for block in read_blocks(value, path)]

    @cached_property
    def texts(self) -> list[Text]:
        return [block for block in self._blocks if isinstance(block, Text)]

    @cached_property
    def tool_uses(self) -> list[ToolUse]:
        return [block for block in self._blocks if isinstance(block, ToolUse)]

    @cached_property
    def tool_results(self) -> list[ToolResult]:
        """The results, each with the name of its tool: the block's own, else that of the call with its id.

        An answer that is a result itself is the target's own, whose name is ""."""
        tools = {use.id: use.tool for use in self.tool_uses if use.id}
        results = [block for block in self._blocks if isinstance(block, ToolResult)]
        return [
            result if result.tool else result._replace(tool=tools.get(result.tool_use_id, "")) for result in results
        ]

    def is_own(self, result: ToolResult) -> bool:
        """Whether the result is the answer itself, of a target that is a tool."""
        return result.block is self._answer


def _texts(found: _Found) -> Iterator[tuple[str, str]]:
    """The texts in a value's own fields, or the value itself, with their paths."""
    if isinstance(found.value, str):
        yield found.path, found.value
    elif isinstance(found.value, dict):
        for name, value in found.value.items():
            if isinstance(value, str):
                yield f"{found.path}.{name}" if found.path else name, value
