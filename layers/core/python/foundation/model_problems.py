"""Turns pydantic's errors about a user's document or file into problems with path, value and fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from foundation.errors import Problem
from foundation.problems import closest, did_you_mean, listed, path_of, shown
from foundation.validation import Part

_CONFIDENTIAL = "(?i)secret|password|passwd|(?<!max)(?<!max_)token(?!s_per_minute)|credential|api_?key|authorization"
_PROBLEMS_OF_TYPE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "string_type": ("not a text", "write a text in quotes"),
        "int_type": ("not a whole number", "write a whole number, without quotes"),
        "int_from_float": ("not a whole number", "write a whole number, without quotes"),
        "float_type": ("not a number", "write a number, without quotes"),
        "finite_number": ("not a finite number", "write a finite number"),
        "bool_type": ("not a boolean", "write true or false, without quotes"),
        "dict_type": ("not an object", "write {...}"),
        "list_type": ("not a list", "write [...]"),
        "model_type": ("not an object", "write {...}"),
        "model_attributes_type": ("not an object", "write {...}"),
    }
)
"""By the kind of pydantic's error: what is wrong, and what to write."""
_PROBLEMS_OF_BOUND: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "greater_than_equal": ("ge", "at least"),
        "less_than_equal": ("le", "at most"),
        "greater_than": ("gt", "more than"),
        "less_than": ("lt", "less than"),
    }
)
"""By the kind of pydantic's error: the bound's key in its context, and the words for it."""
Location = tuple[int | str, ...]


class LocatedProblem(NamedTuple):
    """A problem and its location: names and indexes from the document's root."""

    location: Location
    problem: Problem


class ModelProblems:
    """Reads the errors of a model. ``document`` is the path of its root in a problem."""

    def __init__(self, root: type[Part], document: str = "input") -> None:
        self._root = root
        self._document = document

    def of(self, invalid: ValidationError) -> list[Problem]:
        return [located.problem for located in self.located(invalid)]

    def located(self, invalid: ValidationError) -> list[LocatedProblem]:
        """The problems without those of defaults that need a wrong field."""
        details = invalid.errors(include_url=False)
        return [self._located(detail) for detail in details if detail["type"] != "default_factory_not_called"]

    def _located(self, detail: ErrorDetails) -> LocatedProblem:
        context: Mapping[str, Any] = detail.get("ctx", {})
        given = detail["loc"][:-1] if detail["loc"][-1:] == ("[key]",) else detail["loc"]
        at = _follow(self._root, given)
        location = (*at.location, *context.get("at", ()))
        path = path_of(*location) or self._document
        return LocatedProblem(location, self._problem(detail, context, at, path))

    def _problem(self, detail: ErrorDetails, context: Mapping[str, Any], at: _Place, path: str) -> Problem:
        kind = detail["type"]
        value = shown_unless_secret(at.location, detail["input"])
        if kind == "problem":
            # A problem further inside shows its own value in its message.
            return Problem(path, "" if context.get("at") else value, str(context["message"]), str(context["fix"]))
        if kind == "missing":
            return Problem(path, "", "is required", f"add {shown(str(at.location[-1]))}")
        if kind == "extra_forbidden":
            return Problem(path, "", "unknown field", self._fix_of_unknown(at))
        if kind in _PROBLEMS_OF_TYPE:
            message, fix = _PROBLEMS_OF_TYPE[kind]
            return Problem(path, value, message, fix)
        if kind in _PROBLEMS_OF_BOUND:
            key, words = _PROBLEMS_OF_BOUND[kind]
            message, fix = _bounds(at, f"{words} {_number(context[key])}")
            return Problem(path, value, message, fix)
        if kind == "literal_error":
            return Problem(path, value, "not an allowed value", f"write one of {context['expected']}")
        if kind in ("union_tag_invalid", "union_tag_not_found"):
            tag_name = context["discriminator"].strip("'")
            known = list(_members(at.annotation, tag_name))
            if kind == "union_tag_not_found":
                return Problem(f"{path}.{tag_name}", "", "is required", f"write one of {listed(known)}")
            tag = str(context["tag"])
            fix = f"{did_you_mean(tag, known)}known: {listed(known)}"
            return Problem(f"{path}.{tag_name}", shown(tag), f"unknown {tag_name}", fix)
        if kind == "string_too_short":
            return Problem(path, "", "is empty", "write at least one character")
        if kind == "too_short":
            return Problem(path, "", "is empty", "name at least one")
        if kind == "string_too_long":
            return Problem(path, value, f"has more than {context['max_length']:,} characters", "shorten it")
        if kind == "too_long":
            return Problem(path, value, f"has more than {context['max_length']:,} entries", "name fewer")
        return Problem(path, value, detail["msg"], f"see the reference of the {self._document}")

    def _fix_of_unknown(self, at: _Place) -> str:
        name = str(at.location[-1])
        where, parent = at.models[-1]
        known = _fields(parent)
        if nearest := closest(name, known):
            return f"did you mean {nearest}?"
        removal = f"remove it; known: {listed(list(known))}"
        if at.member is not None:
            is_beside = parent is not at.member and name in _fields(at.member)
            return f"write {name} beside {where[-1]}, not in it" if is_beside else removal
        for where, model in _all_models(self._root):
            if name in _fields(model):
                return f"{name} belongs in {path_of(*where) or 'the document itself'}"
        return removal


@dataclass(slots=True)
class _Place:
    """A location in the document, without the tags of union members that pydantic adds to it.

    ``models`` are the models on the way to it, each with its own location. ``annotation`` is the type of the value
    there, and ``field`` is the model's field. ``member`` is the union member that the location is in.
    """

    location: Location
    models: list[tuple[Location, type[Part]]]
    annotation: Any
    field: FieldInfo | None = None
    member: type[Part] | None = None


def _follow(root: type[Part], given: Location) -> _Place:
    at = _Place((), [((), root)], root)
    for part in given:
        current = _plain(at.annotation)
        tagged = _union_members(current)
        if tagged and part in tagged:
            at.annotation = at.member = tagged[str(part)]
            at.models.append((at.location, at.member))
            continue
        at.location = (*at.location, part)
        at.field = None
        if _is_model(current):
            at.field = _fields(current).get(str(part))
            at.annotation = at.field.annotation if at.field else None
            if at.field and at.field.discriminator:
                at.annotation = Annotated[at.annotation, at.field]
        elif get_origin(current) in (list, dict):
            at.annotation = get_args(current)[-1]
        else:
            at.annotation = None
        inner = _plain(at.annotation)
        if _is_model(inner):
            at.models.append((at.location, inner))
    return at


def _plain(annotation: Any) -> Any:
    """The annotation without None and without metadata, except for a union's tag."""
    if get_origin(annotation) is Annotated and not _discriminator(annotation):
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return _plain(members[0])
    return annotation


def _discriminator(annotation: Any) -> str | None:
    fields = [item for item in get_args(annotation)[1:] if isinstance(item, FieldInfo)]
    return next((str(field.discriminator) for field in fields if field.discriminator), None)


def _union_members(annotation: Any) -> dict[str, type[Part]]:
    tag_name = _discriminator(annotation) if get_origin(annotation) is Annotated else None
    return _members(annotation, tag_name) if tag_name else {}


def _members(annotation: Any, tag_name: str) -> dict[str, type[Part]]:
    """The members of a union by their tags."""
    annotation = _plain(annotation)
    union = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return {
        get_args(_fields(member)[tag_name].annotation)[0]: member
        for member in get_args(union)
        if _is_model(member) and tag_name in _fields(member)
    }


def _fields(model: type[Part]) -> dict[str, FieldInfo]:
    """The fields by their names in the document."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Part)


def _all_models(root: type[Part]) -> Iterator[tuple[Location, type[Part]]]:
    """The models of a document with their places, nearest to the root first. ``*`` stands for any index or name.

    The members of a union come last, because it depends on the document which of them it has.
    """
    later: list[tuple[Location, type[Part]]] = []
    left: list[tuple[Location, type[Part]]] = [((), root)]
    while left:
        where, model = left.pop(0)
        yield where, model
        for name, field in _fields(model).items():
            inner, place = _plain(field.annotation), (*where, name)
            while get_origin(inner) in (list, dict):
                inner, place = _plain(get_args(inner)[-1]), (*place, "*")
            if _is_model(inner):
                left.append((place, inner))
            later += [(place, member) for member in _union_members(inner).values()]
    yield from later


def _bounds(at: _Place, broken: str) -> tuple[str, str]:
    """The message with the broken bound, and the fix with both bounds."""
    if at.field is not None:
        low, high = _limits(at.field.metadata)
        if low is not None and high is not None:
            return f"must be {broken}", f"write a number from {_number(low)} to {_number(high)}"
    return f"must be {broken}", f"write a number of {broken}"


def _number(bound: float) -> str:
    return f"{bound:,.15g}"


def _limits(metadata: Iterable[Any]) -> tuple[float | None, float | None]:
    low = high = None
    for item in metadata:
        low = getattr(item, "ge", getattr(item, "gt", low))
        high = getattr(item, "le", high)
    return low, high


def shown_unless_secret(location: Location, value: object) -> str:
    """The value as a message shows it, or "" if it could be a secret. Objects and lists show only their shape."""
    if any(isinstance(part, str) and (part == "static_values" or re.search(_CONFIDENTIAL, part)) for part in location):
        return ""
    return shown(value)
