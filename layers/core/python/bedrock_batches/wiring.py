"""Puts the use cases of batch jobs and their adapters together; see ``foundation.invocation``."""

# ruff: noqa: PLC0415 (imports at first use are the point of this module)

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bedrock_batches.settings import BedrockAdminApiSettings, BedrockBatchProcessorSettings, LakeSettings
from foundation import invocation, settings
from foundation.aws import factories

if TYPE_CHECKING:
    from bedrock_batches.api.admin import AdminServices
    from bedrock_batches.results.claims_dynamodb import DynamoDbClaims
    from bedrock_batches.results.violations_dynamodb import DynamoDbViolations
    from bedrock_batches.select.duckdb_ import Lake
    from bedrock_batches.submit.bedrock import BedrockBatchInference
    from bedrock_batches.submit.create_job import CreateServices
    from bedrock_batches.submit.dynamodb import DynamoDbJobsTable
    from foundation.aws.lambda_ import LambdaEventCaller
    from foundation.aws.leases import DynamoDbLeases


@cache
def lake(of: LakeSettings) -> Lake:
    from bedrock_batches.lake.duckdb_ import Resources
    from bedrock_batches.select.duckdb_ import aws_lake

    return aws_lake(
        of.s3_table_bucket_arn,
        of.lake_namespace,
        of.agencies,
        Resources(memory_mb=of.lake_memory_mb),
        invocation.clock.sleep,
    )


@cache
def leases(table: str) -> DynamoDbLeases:
    from foundation.aws.clients import service_client
    from foundation.aws.leases import DynamoDbLeases

    return DynamoDbLeases(service_client("dynamodb"), table, invocation.clock)


@cache
def jobs_table(table: str) -> DynamoDbJobsTable:
    from bedrock_batches.submit.dynamodb import DynamoDbJobsTable
    from foundation.aws.clients import service_client

    return DynamoDbJobsTable(service_client("dynamodb"), table)


@cache
def batch_inference(job_role_arn: str) -> BedrockBatchInference:
    from bedrock_batches.submit.bedrock import BedrockBatchInference
    from foundation.aws.clients import service_client

    return BedrockBatchInference(service_client("bedrock"), job_role_arn)


@cache
def violations(table: str) -> DynamoDbViolations:
    from bedrock_batches.results.violations_dynamodb import DynamoDbViolations
    from foundation.aws.clients import service_client

    # The SDK's check of each value takes almost half of the CPU time of a BatchWriteItem, and ``stored_item`` makes
    # nothing but texts, numbers and lists of texts.
    client = service_client("dynamodb", validates_parameters=False)
    return DynamoDbViolations(client, table, invocation.clock)


@cache
def claims(table: str) -> DynamoDbClaims:
    from bedrock_batches.results.claims_dynamodb import DynamoDbClaims
    from foundation.aws.clients import service_client

    return DynamoDbClaims(service_client("dynamodb"), table)


def create_services(of: BedrockBatchProcessorSettings, context: invocation.LambdaContext) -> CreateServices:
    from bedrock_batches.submit.bedrock import BedrockOnDemand
    from bedrock_batches.submit.create_job import CreateServices
    from bedrock_batches.submit.run_on_demand import ANSWER_SECONDS, THREADS
    from foundation.aws.clients import invoking_client

    return CreateServices(
        lake=lake(settings.load(LakeSettings)),
        jobs=jobs_table(of.batch_jobs_table),
        objects=factories.objects(of.data_bucket),
        batch=batch_inference(of.job_role_arn),
        # One attempt: each repeated call costs money.
        on_demand=BedrockOnDemand(invoking_client("bedrock-runtime", ANSWER_SECONDS, THREADS)),
        leases=leases(of.batch_jobs_table),
        clock=invocation.clock,
        deadline=invocation.InvocationDeadline(context),
        models=of.known_models,
        quotas=of.quotas,
        owner=invocation.call_owner(context),
        contents=violations(of.violations_table),
        again=_caller(context.function_name),
    )


@cache
def admin_services() -> AdminServices:
    from bedrock_batches.api.admin import AdminServices
    from bedrock_batches.api.records import RecordSources

    of = settings.load(BedrockAdminApiSettings)
    return AdminServices(
        jobs=jobs_table(of.batch_jobs_table),
        batch=batch_inference(""),
        processor=_caller(of.batch_processor_function),
        reconciler=_caller(of.job_events_function),
        clock=invocation.clock,
        models=of.known_models,
        default_model=of.default_model,
        agencies=of.agencies,
        records=RecordSources(
            objects=factories.objects(of.data_bucket),
            claims=claims(of.batch_jobs_table),
            violations_table=of.violations_table,
        ),
    )


def _caller(function_name: str) -> LambdaEventCaller:
    from foundation.aws.clients import service_client
    from foundation.aws.lambda_ import LambdaEventCaller

    return LambdaEventCaller(service_client("lambda"), function_name)


@cache
def admin_app() -> Any:
    """The HTTP application of the admin API. Its settings are read with the first request."""
    from bedrock_batches.api.admin_http import admin_app

    return admin_app(admin_services, lambda: settings.load(BedrockAdminApiSettings).known_models)
