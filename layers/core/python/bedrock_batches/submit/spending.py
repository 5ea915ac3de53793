"""The records of a draft that are within the request's spending limit, and their price."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from bedrock_batches.request.job_config import JobConfig
from bedrock_batches.request.models import Models
from bedrock_batches.submit.pricing import Rate, Spend, flat_rate, model_rate
from foundation.errors import DeploymentError


def spent(tokens: Iterable[int], config: JobConfig, models: Models, *, on_demand: bool) -> Spend:
    """The first records within the limit. Raises DeploymentError for a model without a price."""
    spend = Spend(_rate(config, models, on_demand=on_demand), Decimal(str(config.limits.max_spend_usd)))
    for each in tokens:
        if not spend.take(each):
            break
    return spend


def _rate(config: JobConfig, models: Models, *, on_demand: bool) -> Rate:
    if config.pricing is not None:
        return flat_rate(config.pricing.tokens_per_record, config.pricing.usd_per_1k_tokens, on_demand=on_demand)
    model_id = str(config.batch.model_id)
    if model_id not in models:
        raise DeploymentError(f"No price is configured for model {model_id}: add it to the deployment's models.")
    return model_rate(models[model_id], config.batch.max_tokens, on_demand=on_demand)
