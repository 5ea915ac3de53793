"""Puts the use cases of batch jobs and their adapters together; see ``runtime.wiring``."""

# ruff: noqa: PLC0415 (imports at first use are the point of this module)

from __future__ import annotations

import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from batch_processor.runtime import settings, wiring
from batch_processor.runtime.settings_bedrock import (
    BedrockAdminApiSettings,
    BedrockBatchProcessorSettings,
    LakeSettings,
)

if TYPE_CHECKING:
    from batch_processor.adapters.bedrock.batch_inference import BedrockBatchInference
    from batch_processor.adapters.bedrock.function_calls import LambdaEventCaller
    from batch_processor.adapters.bedrock.jobs_table import DynamoDbJobsTable
    from batch_processor.adapters.bedrock.lake import Lake
    from batch_processor.adapters.bedrock.leases import DynamoDbLeases
    from batch_processor.adapters.bedrock.violations_table import DynamoDbViolations
    from batch_processor.app.bedrock.admin import AdminServices
    from batch_processor.app.bedrock.create_job import CreateServices


@cache
def lake(of: LakeSettings) -> Lake:
    from batch_processor.adapters.bedrock.lake import Resources, aws_lake

    return aws_lake(
        of.s3_table_bucket_arn,
        of.lake_namespace,
        of.agencies,
        Resources(memory_mb=of.lake_memory_mb),
        wiring.clock.sleep,
    )


@cache
def leases(table: str) -> DynamoDbLeases:
    from batch_processor.adapters.bedrock.leases import DynamoDbLeases
    from batch_processor.adapters.clients import service_client

    return DynamoDbLeases(service_client("dynamodb"), table, wiring.clock)


@cache
def jobs_table(table: str) -> DynamoDbJobsTable:
    from batch_processor.adapters.bedrock.jobs_table import DynamoDbJobsTable
    from batch_processor.adapters.clients import service_client

    return DynamoDbJobsTable(service_client("dynamodb", wiring.MOST_CONNECTIONS), table)


@cache
def batch_inference(job_role_arn: str) -> BedrockBatchInference:
    from batch_processor.adapters.bedrock.batch_inference import BedrockBatchInference
    from batch_processor.adapters.clients import service_client

    return BedrockBatchInference(service_client("bedrock"), job_role_arn)


@cache
def violations(table: str) -> DynamoDbViolations:
    from batch_processor.adapters.bedrock.violations_table import DynamoDbViolations, bulk_client

    return DynamoDbViolations(bulk_client(), table, wiring.clock)


def call_owner(context: wiring.LambdaContext) -> str:
    """Names this call to the leases. Lambda may deliver an event twice under one request id, and that are two calls."""
    return f"{context.aws_request_id}/{uuid.uuid4().hex}"


def create_services(of: BedrockBatchProcessorSettings, context: wiring.LambdaContext) -> CreateServices:
    from batch_processor.adapters.bedrock.batch_inference import BedrockOnDemand
    from batch_processor.adapters.clients import service_client
    from batch_processor.app.bedrock.create_job import CreateServices

    return CreateServices(
        lake=lake(settings.load(LakeSettings)),
        jobs=jobs_table(of.batch_jobs_table),
        objects=wiring.objects(of.data_bucket),
        batch=batch_inference(of.job_role_arn),
        on_demand=BedrockOnDemand(service_client("bedrock-runtime")),
        leases=leases(of.batch_jobs_table),
        clock=wiring.clock,
        deadline=wiring.InvocationDeadline(context),
        models=of.known_models,
        quotas=of.quotas,
        owner=call_owner(context),
        contents=violations(of.violations_table),
    )


@cache
def admin_services() -> AdminServices:
    from batch_processor.app.bedrock.admin import AdminServices

    of = settings.load(BedrockAdminApiSettings)
    return AdminServices(
        jobs=jobs_table(of.batch_jobs_table),
        batch=batch_inference(""),
        processor=_caller(of.batch_processor_function),
        reconciler=_caller(of.job_events_function),
        clock=wiring.clock,
        models=of.known_models,
        default_model=of.default_model,
        agencies=of.agencies,
    )


def _caller(function_name: str) -> LambdaEventCaller:
    from batch_processor.adapters.bedrock.function_calls import LambdaEventCaller
    from batch_processor.adapters.clients import service_client

    return LambdaEventCaller(service_client("lambda"), function_name)


@cache
def admin_app() -> Any:
    """The HTTP application of the admin API, whose settings are read with the first request."""
    from batch_processor.adapters.bedrock.admin_http import admin_app

    return admin_app(admin_services)
