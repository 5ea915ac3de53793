"""Checks that AWS does not end a model before a job ends.

A deployment leaves out models that are past their end of life, but it is planned once and runs for months.
"""

from __future__ import annotations

from datetime import date, timedelta

from bedrock_batches.request.models import Models
from foundation.errors import InvalidInputError, Problem

WARNED_BEFORE = timedelta(days=30)
"""A job that waits for its quota or is retried can still run this long after its creation."""


def check_model_life(path: str, model_id: str, models: Models, today: date) -> list[str]:
    """A warning if AWS ends the model soon. Raises InvalidInputError at this path of the request if it has ended.

    A model that is not offered any more has no date; the processor refuses it by name.
    """
    model = models.get(model_id)
    if model is None or model.end_of_life is None or today < model.end_of_life - WARNED_BEFORE:
        return []
    if today >= model.end_of_life:
        fix = f"name another model: {', '.join(sorted(_living(models, today))) or 'none is offered now'}"
        raise InvalidInputError([Problem(path, f'"{model_id}"', f"AWS ended this model on {model.end_of_life}", fix)])
    ends = f"AWS ends {model_id} on {model.end_of_life}"
    return [f"{ends}: parts that start later fail. Name another model for later jobs."]


def _living(models: Models, today: date) -> list[str]:
    return [one for one, model in models.items() if model.end_of_life is None or today < model.end_of_life]
