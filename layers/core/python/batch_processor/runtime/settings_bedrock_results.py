"""The settings of the functions that take results and follow jobs; see ``runtime.settings``."""

from __future__ import annotations

from pydantic import Json

from batch_processor.domain.bedrock.parts import Quotas
from batch_processor.runtime.settings import FunctionSettings


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
    job_role_arn: str
    """The role that Bedrock runs a job with."""
    notification_topic_arn: str
    quotas: Json[Quotas]
    """As ``bedrock_batch_processor`` has them (a JSON object)."""


RESULT_SETTINGS: dict[str, type[FunctionSettings]] = {
    "bedrock_batch_result": BedrockBatchResultSettings,
    "bedrock_job_events": BedrockJobEventsSettings,
}
