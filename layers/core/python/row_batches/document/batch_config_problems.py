"""What pydantic finds in an input document, as problems with path, value and fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic_core import ErrorDetails

from foundation.errors import Problem
from foundation.problems import PROBLEMS_OF_BOUND, PROBLEMS_OF_TYPE, closest, listed, path_of, shown
from foundation.validation import Part
from row_batches.document.batch_config import BatchConfig
from row_batches.mapping.transformations import TRANSFORMATION_OF, TRANSFORMATIONS, Transformation

_SECRET_NAME = re.compile(r"secret|password|passwd|token|credential|api_?key|authorization", re.IGNORECASE)
_TRANSFORMATION_TYPES = tuple(TRANSFORMATION_OF)
_TRANSFORMATION = ("input_mapping", "transformations", "*")


def _models(model: type[Part], where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type[Part]]]:
    """The model and those of its fields, with their places in the document; ``*`` is any index or name."""
    yield where, model
    for name, field in model.model_fields.items():
        for place, part in _parts(field.annotation, (*where, name)):
            yield from _models(part, place)


def _parts(annotation: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[Part]]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield where, annotation
    elif get_origin(annotation) in (list, dict):
        yield from _parts(get_args(annotation)[-1], (*where, "*"))
    elif get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0], where)
    elif get_origin(annotation) in (Union, UnionType) and get_args(annotation) != TRANSFORMATIONS:
        for member in get_args(annotation):
            yield from _parts(member, where)


_MODELS: Mapping[tuple[str, ...], type[Part]] = MappingProxyType(dict(_models(BatchConfig)))
"""By place. Those of transformations depend on their type and are not among them."""


def problem_of(detail: ErrorDetails) -> Problem:
    kind, location = detail["type"], detail["loc"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    tag = ""
    if len(location) > 3 and location[:2] == ("input_mapping", "transformations") and location[3] in TRANSFORMATION_OF:
        tag = str(location[3])  # pydantic puts the union's tag into the path; no such level is in the document
        location = location[:3] + location[4:]
    if location and location[-1] == "[key]":
        location = location[:-1]
    path = path_of(*location) or "input"
    value = shown_unless_secret(location, detail["input"])
    if kind == "problem":
        return Problem(path, value, str(context["message"]), str(context["fix"]))
    if kind == "missing":
        return Problem(path, "", "is required", f"add {shown(str(location[-1]))}")
    if kind == "extra_forbidden":
        return Problem(path, "", "unknown field", _fix_of_unknown(location, tag))
    if kind in PROBLEMS_OF_TYPE:
        message, fix = PROBLEMS_OF_TYPE[kind]
        return Problem(path, value, message, fix)
    if kind in PROBLEMS_OF_BOUND:
        key, words = PROBLEMS_OF_BOUND[kind]
        message, fix = _bounds(location, f"{words} {context[key]:,}")
        return Problem(path, value, message, fix)
    if kind == "literal_error":
        return Problem(path, value, "not an allowed value", f"write one of {context['expected']}")
    if kind == "union_tag_invalid":
        given = str(context["tag"])
        nearest = closest(given, _TRANSFORMATION_TYPES)
        hint = f"did you mean {nearest}? " if nearest else ""
        known = listed(_TRANSFORMATION_TYPES)
        return Problem(f"{path}.type", shown(given), "unknown transformation type", f"{hint}known: {known}")
    if kind == "union_tag_not_found":
        return Problem(f"{path}.type", "", "is required", f"write one of {listed(_TRANSFORMATION_TYPES)}")
    if kind == "string_too_short":
        return Problem(path, "", "is empty", "write at least one character")
    if kind == "too_short":
        return Problem(path, "", "is empty", "name at least one")
    if kind == "string_too_long":
        return Problem(path, value, f"has more than {context['max_length']} characters", "shorten it")
    return Problem(path, value, detail["msg"], "see the reference of the input document")


def _bounds(location: tuple[int | str, ...], broken: str) -> tuple[str, str]:
    """The bound that is broken, and both bounds as the fix."""
    model = _MODELS.get(_place(location[:-1]))
    field = model.model_fields.get(str(location[-1])) if model is not None else None
    if field is not None:
        low, high = _limits(field.metadata)
        if low is not None and high is not None:
            return f"must be {broken}", f"write a number from {low:,} to {high:,}"
    return f"must be {broken}", f"write a number of {broken}"


def _place(location: tuple[int | str, ...]) -> tuple[str, ...]:
    return tuple("*" if isinstance(part, int) else part for part in location)


def _limits(metadata: Iterable[Any]) -> tuple[float | None, float | None]:
    low = high = None
    for item in metadata:
        low = getattr(item, "ge", getattr(item, "gt", low))
        high = getattr(item, "le", high)
    return low, high


def _fix_of_unknown(location: tuple[int | str, ...], tag: str) -> str:
    name = str(location[-1])
    parent = _place(location[:-1])
    if tag:
        transformation = TRANSFORMATION_OF[tag]
        model = transformation if parent[3:4] != ("config",) else _config_of(transformation)
        if name in transformation.model_fields:
            return f"{name} stands beside config, not in it"
        return _nearest_field(name, model.model_fields)
    nearest = _nearest_field(name, _MODELS[parent].model_fields if parent in _MODELS else ())
    if not nearest.startswith("did you mean"):
        known: dict[tuple[str, ...], type[Part]] = {**_MODELS, _TRANSFORMATION: Transformation}
        for where, model in known.items():
            if name in model.model_fields:
                return f"{name} belongs in {path_of(*where) or 'the document itself'}"
    return nearest


def _config_of(transformation: type[Transformation]) -> type[Part]:
    config = transformation.model_fields["config"].annotation
    assert isinstance(config, type)
    assert issubclass(config, Part)
    return config


def _nearest_field(name: str, known: Iterable[str]) -> str:
    nearest = closest(name, known)
    return f"did you mean {nearest}?" if nearest else f"remove it; known: {listed(list(known))}"


def shown_unless_secret(location: tuple[int | str, ...], value: object) -> str:
    """The value for a message: never one that may be a secret. Objects and lists show only their shape."""
    if any(isinstance(part, str) and (part == "static_values" or _SECRET_NAME.search(part)) for part in location):
        return ""
    return shown(value)
