"""The base class of the models of the API's bodies, and the translation of their errors into problems with a fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails

from foundation.errors import Problem
from foundation.lazy_model import LazyModel
from foundation.problems import PROBLEMS_OF_BOUND, PROBLEMS_OF_TYPE, closest, path_of, shown


class RequestModel(LazyModel):
    """Base of the models of bodies: strict types, camel case names, no unknown fields; null means absent."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        serialize_by_alias=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _null_means_absent(cls, data: Any) -> Any:
        """Remove nulls. A null under an unknown name stays, so that the name is refused."""
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {name: value for name, value in data.items() if value is not None or name not in known}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The JSON schema, which allows null for every optional field."""
        schema = handler(core_schema)
        own = handler.resolve_ref_schema(schema)
        for name, field in own["properties"].items():
            if name not in own.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()):
                about = {word: field.pop(word) for word in ("title", "description", "default") if word in field}
                own["properties"][name] = {"anyOf": [field, {"type": "null"}], **about}
        return schema


def problems_of_fields(invalid: ValidationError, model: type[RequestModel]) -> list[Problem]:
    """The problems of the request's fields, without those of defaults that need a wrong field."""
    details = invalid.errors(include_url=False)
    return [problem_of(detail, model) for detail in details if detail["type"] != "default_factory_not_called"]


def problem_of(detail: ErrorDetails, model: type[RequestModel]) -> Problem:
    """The problem that pydantic found in a document of ``model``."""
    kind, location = detail["type"], detail["loc"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    path, value = path_of(*location) or "body", shown(detail["input"])
    if kind == "problem":
        return Problem(path, value, str(context["message"]), str(context["fix"]))
    if kind == "missing":
        return Problem(path, "", "is required", f"add {shown(location[-1])}")
    if kind == "extra_forbidden":
        known = _names(model, location[:-1])
        nearest = closest(str(location[-1]), known)
        fix = f"did you mean {nearest}?" if nearest else f"remove it; known: {', '.join(known)}"
        return Problem(path, "", "unknown field", fix)
    if kind in PROBLEMS_OF_TYPE:
        return Problem(path, value, *PROBLEMS_OF_TYPE[kind])
    if kind in PROBLEMS_OF_BOUND:
        name, words = PROBLEMS_OF_BOUND[kind]
        bound = f"{words} {context[name]:,.15g}"
        return Problem(path, value, f"must be {bound}", f"write a number of {bound}")
    if kind == "literal_error":
        return Problem(path, value, "not an allowed value", f"write one of {context['expected']}")
    if kind == "string_too_long":
        return Problem(path, value, f"has more than {context['max_length']:,} characters", "shorten it")
    if kind == "too_long":
        return Problem(path, value, f"has more than {context['max_length']:,} entries", "name fewer")
    return Problem(path, value, detail["msg"], "see the reference of the admin API")


def _names(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The fields' names at a place in the document."""
    for name in location:
        fields = {field.alias: field.annotation for field in model.model_fields.values()}
        inner = fields.get(str(name))
        candidates = [inner, *getattr(inner, "__args__", ())]
        model = next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), model)
    return [str(field.alias) for field in model.model_fields.values()]
