"""The settings of the functions of Bedrock batches; see ``foundation.settings``."""

from __future__ import annotations

from typing import Any

from pydantic import Json

from bedrock_batches.request.models import Models, offered_models
from bedrock_batches.submit.parts import Quotas
from foundation.settings import FunctionSettings


class LakeSettings(FunctionSettings):
    """Settings of the functions with DuckDB."""

    s3_table_bucket_arn: str
    lake_namespace: str
    agencies: Json[tuple[str, ...]]
    """Names of the agencies' tables (a JSON list)."""
    lake_memory_mb: int
    """DuckDB's share of the function's memory."""
    data_bucket: str
    batch_jobs_table: str


class ModelSettings(FunctionSettings):
    models: Json[dict[str, dict[str, Any]]]
    """Ids of the models for jobs, each with its differences from ``models.json`` (a JSON object)."""
    default_model: str
    """The model of a request without one."""

    @property
    def known_models(self) -> Models:
        return offered_models(self.models)


class BedrockBatchProcessorSettings(LakeSettings, ModelSettings):
    violations_table: str
    job_role_arn: str
    """The role of Bedrock's jobs."""
    quotas: Json[Quotas]
    """A JSON object. A missing name has Bedrock's default."""


class BedrockAdminApiSettings(ModelSettings):
    batch_jobs_table: str
    violations_table: str
    data_bucket: str
    agencies: Json[tuple[str, ...]]
    batch_processor_function: str
    """Name of ``bedrock_batch_processor``."""
    job_events_function: str
    """Name of ``bedrock_job_events``."""


class BedrockBatchResultSettings(FunctionSettings):
    violations_table: str
    batch_jobs_table: str
    data_bucket: str
    job_events_function: str
    """Name of ``bedrock_job_events``."""


class BedrockJobEventsSettings(FunctionSettings):
    batch_jobs_table: str
    data_bucket: str
    batch_result_function: str
    """Name of ``bedrock_batch_result``."""
    batch_processor_function: str
    """Name of ``bedrock_batch_processor``."""
    job_role_arn: str
    """The role of Bedrock's jobs."""
    notification_topic_arn: str
    metrics_namespace: str
    quotas: Json[Quotas]
    """As for ``bedrock_batch_processor`` (a JSON object)."""


class BedrockSyncSettings(LakeSettings):
    violations_table: str
    metrics_namespace: str


SETTINGS_BY_FUNCTION: dict[str, type[FunctionSettings]] = {
    "bedrock_batch_processor": BedrockBatchProcessorSettings,
    "bedrock_admin_api": BedrockAdminApiSettings,
    "bedrock_batch_result": BedrockBatchResultSettings,
    "bedrock_job_events": BedrockJobEventsSettings,
    "bedrock_sync": BedrockSyncSettings,
}
