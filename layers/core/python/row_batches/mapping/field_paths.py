"""The expressions of extracted fields, for messages about fields that no method yields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from foundation.json_path import CompiledPath, compile_path
from row_batches.extraction.methods import ExtractionMethod
from row_batches.mapping.answer_keys import MOST_PLACES, AnswerKeys, closest_path, keys_at, keys_where_paths_end

_SIMPLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*|\[[0-9]{1,9}\])*", re.ASCII)
"""A JMESPath of names and indexes only, which is a JSONPath without its ``$.``."""


class FieldPath(NamedTuple):
    """An expression of a field. ``position`` is that of its method in the list, from 1.

    ``path`` is the expression without its steps after ``|``. ``steps`` are its names and indexes; None for a JSONPath
    that can match many, and none of them for a JMESPath that has more than names and indexes.
    """

    position: int
    method: str
    text: str
    path: str
    steps: Sequence[int | str] | None

    def in_places(self, places: AnswerKeys) -> AnswerKeys:
        """Those of the places that are in documents of its method, without the method's name."""
        prefix = f"{self.method} "
        return {place.removeprefix(prefix): keys for place, keys in places.items() if place.startswith(prefix)}

    def closest(self, place: str, keys: Sequence[str]) -> str:
        """The path with one name replaced by the closest key; "" if none is close."""
        found = closest_path(self.path, self.steps, place, keys)
        return found if self.path.startswith("$") else found.removeprefix("$.")


def field_paths(methods: Iterable[ExtractionMethod]) -> dict[str, list[FieldPath]]:
    """The expressions by field, in the order of the methods."""
    found: dict[str, list[FieldPath]] = {}
    for position, method in enumerate(methods, 1):
        mappings = method.mappings()
        for field, expression in method.expressions().items():
            given = mappings[field]
            text = given if isinstance(given, str) else given.path
            path = FieldPath(position, method.method, text, expression.path, _steps(expression.path))
            found.setdefault(field, []).append(path)
    return found


def _steps(path: str) -> Sequence[int | str] | None:
    if path.startswith("$"):
        return compile_path(path).steps
    return compile_path(f"$.{path}").steps if _SIMPLE.fullmatch(path) else []


def field_of(path: CompiledPath) -> str | None:
    """The field that a column's path names, if it names one."""
    only = path.steps[0] if path.steps and len(path.steps) == 1 else None
    return only if isinstance(only, str) else None


def keys_of_fields(missing: Iterable[FieldPath], documents: Mapping[int, Sequence[Any]], answer: Any) -> AnswerKeys:
    """The keys where expressions end that yield nothing, by the method's name and the place.

    ``documents`` are those that the method at each position has searched. Has up to ``MOST_PLACES`` places.
    """
    found: AnswerKeys = {}
    for path, searched in ((path, documents[path.position]) for path in missing if documents.get(path.position)):
        for place, keys in keys_where_paths_end([path.steps], list(_best_last(searched, answer))).items():
            found.setdefault(f"{path.method} {place}", keys)
        if len(found) >= MOST_PLACES:
            break
    return found


def _best_last(searched: Sequence[Any], answer: Any) -> Iterator[Any]:
    """A method searches the best document first, but the whole answer, which is an envelope, tells the least."""
    is_envelope = searched[0] is answer
    yield from searched[:1] if is_envelope else ()
    yield from reversed(searched[1:] if is_envelope else searched)


class Ending(NamedTuple):
    """The place where a path ends, the keys there, and the closest path, "" if none is close."""

    place: str
    keys: list[str]
    closest: str


def ending_of(path: FieldPath, places: AnswerKeys) -> Ending | None:
    """The place where the path ends; None if its method found nothing to search in any answer."""
    own = path.in_places(places)
    if not own:
        return None
    place, keys = keys_at(path.steps, own)
    return Ending(place, keys, path.closest(place, keys))
