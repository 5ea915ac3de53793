"""The cost of a target's answers."""

from __future__ import annotations

import pytest

from foundation.prices import model_prices
from row_batches.document.plan import Target, TargetPrices
from row_batches.rows.records import Usage
from row_batches.targets.pricing import known_model_usd, priced, row_usd

TARGET = Target(name="echo", type="tool", arn="arn", invocation="lambda")
OWN_PRICES = TargetPrices(input_usd_per_million_tokens=2, output_usd_per_million_tokens=10)
MODEL = "amazon.nova-lite-v1:0"


def used(model: str, cost_usd: float = 0) -> Usage:
    return {model: {"input_tokens": 1_000_000, "output_tokens": 100_000, "cost_usd": cost_usd}}


@pytest.mark.parametrize(
    ("target", "usage", "usd"),
    [
        (TARGET, used("", 0.25), 0.25),
        (TARGET.model_copy(update={"prices": OWN_PRICES}), used(MODEL, 0.25), 0.25),
        (TARGET.model_copy(update={"prices": OWN_PRICES}), used(MODEL), 3.0),
        (TARGET, used(MODEL), 0.06 + 0.024),
        (TARGET, used("a model of somebody"), None),
        (TARGET, {}, None),
        (TARGET.model_copy(update={"prices": OWN_PRICES}), {}, 0.0),
    ],
    ids=["reported", "reported first", "registry", "table of models", "unknown model", "no usage", "none used"],
)
def test_tokens_cost_what_the_answer_says_else_the_registry_else_the_table_of_models(
    target: Target, usage: Usage, usd: float | None
) -> None:
    assert known_model_usd(target, priced(usage, target)) == (None if usd is None else pytest.approx(usd))


def test_a_row_costs_its_calls_and_its_tokens() -> None:
    target = TARGET.model_copy(update={"cost_per_call_usd": 0.01})

    assert row_usd(target, used("m", 0.25), attempts=3) == pytest.approx(0.28)
    assert row_usd(target, {}, attempts=0) == 0
    assert row_usd(TARGET, {}, attempts=3) is None


def test_each_model_of_the_table_has_a_price() -> None:
    assert all(prices.usd(1, 1) > 0 for prices in model_prices().values())
