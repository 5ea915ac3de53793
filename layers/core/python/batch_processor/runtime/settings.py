"""The settings of each function, one model each. A field's name in capitals is its environment variable.

A test compares the fields with what Terraform sets, both ways.
"""

from __future__ import annotations

import os
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Json


class FunctionSettings(BaseModel):
    """What every function has."""

    model_config = ConfigDict(frozen=True, defer_build=True)  # each function needs one of these models

    powertools_service_name: str
    powertools_log_level: str


class RowBatchSettings(FunctionSettings):
    results_bucket: str


class ValidateInputSettings(RowBatchSettings):
    input_buckets: Json[list[str]]
    """Names of the buckets that an input may lie in (a JSON list)."""
    registry_table: str
    work_retention_days: int


class ProcessToolRowsSettings(RowBatchSettings):
    dead_letter_queue_url: str


class MapInputSettings(RowBatchSettings):
    pass


class MapOutputSettings(RowBatchSettings):
    dead_letter_queue_url: str


class AggregateResultsSettings(RowBatchSettings):
    metrics_namespace: str
    dead_letter_queue_url: str


class NotifySettings(RowBatchSettings):
    metrics_namespace: str
    notification_topic_arn: str


SETTINGS_BY_FUNCTION: dict[str, type[FunctionSettings]] = {
    "validate_input": ValidateInputSettings,
    "process_tool_rows": ProcessToolRowsSettings,
    "map_input": MapInputSettings,
    "map_output": MapOutputSettings,
    "aggregate_results": AggregateResultsSettings,
    "notify": NotifySettings,
}

S = TypeVar("S", bound=FunctionSettings)


_loaded: dict[type[FunctionSettings], FunctionSettings] = {}


def load(model: type[S]) -> S:
    """Read the environment once a process. Raises pydantic's ``ValidationError``, which names each missing variable."""
    if model not in _loaded:
        names = {name: name.upper() for name in model.model_fields}
        _loaded[model] = model.model_validate({n: os.environ[v] for n, v in names.items() if v in os.environ})
    settings = _loaded[model]
    assert isinstance(settings, model)
    return settings
