"""Extracts named fields from an answer. Compiled once for a plan, run for each row.

Each field comes from the first method that yields it. A value that is null or cannot be transformed does not count.
Time is linear in the size of the answer: patterns run on RE2, JMESPaths have a limit of steps, and the JSON texts and
content blocks of an answer are read once for each row. Memory: the parsed answer and the JSON texts in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from foundation.json_text import render_json
from row_batches.extraction.answer_view import AnswerView, Document
from row_batches.extraction.expressions import First
from row_batches.extraction.methods import ExtractionMethod
from row_batches.extraction.rules import fields_of
from row_batches.extraction.transforms import RegexTransform

MOST_REASONS = 3


class Extracted(NamedTuple):
    """The fields of one answer. ``methods`` has the method of each field; ``missing`` are fields without a value.

    ``searched``: by the position of a method in the list, the documents that it has searched.
    """

    fields: dict[str, Any]
    methods: dict[str, str]
    missing: list[str]
    searched: Mapping[int, Sequence[Any]] = {}

    @property
    def text(self) -> str:
        """Methods and missing fields as JSON, for the row's record."""
        return render_json({"methods": self.methods, "missing": self.missing})


class Attempt(NamedTuple):
    """The attempt of one method at one field. It found ``value`` at ``where``, or nothing for ``reason``."""

    field: str
    method: str
    position: int
    """The 1-based position of the method in the list."""
    found: bool
    value: Any = None
    where: str = ""
    reason: str = ""


class _Method(NamedTuple):
    position: int
    method: ExtractionMethod


class Extractor:
    """Extracts fields from answers. ``fields`` are their names in order. Safe to use from several threads."""

    __slots__ = ("_steps", "fields")

    def __init__(self, methods: Sequence[ExtractionMethod], transforms: Mapping[str, RegexTransform]) -> None:
        """Compile the methods. Raises ValueError for an unknown transform."""
        self.fields = fields_of(methods)
        steps: dict[str, list[tuple[_Method, First]]] = {field: [] for field in self.fields}
        for position, method in enumerate(methods, 1):
            for field, expression in method.expressions().items():
                steps[field].append((_Method(position, method), expression.compile(field, transforms)))
        self._steps = steps

    def extract(self, answer: Any, payload: Any) -> Extracted:
        """Extract the fields. ``payload`` is the part of the answer that the target's protocol defines."""
        search = _Search(answer, payload)
        fields: dict[str, Any] = {}
        methods: dict[str, str] = {}
        missing: list[str] = []
        for field, steps in self._steps.items():
            for method, first in steps:
                attempt = search.attempt(field, method, first)
                if attempt.found:
                    fields[field], methods[field] = attempt.value, attempt.method
                    break
            else:
                missing.append(field)
        return Extracted(fields, methods, missing, search.searched if missing else {})

    def explain(self, answer: Any, payload: Any) -> list[Attempt]:
        """The attempts of every method at every field that it names, even after a method has yielded the field."""
        search = _Search(answer, payload)
        return [search.attempt(field, method, first) for field, steps in self._steps.items() for method, first in steps]


class _Search:
    """One answer, and the documents in it that methods have read so far."""

    def __init__(self, answer: Any, payload: Any) -> None:
        self._view = AnswerView(answer, payload)
        self._documents: dict[int, _Replay] = {}

    def attempt(self, field: str, at: _Method, first: First) -> Attempt:
        position, method = at
        documents = self._documents.get(position)
        if documents is None:
            documents = self._documents[position] = _Replay(iter(method.documents(self._view)))
        reasons: dict[str, None] = {}
        for where, value in documents:
            try:
                found = first(value)
            except ValueError as error:
                reasons[f"{where}: {error}"] = None
            else:
                return Attempt(field, method.method, position, True, found, where)
        reason = "; ".join(list(reasons)[:MOST_REASONS]) or method.absence(self._view)
        return Attempt(field, method.method, position, False, reason=reason)

    @property
    def searched(self) -> dict[int, list[Any]]:
        return {position: [document.value for document in read.read] for position, read in self._documents.items()}


class _Replay:
    """An iterator that several fields can go through. ``read`` is what it keeps for the next field."""

    def __init__(self, source: Iterator[Document]) -> None:
        self._source = source
        self.read: list[Document] = []

    def __iter__(self) -> Iterator[Document]:
        index = 0
        while True:
            if index == len(self.read):
                following = next(self._source, None)
                if following is None:
                    return
                self.read.append(following)
            yield self.read[index]
            index += 1
