"""The request for a batch: defaults, and every problem at once."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from bedrock_batches.request.job_config import (
    JobConfig,
    JobRequest,
    parse_job_request,
    parse_retry_request,
    stored_config,
)
from foundation.errors import InvalidInputError

MODELS = ("amazon.nova-lite-v1:0", "us.anthropic.claude-haiku-4-5-20251001-v1:0")
AGENCIES = ("osha", "epa")
PRICE = "config.pricing.usdPer1kTokens"
END = "config.filters.dateRange.end"


def parse(config: Any) -> JobConfig:
    return parse_job_request(
        JobRequest, {"config": config}, models=MODELS, default_model=MODELS[0], agencies=AGENCIES
    ).config


def problems_of(document: Any) -> dict[str, tuple[str, str]]:
    """(message, fix) by path."""
    with pytest.raises(InvalidInputError) as caught:
        parse_job_request(JobRequest, document, models=MODELS, default_model=MODELS[0], agencies=AGENCIES)
    return {problem.path: (problem.message, problem.fix) for problem in caught.value.problems}


def test_an_empty_config_has_the_documented_defaults() -> None:
    config = parse({})
    assert config.limits.max_violations == 10_000
    assert config.limits.max_spend_usd == 50
    assert config.limits.max_percent == 100
    assert config.limits.priority == "all"
    assert config.batch.model_id == MODELS[0]
    assert config.pricing is None


def test_null_means_absent_everywhere() -> None:
    assert parse({"filters": {"agencies": None, "dateRange": None}, "limits": None, "batch": {"topP": None}}) == parse(
        {}
    )
    assert (
        parse({"filters": {"dateRange": {"start": None}}, "limits": {"maxViolations": None}}).limits == parse({}).limits
    )


def test_a_config_survives_being_stored() -> None:
    config = parse(
        {
            "filters": {"minFineAmount": 50000, "agencies": ["OSHA"], "dateRange": {"start": "2026-01-31"}},
            "limits": {"maxSpendUSD": 1.5, "priority": "high"},
            "pricing": {"method": "flat"},
        }
    )
    assert config.filters.given() == {
        "minFineAmount": 50_000,
        "agencies": ["OSHA"],
        "dateRange.start": date(2026, 1, 31),
    }
    assert config.document()["pricing"] == {"method": "flat", "tokensPerRecord": 300, "usdPer1kTokens": 0.001}
    assert stored_config(config.document()) == config


def test_all_problems_are_named_at_once_each_with_its_fix() -> None:
    found = problems_of(
        {
            "config": {
                "filters": {
                    "minFineAmount": -1,
                    "maxFineAmout": 3,
                    "agencies": ["osha", "nasa"],
                    "dateRange": {"start": "2026-02-01", "end": "2026-01-01"},
                    "hasFatalities": "yes",
                    "minDaysOld": 5,
                    "maxDaysOld": 2,
                },
                "limits": {"maxPercent": 101, "priority": "High", "maxSpendUsd": 3},
                "batch": {"modelId": "amazon.nova-lite", "timeoutHours": 12},
                "pricing": {"method": "flat", "usdPer1kTokens": float("nan")},
            },
            "dryrun": True,
        }
    )
    assert found["config.filters.minFineAmount"][0] == "must be at least 0"
    assert found["config.filters.maxFineAmout"] == ("unknown field", "did you mean maxFineAmount?")
    assert found["config.filters.agencies[1]"][0] == "the lake has no such agency"
    assert found["config.filters.dateRange.end"][0] == "is before start (2026-02-01)"
    assert found["config.filters.hasFatalities"][0] == "not a boolean"
    assert found["config.filters.maxDaysOld"][0] == "is below minDaysOld (5)"
    assert found["config.limits.maxPercent"][0] == "must be at most 100"
    assert found["config.limits.priority"][1] == "write one of high, medium, low, all"
    assert found["config.limits.maxSpendUsd"][1] == "did you mean maxSpendUSD?"
    assert found["config.batch.modelId"][1].startswith("did you mean amazon.nova-lite-v1:0?")
    assert found["config.batch.timeoutHours"][0] == "must be at least 24"
    assert found["config.pricing.usdPer1kTokens"][0] == "not a finite number"
    assert found["dryrun"] == ("unknown field", "remove it; known: config, force")
    assert len(found) == 13


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        (None, "body", "not a JSON object"),
        ([], "body", "not a JSON object"),
        ({}, "config", "is required"),
        ({"config": None}, "config", "is required"),
        ({"config": []}, "config", "not an object"),
        ({"config": {"filters": {"agencies": "osha"}}}, "config.filters.agencies", "not a list"),
        ({"config": {"filters": {"agencies": [1]}}}, "config.filters.agencies[0]", "not a text"),
        ({"config": {"filters": {"violationTypes": [" "]}}}, "config.filters.violationTypes[0]", "is empty"),
        ({"config": {"filters": {"minFineAmount": "5"}}}, "config.filters.minFineAmount", "not a number"),
        ({"config": {"filters": {"minFineAmount": True}}}, "config.filters.minFineAmount", "not a number"),
        ({"config": {"filters": {"maxFineAmount": 10**400}}}, "config.filters.maxFineAmount", "not a number"),
        ({"config": {"filters": {"dateRange": {"end": "2026-02-30"}}}}, END, "not a day of the calendar"),
        ({"config": {"filters": {"dateRange": {"end": 20260101}}}}, END, "not a date"),
        ({"config": {"limits": {"maxViolations": 0}}}, "config.limits.maxViolations", "must be at least 1"),
        ({"config": {"limits": {"maxSpendUSD": 0}}}, "config.limits.maxSpendUSD", "must be at least 1e-06"),
        ({"config": {"limits": {"maxSpendUSD": 1e-131}}}, "config.limits.maxSpendUSD", "must be at least 1e-06"),
        ({"config": {"pricing": {"method": "flat", "usdPer1kTokens": 1e-300}}}, PRICE, "must be at least 1e-09"),
        ({"config": {}, "dryRun": None}, "dryRun", "unknown field"),
        ({"config": {"filters": {"states": ["Texas"]}}}, "config.filters.states[0]", "not a code of two letters"),
        ({"config": {"pricing": {"method": "guess"}}}, "config.pricing.method", "not an allowed value"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(document: Any, path: str, message: str) -> None:
    assert problems_of(document)[path][0] == message


@pytest.mark.parametrize("batch", [{"maxTokens": 0}, {"topP": 2}, {"modelId": 5}])
def test_a_wrong_field_is_the_only_problem_of_its_section(batch: Any) -> None:
    assert [*problems_of({"config": {"batch": batch}})] == [f"config.batch.{name}" for name in batch]


def test_a_problem_shows_the_value_the_bounds_and_where_a_field_belongs() -> None:
    config = {"modelId": MODELS[0], "batch": {"maxTokens": 10_000}, "limits": {"maxPercent": 0}}
    with pytest.raises(InvalidInputError) as refused:
        parse(config)
    found = {problem.path: problem for problem in refused.value.problems}
    tokens = found["config.batch.maxTokens"]
    assert (tokens.value, tokens.message) == ("10000", "must be at most 8,192")
    assert tokens.fix == "write a number from 1 to 8,192"
    assert found["config.limits.maxPercent"].fix == "write a number from 1 to 100"
    assert found["config.modelId"].fix == "modelId belongs in config.batch"


def test_fines_in_the_wrong_order_are_one_problem() -> None:
    assert problems_of({"config": {"filters": {"minFineAmount": 5, "maxFineAmount": 4.5}}}) == {
        "config.filters.maxFineAmount": ("is below minFineAmount (5)", "swap the two values")
    }


def test_a_retry_may_change_some_things_only() -> None:
    assert parse_retry_request(None, MODELS).on_demand_below_minimum is None
    assert parse_retry_request({"onDemandBelowMinimum": True, "maxSpendUSD": 2}, MODELS).max_spend_usd == 2
    with pytest.raises(InvalidInputError, match="did you mean onDemandBelowMinimum"):
        parse_retry_request({"onDemandBelowMinimun": True}, MODELS)


def test_a_number_is_kept_with_nine_decimals_since_dynamodb_refuses_smaller_ones() -> None:
    config = parse({"filters": {"minFineAmount": 1e-200}, "batch": {"temperature": 1e-200, "topP": 0.1 + 0.2}})
    assert (config.filters.given()["minFineAmount"], config.batch.temperature, config.batch.top_p) == (0, 0, 0.3)


def test_an_unknown_field_of_a_retry_is_refused_even_when_it_is_null() -> None:
    with pytest.raises(InvalidInputError, match="unknown field"):
        parse_retry_request({"modelId": None}, MODELS)
