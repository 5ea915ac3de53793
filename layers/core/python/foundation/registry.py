"""Registries: tuples of plain classes, checked when they are imported."""

from __future__ import annotations

from typing import Any, ClassVar, get_origin, get_type_hints


def registry(kind: type, *members: Any) -> tuple[Any, ...]:
    """The members of a kind, in order. Raises TypeError with the name of each part of the kind that a member lacks.

    The parts are the kind's abstract methods, the class variables that it declares without a value, and the fields of
    its model, which each member narrows to its own type.
    """
    variables = [
        name
        for name, hint in get_type_hints(kind, include_extras=True).items()
        if get_origin(hint) is ClassVar and not hasattr(kind, name)
    ]
    for member in members:
        missing = [
            *(name for name in variables if not hasattr(member, name)),
            *(name for name, field in _fields(kind).items() if _fields(member)[name].annotation is field.annotation),
            *sorted(getattr(member, "__abstractmethods__", ())),
        ]
        if missing:
            raise TypeError(f"{member.__name__} lacks {', '.join(missing)}: every {kind.__name__} has its own")
    return members


def _fields(model: type) -> dict[str, Any]:
    return getattr(model, "model_fields", {})
