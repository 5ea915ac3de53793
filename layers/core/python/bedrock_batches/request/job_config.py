"""The request for a batch: ``{config: {filters, limits, batch?, pricing?}}``, and every problem in it at once.

Names are those of the API, in camel case. Null means absent, everywhere. Types are strict: ``"5"`` is no number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from bedrock_batches.select.selection import select_agencies
from foundation.errors import InvalidInputError, Problem
from foundation.problems import PROBLEMS_OF_BOUND, PROBLEMS_OF_TYPE, closest, path_of, shown

DEFAULT_MAX_TOKENS = 500
DEFAULT_TEMPERATURE = 0.2
MOST_VIOLATIONS = 500_000
"""So many lines fit into the processor's /tmp."""
MOST_NAMES = 200


def _refuse(message: str, fix: str) -> NoReturn:
    raise PydanticCustomError("problem", "{message}", {"message": message, "fix": fix})


def _read_date(value: object) -> object:
    """A date of the form 2026-01-31. Raises the problem for anything else."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        try:
            return date.fromisoformat(value)
        except ValueError:
            _refuse("not a day of the calendar", "write an existing day as YYYY-MM-DD")
    if isinstance(value, date):
        return value
    _refuse("not a date", "write a text such as 2026-01-31")


def _check_name(value: str) -> str:
    if not value.strip():
        _refuse("is empty", "write a name, or remove it")
    return value


class Part(BaseModel):
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
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """With null for every field that may be absent."""
        schema = handler(core_schema)
        own = handler.resolve_ref_schema(schema)
        for name, field in own["properties"].items():
            if name not in own.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()):
                about = {word: field.pop(word) for word in ("title", "description", "default") if word in field}
                own["properties"][name] = {"anyOf": [field, {"type": "null"}], **about}
        return schema


Day = Annotated[date, BeforeValidator(_read_date), WithJsonSchema({"type": "string", "format": "date"})]
Names = Annotated[
    list[Annotated[str, Field(max_length=200), AfterValidator(_check_name)]], Field(max_length=MOST_NAMES)
]
Amount = Annotated[float, Field(ge=0, le=1e12)]
SpendLimit = Annotated[float, Field(gt=0, le=1_000_000)]
Days = Annotated[int, Field(ge=0, le=100_000)]
MaxTokens = Annotated[int, Field(ge=1, le=8_192)]
TimeoutHours = Annotated[int, Field(ge=24, le=168)]


class DateRange(Part):
    """Both ends belong to it."""

    start: Day | None = None
    end: Day | None = None


class Filters(Part):
    """Which violations; an absent or empty filter lets all through. Agencies and types match whatever their case."""

    min_fine_amount: Amount | None = None
    max_fine_amount: Amount | None = None
    agencies: Names | None = None
    date_range: DateRange | None = None
    violation_types: Names | None = None
    exclude_types: Names | None = None
    has_fatalities: bool | None = None
    min_days_old: Days | None = None
    max_days_old: Days | None = None


class Limits(Part):
    """Who is cut by a limit is decided by priority: tier, then fine, then date."""

    max_violations: Annotated[int, Field(ge=1, le=MOST_VIOLATIONS)] = 10_000
    max_spend_usd: Annotated[SpendLimit, Field(alias="maxSpendUSD")] = 50.0
    max_percent: Annotated[float, Field(ge=1, le=100)] = 100.0
    priority: Literal["high", "medium", "low", "all"] = "all"


def _default_temperature(before: Mapping[str, Any]) -> float | None:
    """None beside ``topP``: models take one of the two, and some refuse both."""
    return DEFAULT_TEMPERATURE if before.get("top_p") is None else None


class Batch(Part):
    """How the model runs. ``onDemandBelowMinimum``: fewer records than a batch job takes run at once, at full price."""

    model_id: Annotated[str, Field(max_length=2_048)] | None = None
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = Field(default_factory=_default_temperature)
    timeout_hours: TimeoutHours = 24
    on_demand_below_minimum: bool = False


class FlatPricing(Part):
    """Price of batch inference by a fixed number of tokens a record, instead of by the real prompts."""

    method: Literal["flat"]
    tokens_per_record: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    usd_per_1k_tokens: Annotated[float, Field(alias="usdPer1kTokens", gt=0, le=1_000)] = 0.001


class JobConfig(Part):
    filters: Filters = Filters()
    limits: Limits = Limits()
    batch: Batch = Batch()
    pricing: FlatPricing | None = None

    def document(self) -> dict[str, Any]:
        """As the API gave it, with defaults; absent values left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class JobRequest(Part):
    """Body of ``POST /admin/bedrock/batch`` and of ``…/estimate``."""

    config: JobConfig


class RetryBatch(Part):
    model_id: Annotated[str, Field(max_length=2_048)] | None = None
    max_tokens: MaxTokens | None = None
    timeout_hours: TimeoutHours | None = None


class RetryRequest(Part):
    """Body of ``POST …/{jobId}/retry``, all of it optional; what is absent is as in the job that is retried."""

    batch: RetryBatch = RetryBatch()

    on_demand_below_minimum: bool | None = None
    max_spend_usd: Annotated[SpendLimit | None, Field(alias="maxSpendUSD")] = None


def parse_job_request(
    document: object, *, models: Collection[str], default_model: str, agencies: Sequence[str]
) -> JobConfig:
    """The configuration, with the model chosen. Raises InvalidInputError naming every problem.

    ``models``: what batch inference takes here; ``agencies``: those of the lake.
    """
    if not isinstance(document, dict):
        raise InvalidInputError([Problem("body", shown(document), "not a JSON object", 'write {"config": {...}}')])
    problems = list(_problems_across_fields(document, models, agencies))
    try:
        request = JobRequest.model_validate(document)
    except ValidationError as invalid:
        raise InvalidInputError([*_problems_of_fields(invalid, JobRequest), *problems]) from None
    if problems:
        raise InvalidInputError(problems)
    config = request.config
    if config.batch.model_id is not None:
        return config
    return config.model_copy(update={"batch": config.batch.model_copy(update={"model_id": default_model})})


def parse_retry_request(document: object, models: Collection[str]) -> RetryRequest:
    """An absent body asks for no change. Raises InvalidInputError naming every problem."""
    if document is None:
        return RetryRequest()
    if not isinstance(document, dict):
        raise InvalidInputError([Problem("body", shown(document), "not a JSON object", "write {...} or no body")])
    problems = list(_problems_of_model("batch.modelId", _section(document, "batch").get("modelId"), models))
    try:
        request = RetryRequest.model_validate(document)
    except ValidationError as invalid:
        raise InvalidInputError([*_problems_of_fields(invalid, RetryRequest), *problems]) from None
    if problems:
        raise InvalidInputError(problems)
    return request


def stored_config(document: Mapping[str, Any]) -> JobConfig:
    """What ``JobConfig.document`` gave."""
    return JobConfig.model_validate(document)


# --- what no single field shows, read from the raw document, so that a mistake elsewhere does not hide it


def _problems_across_fields(
    document: Mapping[str, Any], models: Collection[str], agencies: Sequence[str]
) -> Iterator[Problem]:
    config = _section(document, "config")
    filters = _section(config, "filters")
    for low, high in (("minFineAmount", "maxFineAmount"), ("minDaysOld", "maxDaysOld")):
        least, most = _number(filters.get(low)), _number(filters.get(high))
        if least is not None and most is not None and least > most:
            yield Problem(
                f"config.filters.{high}", shown(most), f"is below {low} ({shown(least)})", "exchange the two values"
            )
    dates = _section(filters, "dateRange")
    start, end = _day(dates.get("start")), _day(dates.get("end"))
    if start is not None and end is not None and end < start:
        yield Problem(
            "config.filters.dateRange.end", shown(str(end)), f"is before start ({start})", "exchange the two days"
        )
    wanted = filters.get("agencies")
    if isinstance(wanted, list) and all(isinstance(name, str) for name in wanted):
        try:
            select_agencies(wanted, agencies)
        except InvalidInputError as error:
            yield from error.problems
    yield from _problems_of_model("config.batch.modelId", _section(config, "batch").get("modelId"), models)


def _problems_of_model(path: str, model: object, models: Collection[str]) -> Iterator[Problem]:
    if isinstance(model, str) and model not in models:
        nearest = closest(model, models)
        hint = f"did you mean {nearest}? " if nearest else ""
        yield Problem(
            path,
            shown(model),
            "batch inference does not take this model here",
            f"{hint}known: {', '.join(sorted(models))}",
        )


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = document.get(name)
    return section if isinstance(section, dict) else {}


def _number(value: object) -> int | float | None:
    """What compares as a number; whole numbers beyond every bound are left to the fields' own checks."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


# --- from pydantic's errors to problems


def _problems_of_fields(invalid: ValidationError, model: type[Part]) -> list[Problem]:
    """Without defaults that pydantic could not compute beside a field that is wrong: nobody wrote these."""
    details = invalid.errors(include_url=False)
    return [problem_of(detail, model) for detail in details if detail["type"] != "default_factory_not_called"]


def problem_of(detail: ErrorDetails, model: type[Part]) -> Problem:
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
