"""Forms of the admin API's requests. Fields, sections and bounds come from the models of the requests.

A new filter in ``bedrock_batches.violations`` is a new field here without a change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from starlette.datastructures import FormData

from bedrock_batches.request.job_config import JobConfig, RetryRequest
from bedrock_batches.request.models import model_table
from bedrock_batches.request.request_model import RequestModel

Typed = Mapping[str, Sequence[str]]
"""The typed texts by the field's name; several texts for several boxes."""
PAGES_OWN = frozenset({"force"})
"""Fields of requests that a page sets itself."""


class Kind(StrEnum):
    """How a field is shown. LINES is a list with an entry a line; BOXES are the known entries of a list."""

    NUMBER = "number"
    DATE = "date"
    TEXT = "text"
    LINES = "lines"
    BOXES = "boxes"
    CHOICE = "choice"
    FIXED = "fixed"


@dataclass(frozen=True)
class Field:
    """A field of a request. ``name`` is its path in the document, such as ``filters.dateRange.start``.

    ``hint`` says what it takes. ``options`` are values with their texts: all of them for BOXES and CHOICE, proposals
    for TEXT. A FIXED field has one value, which goes with its neighbours.
    """

    name: str
    title: str
    kind: Kind
    whole: bool = False
    hint: str = ""
    placeholder: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """A group of fields. ``name`` is the object in the document; "" for its top."""

    name: str
    title: str
    doc: str
    fields: tuple[Field, ...]


def job_sections(agencies: Sequence[str]) -> list[Section]:
    """The form of a new job. ``agencies`` are those of the deployment's lake."""
    models = [model_id for model_id, model in sorted(model_table().items()) if model.batch]
    return sections_of(JobConfig, {"filters.agencies": agencies, "batch.modelId": models})


def retry_sections() -> list[Section]:
    """The form of what a retry can change."""
    models = [model_id for model_id, model in sorted(model_table().items()) if model.batch]
    return sections_of(RetryRequest, {"batch.modelId": models})


def sections_of(model: type[RequestModel], values: Mapping[str, Sequence[str]]) -> list[Section]:
    """The sections of a request's model. ``values`` are known values of fields, by their names."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    sections: dict[str, Section] = {}
    for name, given in schema["properties"].items():
        if name in PAGES_OWN:
            continue
        inner = _resolved(given, definitions)
        is_object = "properties" in inner
        key = name if is_object else ""
        doc = _plain(inner.get("description", "")) if is_object else ""
        before = sections.get(key) or Section(key, title_of(key), doc, ())
        fields = (*before.fields, *_fields(name, given, definitions, values))
        sections[key] = Section(key, before.title, before.doc, fields)
    return list(sections.values())


def _fields(
    path: str, given: Mapping[str, Any], definitions: Mapping[str, Any], values: Mapping[str, Sequence[str]]
) -> Iterator[Field]:
    inner = _resolved(given, definitions)
    if "properties" in inner:
        for name, one in inner["properties"].items():
            yield from _fields(f"{path}.{name}", one, definitions, values)
        return
    known = tuple((value, value) for value in values.get(path, ()))
    title = title_of(path.partition(".")[2] or path)
    hint = _plain(given.get("description", "")) or _bounds(inner)
    default, example = given.get("default"), (given.get("examples") or [None])[0]
    placeholder = _text(default) if default is not None else f"for example {_text(example)}" if example else ""
    if "const" in inner:
        yield Field(path, title, Kind.FIXED, options=((inner["const"], inner["const"]),))
    elif inner.get("type") == "boolean":
        usual = f"default: {_text(default)}" if default is not None else "not set"
        options = [("", usual), ("true", "yes (true)"), ("false", "no (false)")]
        yield Field(path, title, Kind.CHOICE, hint=hint, options=tuple(options))
    elif "enum" in inner:
        options = [("", f"default: {default}"), *((value, value) for value in inner["enum"])]
        yield Field(path, title, Kind.CHOICE, hint=hint, options=tuple(options))
    elif inner.get("type") in ("number", "integer"):
        yield Field(path, title, Kind.NUMBER, inner["type"] == "integer", hint, placeholder)
    elif inner.get("type") == "array":
        if known:
            yield Field(path, title, Kind.BOXES, hint=hint, options=known)
        else:
            yield Field(path, title, Kind.LINES, hint=f"{hint} One per line.".strip(), placeholder=placeholder)
    elif inner.get("format") == "date":
        yield Field(path, title, Kind.DATE, hint=hint)
    else:
        yield Field(path, title, Kind.TEXT, hint=hint, placeholder=placeholder, options=known)


def _resolved(given: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a value that is given: without null, and without references."""
    for one in given.get("anyOf", ()):
        if one != {"type": "null"}:
            return _resolved(one, definitions)
    reference = given.get("$ref")
    return _resolved(definitions[reference.rpartition("/")[2]], definitions) if reference else given


def _bounds(inner: Mapping[str, Any]) -> str:
    least, most = inner.get("minimum"), inner.get("maximum")
    return "" if least is None or most is None else f"{_text(least)} to {_text(most)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.9f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(markdown: str) -> str:
    return re.sub(r"`+", "", markdown)


def title_of(name: str) -> str:
    """A name of the API as a person reads it: ``minFineAmount`` is ``Min fine amount``."""
    words = [word for part in name.split(".") for word in re.split(r"(?<=[a-z])(?=[A-Z0-9])", part)]
    text = " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
    return text[:1].upper() + text[1:]


def typed_of(form: FormData, sections: Sequence[Section]) -> dict[str, list[str]]:
    """The texts that were typed into these fields."""
    names = [field.name for section in sections for field in section.fields]
    return {name: [str(value) for value in form.getlist(name)] for name in names if name in form}


def typed_of_document(document: Mapping[str, Any], sections: Sequence[Section]) -> dict[str, list[str]]:
    """The texts that give this document when they are typed."""
    typed = {}
    for field in (field for section in sections for field in section.fields):
        value: Any = document
        for step in field.name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None or value == []:
            continue
        if field.kind is Kind.LINES:
            typed[field.name] = ["\n".join(map(str, value))]
        elif field.kind is Kind.BOXES:
            typed[field.name] = [str(one).lower() for one in value]
        else:
            typed[field.name] = [str(value).lower() if isinstance(value, bool) else str(value)]
    return typed


def document_of(typed: Typed, sections: Sequence[Section]) -> dict[str, Any]:
    """The request's document. A value that cannot be read as its type stays text, so the API reports it."""
    document: dict[str, Any] = {}
    for section in sections:
        given = [(field, _value(field, typed.get(field.name, ()))) for field in section.fields]
        given = [(field, value) for field, value in given if value is not None]
        if given:
            given += [(field, field.options[0][0]) for field in section.fields if field.kind is Kind.FIXED]
        for field, value in given:
            *groups, name = field.name.split(".")
            where = document
            for group in groups:
                where = where.setdefault(group, {})
            where[name] = value
    return document


def _value(field: Field, typed: Sequence[str]) -> Any:
    """The value of a field; None if nothing was typed."""
    texts = [text.strip() for text in typed if text.strip()]
    if not texts or field.kind is Kind.FIXED:
        return None
    if field.kind is Kind.BOXES:
        return texts
    text = texts[0]
    if field.kind is Kind.LINES:
        return [line.strip() for line in text.splitlines() if line.strip()]
    if field.kind is Kind.CHOICE and text in ("true", "false"):
        return text == "true"
    if field.kind is Kind.NUMBER:
        return _number(text, whole=field.whole)
    return text


def _number(text: str, *, whole: bool) -> int | float | str:
    """A number that JSON has, or the text as it is."""
    for read in (int,) if whole else (int, float):
        try:
            number = read(text.replace(",", "").replace("_", ""))
        except ValueError:
            continue
        if isinstance(number, int) or math.isfinite(number):
            return number
    return text


def problems_by_field(problems: Sequence[Mapping[str, str]], sections: Sequence[Section]) -> dict[str, str]:
    """The API's problem with each field, by the field's name."""
    found: dict[str, str] = {}
    names = {field.name for section in sections for field in section.fields}
    for problem in problems:
        name = re.sub(r"\[.*", "", problem["path"].removeprefix("config."))
        if name in names:
            found[name] = f"{problem['message']}: {problem['fix']}"
    return found
