"""Building blocks for pydantic models of users' documents: a strict base class, and validators that name the fix."""

import re
from collections.abc import Callable
from typing import NoReturn

from pydantic import AfterValidator, ConfigDict
from pydantic_core import PydanticCustomError

from foundation.lazy_model import LazyModel


class Part(LazyModel):
    """A part of a document: strict types, no other fields, and only finite numbers. Defaults are validated, too."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
    )


def refuse(message: str, fix: str, at: tuple[int | str, ...] = ()) -> NoReturn:
    """Raise the error of a field, with its fix. ``at`` is the place within the value, if it has parts."""
    raise PydanticCustomError("problem", "{message}", {"message": message, "fix": fix, "at": at})


def compiles(compile_text: Callable[[str], object], what: str, fix: str) -> AfterValidator:
    """Refuses texts for which ``compile_text`` raises ValueError. The message is ``what`` and the error's."""

    def check(text: str) -> str:
        try:
            compile_text(text)
        except ValueError as error:
            refuse(f"{what}: {error}", fix)
        return text

    return AfterValidator(check)


def matches(pattern: str, what: str, fix: str) -> AfterValidator:
    """Refuses texts that do not match ``pattern`` as a whole. The message is ``what``."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:  # compiled at its first use
            refuse(what, fix)
        return text

    return AfterValidator(check)
