"""The rules of an extraction: an ordered list of methods, and the transforms that a file defines itself."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from foundation.validation import Part, refuse
from row_batches.extraction.methods import AnyMethod, ExtractionMethod
from row_batches.extraction.transforms import RegexTransform, Transforms, find_transform

MAX_METHODS = 50
MAX_FIELDS = 1_000

ExtractionMethods = Annotated[list[AnyMethod], Field(max_length=MAX_METHODS)]
"""The type of ``extraction_methods`` in every file. A file that defines transforms checks the names of them with
``check_transforms``."""


def check_transforms(methods: Iterable[ExtractionMethod], transforms: Mapping[str, RegexTransform]) -> None:
    """Refuse the first transform that is neither built in nor one of ``transforms``; call it from a validator."""
    for index, method in enumerate(methods):
        for field, expression in method.expressions().items():
            for name in expression.transforms:
                try:
                    find_transform(name, transforms)
                except ValueError as error:
                    message, _, fix = str(error).partition("; ")
                    refuse(message, fix, at=(index, *method.place_of(field)))


def fields_of(methods: Iterable[ExtractionMethod]) -> list[str]:
    """The fields that the methods can yield, in the order in which they are first named."""
    return list(dict.fromkeys(field for method in methods for field in method.expressions()))


class ExtractionRules(Part):
    """A part of a document or file that has extraction methods and can define transforms."""

    transforms: Transforms = Field(
        default={}, description='transforms of your own: name → `{"regex", "group"}`, for `extraction_methods`'
    )
    extraction_methods: ExtractionMethods = Field(
        default=[],
        description="[methods](extraction.md) in order: each field is taken from the first one that yields it. "
        f"Up to {MAX_METHODS} methods and {MAX_FIELDS:,} fields",
    )

    @field_validator("extraction_methods", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return [] if value is None else value

    @field_validator("extraction_methods")
    @classmethod
    def _check_methods(cls, methods: list[Any], info: ValidationInfo) -> list[Any]:
        if len(fields_of(methods)) > MAX_FIELDS:
            refuse(f"more than {MAX_FIELDS:,} fields", "keep the ones that are needed")
        if "transforms" in info.data:
            check_transforms(methods, info.data["transforms"])
        return methods
