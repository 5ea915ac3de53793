"""The base class of the models of the API's bodies."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from foundation.validation import Part


class RequestModel(Part):
    """Base of the models of bodies: camel case names; null means absent."""

    model_config = ConfigDict(
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
