"""The settings of the functions that create and administer batch jobs; see ``runtime.settings``."""

from __future__ import annotations

from pydantic import Json

from batch_processor.domain.bedrock.parts import Quotas
from batch_processor.domain.bedrock.pricing import DEFAULT_MODELS, ModelPrice, Models
from batch_processor.runtime.settings import FunctionSettings, LakeSettings


class ModelSettings(FunctionSettings):
    models: Json[dict[str, ModelPrice]]
    """Models that batch inference takes here, with their prices (a JSON object); empty for those of ``pricing``."""
    default_model: str
    """The model of a request that names none."""

    @property
    def known_models(self) -> Models:
        return self.models or DEFAULT_MODELS


class BedrockBatchProcessorSettings(LakeSettings, ModelSettings):
    job_role_arn: str
    """The role that Bedrock runs a job with."""
    quotas: Json[Quotas]
    """A JSON object; what it does not name is Bedrock's default."""


class BedrockAdminApiSettings(ModelSettings):
    batch_jobs_table: str
    agencies: Json[tuple[str, ...]]
    batch_processor_function: str
    """Name of ``bedrock_batch_processor``."""
    job_events_function: str
    """Name of ``bedrock_job_events``."""


JOB_SETTINGS: dict[str, type[FunctionSettings]] = {
    "bedrock_batch_processor": BedrockBatchProcessorSettings,
    "bedrock_admin_api": BedrockAdminApiSettings,
}
