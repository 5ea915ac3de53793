"""A job is not created on a model that has ended, and its creator is told of one that ends soon."""

from __future__ import annotations

from datetime import date

import pytest

from bedrock_batches.request.model_life import check_model_life
from bedrock_batches.request.models import Models, offered_models
from foundation.errors import InvalidInputError

NOVA, HAIKU = "amazon.nova-lite-v1:0", "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def models() -> Models:
    return offered_models({NOVA: {"end_of_life": "2027-04-30"}, HAIKU: {}})


@pytest.mark.parametrize("today", [date(2027, 4, 30), date(2028, 1, 1)])
def test_a_model_that_has_ended_is_refused_by_its_name_and_date(today: date) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_model_life("batch.modelId", NOVA, models(), today)
    (problem,) = refused.value.problems
    assert (problem.path, problem.value) == ("batch.modelId", f'"{NOVA}"')
    assert problem.message == "AWS ended this model on 2027-04-30"
    assert problem.fix == f"name another model: {HAIKU}"


@pytest.mark.parametrize("today", [date(2027, 3, 31), date(2027, 4, 29)])
def test_a_model_that_ends_within_30_days_is_warned_of(today: date) -> None:
    (warning,) = check_model_life("batch.modelId", NOVA, models(), today)
    assert warning.startswith(f"AWS ends {NOVA} on 2027-04-30: parts that start later fail.")


@pytest.mark.parametrize("model_id", [NOVA, HAIKU, "not.offered-any-more"])
def test_a_model_that_lives_on_is_not_mentioned(model_id: str) -> None:
    assert check_model_life("batch.modelId", model_id, models(), date(2027, 3, 30)) == []
