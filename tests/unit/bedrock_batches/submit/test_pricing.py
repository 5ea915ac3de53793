"""What a batch costs, before it runs."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bedrock_batches.request.models import Model, model_table
from bedrock_batches.submit.pricing import Rate, Spend, flat_rate, model_rate, tokens_of

PRICE = Model(input_usd_per_1k_tokens=Decimal("0.0008"), output_usd_per_1k_tokens=Decimal("0.0032"), as_of="2025-06-01")


def spent(rate: Rate, tokens: list[int], most_usd: str = "1000000") -> Spend:
    spend = Spend(rate, Decimal(most_usd))
    for each in tokens:
        if not spend.take(each):
            break
    return spend


def test_the_flat_method_gives_exactly_the_flat_figure() -> None:
    batch = spent(flat_rate(300, 0.001, on_demand=False), [777] * 10_000).estimate()
    assert batch == {
        "violationCount": 10_000,
        "totalTokens": 3_000_000,
        "costUSD": 3.00,
        "costPerViolation": 0.0003,
    }
    assert spent(flat_rate(300, 0.001, on_demand=True), [777] * 10_000).estimate()["costUSD"] == 6.00


def test_a_batch_costs_half_of_the_same_on_demand_and_counts_the_whole_answer() -> None:
    batch, on_demand = (model_rate(PRICE, 500, on_demand=on_demand) for on_demand in (False, True))
    assert batch.usd(1_000) == Decimal("0.0012")  # half of 1,000 input tokens and 500 output tokens
    assert on_demand.usd(1_000) == 2 * batch.usd(1_000)
    assert spent(batch, [1_000, 400]).estimate()["totalTokens"] == 2_400


def test_nothing_costs_nothing() -> None:
    estimate = spent(model_rate(PRICE, 500, on_demand=False), []).estimate()
    assert estimate == {"violationCount": 0, "totalTokens": 0, "costUSD": 0.0, "costPerViolation": 0.0}


@given(
    tokens=st.lists(st.integers(1, 5_000), max_size=60),
    most=st.decimals("0.000001", "0.2", places=6),
    max_tokens=st.integers(1, 5_000),
    model=st.sampled_from(sorted(model_table())),
    on_demand=st.booleans(),
)
def test_the_estimate_never_exceeds_the_limit_and_takes_as_many_records_as_fit(
    tokens: list[int], most: Decimal, max_tokens: int, model: str, on_demand: bool
) -> None:
    rate = model_rate(model_table()[model], max_tokens, on_demand=on_demand)
    spend = spent(rate, tokens, str(most))
    assert Decimal(str(spend.estimate()["costUSD"])) <= most
    if spend.count < len(tokens):
        assert sum(rate.usd(each) for each in tokens[: spend.count + 1]) > most - Decimal("0.000001")


def test_tokens_are_a_quarter_of_the_bytes_rounded_up() -> None:
    assert [tokens_of(text) for text in ("", "abcd", "abcde", "作業員")] == [0, 1, 2, 3]


def test_a_rate_survives_being_stored() -> None:
    for rate in (model_rate(PRICE, 500, on_demand=False), flat_rate(300, 0.001, on_demand=True)):
        assert Rate.of_document(rate.document()) == rate
