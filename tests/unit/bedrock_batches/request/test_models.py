"""The table of models, and what a deployment makes of it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from pydantic import ValidationError

from bedrock_batches.request.models import model_table, offered_models

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def test_the_table_says_what_the_code_asks_of_a_model() -> None:
    haiku, nova = model_table()[HAIKU], model_table()["amazon.nova-pro-v1:0"]
    assert (haiku.structured_output, nova.structured_output) == (True, False)
    assert nova.batch_regions == ("us-east-1", "us-gov-west-1")
    assert haiku.input_usd_per_1k_tokens == Decimal("0.0011")


def test_no_model_is_past_the_end_of_its_life_when_its_price_was_read() -> None:
    for model_id, model in model_table().items():
        assert model.end_of_life is None or model.end_of_life > model.as_of, model_id


def test_a_deployment_offers_the_models_that_it_names() -> None:
    assert dict(offered_models({HAIKU: {}})) == {HAIKU: model_table()[HAIKU]}


def test_a_deployment_changes_a_model_and_keeps_the_rest_of_its_entry() -> None:
    changed = offered_models({HAIKU: {"end_of_life": "2027-03-01", "minimum_records": 200}})[HAIKU]
    assert changed == model_table()[HAIKU].model_copy(update={"end_of_life": date(2027, 3, 1), "minimum_records": 200})


def test_a_model_that_the_table_lacks_needs_its_prices() -> None:
    prices = {"input_usd_per_1k_tokens": 0.001, "output_usd_per_1k_tokens": 0.002, "as_of": "2026-11-01"}
    assert offered_models({"us.new.model-v1:0": prices})["us.new.model-v1:0"].batch
    with pytest.raises(ValidationError, match="input_usd_per_1k_tokens"):
        offered_models({"us.new.model-v1:0": {}})
