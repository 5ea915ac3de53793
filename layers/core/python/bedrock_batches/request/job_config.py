"""The request for a batch: ``{config: {filters, limits, batch?, pricing?}}``, and every problem in it at once.

Names are those of the API, in camel case. Null means absent, everywhere. Types are strict: ``"5"`` is no number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from bedrock_batches.dataset import Rounded
from bedrock_batches.request.filters import Filters, problems_between_filters
from bedrock_batches.request.request_model import RequestModel
from bedrock_batches.select.selection import ALL_TIERS, TABLES, select_agencies
from bedrock_batches.violations import TIERS
from foundation.errors import InvalidInputError, Problem
from foundation.model_problems import ModelProblems
from foundation.problems import did_you_mean, shown
from foundation.validation import refuse

DEFAULT_MAX_TOKENS = 500
DEFAULT_TEMPERATURE = 0.2
MOST_VIOLATIONS = 500_000
"""The most records of a job, because their lines must fit into the processor's /tmp."""
PRIORITIES = (*(tier.name for tier in TIERS), ALL_TIERS)


def _check_priority(value: object) -> object:
    if value not in PRIORITIES:
        refuse("not an allowed value", f"write one of {', '.join(PRIORITIES)}")
    return value


Priority = Annotated[
    str, BeforeValidator(_check_priority), WithJsonSchema({"type": "string", "enum": list(PRIORITIES)})
]
SpendLimit = Annotated[float, Field(ge=0.000001, le=1_000_000), Rounded]
Share = Annotated[float, Field(ge=0, le=1), Rounded]
ModelId = Annotated[str, Field(max_length=2_048)]
MaxTokens = Annotated[int, Field(ge=1, le=8_192)]
TimeoutHours = Annotated[int, Field(ge=24, le=168)]


class Limits(RequestModel):
    """The limits of a job. A limit cuts the records of the lowest priority: by tier, then fine, then date."""

    max_violations: Annotated[int, Field(ge=1, le=MOST_VIOLATIONS)] = 10_000
    max_spend_usd: Annotated[SpendLimit, Field(alias="maxSpendUSD")] = 50.0
    max_percent: Annotated[float, Field(ge=1, le=100), Rounded] = 100.0
    priority: Priority = ALL_TIERS


def _default_temperature(before: Mapping[str, Any]) -> float | None:
    """None beside ``topP``: models take one of the two, and some refuse both."""
    return DEFAULT_TEMPERATURE if before.get("top_p") is None else None


class Batch(RequestModel):
    """The settings of the model. ``onDemandBelowMinimum`` runs too few records for a batch at once, at full cost."""

    model_id: ModelId | None = None
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    top_p: Share | None = None
    temperature: Share | None = Field(default_factory=_default_temperature)
    timeout_hours: TimeoutHours = 24
    on_demand_below_minimum: bool = False


class FlatPricing(RequestModel):
    """Price of batch inference by a fixed number of tokens a record, instead of by the real prompts."""

    method: Literal["flat"]
    tokens_per_record: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    usd_per_1k_tokens: Annotated[float, Field(alias="usdPer1kTokens", ge=0.000000001, le=1_000), Rounded] = 0.001


class JobConfig(RequestModel):
    filters: Filters = Field(default_factory=Filters)
    limits: Limits = Field(default_factory=Limits)
    batch: Batch = Field(default_factory=Batch)
    pricing: FlatPricing | None = None

    def document(self) -> dict[str, Any]:
        """The JSON of the config with its defaults, without absent values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class JobRequest(RequestModel):
    """Body of ``POST /admin/bedrock/batch`` and of ``…/estimate``.

    ``force`` creates a job although the same caller sent the same request moments ago.
    """

    config: JobConfig
    force: bool = False


class DirectRequest(JobRequest):
    """The event of the function that creates jobs, when it is called without the API."""

    dry_run: bool = False


class RetryBatch(RequestModel):
    model_id: ModelId | None = None
    max_tokens: MaxTokens | None = None
    timeout_hours: TimeoutHours | None = None


class RetryRequest(RequestModel):
    """Body of ``POST …/{jobId}/retry``, all of it optional; what is absent is as in the job that is retried."""

    batch: RetryBatch = Field(default_factory=RetryBatch)

    on_demand_below_minimum: bool | None = None
    max_spend_usd: Annotated[SpendLimit | None, Field(alias="maxSpendUSD")] = None
    force: bool = False


Asked = TypeVar("Asked", bound=JobRequest)


def parse_job_request(
    form: type[Asked], document: object, *, models: Collection[str], default_model: str, agencies: Sequence[str]
) -> Asked:
    """The request of this form, with the model chosen. Raises InvalidInputError naming every problem.

    ``models``: what batch inference takes here; ``agencies``: those of the lake.
    """
    if not isinstance(document, dict):
        raise InvalidInputError([Problem("body", shown(document), "not a JSON object", 'write {"config": {...}}')])
    problems = list(_problems_across_fields(document, models, agencies))
    try:
        request = form.model_validate(document)
    except ValidationError as invalid:
        raise InvalidInputError([*ModelProblems(form, "body").of(invalid), *problems]) from None
    if problems:
        raise InvalidInputError(problems)
    config = request.config
    if config.batch.model_id is not None:
        return request
    batch = config.batch.model_copy(update={"model_id": default_model})
    return request.model_copy(update={"config": config.model_copy(update={"batch": batch})})


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
        raise InvalidInputError([*ModelProblems(RetryRequest, "body").of(invalid), *problems]) from None
    if problems:
        raise InvalidInputError(problems)
    return request


def stored_config(document: Mapping[str, Any] | None) -> JobConfig:
    """The config that ``JobConfig.document`` returned. Raises ``pydantic.ValidationError`` for anything else."""
    return JobConfig.model_validate(document)


# --- checks over several fields, made on the raw document, so that a mistake elsewhere does not hide a problem


def _problems_across_fields(
    document: Mapping[str, Any], models: Collection[str], agencies: Sequence[str]
) -> Iterator[Problem]:
    config = _section(document, "config")
    filters = _section(config, "filters")
    yield from problems_between_filters(filters)
    wanted = filters.get(TABLES.name)
    if isinstance(wanted, list) and all(isinstance(name, str) for name in wanted):
        try:
            select_agencies(filters, agencies)
        except InvalidInputError as error:
            yield from error.problems
    yield from _problems_of_model("config.batch.modelId", _section(config, "batch").get("modelId"), models)


def _problems_of_model(path: str, model: object, models: Collection[str]) -> Iterator[Problem]:
    if isinstance(model, str) and model not in models:
        yield Problem(
            path,
            shown(model),
            "batch inference does not take this model here",
            f"{did_you_mean(model, models)}known: {', '.join(sorted(models))}",
        )


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = document.get(name)
    return section if isinstance(section, dict) else {}
