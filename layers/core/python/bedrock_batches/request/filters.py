"""The filters of a request: one model, and the checks between filters, derived from the data set's registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from pydantic import Field, TypeAdapter, ValidationError, create_model

from bedrock_batches.dataset import AnyFilter
from bedrock_batches.request.request_model import RequestModel
from bedrock_batches.violations import FILTERS
from foundation.errors import Problem
from foundation.problems import shown


class FiltersPart(RequestModel):
    """The records to take. An absent or empty filter passes all."""

    def given(self) -> dict[str, Any]:
        """The value of each filter that the request gives, by the filter's name."""
        return dict(_flat(self))


def _flat(model: RequestModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, RequestModel):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def filters_model(filters: Sequence[AnyFilter]) -> type[FiltersPart]:
    """The model of these filters. A filter named ``dateRange.start`` is field ``start`` of the object ``dateRange``."""
    fields: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for one in filters:
        group, _, name = one.name.rpartition(".")
        where = inner.setdefault(group, {}) if group else fields
        where[name] = _optional(one.value, one.doc, one.example)
        if group:
            fields.setdefault(group, None)
    for group, of in inner.items():
        model = create_model(group[0].upper() + group[1:], __base__=RequestModel, **of)
        fields[group] = _optional(model, "", None)
    return create_model("Filters", __base__=FiltersPart, __doc__=FiltersPart.__doc__, **fields)


def _optional(kind: Any, doc: str, example: Any) -> tuple[Any, Any]:
    return kind | None, Field(None, description=doc or None, examples=None if example is None else [example])


if TYPE_CHECKING:
    Filters = FiltersPart
else:
    Filters = filters_model(FILTERS)


def problems_between_filters(filters: Mapping[str, Any]) -> Iterator[Problem]:
    """Filters of a raw document whose value is above that of the filter that bounds them."""
    by_name = {one.name: one for one in FILTERS}
    for low in FILTERS:
        if not low.not_above:
            continue
        high = by_name[low.not_above]
        least, most = _value(low, filters), _value(high, filters)
        if least is None or most is None or least <= most:
            continue
        if isinstance(least, date):
            told, fix = f"is before {low.name.rpartition('.')[2]} ({least})", "swap the two days"
        else:
            told, fix = f"is below {low.name} ({shown(_written(low, filters))})", "swap the two values"
        yield Problem(f"config.filters.{high.name}", shown(_written(high, filters)), told, fix)


def _written(one: AnyFilter, filters: Mapping[str, Any]) -> Any:
    value: Any = filters
    for name in one.name.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _value(one: AnyFilter, filters: Mapping[str, Any]) -> Any:
    """The filter's value; None when it is absent or not valid, which its own check reports."""
    try:
        return TypeAdapter(one.value).validate_python(_written(one, filters), strict=True)
    except ValidationError:
        return None
